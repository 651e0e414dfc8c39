import type { Sample } from './sample.ts';
import { commitGaps, progressGaps, quantile, visibleAge } from './signal.ts';

/** What the job is like without a fault; measured once and fixed for a whole campaign. */
export interface Calibration {
  /** 99th percentile of F_visible, and its least value. */
  readonly p99Ms: number;
  readonly leastMs: number;
  /** 99th percentiles of the time between commits, and between advances of the visible frontier. */
  readonly commitGapMs: number;
  readonly progressGapMs: number;
  readonly durationMs: number;
}

/** The headline threshold's factor, and the band that is reported beside it. */
const thetaFactor = 1.25;
export const bandFactors = [1.1, thetaFactor, 1.5] as const;

const fewestCommits = 4;

/** The rows' calibration, or why they cannot give one. */
export function calibrate(rows: readonly Sample[]): Calibration | { readonly problem: string } {
  const ages = rows.map(visibleAge).filter((age) => age !== null);
  if (ages.length === 0) return { problem: 'no result was visible during the calibration' };
  const gaps = commitGaps(rows);
  if (gaps.length < fewestCommits) {
    return { problem: `the job committed only ${gaps.length + 1} batches during the calibration` };
  }
  return {
    p99Ms: quantile(ages, 0.99),
    leastMs: Math.min(...ages),
    commitGapMs: quantile(gaps, 0.99),
    progressGapMs: quantile(
      progressGaps(rows).map(({ fromMs, toMs }) => toMs - fromMs),
      0.99,
    ),
    durationMs: rows.at(-1)!.atMs - rows[0]!.atMs,
  };
}

/**
 * Theta, above which F_visible is a violation: max(factor x p99, p99 + max(trigger, p99 commit gap)). The second term
 * keeps a fast job's threshold clear of its own batch rhythm.
 */
export function thetaOf(
  { p99Ms, commitGapMs }: Calibration,
  triggerMs: number,
  factor: number = thetaFactor,
): number {
  return Math.max(factor * p99Ms, p99Ms + Math.max(triggerMs, commitGapMs));
}
