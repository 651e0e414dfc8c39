import type { Sample } from './sample.ts';

/** What a system has of each part that it can lose, by control plane and part. */
export type Spares = Readonly<Record<string, Readonly<Record<string, number>>>>;

/** What the rows' newest answers of the control planes count; undefined when none was ever heard. */
export function sparesOf(rows: readonly Sample[]): Spares | undefined {
  const row = rows.findLast(({ views }) => views.length > 0);
  return row && Object.fromEntries(row.views.map(({ source, parts }) => [source, parts]));
}

/** What is less than it was, one sentence each; empty when nothing is. More than there was is no lack. */
export function missingSpares(row: Sample | undefined, before: Spares | undefined): readonly string[] {
  if (!before) return [];
  if (!row) return ['the observer gives no rows'];
  const silent = Object.keys(before).filter((source) => !row.views.some((view) => view.source === source));
  const lacks = row.views.flatMap(({ source, parts }) =>
    Object.entries(before[source] ?? {})
      .filter(([part, count]) => (parts[part] ?? 0) < count)
      .map(([part, count]) => `${part} is ${parts[part] ?? 0}, was ${count} at the calibration`),
  );
  return [...silent.map((source) => `${source} does not answer`), ...lacks];
}
