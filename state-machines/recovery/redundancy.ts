import type { Instant } from '../../crds/trial-record.ts';
import { type ControlPlane, type ControlPlaneView, controlPlanes } from './control-planes.ts';
import type { Sample } from './sample.ts';

/** What became of the system's spare parts, on the observer's clock. */
export interface Redundancy {
  /** `kept`: never seen below what it was; `unknown`: not everybody who was heard before could be asked at the end. */
  readonly state: 'kept' | 'restored' | 'lost' | 'unknown';
  /** When each control plane first showed a loss, the first one first; resolution: since it was asked for the answer before. */
  readonly noticed: readonly Instant[];
  /** From when on everything was as before, to the end of the rows; as the last control plane says. */
  readonly restored?: Instant;
}

/**
 * Compares the control planes' answers after the fault was ordered with the last ones before: from the effect itself
 * would be too late, for a closed socket may be noticed sooner than the check sees it. `offsetMs`: the observer's clock
 * minus the controller's.
 */
export function judgeRedundancy(rows: readonly Sample[], orderedMs: number, offsetMs: number): Redundancy {
  const last = rows.at(-1);
  const fates = controlPlanes.flatMap((source) => {
    const views = viewsOf(rows, source, offsetMs);
    const isHeard = last !== undefined && viewOf(last, source) !== undefined;
    return fateOf(views, orderedMs, isHeard) ?? [];
  });
  const states = new Set(fates.map(({ state }) => state));
  const graver = (['lost', 'unknown', 'restored', 'kept'] as const).find((state) => states.has(state));
  const state = graver ?? 'unknown';
  const restored = fates.flatMap((fate) => fate.restored ?? []).sort((a, b) => b.atMs - a.atMs)[0];
  return {
    state,
    noticed: fates.flatMap((fate) => fate.noticed ?? []).sort((a, b) => a.atMs - b.atMs),
    ...(state === 'restored' && restored && { restored }),
  };
}

/** What a row tells of one control plane; undefined when it did not answer. */
export function viewOf(row: Sample, source: ControlPlane): ControlPlaneView | undefined {
  return row.views.find((view) => view.source === source);
}

/** Its answers, once each, on the observer's clock: an answer stays in the rows until the next one. */
function viewsOf(
  rows: readonly Sample[],
  source: ControlPlane,
  offsetMs: number,
): readonly ControlPlaneView[] {
  const shiftMs = source === 'swarm' ? offsetMs : 0;
  const views: ControlPlaneView[] = [];
  let last: number | undefined;
  for (const row of rows) {
    const view = viewOf(row, source);
    if (view === undefined || view.atMs === last) continue;
    last = view.atMs;
    const shifted = { askedMs: view.askedMs + shiftMs, atMs: view.atMs + shiftMs };
    views.push(shiftMs === 0 ? view : { ...view, ...shifted });
  }
  return views;
}

interface Fate {
  readonly state: Redundancy['state'];
  readonly noticed?: Instant;
  readonly restored?: Instant;
}

/** Undefined for one that was not heard before the fault: nobody knows what it had. */
function fateOf(views: readonly ControlPlaneView[], orderedMs: number, isHeard: boolean): Fate | undefined {
  const before = views.findLast(({ atMs }) => atMs <= orderedMs);
  if (!before) return undefined;
  const after = views.filter(({ atMs }) => atMs > orderedMs);
  if (after.length === 0) return { state: 'unknown' };
  const seen = (index: number): Instant => ({
    atMs: after[index]!.atMs,
    source: before.source,
    // What the answer before was made from may be as old as its question.
    resolutionMs: after[index]!.atMs - (after[index - 1] ?? before).askedMs,
  });
  const isWhole = ({ parts }: ControlPlaneView) =>
    Object.entries(before.parts).every(([part, count]) => (parts[part] ?? 0) >= count);
  const firstLoss = after.findIndex((view) => !isWhole(view) || view.losses > before.losses);
  const noticed = firstLoss < 0 ? {} : { noticed: seen(firstLoss) };
  const lastLack = after.findLastIndex((view) => !isWhole(view));
  if (lastLack >= 0 && lastLack === after.length - 1) return { state: 'lost', ...noticed };
  if (!isHeard) return { state: 'unknown', ...noticed };
  if (lastLack < 0) return { state: 'kept', ...noticed };
  return { state: 'restored', ...noticed, restored: seen(lastLack + 1) };
}
