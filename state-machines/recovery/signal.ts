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

/** Nearest-rank quantile: an observed value, the maximum when there are fewer than 1 / (1 - q). NaN for none. */
export function quantile(values: readonly number[], q: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.max(0, Math.ceil(q * sorted.length) - 1)] ?? Number.NaN;
}

/** Least-squares slope of y over x; 0 when x does not vary. */
export function slope(points: readonly (readonly [x: number, y: number])[]): number {
  const mean = (values: readonly number[]) => values.reduce((sum, value) => sum + value, 0) / values.length;
  const meanX = mean(points.map(([x]) => x));
  const meanY = mean(points.map(([, y]) => y));
  const covariance = points.reduce((sum, [x, y]) => sum + (x - meanX) * (y - meanY), 0);
  const variance = points.reduce((sum, [x]) => sum + (x - meanX) ** 2, 0);
  return variance > 0 ? covariance / variance : 0;
}
