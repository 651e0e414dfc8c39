import type { Rollouts } from '../../crds/status.ts';
import type { Clock } from '../../state-machines/contract.ts';
import type { SwarmGateway } from '../swarm/swarm-gateway.ts';
import type { LiveNode, LiveService, LiveTask } from '../swarm/swarm-types.ts';
import type { TaskLook } from './plan-context.ts';
import { isUnsettled } from './plan-rollout.ts';

/** The same services are not asked for their tasks more often than this. */
const lookAgainMs = 1_000;

type Looks = ReadonlyMap<string, TaskLook>;

interface Seen {
  /** Which services were looked at, in which state: what changes it ends the pause. */
  readonly of: string;
  readonly atMs: number;
  readonly looks: Looks;
}

/** Since when the same tasks run. */
interface Steady {
  readonly tasks: string;
  readonly sinceMs: number;
}

/**
 * Looks at the tasks of services that are being rolled out, and for how long they have run: by the clock of this process,
 * since those of nodes differ, and faults move them. A pass in which nothing is rolled out asks nothing.
 */
export class RolloutWatch {
  readonly #clock: Clock;
  #steady: ReadonlyMap<string, Steady> = new Map();
  #last: Seen | undefined;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** By the id of the service; what the services' counts alone tell is left out. */
  async look(
    { services, nodes }: { readonly services: readonly LiveService[]; readonly nodes: readonly LiveNode[] },
    rollouts: Rollouts,
    api: () => Promise<SwarmGateway>,
    signal: AbortSignal,
  ): Promise<Looks> {
    const unsettled = services.filter((live) => isUnsettled(live, rollouts));
    const of = unsettled.map((live) => stateOf(live, rollouts)).join();
    const atMs = this.#clock.now();
    if (this.#last?.of === of && atMs - this.#last.atMs < lookAgainMs) return this.#last.looks;
    const found = unsettled.length > 0 ? await readTasks(unsettled, await api(), signal) : [];
    const down = new Set(nodes.filter(({ Status }) => Status.State === 'down').map(({ ID }) => ID));
    const running = found.map(({ id, current }) => [id, current.filter((task) => runs(task, down))] as const);
    this.#steady = new Map(running.map(([id, tasks]) => [id, this.#steadyOf(id, tasks, atMs)]));
    const looks = new Map(
      found.map(({ id, current, replaced }, index): [string, TaskLook] => {
        const error = errorOf(replaced) ?? errorOf(current);
        const steadyMs = atMs - (this.#steady.get(id)?.sinceMs ?? atMs);
        return [id, { running: running[index]![1].length, steadyMs, ...(error !== undefined && { error }) }];
      }),
    );
    this.#last = { of, atMs, looks };
    return looks;
  }

  #steadyOf(id: string, running: readonly LiveTask[], nowMs: number): Steady {
    const tasks = running
      .map(({ ID }) => ID)
      .sort()
      .join();
    const before = this.#steady.get(id);
    return before?.tasks === tasks ? before : { tasks, sinceMs: nowMs };
  }
}

const stateOf = ({ ID, Spec, UpdateStatus, ServiceStatus }: LiveService, rollouts: Rollouts): string =>
  [ID, UpdateStatus?.State, ServiceStatus?.RunningTasks, rollouts[Spec.Name]?.revision].join(' ');

interface FoundTasks {
  readonly id: string;
  /** Of the spec as it is now. */
  readonly current: readonly LiveTask[];
  /** Of the spec from which the engine went back. */
  readonly replaced: readonly LiveTask[];
}

async function readTasks(
  services: readonly LiveService[],
  swarm: SwarmGateway,
  signal: AbortSignal,
): Promise<readonly FoundTasks[]> {
  const isBack = ({ UpdateStatus }: LiveService) => UpdateStatus?.State.startsWith('rollback_') === true;
  const idsOf = (some: readonly LiveService[]) => some.map(({ ID }) => ID);
  const back = idsOf(services.filter(isBack));
  const [current, all] = await Promise.all([
    swarm.listTasks({ services: idsOf(services), upToDate: true }, signal),
    back.length > 0 ? swarm.listTasks({ services: back }, signal) : [],
  ]);
  const kept = new Set(current.map(({ ID }) => ID));
  return idsOf(services).map((id) => ({
    id,
    current: current.filter(({ ServiceID }) => ServiceID === id),
    replaced: all.filter(({ ID, ServiceID }) => ServiceID === id && !kept.has(ID)),
  }));
}

const runs = ({ Status, DesiredState, NodeID = '' }: LiveTask, down: ReadonlySet<string>): boolean =>
  Status.State === 'running' && DesiredState === 'running' && !down.has(NodeID);

/** What the newest task that has an error says. */
function errorOf(tasks: readonly LiveTask[]): string | undefined {
  const newest = (a: LiveTask, b: LiveTask) => Date.parse(b.CreatedAt) - Date.parse(a.CreatedAt);
  return tasks.filter(({ Status }) => Status.Err).sort(newest)[0]?.Status.Err;
}
