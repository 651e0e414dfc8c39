import { randomBytes } from 'node:crypto';
import { type FaultGroup, type FaultSchedule, faultGroups, faultOf } from '../../crds/fault-schedule.ts';
import { formatDuration } from '../../crds/parse-duration.ts';
import { measurementPlan } from '../../crds/presets.ts';
import type { ScheduleStatus } from '../../crds/status.ts';
import type { TrialRecord } from '../../crds/trial-record.ts';
import { messageOf } from '../../provisioners/contract.ts';
import { type FaultKind, RefusedError, type RunJournal } from '../../state-machines/contract.ts';
import type { Calibration } from '../../state-machines/recovery/calibrate.ts';
import type { Sample } from '../../state-machines/recovery/sample.ts';
import { runTrial, type Trial, type TrialPorts, type TrialResult } from '../../state-machines/run-trial.ts';
import type { TrialMetrics, WorkloadMetrics } from '../metrics.ts';
import { PATH_CHECKPOINT } from '../stack/checkpoint.ts';
import type { StatusStore } from '../status/status-store.ts';
import type { SampleFile } from '../workload/sample-file.ts';
import type { ClusterAccess } from './cluster-access.ts';
import { ownerOf, type Planning, planningsOf, planRuns, planSuccessor } from './plan-run.ts';
import { ended, notHealed, withConditions } from './schedule-conditions.ts';
import { progressTeller, stateTeller } from './tell-run.ts';
import { type StartedTrial, toCalibrationStatus, toTrialRecord, trialSeed } from './to-trial-record.ts';

export interface RunScheduleDeps extends Pick<TrialPorts, 'clock' | 'scripts'> {
  readonly kinds: Readonly<Record<string, FaultKind>>;
  readonly cluster: (name: string) => ClusterAccess;
  readonly journal: RunJournal;
  readonly status: StatusStore<ScheduleStatus>;
  readonly metrics: TrialMetrics;
  readonly workloadMetrics: Pick<WorkloadMetrics, 'sample' | 'silent' | 'clockBound'>;
  /** Keeps a trial's raw rows; gives the file's path below the state directory. */
  readonly openSamples: (runId: string) => SampleFile;
  /** One line for people: what goes on, what is awaited. */
  readonly progress: (schedule: string, line: string) => void;
}

/** One activation of a schedule: its status so far says that it runs, with this seed. */
export interface ScheduledRun {
  readonly name: string;
  readonly generation: number;
  readonly schedule: FaultSchedule;
  readonly seed: number;
  readonly status: ScheduleStatus;
}

/** Runs all trials of a schedule and closes its status; aborting heals first. Rejects only when status cannot be kept. */
export type RunSchedule = (run: ScheduledRun, signal: AbortSignal) => Promise<void>;

/** Binds the runs of schedules to the world that they act in. */
export function scheduleRunner(deps: RunScheduleDeps): RunSchedule {
  return async (run, signal) => {
    const { spec } = run.schedule;
    const cluster = deps.cluster(spec.clusterRef.name);
    const { trials, gapMs } = measurementPlan(spec);
    if (spec.preset !== 'none' && spec.preset !== 'smoke' && cluster.checkpoint === 'path')
      deps.progress(run.name, `checkpoint: ${PATH_CHECKPOINT}, measure with checkpoint: { hdfs: {} }`);
    let { status } = run;
    let calibration: Calibration | undefined;
    const refused = await foreseeRefusals(run, cluster, deps, signal);
    status = { ...status, trials: refused };
    for (const record of refused) count(run, record, deps);
    const plan =
      refused.length > 0 ? [] : Array.from({ length: Math.max(1, trials) }, () => faultGroups(spec)).flat();
    for (const [index, group] of plan.entries()) {
      const isTouched = status.trials.some(({ outcome }) => outcome !== 'Refused');
      if (isTouched) await keepQuiet(gapMs, run, deps, signal);
      if (signal.aborted) break;
      const trial = { run, group, cluster, number: index + 1, calibration };
      const { record, result } = await runOne(trial, deps, signal);
      calibration = result.calibration ?? calibration;
      count(run, record, deps);
      status = {
        ...status,
        trials: [...status.trials, record],
        ...(calibration && { calibration: toCalibrationStatus(calibration, cluster.triggerMs) }),
      };
      await deps.status.write(run.name, status);
      if (record.outcome === 'Stuck') break; // one fault that nobody can heal is enough
    }
    await deps.status.write(run.name, closed(run, status, signal, deps.clock.now()));
  };
}

/**
 * The trials that would be refused as things are now: each is planned once before the first is injected, so that
 * a schedule is refused as a whole, with all reasons at once, and touches no node. What cannot be told is no refusal.
 */
async function foreseeRefusals(
  run: ScheduledRun,
  cluster: ClusterAccess,
  deps: RunScheduleDeps,
  signal: AbortSignal,
): Promise<TrialRecord[]> {
  const planned = faultGroups(run.schedule.spec).map(async (group, index) => {
    const one = { run, group, cluster, number: index + 1, calibration: undefined };
    const started = { ...identify(one, deps), samples: undefined };
    try {
      await planRuns(planTrial(one, started, deps), signal);
      return [];
    } catch (error) {
      if (!(error instanceof RefusedError)) return [];
      return [toTrialRecord(started, { problem: error.message }, 'Refused', deps.clock.now())];
    }
  });
  return (await Promise.all(planned)).flat();
}

function count({ name, schedule }: ScheduledRun, record: TrialRecord, { metrics }: RunScheduleDeps): void {
  metrics.runEnded(record.fault, record.outcome);
  if (schedule.spec.preset !== 'none') metrics.trialEnded(name, record);
}

/** The quiet gap between two trials; ends early when the run is to end. */
async function keepQuiet(
  gapMs: number,
  run: ScheduledRun,
  { clock, progress }: RunScheduleDeps,
  signal: AbortSignal,
): Promise<void> {
  if (gapMs === 0 || signal.aborted) return;
  progress(run.name, `quiet for ${formatDuration(gapMs)} before the next trial`);
  await clock.sleep(gapMs, signal).catch(() => undefined); // whoever aborted is asked next
}

interface OneTrial {
  readonly run: ScheduledRun;
  readonly group: FaultGroup;
  readonly cluster: ClusterAccess;
  readonly number: number;
  readonly calibration: Calibration | undefined;
}

async function runOne(
  one: OneTrial,
  deps: RunScheduleDeps,
  signal: AbortSignal,
): Promise<{ readonly record: TrialRecord; readonly result: TrialResult }> {
  const { run, cluster, number } = one;
  const { clock, scripts, journal } = deps;
  const identity = identify(one, deps);
  const samples = run.schedule.spec.preset === 'none' ? undefined : deps.openSamples(identity.runId);
  const started = { ...identity, samples: samples?.path };
  const { nodes, power, claims, workload } = cluster;
  const ports: TrialPorts = {
    ...{ clock, scripts, journal, nodes, claims },
    ...(power && { power }),
    workload: {
      samples: (from) => workload.samples(from),
      async clockBound(within) {
        const bound = await workload.clockBound(within);
        deps.workloadMetrics.clockBound(bound.node, bound.boundMs / 1000);
        return bound;
      },
    },
    onState: stateTeller(run.name, deps),
    onProgress: progressTeller(run.name, number, deps),
    ...(samples && {
      onSample(sample: Sample) {
        samples.write(sample);
        deps.workloadMetrics.sample(sample);
      },
    }),
  };
  const plannings = planTrial(one, started, deps);
  const successor: TrialPorts['successor'] = async (run, step, within) =>
    planSuccessor(plannings.find(({ runId }) => runId === run.runId)!, run, step, within);
  try {
    const trial = toTrial(one, started, plannings);
    const result = await runTrial(trial, { ...ports, successor }, signal);
    const unrun = signal.aborted ? 'Aborted' : 'Refused';
    return { record: toTrialRecord(started, result, unrun, clock.now()), result };
  } finally {
    deps.workloadMetrics.silent();
    await samples?.close();
  }
}

/** What a trial is called, and what governs it. */
function identify({ run, group, cluster, number }: OneTrial, { clock }: RunScheduleDeps) {
  const runId = `${run.name}-${run.generation}-${group.name}-${number}-${randomBytes(3).toString('hex')}`;
  return {
    ...{ number, fault: group.name, runId, seed: trialSeed(run.seed, number) },
    kind: group.faults.map((fault) => faultOf(fault).kind).join('+'),
    ...{ startedMs: clock.now(), settings: cluster.settings },
  };
}

function planTrial(
  { run: { schedule }, group, cluster }: OneTrial,
  { runId, seed }: Pick<StartedTrial, 'runId' | 'seed'>,
  { kinds, scripts }: RunScheduleDeps,
): readonly Planning[] {
  return planningsOf({ schedule, group, cluster, kinds, scripts, runId, seed });
}

function toTrial(
  { run: { schedule }, cluster, calibration }: OneTrial,
  { runId }: Pick<StartedTrial, 'runId'>,
  plannings: readonly Planning[],
): Trial {
  const deaths = plannings.map(({ faultKind }) => faultKind.death);
  const death = (['silence', 'slowness'] as const).find((one) => deaths.includes(one)) ?? 'crash';
  return {
    ...{ owner: ownerOf(schedule), runId, kind: { death } },
    plan: (signal) => planRuns(plannings, signal),
    ...(schedule.spec.preset !== 'none' && {
      measure: { ...measurementPlan(schedule.spec), triggerMs: cluster.triggerMs },
    }),
    ...(calibration && { calibration }),
  };
}

/** The last word on a run: what is left in force outweighs how far it came. */
function closed(
  { generation }: ScheduledRun,
  status: ScheduleStatus,
  signal: AbortSignal,
  nowMs: number,
): ScheduleStatus {
  const { trials } = status;
  const left = trials.filter(({ outcome }) => outcome === 'Stuck').flatMap(({ targets }) => targets);
  const isAborted = signal.aborted || trials.some(({ outcome }) => outcome === 'Aborted');
  const isRefused = trials.length > 0 && trials.every(({ outcome }) => outcome === 'Refused');
  const reason = isAborted ? 'Aborted' : isRefused ? 'Refused' : 'Finished';
  const refusals = new Set(trials.map(({ fault, message }) => `${fault}: ${message}`));
  const told = isRefused ? [...refusals].join('; ') : trials.at(-1)?.message;
  const message = signal.aborted ? messageOf(signal.reason) : (told ?? `${trials.length} trials ended`);
  const statements = [...ended(reason, message), ...(left.length > 0 ? [notHealed(left)] : [])];
  return withConditions(status, generation, statements, nowMs);
}
