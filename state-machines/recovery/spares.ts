import type { ControlPlaneView } from './control-planes.ts';
import type { Sample } from './sample.ts';

/** What a system has of each part that it can lose, by control plane and part. */
export type Spares = Readonly<Record<string, Readonly<Record<string, number>>>>;

/** What each control plane's newest answer in these rows counts; undefined when none was heard. */
export function sparesOf(rows: readonly Sample[]): Spares | undefined {
  const views = newestViews(rows);
  return views.length === 0
    ? undefined
    : Object.fromEntries(views.map(({ source, parts }) => [source, parts]));
}

/**
 * What is less than it was, by the newest answers in these rows, one sentence each; empty when nothing is. More than there
 * was is no lack.
 */
export function missingSpares(rows: readonly Sample[], before: Spares | undefined): readonly string[] {
  if (!before) return [];
  if (rows.length === 0) return ['the observer gives no rows'];
  const views = newestViews(rows);
  const silent = Object.keys(before).filter((source) => !views.some((view) => view.source === source));
  const lacks = views.flatMap(({ source, parts }) =>
    Object.entries(before[source] ?? {})
      .filter(([part, count]) => (parts[part] ?? 0) < count)
      .map(([part, count]) => `${part} is ${parts[part] ?? 0}, was ${count} at the calibration`),
  );
  return [...silent.map((source) => `${source} does not answer`), ...lacks];
}

/** One slow answer leaves its control plane out of a row or two. */
function newestViews(rows: readonly Sample[]): readonly ControlPlaneView[] {
  const views = new Map<string, ControlPlaneView>();
  for (const row of rows) for (const view of row.views) views.set(view.source, view);
  return [...views.values()];
}
