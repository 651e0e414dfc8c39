import type { FaultSchedule } from '../../crds/fault-schedule.ts';
import { formatProblem } from '../../crds/problem.ts';
import type { Condition, ScheduleStatus } from '../../crds/status.ts';
import type { TrialRecord } from '../../crds/trial-record.ts';
import type { Clock, RunRecord } from '../../state-machines/contract.ts';
import type { ReconcileResult, Reconciler } from '../loop/reconciler.ts';
import type { TrialMetrics } from '../metrics.ts';
import type { StoredResource } from '../source/resource-store.ts';
import type { ConditionUpdate } from '../status/conditions.ts';
import { findCondition, removeCondition, setCondition } from '../status/conditions.ts';
import type { StatusStore } from '../status/status-store.ts';
import type { ActiveRuns } from './active-runs.ts';
import type { RunSchedule } from './run-schedule.ts';

/** Annotation whose new value makes a `now` schedule run again. */
export const RUN_AT_ANNOTATION = 'spark-failures.io/run-at';

const clusterPollMs = 500;

export interface ScheduleReconcilerDeps {
  readonly status: StatusStore<ScheduleStatus>;
  readonly runs: ActiveRuns;
  /** Whether the cluster of that name is Ready, in its newest generation. */
  readonly isClusterReady: (cluster: string) => Promise<boolean>;
  readonly runSchedule: RunSchedule;
  readonly metrics: Pick<TrialMetrics, 'scheduleFaults'>;
  readonly clock: Clock;
  /** What the journal knows of a schedule's runs, oldest first. */
  readonly runsOf: (schedule: string) => Promise<readonly RunRecord[]>;
  /** Draws a seed when the manifest gives none: an integer in [0, 2^32). */
  readonly drawSeed: () => number;
}

/**
 * Starts, aborts and reads runs; never awaits one. A run writes its schedule's status as long as it is active, the
 * reconciler only when none is: two writers never meet.
 */
export class ScheduleReconciler implements Reconciler<StoredResource> {
  readonly kind = 'FaultSchedule';
  readonly #deps: ScheduleReconcilerDeps;

  constructor(deps: ScheduleReconcilerDeps) {
    this.#deps = deps;
  }

  async reconcile(resource: StoredResource, _signal: AbortSignal): Promise<ReconcileResult> {
    const { runs } = this.#deps;
    const running = runs.generationOf(resource.key);
    if (running !== undefined) {
      // A removed or edited schedule heals first; when it has settled, its key comes back.
      if (resource.deleting) runs.abort(resource.key, 'the schedule was removed');
      else if (running !== resource.generation) runs.abort(resource.key, 'the schedule was edited');
      return {};
    }
    return resource.deleting ? this.#forget(resource) : this.#advance(resource);
  }

  async #forget({ name }: StoredResource): Promise<ReconcileResult> {
    await this.#deps.status.remove(name);
    this.#deps.metrics.scheduleFaults(name, []);
    return { finalized: true };
  }

  async #advance(resource: StoredResource): Promise<ReconcileResult> {
    const before = await this.#read(resource);
    if (resource.problems.length > 0) {
      await this.#write(resource, before, [notAccepted(resource)]);
      return {};
    }
    const schedule = resource.resource;
    if (schedule?.kind !== 'FaultSchedule') return {}; // known from its status only, its file not seen yet
    const accepted = {
      ...before,
      observedGeneration: resource.generation,
      specHash: resource.specHash ?? '',
    };
    const runKey = runKeyOf(resource, schedule);
    if (before.runKey === runKey) {
      const isClosed = findCondition(before.conditions, 'Complete') !== undefined;
      if (isClosed) await this.#write(resource, accepted, [valid(resource)]);
      else await this.#closeInterrupted(resource, schedule, accepted);
      return {};
    }
    if (!(await this.#deps.isClusterReady(schedule.spec.clusterRef.name))) {
      await this.#write(resource, accepted, [valid(resource), waiting(resource, schedule)]);
      return { requeueAfterMs: clusterPollMs };
    }
    await this.#start(resource, schedule, accepted, runKey);
    return {};
  }

  async #start(
    resource: StoredResource,
    schedule: FaultSchedule,
    before: ScheduleStatus,
    runKey: string,
  ): Promise<void> {
    const seed = schedule.spec.seed ?? this.#deps.drawSeed();
    const conditions = removeCondition(removeCondition(before.conditions, 'Complete'), 'Stalled');
    const status = { ...before, runKey, seed, conditions, trials: [] };
    // On the disk before anything is hurt: after a crash the same key never runs twice.
    const started = await this.#write(resource, status, [valid(resource), active(resource)]);
    this.#deps.metrics.scheduleFaults(
      resource.name,
      schedule.spec.faults.map(({ name }) => name),
    );
    const { key, name, generation } = resource;
    this.#deps.runs.start(key, generation, (signal) =>
      this.#deps.runSchedule({ name, generation, schedule, seed, status: started }, signal),
    );
  }

  /** A run that was started and is not active any more ended without closing its books: the process was killed in it. */
  async #closeInterrupted(
    resource: StoredResource,
    schedule: FaultSchedule,
    before: ScheduleStatus,
  ): Promise<void> {
    const { name, generation } = resource;
    const prefix = `${name}-${generation}-`;
    const recorded = new Set(before.trials.map(({ runId }) => runId));
    const startedAt = Date.parse(findCondition(before.conditions, 'Active')?.lastTransitionTime ?? '') || 0;
    const cutOff = (await this.#deps.runsOf(name)).filter(
      ({ runId, atMs }) => runId.startsWith(prefix) && !recorded.has(runId) && atMs >= startedAt,
    );
    const trials = cutOff.map((run, index) =>
      interrupted(run, before, schedule, before.trials.length + index + 1),
    );
    await this.#write(resource, { ...before, trials: [...before.trials, ...trials] }, [
      valid(resource),
      ...closing(resource),
    ]);
  }

  async #read({ name, uid }: StoredResource): Promise<ScheduleStatus> {
    const { status } = await this.#deps.status.read(name);
    return status?.uid === uid ? status : { uid, observedGeneration: 0, conditions: [], trials: [] };
  }

  async #write(
    resource: StoredResource,
    status: ScheduleStatus,
    updates: readonly ConditionUpdate[],
  ): Promise<ScheduleStatus> {
    const nowMs = this.#deps.clock.now();
    const conditions = updates.reduce<readonly Condition[]>(
      (all, update) => setCondition(all, update, nowMs),
      status.conditions,
    );
    const next = { ...status, conditions: [...conditions] };
    if (JSON.stringify(next) !== JSON.stringify((await this.#deps.status.read(resource.name)).status)) {
      await this.#deps.status.write(resource.name, next);
    }
    return next;
  }
}

/** `now` runs once per uid, generation and value of the annotation. */
function runKeyOf({ uid, generation }: StoredResource, { metadata }: FaultSchedule): string {
  return `${uid}/${generation}/${metadata.annotations?.[RUN_AT_ANNOTATION] ?? ''}`;
}

function valid({ generation }: StoredResource): ConditionUpdate {
  return {
    type: 'Accepted',
    status: 'True',
    reason: 'Valid',
    message: 'the manifest is in force',
    observedGeneration: generation,
  };
}

function notAccepted({ generation, problems }: StoredResource): ConditionUpdate {
  const message = problems.map(formatProblem).join('\n');
  return {
    type: 'Accepted',
    status: 'False',
    reason: 'InvalidManifest',
    message,
    observedGeneration: generation,
  };
}

function waiting({ generation }: StoredResource, { spec }: FaultSchedule): ConditionUpdate {
  const message = `cluster ${spec.clusterRef.name} is not Ready`;
  return {
    type: 'Active',
    status: 'False',
    reason: 'WaitingForCluster',
    message,
    observedGeneration: generation,
  };
}

function active({ generation }: StoredResource): ConditionUpdate {
  return {
    type: 'Active',
    status: 'True',
    reason: 'Running',
    message: 'a run is in progress',
    observedGeneration: generation,
  };
}

function closing({ generation }: StoredResource): readonly ConditionUpdate[] {
  const message = 'the controller ended during the run; what it had injected was healed at the next start';
  return [
    {
      type: 'Active',
      status: 'False',
      reason: 'Idle',
      message: 'no run is in progress',
      observedGeneration: generation,
    },
    { type: 'Complete', status: 'True', reason: 'Aborted', message, observedGeneration: generation },
  ];
}

/** What remains of a trial that the process did not live to record. */
function interrupted(
  run: RunRecord,
  { seed = 0 }: ScheduleStatus,
  { spec }: FaultSchedule,
  number: number,
): TrialRecord {
  return {
    ...{ number, fault: run.fault, kind: run.kind, runId: run.runId, seed: seed + number - 1 },
    targets: run.steps.map(({ target }) => target),
    outcome: run.outcome ?? 'Stuck',
    startedAt: new Date(run.atMs).toISOString(),
    instants: {},
    figures: {},
    ...(spec.preset !== 'none' && {
      verdict: { recovery: 'Invalid' as const, correctness: 'Unknown' as const },
    }),
    message: 'the controller ended during this trial',
  };
}
