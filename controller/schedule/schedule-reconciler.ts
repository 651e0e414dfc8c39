import { CONTROL, type FaultSchedule, faultGroups } from '../../crds/fault-schedule.ts';
import { measurementPlan } from '../../crds/presets.ts';
import type { ScheduleStatus } from '../../crds/status.ts';
import type { Clock, RunRecord } from '../../state-machines/contract.ts';
import type { Acting } from '../lease/leadership.ts';
import type { ReconcileResult, Reconciler } from '../loop/reconciler.ts';
import type { TrialMetrics } from '../metrics/trial-metrics.ts';
import type { StoredResource } from '../source/resource-store.ts';
import { findCondition, removeCondition } from '../status/conditions.ts';
import { withApplied, withSource } from '../status/source-status.ts';
import { isStateFull, StateError } from '../status/state-error.ts';
import type { StatusStore } from '../status/status-store.ts';
import type { ActiveRuns } from './active-runs.ts';
import { closeInterrupted, hasTrialsLeft, recordInterrupted, settleStuck } from './close-books.ts';
import type { RunSchedule } from './run-schedule.ts';
import {
  acceptance,
  ended,
  healing,
  isClosed,
  leftTo,
  running,
  stateUnusable,
  waitingFor,
  withConditions,
  withoutStateTrouble,
} from './schedule-conditions.ts';

/** Annotation whose new value makes a `now` schedule run again. */
export const RUN_AT_ANNOTATION = 'spark-failures.io/run-at';

const clusterPollMs = 500;
/** Between looks at whether what was left in force has been healed. */
const healPollMs = 1_000;

export interface ScheduleReconcilerDeps {
  readonly status: StatusStore<ScheduleStatus>;
  readonly runs: ActiveRuns;
  /** Whether the cluster of that name is Ready, in its newest generation. */
  readonly isClusterReady: (cluster: string) => Promise<boolean>;
  /** Whether the cluster of that name is there still, or being taken down. */
  readonly isClusterKnown: (cluster: string) => boolean;
  readonly acting: Pick<Acting, 'hindrance' | 'beginRun' | 'forgetRun'>;
  readonly runSchedule: RunSchedule;
  readonly metrics: Pick<TrialMetrics, 'scheduleFaults' | 'threshold'>;
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
  /** Keys of the runs that this process began: one that ended without closing its books would do so again. */
  readonly #begun = new Set<string>();
  /** Keys of the runs that other operators were told of: one that could not be begun yet is ours all the same. */
  readonly #told = new Set<string>();

  constructor(deps: ScheduleReconcilerDeps) {
    this.#deps = deps;
  }

  async reconcile(resource: StoredResource, signal: AbortSignal): Promise<ReconcileResult> {
    const { runs } = this.#deps;
    const active = runs.generationOf(resource.key);
    if (active !== undefined) {
      // What is aborted heals first; when it has settled, its key comes back.
      if (resource.deleting) runs.abort(resource.key, 'the schedule was removed');
      else if (active !== resource.generation) runs.abort(resource.key, 'the schedule was edited');
      else if (hasLostCluster(resource)) runs.abort(resource.key, 'its cluster was removed');
      return {};
    }
    try {
      if (resource.deleting) return await this.#forget(resource, signal);
      return await this.#advance(resource, signal);
    } catch (error) {
      if (error instanceof StateError) await this.#tellState(resource, error);
      throw error;
    }
  }

  /** Nothing is begun that could not be remembered. */
  async #tellState(resource: StoredResource, error: StateError): Promise<void> {
    if (error.code === 'STATE_UNREADABLE') return; // what is told would take its place
    const { status, clock } = this.#deps;
    const before = await this.#read(resource);
    const told = withConditions(before, resource.generation, [stateUnusable(error)], clock.now());
    if (JSON.stringify(told) === JSON.stringify(before)) return;
    await (isStateFull(error) ? status.tellFull(resource.name, told) : status.write(resource.name, told));
  }

  /** Not before what it left in force is healed, or gone with its cluster: it would be out of sight. */
  async #forget(resource: StoredResource, signal: AbortSignal): Promise<ReconcileResult> {
    const { name, generation, resource: schedule } = resource;
    const { runsOf, isClusterKnown, acting, clock } = this.#deps;
    const open = (await runsOf(name)).filter(
      ({ outcome, cluster }) => outcome === undefined && isClusterKnown(cluster),
    );
    if (open.length > 0) {
      const targets = open.flatMap(({ steps }) => steps.map(({ target }) => target));
      await this.#save(
        name,
        withConditions(await this.#read(resource), generation, healing(targets), clock.now()),
      );
      return { requeueAfterMs: healPollMs };
    }
    if (schedule?.kind === 'FaultSchedule')
      await acting.forgetRun(schedule.spec.clusterRef.name, name, signal);
    await this.#deps.status.remove(name);
    this.#deps.metrics.scheduleFaults(name, []);
    return { finalized: true };
  }

  /** What was begun is ended first. */
  async #advance(resource: StoredResource, signal: AbortSignal): Promise<ReconcileResult> {
    const { metrics, runsOf, clock } = this.#deps;
    const { name, generation, problems, resource: schedule } = resource;
    const saved = await this.#read(resource);
    const usable = { ...saved, conditions: withoutStateTrouble(saved.conditions) };
    const sourced = withSource(usable, resource, clock.now());
    const before = withConditions(sourced, generation, [acceptance(resource)], clock.now());
    if (schedule?.kind !== 'FaultSchedule') {
      if (problems.length > 0) await this.#save(name, before); // else it is known from its status only
      return {};
    }
    const trials = faultGroups(schedule.spec).map((group) => group.name);
    const faults = schedule.spec.faults.map((fault) => fault.name);
    const controls = measurementPlan(schedule.spec).controls > 0 ? [CONTROL] : [];
    metrics.scheduleFaults(name, [...new Set([...trials, ...faults, ...controls])]);
    if (before.calibration) metrics.threshold(name, before.calibration.thetaMs / 1000);
    const hasRun = isRunOf(before.runKey, resource, schedule);
    if (hasRun && isClosed(before)) return this.#rest(resource, before);
    const journal = await runsOf(name);
    const open = journal.filter(({ outcome }) => outcome === undefined);
    if (open.length > 0) {
      const targets = open.flatMap(({ steps }) => steps.map(({ target }) => target));
      await this.#save(name, withConditions(before, generation, healing(targets), clock.now()));
      return { requeueAfterMs: healPollMs };
    }
    const healed = { ...before, conditions: removeCondition(before.conditions, 'Stalled') };
    if (!hasRun) return this.#begin(resource, schedule, healed, signal);
    const told = recordInterrupted(healed, journal, resource, schedule);
    const goesOn = !this.#begun.has(healed.runKey ?? '') && hasTrialsLeft(told, schedule);
    if (goesOn) return this.#begin(resource, schedule, told, signal);
    await this.#save(name, closeInterrupted(told, generation, clock.now()));
    return {};
  }

  /** Starts the run, or what is left of it, as soon as that may be. */
  async #begin(
    resource: StoredResource,
    schedule: FaultSchedule,
    before: ScheduleStatus,
    signal: AbortSignal,
  ): Promise<ReconcileResult> {
    const { isClusterReady, acting, clock } = this.#deps;
    const { name, generation, specHash = '', problems, file } = resource;
    // A fault needs a manifest that this process has read: what is remembered may have been removed meanwhile.
    if (problems.length > 0 || file === undefined) {
      await this.#save(name, before);
      return {};
    }
    const inForce = { ...before, observedGeneration: generation, specHash };
    const cluster = schedule.spec.clusterRef.name;
    const hindrance = acting.hindrance(cluster);
    if (hindrance !== undefined) {
      await this.#save(name, withConditions(inForce, generation, [leftTo(hindrance)], clock.now()));
      return { requeueAfterMs: clusterPollMs };
    }
    if (!(await isClusterReady(cluster))) {
      await this.#save(name, withConditions(inForce, generation, [waitingFor(cluster)], clock.now()));
      return { requeueAfterMs: clusterPollMs };
    }
    signal.throwIfAborted(); // removed or edited since this pass began
    if (!(await this.#isOurs(resource, schedule, before, signal))) {
      const closed = { ...inForce, runKey: runKeyOf(resource, schedule) };
      await this.#save(name, withConditions(closed, generation, runElsewhere, clock.now()));
      return {};
    }
    await this.#start(resource, schedule, inForce);
    return {};
  }

  /** A run that another operator has begun is not begun again: what came of it is in that one's state directory. */
  async #isOurs(
    resource: StoredResource,
    schedule: FaultSchedule,
    before: ScheduleStatus,
    signal: AbortSignal,
  ): Promise<boolean> {
    const runKey = runKeyOf(resource, schedule);
    if (this.#told.has(runKey) || isRunOf(before.runKey, resource, schedule)) return true;
    const { name, specHash = '' } = resource;
    const run = `${specHash}/${runAtOf(schedule)}`;
    const isNew = await this.#deps.acting.beginRun(schedule.spec.clusterRef.name, name, run, signal);
    if (isNew) this.#told.add(runKey);
    return isNew;
  }

  async #start(resource: StoredResource, schedule: FaultSchedule, before: ScheduleStatus): Promise<void> {
    const { clock, drawSeed, runs, runSchedule } = this.#deps;
    const { key, name, generation } = resource;
    const conditions = before.conditions.filter(({ type }) => type === 'Accepted' || type === 'SourceReady');
    const { calibration: _calibration, campaign: _campaign, ...uncalibrated } = before;
    const runKey = runKeyOf(resource, schedule);
    const fresh = { ...uncalibrated, runKey, seed: schedule.spec.seed ?? drawSeed(), trials: [] };
    // What a killed process left goes on with its seed, and so its order, its threshold and its trials.
    const begun = isRunOf(before.runKey, resource, schedule) ? before : fresh;
    const started = withApplied({ ...begun, conditions });
    const status = withConditions(started, generation, [running], clock.now());
    const { seed = 0 } = status;
    // On the disk before anything is hurt: after a crash the same key never injects the same trial twice.
    await this.#save(name, status);
    this.#begun.add(begun.runKey ?? runKey);
    runs.start(key, generation, (signal) =>
      runSchedule({ name, generation, schedule, seed, status }, signal),
    );
  }

  /** A run is over; what it left in force is asked for until it is healed. */
  async #rest({ name, generation }: StoredResource, before: ScheduleStatus): Promise<ReconcileResult> {
    const { runsOf, clock } = this.#deps;
    const isStalled = findCondition(before.conditions, 'Stalled') !== undefined;
    const status = isStalled ? settleStuck(before, await runsOf(name), generation, clock.now()) : before;
    await this.#save(name, status);
    return findCondition(status.conditions, 'Stalled') ? { requeueAfterMs: healPollMs } : {};
  }

  /** Throws when it is there and cannot be understood: taken for none, all that it knows of would be injected again. */
  async #read({ name, uid }: StoredResource): Promise<ScheduleStatus> {
    const { status, unreadable } = await this.#deps.status.read(name);
    if (unreadable) {
      const { path, problem } = unreadable;
      throw new StateError('STATE_UNREADABLE', path, `${problem}; nothing is begun until it is moved away`);
    }
    return status?.uid === uid ? status : { uid, observedGeneration: 0, conditions: [], trials: [] };
  }

  /** A pass that changes nothing writes nothing. */
  async #save(name: string, status: ScheduleStatus): Promise<void> {
    const { status: saved } = await this.#deps.status.read(name);
    if (JSON.stringify(status) !== JSON.stringify(saved)) await this.#deps.status.write(name, status);
  }
}

const runElsewhere = ended(
  'RunElsewhere',
  `another operator has begun it, and keeps its records; another value of ${RUN_AT_ANNOTATION} runs it again`,
);

function runAtOf({ metadata }: FaultSchedule): string {
  return metadata.annotations?.[RUN_AT_ANNOTATION] ?? '';
}

/** `now` runs once per uid, generation and value of the annotation. */
function runKeyOf({ uid, generation }: StoredResource, schedule: FaultSchedule): string {
  return `${uid}/${generation}/${runAtOf(schedule)}`;
}

/** Whether the run of that key is the one that the schedule asks for; an annotation taken away is no new value. */
export function isRunOf(
  runKey: string | undefined,
  resource: StoredResource,
  schedule: FaultSchedule,
): boolean {
  if (runKey === undefined) return false;
  const wanted = runKeyOf(resource, schedule);
  return wanted.endsWith('/') ? runKey.startsWith(wanted) : runKey === wanted;
}

/** Its manifest is what it was, and names a cluster that is no more. */
function hasLostCluster({ problems }: StoredResource): boolean {
  return problems.some(({ path }) => path === 'spec.clusterRef.name');
}
