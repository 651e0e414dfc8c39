import { parts } from './redundancy.ts';
import type { Sample, SystemView } from './sample.ts';

/** What a system has of each part that it can lose. */
export type Spares = Readonly<Record<(typeof parts)[number], number>>;

/** What the rows' newest answer of the control planes counts; undefined when they were never heard. */
export function sparesOf(rows: readonly Sample[]): Spares | undefined {
  const view = rows.findLast(({ system }) => system !== null)?.system;
  return view ? countsOf(view) : undefined;
}

/** What is less than it was, one sentence each; empty when nothing is. More than there was is no lack. */
export function missingSpares(row: Sample | undefined, before: Spares | undefined): readonly string[] {
  if (!before) return [];
  if (!row) return ['the observer gives no rows'];
  const { system } = row;
  if (!system) return ['the control planes do not answer'];
  return parts
    .filter((part) => system[part] < before[part])
    .map((part) => `${part} is ${system[part]}, was ${before[part]} at the calibration`);
}

function countsOf({ mastersAlive, workersAlive, executors, cores }: SystemView): Spares {
  return { mastersAlive, workersAlive, executors, cores };
}
