import { randomBytes } from 'node:crypto';
import { type FaultEntry, type FaultSchedule, faultOf } from '../../crds/fault-schedule.ts';
import { measurementPlan } from '../../crds/presets.ts';
import type { ScheduleStatus } from '../../crds/status.ts';
import type { TrialRecord } from '../../crds/trial-record.ts';
import type { FaultKind, RunJournal } from '../../state-machines/contract.ts';
import type { Calibration } from '../../state-machines/recovery/calibrate.ts';
import type { Sample } from '../../state-machines/recovery/sample.ts';
import { runTrial, type Trial, type TrialPorts, type TrialResult } from '../../state-machines/run-trial.ts';
import { seededRandom } from '../../state-machines/seeded-random.ts';
import type { TrialMetrics, WorkloadMetrics } from '../metrics.ts';
import type { StatusStore } from '../status/status-store.ts';
import type { SampleFile } from '../workload/sample-file.ts';
import type { ClusterAccess } from './cluster-access.ts';
import { planRun } from './plan-run.ts';
import { ended, notHealed, withConditions } from './schedule-conditions.ts';
import { progressTeller, stateTeller } from './tell-run.ts';
import { toCalibrationStatus, toTrialRecord, trialSeed } from './to-trial-record.ts';

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
    const trials = Math.max(1, measurementPlan(spec).trials);
    let { status } = run;
    let calibration: Calibration | undefined;
    const plan = Array.from({ length: trials }, () => spec.faults).flat();
    for (const [index, fault] of plan.entries()) {
      if (signal.aborted) break;
      const trial = { run, fault, cluster, number: index + 1, calibration };
      const { record, result } = await runOne(trial, deps, signal);
      calibration = result.calibration ?? calibration;
      deps.metrics.runEnded(fault.name, record.outcome);
      if (spec.preset !== 'none') deps.metrics.trialEnded(run.name, record);
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

interface OneTrial {
  readonly run: ScheduledRun;
  readonly fault: FaultEntry;
  readonly cluster: ClusterAccess;
  readonly number: number;
  readonly calibration: Calibration | undefined;
}

async function runOne(
  one: OneTrial,
  deps: RunScheduleDeps,
  signal: AbortSignal,
): Promise<{ readonly record: TrialRecord; readonly result: TrialResult }> {
  const { run, fault, cluster, number } = one;
  const { clock, scripts, journal } = deps;
  const runId = `${run.name}-${run.generation}-${fault.name}-${number}-${randomBytes(3).toString('hex')}`;
  const samples = run.schedule.spec.preset === 'none' ? undefined : deps.openSamples(runId);
  const started = {
    ...{ number, fault: fault.name, kind: faultOf(fault).kind, runId, seed: trialSeed(run.seed, number) },
    ...{ startedMs: clock.now(), settings: cluster.settings, samples: samples?.path },
  };
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
  try {
    const result = await runTrial(toTrial(one, started, deps), ports, signal);
    const unrun = signal.aborted ? 'Aborted' : 'Refused';
    return { record: toTrialRecord(started, result, unrun, clock.now()), result };
  } finally {
    deps.workloadMetrics.silent();
    await samples?.close();
  }
}

function toTrial(
  { run, fault, cluster, calibration }: OneTrial,
  { runId, seed, kind }: { readonly runId: string; readonly seed: number; readonly kind: string },
  { kinds }: RunScheduleDeps,
): Trial {
  const { schedule } = run;
  const faultKind = kinds[kind]!; // the schema admits no other
  const { params } = faultOf(fault);
  const random = seededRandom(seed);
  return {
    owner: `FaultSchedule/${run.name}`,
    kind: faultKind,
    plan: (signal) => planRun({ schedule, fault, cluster, runId, faultKind, params, random }, signal),
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
  const message = signal.aborted
    ? messageOf(signal.reason)
    : (trials.at(-1)?.message ?? `${trials.length} trials ended`);
  const statements = [...ended(reason, message), ...(left.length > 0 ? [notHealed(left)] : [])];
  return withConditions(status, generation, statements, nowMs);
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
