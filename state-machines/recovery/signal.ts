import { linearRegression } from 'simple-statistics';
import type { Sample } from './sample.ts';

/** A stretch of time on the observer's clock, epoch ms. */
export interface Interval {
  readonly fromMs: number;
  readonly toMs: number;
}

/** F_visible of a row: how long ago the oldest record that is not in its result was due; null when nothing was seen. */
export function visibleAge({ atMs, visibleMs }: Sample): number | null {
  return visibleMs === null ? null : atMs - visibleMs;
}

/** Between one advance of the slowest partition's visible frontier and the next; the last one is still open. */
export function progressGaps(rows: readonly Sample[]): readonly Interval[] {
  const advances: number[] = [];
  let frontierMs = Number.NEGATIVE_INFINITY;
  for (const { atMs, visibleMs } of rows) {
    if (visibleMs === null || visibleMs <= frontierMs) continue;
    frontierMs = visibleMs;
    advances.push(atMs);
  }
  const lastMs = rows.at(-1)?.atMs;
  const ends = [...advances.slice(1), ...(lastMs === undefined ? [] : [lastMs])];
  return ends
    .map((toMs, index) => ({ fromMs: advances[index]!, toMs }))
    .filter((gap) => gap.fromMs < gap.toMs);
}

/** Between the job's commits, by the job's own commit times. */
export function commitGaps(rows: readonly Sample[]): readonly number[] {
  const commits = [...new Set(rows.flatMap(({ batchAtMs }) => (batchAtMs === null ? [] : [batchAtMs])))];
  return commits.slice(1).map((atMs, index) => atMs - commits[index]!);
}

/** The longest time between two rows: nothing is known to be finer than this. */
export function longestRowGap(rows: readonly Sample[]): number {
  return rows.slice(1).reduce((longest, row, index) => Math.max(longest, row.atMs - rows[index]!.atMs), 0);
}

/** Rows come every 250 ms: a longer gap between two may be a clock that was set. */
const suspectGapMs = 1_000;

/**
 * Says that the observer's clock was set while the rows were taken, and by about how much; undefined when it was not. Set
 * back: a row is earlier than the one before it. Set forward: there is a gap of more than a second, and from then on the
 * acknowledged frontier, which the generator's clock stamps, is older by more than half of it even at its youngest. After
 * rows that were only late, or a broker that stood still meanwhile, it is as young again as before. A smaller step hides
 * within a gap between rows, and so within the error bound.
 */
export function clockProblem(rows: readonly Sample[]): string | undefined {
  const ages = rows.map(({ atMs, ackedMs }) => atMs - ackedMs);
  const youngestFrom = Float64Array.from(ages);
  for (let index = ages.length - 2; index >= 0; index--) {
    youngestFrom[index] = Math.min(youngestFrom[index]!, youngestFrom[index + 1]!);
  }
  let youngestMs = Infinity;
  for (let index = 1; index < rows.length; index++) {
    youngestMs = Math.min(youngestMs, ages[index - 1]!);
    const gapMs = rows[index]!.atMs - rows[index - 1]!.atMs;
    const agedMs = youngestFrom[index]! - youngestMs;
    if (gapMs < 0) return `the observer's clock was set back by ${(-gapMs / 1000).toFixed(1)} s`;
    if (gapMs > suspectGapMs && agedMs > gapMs / 2) {
      return `the observer's clock was set forward by ${(agedMs / 1000).toFixed(1)} s`;
    }
  }
  return undefined;
}

/** Nearest-rank quantile: an observed value, the maximum when there are fewer than 1 / (1 - q). NaN for none. */
export function quantile(values: readonly number[], q: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.max(0, Math.ceil(q * sorted.length) - 1)] ?? Number.NaN;
}

/** Least-squares slope of y over x; 0 when x does not vary. */
export function slope(points: [x: number, y: number][]): number {
  const { m } = linearRegression(points);
  return Number.isFinite(m) ? m : 0;
}
