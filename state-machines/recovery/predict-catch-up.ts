import type { Figure } from '../../crds/trial-record.ts';
import type { Calibration } from './calibrate.ts';
import type { Sample } from './sample.ts';
import { visibleAge } from './signal.ts';

/** What is known when a stall is over, on the observer's clock. */
interface CatchingUp {
  /** Up to t_first. */
  readonly stall: Figure;
  /** t_first and t_rec. */
  readonly firstMs?: number | undefined;
  readonly recMs?: number | undefined;
  readonly thetaMs: number;
  /** Longest gap between rows. */
  readonly samplingMs: number;
}

/**
 * How long catching up should take if it is one steady drain: D x rho / (1 - rho), with D the stall and rho the offered
 * rate over the rate of draining. Both rates come from the first half of this very catch-up, in which F_visible falls by
 * 1/rho - 1 seconds a second; so the rest is a forecast, and a catch-up that takes much longer was disturbed again. The
 * error bound is that of the stall, and of two instants a longest gap between rows apart. Undefined without a catch-up, and
 * when a single commit shows all there is: then no rate can be told.
 */
export function predictCatchUp(
  { rows, calibration }: { readonly rows: readonly Sample[]; readonly calibration: Calibration },
  { stall, firstMs, recMs, thetaMs, samplingMs }: CatchingUp,
): Figure | undefined {
  if (firstMs === undefined || recMs === undefined) return undefined;
  const catchUp = rows.filter(({ atMs }) => atMs >= firstMs && atMs <= recMs);
  const lateMs = (row: Sample) => (visibleAge(row) ?? Infinity) - calibration.leastMs;
  const [first] = catchUp;
  if (!first || lateMs(first) <= thetaMs - calibration.leastMs) return undefined;
  const half = catchUp.find((row) => lateMs(row) <= lateMs(first) / 2);
  if (!half) return undefined;
  const tookMs = half.atMs - firstMs;
  const workedOffMs = lateMs(first) - lateMs(half);
  if (workedOffMs <= samplingMs) return undefined;
  const ms = (stall.ms * tookMs) / workedOffMs;
  const mostMs = ((stall.ms + stall.errorMs) * (tookMs + samplingMs)) / (workedOffMs - samplingMs);
  return { ms: Math.round(ms), errorMs: Math.ceil(mostMs - ms) };
}
