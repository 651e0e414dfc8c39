import type { FaultSchedule } from '../../crds/fault-schedule.ts';
import { measurementPlan } from '../../crds/presets.ts';
import type { ScheduleStatus } from '../../crds/status.ts';
import type { TrialRecord } from '../../crds/trial-record.ts';
import type { ClockBound, Outcome, RunInstants, RunRecord } from '../../state-machines/contract.ts';
import type { Recovery } from '../../state-machines/recovery/analyze-recovery.ts';
import { thetaOf } from '../../state-machines/recovery/calibrate.ts';
import { gravest } from '../../state-machines/run-together.ts';
import type { Baseline, TrialResult } from '../../state-machines/run-trial.ts';
import type { Settings } from './judge-contamination.ts';
import { trialSeed } from './plan-campaign.ts';

/** What is known of a trial before it begins. */
export interface StartedTrial {
  readonly number: number;
  readonly fault: string;
  readonly kind: string;
  readonly runId: string;
  readonly seed: number;
  /** Of a manifest from Git only. */
  readonly source?: NonNullable<TrialRecord['source']>;
  /** Of a control only. */
  readonly standsFor?: string;
  /** Drawn for a measured trial. */
  readonly phaseMs?: number;
  readonly startedMs: number;
  readonly settings: Readonly<Record<string, string>>;
  /** File of the raw rows; absent when nothing is measured. */
  readonly samples: string | undefined;
}

/** How a trial ended, beside its result. */
export interface TrialEnd {
  /** The outcome when nothing was injected. */
  readonly unrun: Outcome;
  readonly nowMs: number;
  /** Why it says nothing about its fault. */
  readonly contamination?: readonly string[];
  /** Of the nodes, right before the fault. */
  readonly clocks?: readonly ClockBound[];
  /** In force right before the fault; those of the manifest when that is not known. */
  readonly settings?: Settings | undefined;
}

/** A trial as its status keeps it. One that is Invalid has instants, and no figure that could be taken for a result. */
export function toTrialRecord(
  started: StartedTrial,
  result: TrialResult,
  { unrun, nowMs, contamination = [], clocks = [], settings = started.settings }: TrialEnd,
): TrialRecord {
  const { run, recovery, plan, followed = [], problem, baseline } = result;
  const message = [run?.message, problem, recovery?.message, ...contamination].filter(Boolean).join('; ');
  const isInvalid = recovery?.verdict.recovery === 'Invalid' || contamination.length > 0;
  const { startedMs, samples, settings: _manifest, ...identity } = started;
  const steps = plan?.flatMap((each) => each.steps) ?? [];
  const checkpointHit = [...new Set(plan?.flatMap((each) => each.checkpointHit ?? []))];
  return {
    ...identity,
    targets: [...new Set([...steps.map(({ target }) => target), ...followed])],
    outcome: run?.outcome ?? unrun,
    startedAt: new Date(startedMs).toISOString(),
    finishedAt: new Date(nowMs).toISOString(),
    instants: recovery?.instants ?? injected(run?.instants),
    figures: {
      ...(!isInvalid && recovery?.figures),
      ...(steps.length > 1 && skewOf(run?.instants)),
    },
    ...(baseline && { calibratedMs: baseline.calibration.durationMs }),
    ...(recovery && {
      thetaMs: recovery.thetaMs,
      verdict: isInvalid ? { ...recovery.verdict, recovery: 'Invalid' as const } : recovery.verdict,
      redundancy: recovery.redundancy,
      ...(recovery.rowsOffsetMs !== undefined && { rowsOffsetMs: recovery.rowsOffsetMs }),
      correctness: { ...recovery.correctness },
      ...(!isInvalid && judged(recovery)),
    }),
    ...(!recovery &&
      problem !== undefined && {
        verdict: { recovery: 'Invalid' as const, correctness: 'Unknown' as const },
      }),
    ...(clocks.length > 0 && { clocks: [...clocks] }),
    ...(checkpointHit.length > 0 && { checkpointHit }),
    settings: { ...settings },
    ...(samples !== undefined && { samples }),
    ...(message !== '' && { message }),
  };
}

/** What of a recovery is a result. */
function judged(recovery: Recovery): Partial<TrialRecord> {
  const { recoveryBand, noticed, excursions, afterHeal, smallestStallMs } = recovery;
  return {
    ...(noticed.length > 0 && { noticed: [...noticed] }),
    recoveryBand: [...recoveryBand],
    excursions,
    ...(afterHeal && { afterHeal }),
    ...(smallestStallMs !== undefined && { smallestStallMs }),
  };
}

/** What remains of a trial that the process did not live to record: what the journal says of its runs. */
export function interruptedTrial(
  runId: string,
  runs: readonly RunRecord[],
  { seed = 0 }: ScheduleStatus,
  { spec }: FaultSchedule,
  position: number,
): TrialRecord {
  const number = Number(/-(\d+)-[0-9a-f]+$/.exec(runId)?.[1] ?? position);
  const joined = (of: (run: RunRecord) => string) => runs.map(of).join('+');
  return {
    ...{ number, runId, seed: trialSeed(seed, number) },
    ...{ fault: joined(({ fault }) => fault), kind: joined(({ kind }) => kind) },
    targets: [...new Set(runs.flatMap(({ steps }) => steps.map(({ target }) => target)))],
    outcome: gravest(runs.map(({ outcome = 'Stuck' }) => outcome)) ?? 'Stuck',
    startedAt: new Date(Math.min(...runs.map(({ atMs }) => atMs))).toISOString(),
    instants: {},
    figures: {},
    ...(spec.preset !== 'none' && {
      verdict: { recovery: 'Invalid' as const, correctness: 'Unknown' as const },
    }),
    message: 'the trial was cut off',
  };
}

/** Of several targets: how long after the first the last one was in effect. */
function skewOf({ effMs, firstEffMs, effResolutionMs = 0 }: RunInstants = {}): TrialRecord['figures'] {
  if (effMs === undefined || firstEffMs === undefined) return {};
  return { skew: { ms: effMs - firstEffMs, errorMs: effResolutionMs } };
}

/** The instants of a run whose recovery was not measured. */
function injected(instants: RunInstants = {}): TrialRecord['instants'] {
  const { cmdMs, effMs, effResolutionMs = 0, endMs, endResolutionMs = 0 } = instants;
  return {
    ...(cmdMs !== undefined && { cmd: { atMs: cmdMs, source: 'controller', resolutionMs: 0 } }),
    ...(effMs !== undefined && { eff: { atMs: effMs, source: 'check', resolutionMs: effResolutionMs } }),
    ...(endMs !== undefined && { end: { atMs: endMs, source: 'check', resolutionMs: endResolutionMs } }),
  };
}

/** What a campaign is, in numbers, for whoever reads its results without its manifest. */
export function toCampaignStatus(
  spec: FaultSchedule['spec'],
  planned: number,
): NonNullable<ScheduleStatus['campaign']> {
  const { preset, reset } = spec;
  return { preset, planned, ...measurementPlan(spec), reset };
}

/** The threshold of a campaign as the status keeps it. */
export function toCalibrationStatus(
  { calibration, spares }: Baseline,
  triggerMs: number,
): NonNullable<ScheduleStatus['calibration']> {
  const { p99Ms, leastMs, commitGapMs, progressGapMs, durationMs, maxima = [] } = calibration;
  return {
    thetaMs: thetaOf(calibration, triggerMs),
    ...{ p99Ms, leastMs, commitGapMs, progressGapMs, durationMs },
    ...(maxima.length > 0 && { maxima: [...maxima] }),
    ...(spares && { spares }),
  };
}

/** The way back: what the trials of a campaign are judged by once it goes on in another process. */
export function toBaseline(saved: ScheduleStatus['calibration']): Baseline | undefined {
  if (!saved) return undefined;
  const { thetaMs: _theta, spares, ...calibration } = saved;
  return { calibration, ...(spares && { spares }) };
}
