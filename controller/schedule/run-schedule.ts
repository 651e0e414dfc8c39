import { randomBytes } from 'node:crypto';
import { type FaultSchedule, faultOf } from '../../crds/fault-schedule.ts';
import { formatDuration, parseDuration } from '../../crds/parse-duration.ts';
import { measurementPlan } from '../../crds/presets.ts';
import type { ScheduleStatus } from '../../crds/status.ts';
import type { TrialRecord } from '../../crds/trial-record.ts';
import { messageOf } from '../../provisioners/contract.ts';
import { type FaultKind, RefusedError, type RunJournal } from '../../state-machines/contract.ts';
import type { Sample } from '../../state-machines/recovery/sample.ts';
import {
  type Baseline,
  runTrial,
  type Trial,
  type TrialPorts,
  type TrialResult,
} from '../../state-machines/run-trial.ts';
import type { TrialMetrics } from '../metrics/trial-metrics.ts';
import type { WorkloadMetrics } from '../metrics/workload-metrics.ts';
import { PATH_CHECKPOINT } from '../stack/checkpoint.ts';
import { addEvent } from '../status/events.ts';
import type { StatusStore } from '../status/status-store.ts';
import { restartJob } from '../workload/restart-services.ts';
import type { SampleFile } from '../workload/sample-file.ts';
import type { ClusterAccess } from './cluster-access.ts';
import type { Settings } from './judge-contamination.ts';
import { type CampaignTrial, firstOfEach, phaseOf, planCampaign, titleOf } from './plan-campaign.ts';
import { ownerOf, type Planning, planningsOf, planRuns, planSuccessor } from './plan-run.ts';
import { ended, notHealed, withConditions } from './schedule-conditions.ts';
import { progressTeller, stateTeller, trialEvent } from './tell-run.ts';
import {
  type StartedTrial,
  toBaseline,
  toCalibrationStatus,
  toCampaignStatus,
  toTrialRecord,
} from './to-trial-record.ts';
import { witnessTrial } from './witness-trial.ts';

export interface RunScheduleDeps extends Pick<TrialPorts, 'clock' | 'scripts'> {
  readonly kinds: Readonly<Record<string, FaultKind>>;
  readonly cluster: (name: string) => ClusterAccess;
  readonly journal: RunJournal;
  readonly status: StatusStore<ScheduleStatus>;
  readonly metrics: TrialMetrics;
  readonly workloadMetrics: Pick<WorkloadMetrics, 'sample' | 'silent' | 'clockBound'>;
  /** Milliseconds of a clock that nobody can set, from any beginning. */
  readonly monotonicMs: () => number;
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
    const campaign = planCampaign(spec, run.seed);
    const { gapMs } = measurementPlan(spec);
    // What was begun is not refused as a whole any more.
    const isBegun = run.status.trials.length > 0;
    const refused = isBegun ? [] : await foreseeRefusals(run, campaign, deps, signal);
    const { checkpoint } = deps.cluster(spec.clusterRef.name);
    if (spec.preset !== 'none' && spec.preset !== 'smoke' && checkpoint === 'path')
      deps.progress(run.name, `checkpoint: ${PATH_CHECKPOINT}, measure with checkpoint: { hdfs: {} }`);
    for (const record of refused) count(run, record, deps);
    let status: ScheduleStatus = {
      ...run.status,
      ...(spec.preset !== 'none' && { campaign: toCampaignStatus(spec, campaign.length) }),
      trials: [...run.status.trials, ...refused],
    };
    let baseline = toBaseline(status.calibration);
    const keep = async (change: Partial<ScheduleStatus>) => {
      status = { ...status, ...change };
      await deps.status.write(run.name, status);
    };
    const ended = new Set(status.trials.map(({ number }) => number));
    const left = refused.length > 0 ? [] : campaign.filter(({ number }) => !ended.has(number));
    for (const planned of left) {
      const isTouched = status.trials.some(({ outcome }) => outcome !== 'Refused');
      const cluster = deps.cluster(spec.clusterRef.name);
      // Once all is measured: a fault may leave nodes that do not hear names any more, healthy as their tasks are.
      if (isTouched) await cluster.namesSettled(signal).catch(() => undefined); // aborted: asked below
      if (isTouched) await keepQuiet(gapMs, run, deps, signal);
      if (signal.aborted) break;
      const one: OneTrial = { run, planned, cluster, baseline, isFirst: !isTouched };
      // On the disk before the first fault: whoever goes on after a crash judges by the same threshold.
      const onCalibrated = async (measured: Baseline) => {
        const calibration = toCalibrationStatus(measured, cluster.triggerMs);
        deps.metrics.threshold(run.name, calibration.thetaMs / 1000);
        await keep({ calibration });
      };
      const { record, result } = await runOne(one, settingsOf(status), { ...deps, onCalibrated }, signal);
      baseline = result.baseline ?? baseline;
      count(run, record, deps);
      const events = addEvent(status.events ?? [], trialEvent(record), deps.clock.now());
      await keep({ trials: [...status.trials, record], events });
      if (record.outcome === 'Stuck') break; // one fault that nobody can heal is enough
      if (isHopeless(status)) break;
    }
    await deps.status.write(run.name, closed(run, status, signal, deps.clock.now()));
  };
}

/** After so many trials in a row that did not come to their instant nobody expects that the next one does. */
const hopelessTrials = 3;

function isHopeless({ campaign, trials }: ScheduleStatus): boolean {
  const last = trials.slice(-hopelessTrials);
  return (
    campaign !== undefined &&
    last.length === hopelessTrials &&
    last.every(({ outcome }) => outcome === 'Refused')
  );
}

/** What governed detection in the campaign's first trial that came to its instant. */
function settingsOf({ trials }: ScheduleStatus): Settings | undefined {
  return trials.find(({ instants }) => instants.eff)?.settings;
}

/**
 * The trials that would be refused as things are now: the first of each fault is planned before any is injected, so that
 * a schedule is refused as a whole, with all reasons at once, and touches no node. What cannot be told is no refusal.
 */
async function foreseeRefusals(
  run: ScheduledRun,
  campaign: readonly CampaignTrial[],
  deps: RunScheduleDeps,
  signal: AbortSignal,
): Promise<TrialRecord[]> {
  const cluster = deps.cluster(run.schedule.spec.clusterRef.name);
  const planned = firstOfEach(campaign).map(async (first) => {
    const one = { run, planned: first, cluster, baseline: undefined, isFirst: true };
    const started = { ...identify(one, deps), samples: undefined };
    try {
      await planRuns(planTrial(one, started, deps), signal);
      return [];
    } catch (error) {
      if (!(error instanceof RefusedError)) return [];
      const end = { unrun: 'Refused', nowMs: deps.clock.now() } as const;
      return [toTrialRecord(started, { problem: error.message }, end)];
    }
  });
  return (await Promise.all(planned)).flat();
}

function count({ name, schedule }: ScheduledRun, record: TrialRecord, { metrics }: RunScheduleDeps): void {
  if (record.standsFor === undefined) metrics.runEnded(record.fault, record.outcome);
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
  readonly planned: CampaignTrial;
  readonly cluster: ClusterAccess;
  readonly baseline: Baseline | undefined;
  /** Nothing was done before it: there is nothing to reset. */
  readonly isFirst: boolean;
}

async function runOne(
  one: OneTrial,
  campaignSettings: Settings | undefined,
  deps: RunScheduleDeps & Pick<TrialPorts, 'onCalibrated'>,
  signal: AbortSignal,
): Promise<{ readonly record: TrialRecord; readonly result: TrialResult }> {
  const { run, cluster, planned } = one;
  const { clock, scripts, journal, onCalibrated } = deps;
  const identity = identify(one, deps);
  const isMeasured = run.schedule.spec.preset !== 'none';
  const samples = isMeasured ? deps.openSamples(identity.runId) : undefined;
  const started = { ...identity, samples: samples?.path };
  const { nodes, switches, claims, workload, shortcomings, mandate } = cluster;
  const witness = witnessTrial({
    ...{ cluster, campaignSettings, owner: ownerOf(run.schedule) },
    ...{ wallMs: () => clock.now(), monotonicMs: deps.monotonicMs },
  });
  const ports: TrialPorts = {
    ...{ clock, scripts, journal, nodes, claims, shortcomings },
    ...switches,
    ...(mandate && { mandate }),
    ...(onCalibrated && { onCalibrated }),
    workload: {
      samples: (from) => workload.samples(from),
      async clockBound(within) {
        const bound = await workload.clockBound(within);
        deps.workloadMetrics.clockBound(bound.node, bound.boundMs / 1000);
        witness.heard(bound);
        return bound;
      },
    },
    onState: stateTeller(run.name, deps),
    onProgress: progressTeller(run.name, planned.number, deps),
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
  // From its first fault to the end of its watch a trial is what other trials must not be measured beside.
  let over = () => {};
  const plan = async (within: AbortSignal) => {
    if (isMeasured) await witness.look(within);
    for (const { node, boundMs } of witness.clocks()) deps.workloadMetrics.clockBound(node, boundMs / 1000);
    if (planned.isControl) return [];
    const runs = await planRuns(plannings, within);
    over = cluster.interventions.begin(
      ownerOf(run.schedule),
      `${planned.group.name} of trial ${planned.number}`,
    );
    return runs;
  };
  try {
    const trial = toTrial(one, started, plannings, deps);
    const result = await runTrial({ ...trial, plan }, { ...ports, successor }, signal);
    const contamination = result.recovery ? await witness.testify(result, signal) : [];
    const unrun = signal.aborted ? 'Aborted' : 'Refused';
    const seen = { contamination, clocks: witness.clocks(), settings: witness.settings() };
    const end = { unrun, nowMs: clock.now(), ...seen } as const;
    return { record: toTrialRecord(started, result, end), result };
  } finally {
    over();
    deps.workloadMetrics.silent();
    await samples?.close();
  }
}

/** What a trial is called, and what governs it. */
function identify({ run, planned, cluster }: OneTrial, { clock }: RunScheduleDeps) {
  const { number, group, isControl, seed } = planned;
  const fault = titleOf(planned);
  const runId = `${run.name}-${run.generation}-${fault}-${number}-${randomBytes(3).toString('hex')}`;
  const { revision, message, author } = run.status.source ?? {};
  return {
    ...{ number, fault, runId, seed },
    ...(revision !== undefined && {
      source: { revision, message: message ?? '', ...(author !== undefined && { author }) },
    }),
    kind: isControl ? 'none' : group.faults.map((each) => faultOf(each).kind).join('+'),
    ...(isControl && { standsFor: group.name }),
    ...(run.schedule.spec.preset !== 'none' && { phaseMs: phaseOf(seed, cluster.triggerMs) }),
    ...{ startedMs: clock.now(), settings: cluster.settings },
  };
}

function planTrial(
  { run: { schedule }, planned: { group }, cluster }: OneTrial,
  { runId, seed }: Pick<StartedTrial, 'runId' | 'seed'>,
  { kinds, scripts }: RunScheduleDeps,
): readonly Planning[] {
  return planningsOf({ schedule, group, cluster, kinds, scripts, runId, seed });
}

function toTrial(
  { run: { schedule }, planned: { isControl, group }, cluster, baseline, isFirst }: OneTrial,
  { runId, phaseMs }: Pick<StartedTrial, 'runId' | 'phaseMs'>,
  plannings: readonly Planning[],
  { clock }: RunScheduleDeps,
): Omit<Trial, 'plan'> {
  const { spec } = schedule;
  const owner = ownerOf(schedule);
  const deaths = plannings.map(({ faultKind }) => faultKind.death);
  const death = (['silence', 'slowness'] as const).find((one) => deaths.includes(one)) ?? 'crash';
  const through = plannings.map(({ faultKind }) => faultKind.through).find((plane) => plane !== undefined);
  const { swarm, claims, mandate, triggerMs, interventions } = cluster;
  return {
    ...{ owner, runId, kind: { death, ...(through && { through }) } },
    ...(isControl && {
      control: { holdMs: Math.max(...group.faults.map(({ hold }) => parseDuration(hold))) },
    }),
    ...(spec.preset !== 'none' && { measure: { ...measurementPlan(spec), triggerMs } }),
    ...(baseline && { baseline }),
    ...(phaseMs !== undefined && { phaseMs }),
    ...(spec.reset === 'job' &&
      !isFirst && {
        async prepare(signal) {
          const over = interventions.begin(owner, 'reset of the job');
          await restartJob({ swarm, claims, owner, clock, ...(mandate && { mandate }) }, signal).finally(
            over,
          );
        },
      }),
  };
}

/** The last word on a run: what is left in force outweighs how far it came. */
function closed(
  { generation, status: { trials: earlier } }: ScheduledRun,
  status: ScheduleStatus,
  signal: AbortSignal,
  nowMs: number,
): ScheduleStatus {
  const { trials } = status;
  const left = trials.filter(({ outcome }) => outcome === 'Stuck').flatMap(({ targets }) => targets);
  const isCutShort = trials.slice(earlier.length).some(({ outcome }) => outcome === 'Aborted');
  const isRefused = trials.length > 0 && trials.every(({ outcome }) => outcome === 'Refused');
  const isGivenUp = !isRefused && isHopeless(status);
  const isAborted = signal.aborted || isCutShort || isGivenUp;
  const reason = isAborted ? 'Aborted' : isRefused ? 'Refused' : 'Finished';
  const message = signal.aborted ? messageOf(signal.reason) : lastWords(trials, { isRefused, isGivenUp });
  const statements = [...ended(reason, message), ...(left.length > 0 ? [notHealed(left)] : [])];
  return withConditions(status, generation, statements, nowMs);
}

function lastWords(
  trials: readonly TrialRecord[],
  { isRefused, isGivenUp }: { readonly isRefused: boolean; readonly isGivenUp: boolean },
): string {
  const refusals = new Set(trials.map(({ fault, message }) => `${fault}: ${message}`));
  if (isRefused) return [...refusals].join('; ');
  const last = trials.at(-1)?.message;
  if (isGivenUp)
    return `${hopelessTrials} trials in a row did not come to their fault, the last one: ${last}`;
  if (trials.length === 1 && last !== undefined) return last;
  const invalid = trials.filter(({ verdict }) => verdict?.recovery === 'Invalid').length;
  return `${trials.length} trials ended${invalid > 0 ? `, ${invalid} of them Invalid` : ''}`;
}
