import type { SystemView } from '../../../state-machines/recovery/sample.ts';
import { getJson } from './poll.ts';

/** What Spark's master and the driver's UI answer, as far as we read it. */
export interface MasterState {
  readonly status: string;
  readonly workers: readonly { readonly state: string }[];
}

export interface ExecutorState {
  readonly id: string;
  readonly isActive: boolean;
  readonly totalCores: number;
}

export interface SparkUrls {
  readonly masters: readonly string[];
  readonly driverUi: string;
}

/**
 * Redundancy as Spark itself sees it. Fails when no master or not the driver answers: that we cannot ask is not what
 * the system has noticed.
 */
export async function askSpark(
  urls: SparkUrls,
  applicationId: string,
  signal: AbortSignal,
): Promise<SystemView> {
  const [masters, executors] = await Promise.all([
    Promise.allSettled(urls.masters.map((url) => getJson<MasterState>(`${url}/json/`, signal))),
    getJson<ExecutorState[]>(`${urls.driverUi}/api/v1/applications/${applicationId}/executors`, signal),
  ]);
  const answers = masters.flatMap((it) => (it.status === 'fulfilled' ? [it.value] : []));
  if (answers.length === 0) throw new Error('no Spark master answered');
  return summarize(answers, executors, Date.now());
}

/** Counts what is alive; the workers are those of the leading master. */
export function summarize(
  masters: readonly MasterState[],
  executors: readonly ExecutorState[],
  atMs: number,
): SystemView {
  const alive = masters.filter((master) => master.status === 'ALIVE');
  const workers = (alive[0] ?? masters[0])?.workers ?? [];
  const running = executors.filter(({ id, isActive }) => id !== 'driver' && isActive);
  return {
    atMs,
    mastersAlive: alive.length,
    workersAlive: workers.filter(({ state }) => state === 'ALIVE').length,
    executors: running.length,
    cores: running.reduce((total, { totalCores }) => total + totalCores, 0),
  };
}
