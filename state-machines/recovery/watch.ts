import type { Sample } from './sample.ts';
import type { Crossings } from './violations.ts';

/** H: recovery is believed after so long without a violation. */
const cleanMs = 30_000;

/** How long a fault could still be noticed for the first time: seconds for a crash, timers for silence, and no timer runs for slowness. */
export const noticedWithinMs = { crash: 60_000, silence: 240_000, slowness: 60_000 } as const;

/** Until when recovery is watched, on the observer's clock. */
export interface WatchLimits {
  /** t_eff, or t_end for a fault with a hold. */
  readonly originMs: number;
  readonly noticedWithinMs: number;
  /** T_max. */
  readonly maxRecoveryMs: number;
}

/** Watching goes on for at least `leftMs`, has ended in a clean stretch at `atMs`, or was cut off at T_max. */
export type WatchEnd =
  | { readonly state: 'watching'; readonly leftMs: number }
  | { readonly state: 'clean'; readonly atMs: number }
  | { readonly state: 'censored'; readonly atMs: number };

/**
 * The first row at which watching stops: H clean, not above theta at that row, and the time within which the fault
 * could still be noticed is over; or T_max. What comes later belongs to no recovery of this fault.
 */
export function findWatchEnd(
  rows: readonly Sample[],
  { violations, excursions }: Crossings,
  limits: WatchLimits,
): WatchEnd {
  const crossings = [
    ...violations.map((each) => ({ ...each, isViolation: true })),
    ...excursions.map((each) => ({ ...each, isViolation: false })),
  ].sort((a, b) => a.fromMs - b.fromMs);
  let next = 0;
  let dirtyUntilMs = limits.originMs;
  let leftMs = Math.max(cleanMs, limits.noticedWithinMs);
  for (const { atMs } of rows) {
    while (next < crossings.length && crossings[next]!.fromMs <= atMs) next++;
    if (atMs < limits.originMs) continue;
    // Crossings do not overlap: only the newest that has begun can still last.
    const newest = crossings[next - 1];
    const isAbove = newest !== undefined && (newest.open || atMs < newest.toMs);
    if (newest?.isViolation) dirtyUntilMs = Math.max(dirtyUntilMs, isAbove ? atMs : newest.toMs);
    const cleanForMs = isAbove ? 0 : atMs - dirtyUntilMs;
    const sinceMs = atMs - limits.originMs;
    leftMs = Math.max(cleanMs - cleanForMs, limits.noticedWithinMs - sinceMs);
    if (leftMs <= 0) return { state: 'clean', atMs };
    if (sinceMs >= limits.maxRecoveryMs) return { state: 'censored', atMs };
  }
  return { state: 'watching', leftMs };
}
