import type { Figure, Instant, TrialRecord, TrialVerdict } from '../../crds/trial-record.ts';
import { bandFactors, thetaOf } from './calibrate.ts';
import { judgeCorrectness } from './correctness.ts';
import { judgeRedundancy, type Redundancy } from './redundancy.ts';
import { type Interval, longestRowGap } from './signal.ts';
import { sourceProblems } from './sources.ts';
import { layOut, type Observation, type Timeline } from './timeline.ts';

/** The judged part of a trial's record. */
export type Recovery = Required<
  Pick<TrialRecord, 'instants' | 'figures' | 'recoveryBand' | 'thetaMs' | 'excursions'>
> &
  Pick<TrialRecord, 'smallestStallMs' | 'message'> & {
    readonly verdict: TrialVerdict;
    readonly correctness: Readonly<Record<string, number>>;
    readonly redundancy: Redundancy['state'];
    /** For a fault with a hold: recovery counted from `t_end`, and the time in violation before it. */
    readonly afterHeal?: { readonly recovery?: Figure; readonly violatedInHoldMs: number };
  };

/** Rows further apart than this leave a hole in which anything can have happened. */
const blindMs = 5_000;

/**
 * Judges one trial from its rows, as MEASUREMENT.md defines. All times are compared on the observer's clock and
 * reported on the controller's.
 * - TTR = end of the last violation - t_eff; a violation is F_visible > theta for longer than one p99 commit gap.
 * - Stall = sum over the visible frontier's standstills that reach into [t_eff, t_rec] of max(0, length - p99 of the
 *   calibrated ones).
 * - t_first = end of the longest standstill there, if it is longer than that p99; catch-up = t_rec - t_first.
 * - Error bound = longest gap between rows + resolution of t_eff + p99 commit gap + clock bound.
 * - Smallest stall sure to be seen = theta - least F_visible + p99 commit gap.
 */
export function analyzeRecovery(observation: Observation): Recovery {
  const timeline = layOut(observation);
  const { calibration, triggerMs, rows } = observation;
  const watched = rows.filter(({ atMs }) => atMs <= timeline.stopMs);
  const redundancy = judgeRedundancy(rows, timeline.orderedMs);
  const before = watched.filter(({ atMs }) => atMs <= timeline.effMs).at(-1);
  const correctness = judgeCorrectness(before, watched.at(-1));
  const invalid = invalidity(observation, timeline);
  const masked = timeline.crossings.violations.length === 0;
  const thetaMs = thetaOf(calibration, triggerMs);
  const measured = measure(observation, timeline, redundancy);
  return {
    instants: instantsOf(observation, measured),
    ...figuresOf(observation, measured),
    thetaMs,
    excursions: timeline.crossings.excursions.length,
    recoveryBand: bandFactors.map((factor) => {
      const { recMs, effMs } = layOut(observation, factor);
      return { factor, ...(recMs !== undefined && { ms: recMs - effMs }) };
    }),
    verdict: {
      recovery: invalid ? 'Invalid' : recoveryVerdict(timeline, redundancy.state),
      correctness: correctness.verdict,
    },
    correctness: correctness.counts,
    redundancy: redundancy.state,
    ...(masked && { smallestStallMs: thetaMs - calibration.leastMs + calibration.commitGapMs }),
    ...(invalid && { message: invalid }),
  };
}

function recoveryVerdict(
  { watch, crossings }: Timeline,
  redundancy: Redundancy['state'],
): TrialVerdict['recovery'] {
  if (watch.state !== 'clean') return 'NotRecovered';
  if (crossings.violations.length === 0) return 'Masked';
  return redundancy === 'kept' || redundancy === 'restored' ? 'Recovered' : 'RecoveredDegraded';
}

/** Why the rows bear no verdict, if so. */
function invalidity(
  { rows }: Observation,
  { watch, crossings, orderedMs, effMs, stopMs }: Timeline,
): string | undefined {
  const before = rows.findLast(({ atMs }) => atMs <= orderedMs);
  const [broken] = sourceProblems(
    rows.filter(({ atMs }) => atMs >= (before?.atMs ?? orderedMs) && atMs <= stopMs),
  );
  if (broken !== undefined) return broken;
  if (crossings.violations.some(({ fromMs }) => fromMs <= effMs)) {
    return 'results were late already when the fault took effect';
  }
  if (watch.state === 'watching') return 'the watch ended before recovery could be judged';
  const around = rows.filter(({ atMs }) => atMs >= effMs - blindMs && atMs <= stopMs);
  const holeMs = longestRowGap(around);
  return holeMs > blindMs ? `the observer gave no rows for ${holeMs / 1000} s` : undefined;
}

/** What instants and figures are made from, on the observer's clock. */
interface Measured extends Timeline {
  readonly redundancy: Redundancy;
  readonly stallMs: number;
  readonly firstMs: number | undefined;
  /** Longest gap between rows while it was watched. */
  readonly samplingMs: number;
}

function measure({ rows, calibration }: Observation, timeline: Timeline, redundancy: Redundancy): Measured {
  const { standstills, crossings, effMs, stopMs } = timeline;
  const normalMs = calibration.progressGapMs;
  return {
    ...timeline,
    redundancy,
    stallMs: standstills.reduce((sum, gap) => sum + Math.max(0, lengthOf(gap) - normalMs), 0),
    firstMs: crossings.violations.length > 0 ? firstOutput(standstills, normalMs, stopMs) : undefined,
    samplingMs: longestRowGap(rows.filter(({ atMs }) => atMs >= effMs && atMs <= stopMs)),
  };
}

/** Back on the controller's clock, each with who says so and how sharply. */
function instantsOf({ instants, clock }: Observation, measured: Measured): Recovery['instants'] {
  const { cmdMs, effMs, effResolutionMs = 0, endMs, endResolutionMs = 0 } = instants;
  const { detectedMs, detectedResolutionMs = 0, restoredMs, restoredResolutionMs = 0 } = measured.redundancy;
  const { firstMs, recMs, samplingMs } = measured;
  const seen = (atMs: number, source: string, resolutionMs: number): Instant => ({
    atMs: atMs - clock.offsetMs,
    source,
    resolutionMs,
  });
  return {
    ...(cmdMs !== undefined && { cmd: { atMs: cmdMs, source: 'controller', resolutionMs: 0 } }),
    eff: { atMs: effMs, source: 'check', resolutionMs: effResolutionMs },
    ...(endMs !== undefined && { end: { atMs: endMs, source: 'check', resolutionMs: endResolutionMs } }),
    ...(detectedMs !== undefined && { det: seen(detectedMs, 'spark-master', detectedResolutionMs) }),
    ...(firstMs !== undefined && { first: seen(firstMs, 'samples', samplingMs) }),
    ...(recMs !== undefined && { rec: seen(recMs, 'samples', samplingMs) }),
    ...(restoredMs !== undefined && { red: seen(restoredMs, 'spark-master', restoredResolutionMs) }),
  };
}

function figuresOf(
  { instants, calibration, clock }: Observation,
  measured: Measured,
): Pick<Recovery, 'figures' | 'afterHeal'> {
  const { effMs, endMs, recMs, firstMs, stallMs, samplingMs, crossings } = measured;
  const { detectedMs, detectedResolutionMs = 0, restoredMs, restoredResolutionMs = 0 } = measured.redundancy;
  const effErrorMs = (instants.effResolutionMs ?? 0) + clock.boundMs;
  const errorMs = samplingMs + effErrorMs + calibration.commitGapMs;
  const figure = (ms: number): Figure => ({ ms, errorMs });
  const asked = (ms: number, resolutionMs: number): Figure => ({ ms, errorMs: resolutionMs + effErrorMs });
  return {
    figures: {
      stall: figure(stallMs),
      ...(detectedMs !== undefined && {
        detection: asked(Math.max(0, detectedMs - effMs), detectedResolutionMs),
      }),
      ...(recMs !== undefined && { recovery: figure(recMs - effMs) }),
      ...(firstMs !== undefined && { firstOutput: figure(firstMs - effMs) }),
      ...(firstMs !== undefined && recMs !== undefined && { catchUp: figure(Math.max(0, recMs - firstMs)) }),
      ...(restoredMs !== undefined && { redundancy: asked(restoredMs - effMs, restoredResolutionMs) }),
    },
    ...(endMs !== undefined && {
      afterHeal: {
        ...(recMs !== undefined && { recovery: figure(Math.max(0, recMs - endMs)) }),
        violatedInHoldMs: overlap(crossings.violations, { fromMs: effMs, toMs: endMs }),
      },
    }),
  };
}

/** Time that the parts spend inside the whole. */
function overlap(parts: readonly Interval[], { fromMs, toMs }: Interval): number {
  const inside = parts.map((part) => Math.min(part.toMs, toMs) - Math.max(part.fromMs, fromMs));
  return inside.reduce((sum, ms) => sum + Math.max(0, ms), 0);
}

/** End of the longest standstill, when it was one and has ended. */
function firstOutput(standstills: readonly Interval[], normalMs: number, stopMs: number): number | undefined {
  const longest = [...standstills].sort((a, b) => lengthOf(b) - lengthOf(a))[0];
  return longest && lengthOf(longest) > normalMs && longest.toMs < stopMs ? longest.toMs : undefined;
}

function lengthOf({ fromMs, toMs }: Interval): number {
  return toMs - fromMs;
}
