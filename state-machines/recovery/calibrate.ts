import { min } from 'simple-statistics';
import type { Sample } from './sample.ts';
import { clockProblem, commitGaps, progressGaps, visibleAge } from './signal.ts';
import { maximumOrP99 } from './statistics.ts';

/** What the job is like without a fault; measured once and fixed for a whole campaign. */
export interface Calibration {
  /** 99th percentile of F_visible, and its least value. */
  readonly p99Ms: number;
  readonly leastMs: number;
  /** 99th percentiles of the time between commits, and between advances of the visible frontier. */
  readonly commitGapMs: number;
  readonly progressGapMs: number;
  readonly durationMs: number;
  /** Which of the percentiles are in truth the maximum: there were fewer than 300 values. */
  readonly maxima?: readonly (typeof percentileFields)[number][];
}

const percentileFields = ['p99Ms', 'commitGapMs', 'progressGapMs'] as const;

/** The headline threshold's factor, and the band that is reported beside it. */
const thetaFactor = 1.25;
export const bandFactors = [1.1, thetaFactor, 1.5] as const;

const fewestCommits = 4;

/** The rows' calibration, or why they cannot give one. */
export function calibrate(rows: readonly Sample[]): Calibration | { readonly problem: string } {
  const clock = clockProblem(rows);
  if (clock) return { problem: clock };
  const ages = rows.map(visibleAge).filter((age) => age !== null);
  const commits = commitGaps(rows);
  const p99Ms = maximumOrP99(ages);
  const commitGapMs = maximumOrP99(commits);
  const progressGapMs = maximumOrP99(progressGaps(rows).map(({ fromMs, toMs }) => toMs - fromMs));
  if (!p99Ms || !progressGapMs) return { problem: 'no result was visible during the calibration' };
  if (!commitGapMs || commits.length < fewestCommits) {
    return { problem: `the job committed only ${commits.length + 1} batches during the calibration` };
  }
  const percentiles = { p99Ms, commitGapMs, progressGapMs };
  return {
    ...{ p99Ms: p99Ms.value, commitGapMs: commitGapMs.value, progressGapMs: progressGapMs.value },
    leastMs: min(ages),
    durationMs: rows.at(-1)!.atMs - rows[0]!.atMs,
    maxima: percentileFields.filter((field) => percentiles[field].name === 'maximum'),
  };
}

/**
 * Theta, above which F_visible is a violation: max(1.25 x p99, p99 + max(trigger, p99 commit gap)). The second term
 * keeps a fast job's threshold clear of its own batch rhythm. Another `factor` is in place of 1.25, and moves whichever
 * term is in force in proportion: else the second would hide that a threshold is a choice.
 */
export function thetaOf(
  { p99Ms, commitGapMs }: Calibration,
  triggerMs: number,
  factor: number = thetaFactor,
): number {
  return (factor / thetaFactor) * Math.max(thetaFactor * p99Ms, p99Ms + Math.max(triggerMs, commitGapMs));
}
