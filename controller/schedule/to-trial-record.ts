import type { FaultSchedule } from '../../crds/fault-schedule.ts';
import type { ScheduleStatus } from '../../crds/status.ts';
import type { TrialRecord } from '../../crds/trial-record.ts';
import type { Outcome, RunInstants, RunRecord } from '../../state-machines/contract.ts';
import { type Calibration, thetaOf } from '../../state-machines/recovery/calibrate.ts';
import { gravest } from '../../state-machines/run-together.ts';
import type { TrialResult } from '../../state-machines/run-trial.ts';

/** What is known of a trial before it begins. */
export interface StartedTrial {
  readonly number: number;
  readonly fault: string;
  readonly kind: string;
  readonly runId: string;
  readonly seed: number;
  readonly startedMs: number;
  readonly settings: Readonly<Record<string, string>>;
  /** File of the raw rows; absent when nothing is measured. */
  readonly samples: string | undefined;
}

/** A trial as its status keeps it; `unrun` is the outcome when nothing was injected. */
export function toTrialRecord(
  started: StartedTrial,
  result: TrialResult,
  unrun: Outcome,
  nowMs: number,
): TrialRecord {
  const { run, recovery, plan, followed = [], problem } = result;
  const message = [run?.message, problem, recovery?.message].filter(Boolean).join('; ');
  const { startedMs, samples, settings, ...identity } = started;
  const steps = plan?.flatMap((each) => each.steps) ?? [];
  const checkpointHit = [...new Set(plan?.flatMap((each) => each.checkpointHit ?? []))];
  return {
    ...identity,
    targets: [...new Set([...steps.map(({ target }) => target), ...followed])],
    outcome: run?.outcome ?? unrun,
    startedAt: new Date(startedMs).toISOString(),
    finishedAt: new Date(nowMs).toISOString(),
    instants: recovery?.instants ?? injected(run?.instants),
    figures: { ...recovery?.figures, ...(steps.length > 1 && skewOf(run?.instants)) },
    ...(recovery && {
      recoveryBand: [...recovery.recoveryBand],
      thetaMs: recovery.thetaMs,
      excursions: recovery.excursions,
      verdict: recovery.verdict,
      redundancy: recovery.redundancy,
      ...(recovery.afterHeal && { afterHeal: recovery.afterHeal }),
      correctness: { ...recovery.correctness },
      ...(recovery.smallestStallMs !== undefined && { smallestStallMs: recovery.smallestStallMs }),
    }),
    ...(!recovery &&
      problem !== undefined && {
        verdict: { recovery: 'Invalid' as const, correctness: 'Unknown' as const },
      }),
    ...(checkpointHit.length > 0 && { checkpointHit }),
    settings: { ...settings },
    ...(samples !== undefined && { samples }),
    ...(message !== '' && { message }),
  };
}

/** What remains of a trial that the process did not live to record: what the journal says of its runs. */
export function interruptedTrial(
  runId: string,
  runs: readonly RunRecord[],
  { seed = 0 }: ScheduleStatus,
  { spec }: FaultSchedule,
  number: number,
): TrialRecord {
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

/** The seed of one trial of a schedule: each draws its own targets, and any can be repeated alone. */
export function trialSeed(seed: number, number: number): number {
  return seed + number - 1;
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

/** The threshold of a campaign as the status shows it. */
export function toCalibrationStatus(
  calibration: Calibration,
  triggerMs: number,
): NonNullable<ScheduleStatus['calibration']> {
  const { p99Ms, commitGapMs, durationMs } = calibration;
  return { thetaMs: thetaOf(calibration, triggerMs), p99Ms, commitGapMs, durationMs };
}
