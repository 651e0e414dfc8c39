import type { Sample } from './sample.ts';
import { type Interval, visibleAge } from './signal.ts';

/** A stretch in which F_visible was above theta; `open` when the last row still is. */
interface Crossing extends Interval {
  readonly open: boolean;
}

/** Crossings by length: longer than one p99 commit gap are violations, the others excursions. */
export interface Crossings {
  readonly violations: readonly Crossing[];
  readonly excursions: readonly Crossing[];
}

/**
 * Where F_visible was above `thetaMs`: from the first row above to the first that is not. A row without a visible
 * result counts as above: what is unknown has not recovered.
 */
export function findCrossings(rows: readonly Sample[], thetaMs: number, commitGapMs: number): Crossings {
  const crossings: Crossing[] = [];
  let fromMs: number | undefined;
  for (const row of rows) {
    const age = visibleAge(row);
    const above = age === null || age > thetaMs;
    if (above) fromMs ??= row.atMs;
    else if (fromMs !== undefined) {
      crossings.push({ fromMs, toMs: row.atMs, open: false });
      fromMs = undefined;
    }
  }
  if (fromMs !== undefined) crossings.push({ fromMs, toMs: rows.at(-1)!.atMs, open: true });
  const isViolation = ({ fromMs, toMs }: Crossing) => toMs - fromMs > commitGapMs;
  return {
    violations: crossings.filter(isViolation),
    excursions: crossings.filter((crossing) => !isViolation(crossing)),
  };
}
