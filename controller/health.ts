import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { messageOf } from '../provisioners/contract.ts';
import type { Clock } from '../state-machines/contract.ts';

/** One thing that has to be well; looks for itself, and answers at once. */
export interface HealthCheck {
  readonly name: string;
  /** What is wrong; undefined when nothing is. */
  look(): string | undefined | Promise<string | undefined>;
}

/** A verdict as Kubernetes words it, so that its readers, people and programs, know it. */
export interface HealthReport {
  readonly ok: boolean;
  /** A line per check when that was asked for, or something is wrong; `ok` else. */
  readonly text: string;
}

/** Looks at all of them; a check that fails to look has failed. */
export async function reportHealth(
  endpoint: string,
  checks: readonly HealthCheck[],
  verbose: boolean,
): Promise<HealthReport> {
  const seen = await Promise.all(
    checks.map(async ({ name, look }) => {
      const wrong = await Promise.resolve().then(look).catch(messageOf);
      return {
        ok: wrong === undefined,
        line: wrong === undefined ? `[+]${name} ok` : `[-]${name} failed: ${wrong}`,
      };
    }),
  );
  const ok = seen.every((each) => each.ok);
  if (ok && !verbose) return { ok, text: 'ok' };
  const lines = seen.map(({ line }) => line);
  return { ok, text: [...lines, `${endpoint} check ${ok ? 'passed' : 'failed'}`].join('\n') };
}

const samplingMs = 100;
const windowMs = 10_000;

/** How long turns of the event loop took since the last reset, in ns, with the sampling interval in them. */
interface Turns {
  readonly count: number;
  readonly mean: number;
  reset(): void;
}

function sampledTurns(): Turns {
  const turns = monitorEventLoopDelay({ resolution: samplingMs });
  turns.enable();
  return turns;
}

/**
 * Fails while turns of the event loop take more than `limitMs` on average, over the last ten seconds or a little more: then
 * nothing here keeps its times. A single long turn does not count: it is over.
 */
export function eventLoopCheck(
  limitMs = 1_000,
  clock: Pick<Clock, 'now'> = performance,
  turns: Turns = sampledTurns(),
): HealthCheck {
  let sinceMs = clock.now();
  let before = 0;
  return {
    name: 'event-loop',
    look() {
      const meanMs = turns.count === 0 ? 0 : turns.mean / 1e6 - samplingMs;
      const worstMs = Math.max(before, meanMs);
      if (clock.now() - sinceMs >= windowMs) {
        before = meanMs;
        sinceMs = clock.now();
        turns.reset();
      }
      return worstMs > limitMs ? `lags by ${Math.round(worstMs)} ms` : undefined;
    },
  };
}

const writableForMs = 2_000;

/** Fails while no file can be made in the state directory. Asked of the disk every two seconds at most, whoever asks us. */
export function stateCheck(stateDir: string, clock: Pick<Clock, 'now'> = performance): HealthCheck {
  const probe = join(stateDir, 'writable');
  let last: { readonly atMs: number; readonly answer: Promise<string | undefined> } | undefined;
  const ask = async () => {
    try {
      await writeFile(probe, '\n');
      return undefined;
    } catch (error) {
      return messageOf(error);
    } finally {
      await rm(probe, { force: true }).catch(() => {}); // told already
    }
  };
  return {
    name: 'state',
    look() {
      if (!last || clock.now() - last.atMs >= writableForMs) last = { atMs: clock.now(), answer: ask() };
      return last.answer;
    },
  };
}
