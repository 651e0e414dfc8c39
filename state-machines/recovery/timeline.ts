import type { FaultKind, RunInstants } from '../contract.ts';
import { type Calibration, thetaOf } from './calibrate.ts';
import type { Sample } from './sample.ts';
import { type Interval, progressGaps } from './signal.ts';
import { type Crossings, findCrossings } from './violations.ts';
import { findWatchEnd, noticedWithinMs, type WatchEnd } from './watch.ts';

/** Everything that a recovery is judged from. */
export interface Observation {
  /** Oldest first, from some time before the fault to now. */
  readonly rows: readonly Sample[];
  /** On the controller's clock; `endMs` absent for an instant fault. */
  readonly instants: RunInstants & { readonly effMs: number };
  readonly death: FaultKind['death'];
  readonly calibration: Calibration;
  readonly triggerMs: number;
  /** T_max. */
  readonly maxRecoveryMs: number;
  /** Observer's clock minus the controller's, and the bound of that difference's error. */
  readonly clock: { readonly offsetMs: number; readonly boundMs: number };
}

/** What happened when, all on the observer's clock, without any judgement. */
export interface Timeline {
  /** Injection ordered; t_eff when that is not known. */
  readonly orderedMs: number;
  readonly effMs: number;
  /** Fault undone; absent for an instant fault. */
  readonly endMs?: number;
  readonly thetaMs: number;
  readonly watch: WatchEnd;
  /** Where the watch ended, or the last row. */
  readonly stopMs: number;
  /** Those that reach beyond t_eff and begin before the watch ended. */
  readonly crossings: Crossings;
  /** End of the last violation, t_eff when there was none; absent unless the watch ended clean. */
  readonly recMs?: number;
  /** Standstills of the visible frontier that reach into [t_eff, t_rec], or into the whole watch without one. */
  readonly standstills: readonly Interval[];
}

/** Lays out a trial's rows; `factor` chooses another threshold for the same watch rule. */
export function layOut(observation: Observation, factor?: number): Timeline {
  const { rows, instants, calibration, clock, death, maxRecoveryMs } = observation;
  const effMs = instants.effMs + clock.offsetMs;
  const orderedMs = (instants.cmdMs ?? instants.effMs) + clock.offsetMs;
  const endMs = instants.endMs === undefined ? undefined : instants.endMs + clock.offsetMs;
  const thetaMs = thetaOf(calibration, observation.triggerMs, factor);
  const all = reaching(findCrossings(rows, thetaMs, calibration.commitGapMs), effMs);
  const watch = findWatchEnd(rows, all, {
    originMs: endMs ?? effMs,
    noticedWithinMs: noticedWithinMs[death],
    maxRecoveryMs,
  });
  const stopMs = watch.state === 'watching' ? (rows.at(-1)?.atMs ?? effMs) : watch.atMs;
  const crossings = beginningBy(all, stopMs);
  const lastMs = crossings.violations.at(-1)?.toMs;
  const recMs = watch.state === 'clean' ? (lastMs ?? effMs) : undefined;
  return {
    orderedMs,
    effMs,
    ...(endMs !== undefined && { endMs }),
    thetaMs,
    watch,
    stopMs,
    crossings,
    ...(recMs !== undefined && { recMs }),
    standstills: progressGaps(rows.filter(({ atMs }) => atMs <= stopMs)).filter(
      ({ fromMs, toMs }) => toMs > effMs && fromMs <= (watch.state === 'clean' ? (lastMs ?? stopMs) : stopMs),
    ),
  };
}

function reaching({ violations, excursions }: Crossings, effMs: number): Crossings {
  const late = ({ toMs, open }: { readonly toMs: number; readonly open: boolean }) => open || toMs > effMs;
  return { violations: violations.filter(late), excursions: excursions.filter(late) };
}

function beginningBy({ violations, excursions }: Crossings, stopMs: number): Crossings {
  const begun = ({ fromMs }: Interval) => fromMs <= stopMs;
  return { violations: violations.filter(begun), excursions: excursions.filter(begun) };
}
