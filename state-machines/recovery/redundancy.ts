import type { Sample, SystemView } from './sample.ts';

/** What became of the system's spare parts, on the observer's clock. */
export interface Redundancy {
  /** `kept`: never seen below what it was; `unknown`: nobody could be asked at the end. */
  readonly state: 'kept' | 'restored' | 'lost' | 'unknown';
  /** When the system itself first showed a loss, and the finest distinction of its answers around it. */
  readonly detectedMs?: number;
  readonly detectedResolutionMs?: number;
  /** From when on everything was as before, to the end of the rows. */
  readonly restoredMs?: number;
  readonly restoredResolutionMs?: number;
}

export const parts = ['mastersAlive', 'workersAlive', 'executors', 'cores'] as const;

/**
 * Compares the control plane's answers after the fault was ordered with the last one before: from the effect itself
 * would be too late, for a closed socket may be noticed sooner than the check sees it.
 */
export function judgeRedundancy(rows: readonly Sample[], orderedMs: number): Redundancy {
  const views = distinctViews(rows);
  const before = views.findLast(({ atMs }) => atMs <= orderedMs);
  const after = views.filter(({ atMs }) => atMs > orderedMs);
  const last = rows.at(-1)?.system;
  if (!before || after.length === 0) return { state: 'unknown' };
  const whole = (view: SystemView) => parts.every((part) => view[part] >= before[part]);
  const firstLoss = after.findIndex((view) => !whole(view));
  if (firstLoss < 0) return { state: last ? 'kept' : 'unknown' };
  const detected = {
    detectedMs: after[firstLoss]!.atMs,
    detectedResolutionMs: after[firstLoss]!.atMs - (after[firstLoss - 1] ?? before).atMs,
  };
  const lastLoss = after.findLastIndex((view) => !whole(view));
  const restored = after[lastLoss + 1];
  if (!restored) return { state: 'lost', ...detected };
  if (!last) return { state: 'unknown', ...detected };
  return {
    state: 'restored',
    ...detected,
    restoredMs: restored.atMs,
    restoredResolutionMs: restored.atMs - after[lastLoss]!.atMs,
  };
}

/** An answer stays in the rows until the next one. */
function distinctViews(rows: readonly Sample[]): readonly SystemView[] {
  const views: SystemView[] = [];
  for (const { system } of rows) if (system && system.atMs !== views.at(-1)?.atMs) views.push(system);
  return views;
}
