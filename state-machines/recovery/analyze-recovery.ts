import type { Figure, Instant, TrialRecord, TrialVerdict } from '../../crds/trial-record.ts';
import { bandFactors } from './calibrate.ts';
import { judgeCorrectness } from './correctness.ts';
import { predictCatchUp } from './predict-catch-up.ts';
import { judgeRedundancy, type Redundancy } from './redundancy.ts';
import { clockProblem, type Interval, longestRowGap } from './signal.ts';
import { sourceProblems } from './sources.ts';
import { findRecovery, layOut, type Observation, type Timeline } from './timeline.ts';

/** The judged part of a trial's record. */
export type Recovery = Required<
  Pick<TrialRecord, 'instants' | 'noticed' | 'figures' | 'recoveryBand' | 'thetaMs' | 'excursions'>
> &
  Pick<TrialRecord, 'smallestStallMs' | 'message' | 'rowsOffsetMs'> & {
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
 * reported on the controller's. An Invalid trial has the reason and what the controller did, and no figure.
 * - TTR = end of the last violation - t_eff, 0 when that is sooner; a violation is F_visible > theta for longer than one
 *   p99 commit gap, and the fault's own when it begins after the order: a check may see the effect later than the job.
 * - Stall = sum over the visible frontier's standstills that reach into [t_eff, t_rec] of what each lasts after t_eff
 *   beyond the p99 of the calibrated ones.
 * - t_first = end of the longest standstill there, if it is longer than that p99; catch-up = t_rec - t_first.
 * - t_det = the first control plane's first answer that shows a loss; t_red = the last one's first that shows none.
 * - Error bound = longest gap between rows + resolution of t_eff + p99 commit gap + clock bound; of the stall, which is
 *   the difference of two sampled lengths, one longest gap more.
 * - Smallest stall sure to be seen = theta - least F_visible + p99 commit gap + longest gap between rows.
 */
export function analyzeRecovery(observation: Observation): Recovery {
  const timeline = layOut(observation);
  const { calibration, rows } = observation;
  const { stopMs, thetaMs, crossings } = timeline;
  const watched = rows.filter(({ atMs }) => atMs <= stopMs);
  const redundancy = judgeRedundancy(rows, timeline.orderedMs, observation.clock.offsetMs);
  const before = watched.findLast(({ atMs }) => atMs <= timeline.orderedMs);
  const correctness = judgeCorrectness(before, watched.at(-1));
  const excursions = crossings.excursions.length;
  const judged = {
    ...{ thetaMs, excursions, correctness: correctness.counts, redundancy: redundancy.state },
    rowsOffsetMs: observation.clock.offsetMs,
  };
  const verdict = { correctness: correctness.verdict };
  const invalid = invalidity(observation, timeline);
  if (invalid) {
    return {
      ...judged,
      verdict: { ...verdict, recovery: 'Invalid' },
      message: invalid,
      ...{ instants: ordersOf(observation), noticed: [], figures: {}, recoveryBand: [] },
    };
  }
  const measured = measure(observation, timeline, redundancy);
  const smallestStallMs = thetaMs - calibration.leastMs + calibration.commitGapMs + measured.samplingMs;
  return {
    ...judged,
    verdict: { ...verdict, recovery: recoveryVerdict(timeline, redundancy.state) },
    ...instantsOf(observation, measured),
    ...figuresOf(observation, measured),
    recoveryBand: bandFactors.map((factor) => recoveryAt(observation, factor)),
    ...(crossings.violations.length === 0 && { smallestStallMs }),
  };
}

/** By another threshold, as far as it was watched by the one in force: when its last violation ended, if that did. */
function recoveryAt(observation: Observation, factor: number): Recovery['recoveryBand'][number] {
  const { thetaMs, watch, crossings, effMs } = findRecovery(observation, factor);
  const last = crossings.violations.at(-1);
  const isOver = watch.state === 'clean' || (watch.state === 'watching' && last?.open !== true);
  return { factor, thetaMs, ...(isOver && { ms: Math.max(0, (last?.toMs ?? effMs) - effMs) }) };
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
  // Ages are of no use when their clock was set, also before the fault: the calibration knew another clock.
  const stop = watch.state === 'watching' ? rows.length : rows.findIndex(({ atMs }) => atMs >= stopMs);
  const clock = clockProblem(rows.slice(0, stop + 1));
  if (clock) return clock;
  const before = rows.findLast(({ atMs }) => atMs <= orderedMs);
  const [broken] = sourceProblems(
    rows.filter(({ atMs }) => atMs >= (before?.atMs ?? orderedMs) && atMs <= stopMs),
  );
  if (broken !== undefined) return broken;
  if (crossings.violations.some(({ fromMs }) => fromMs <= orderedMs)) {
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
  /** The part of it before t_first. */
  readonly firstStallMs: number;
  readonly firstMs: number | undefined;
  /** Longest gap between rows while it was watched. */
  readonly samplingMs: number;
}

function measure({ rows, calibration }: Observation, timeline: Timeline, redundancy: Redundancy): Measured {
  const { standstills, crossings, effMs, stopMs } = timeline;
  const normalMs = calibration.progressGapMs;
  const beyond = ({ fromMs, toMs }: Interval) => Math.max(0, toMs - Math.max(fromMs + normalMs, effMs));
  const stalled = (gaps: readonly Interval[]) => gaps.reduce((sum, gap) => sum + beyond(gap), 0);
  const firstMs = crossings.violations.length > 0 ? firstOutput(standstills, normalMs, stopMs) : undefined;
  return {
    ...timeline,
    ...{ redundancy, firstMs },
    stallMs: stalled(standstills),
    firstStallMs: stalled(standstills.filter(({ toMs }) => firstMs !== undefined && toMs <= firstMs)),
    samplingMs: longestRowGap(rows.filter(({ atMs }) => atMs >= effMs && atMs <= stopMs)),
  };
}

/** Back on the controller's clock, each with who says so and how sharply. */
function instantsOf(observation: Observation, measured: Measured): Pick<Recovery, 'instants' | 'noticed'> {
  const { clock } = observation;
  const { redundancy, firstMs, recMs, samplingMs } = measured;
  const det = detectionOf(observation, redundancy);
  const told = ({ atMs, ...rest }: Instant): Instant => ({ atMs: atMs - clock.offsetMs, ...rest });
  const seen = (atMs: number): Instant => told({ atMs, source: 'samples', resolutionMs: samplingMs });
  return {
    instants: {
      ...ordersOf(observation),
      ...(det && { det: told(det) }),
      ...(firstMs !== undefined && { first: seen(firstMs) }),
      ...(recMs !== undefined && { rec: seen(recMs) }),
      ...(redundancy.restored && { red: told(redundancy.restored) }),
    },
    noticed: redundancy.noticed.map(told),
  };
}

/** The first to notice; whoever was told to do it has noticed nothing. */
function detectionOf({ through }: Observation, { noticed }: Redundancy): Instant | undefined {
  return noticed.find(({ source }) => source !== through);
}

/** What the controller did and saw itself. */
function ordersOf({ instants }: Observation): Recovery['instants'] {
  const { cmdMs, effMs, effResolutionMs = 0, endMs, endResolutionMs = 0 } = instants;
  return {
    ...(cmdMs !== undefined && { cmd: { atMs: cmdMs, source: 'controller', resolutionMs: 0 } }),
    eff: { atMs: effMs, source: 'check', resolutionMs: effResolutionMs },
    ...(endMs !== undefined && { end: { atMs: endMs, source: 'check', resolutionMs: endResolutionMs } }),
  };
}

function figuresOf(observation: Observation, measured: Measured): Pick<Recovery, 'figures' | 'afterHeal'> {
  const { instants, calibration, clock } = observation;
  const { effMs, endMs, recMs, firstMs, samplingMs, crossings } = measured;
  const { restored } = measured.redundancy;
  const det = detectionOf(observation, measured.redundancy);
  const effErrorMs = (instants.effResolutionMs ?? 0) + clock.boundMs;
  const errorMs = samplingMs + effErrorMs + calibration.commitGapMs;
  const figure = (ms: number): Figure => ({ ms, errorMs });
  const stall = (ms: number): Figure => ({ ms, errorMs: errorMs + samplingMs });
  const predicted = predictCatchUp(observation, { ...measured, stall: stall(measured.firstStallMs) });
  const told = ({ atMs, resolutionMs }: Instant): Figure => ({
    ms: Math.max(0, atMs - effMs),
    errorMs: resolutionMs + effErrorMs,
  });
  return {
    figures: {
      stall: stall(measured.stallMs),
      ...(det && { detection: told(det) }),
      ...(recMs !== undefined && { recovery: figure(recMs - effMs) }),
      ...(firstMs !== undefined && { firstOutput: figure(firstMs - effMs) }),
      ...(firstMs !== undefined && recMs !== undefined && { catchUp: figure(Math.max(0, recMs - firstMs)) }),
      ...(predicted && { catchUpPredicted: predicted }),
      ...(restored && { redundancy: told(restored) }),
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
