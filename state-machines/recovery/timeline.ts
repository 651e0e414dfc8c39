import type { FaultKind, RunInstants } from '../contract.ts';
import { type Calibration, thetaOf } from './calibrate.ts';
import type { ControlPlane } from './control-planes.ts';
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
  /** The control plane that the fault was given to as an order. */
  readonly through?: ControlPlane;
  /** Observer's clock minus the controller's, and the bound of that difference's error. */
  readonly clock: { readonly offsetMs: number; readonly boundMs: number };
}

/** When it was recovered from, judged by one threshold; all on the observer's clock. */
export interface RecoveryEnd {
  /** Injection ordered; t_eff when that is not known. */
  readonly orderedMs: number;
  readonly effMs: number;
  /** Fault undone; absent for an instant fault. */
  readonly endMs?: number;
  readonly thetaMs: number;
  readonly watch: WatchEnd;
  /** Where the watch ended, or the last row. */
  readonly stopMs: number;
  /** Those that reach beyond the order and begin before the watch ended. */
  readonly crossings: Crossings;
  /** End of the last violation, t_eff when there was none; absent unless the watch ended clean. */
  readonly recMs?: number;
}

/** What happened when, without any judgement. */
export interface Timeline extends RecoveryEnd {
  /** Standstills of the visible frontier that reach into [t_eff, t_rec], or into the whole watch without one. */
  readonly standstills: readonly Interval[];
}

/** Lays out a trial's rows. */
export function layOut(observation: Observation): Timeline {
  const end = findRecovery(observation);
  const { effMs, stopMs, watch, crossings } = end;
  const untilMs = watch.state === 'clean' ? (crossings.violations.at(-1)?.toMs ?? stopMs) : stopMs;
  return {
    ...end,
    standstills: progressGaps(observation.rows.filter(({ atMs }) => atMs <= stopMs)).filter(
      ({ fromMs, toMs }) => toMs > effMs && fromMs <= untilMs,
    ),
  };
}

/** Applies the watch rule; `factor` chooses another threshold for it. */
export function findRecovery(observation: Observation, factor?: number): RecoveryEnd {
  const { rows, instants, calibration, clock, death, maxRecoveryMs } = observation;
  const effMs = instants.effMs + clock.offsetMs;
  const orderedMs = (instants.cmdMs ?? instants.effMs) + clock.offsetMs;
  const endMs = instants.endMs === undefined ? undefined : instants.endMs + clock.offsetMs;
  const thetaMs = thetaOf(calibration, observation.triggerMs, factor);
  const all = reaching(findCrossings(rows, thetaMs, calibration.commitGapMs), orderedMs);
  const watch = findWatchEnd(rows, all, {
    originMs: endMs ?? effMs,
    noticedWithinMs: noticedWithinMs[death],
    maxRecoveryMs,
  });
  const stopMs = watch.state === 'watching' ? (rows.at(-1)?.atMs ?? effMs) : watch.atMs;
  const crossings = beginningBy(all, stopMs);
  return {
    ...{ orderedMs, effMs, thetaMs, watch, stopMs, crossings },
    ...(endMs !== undefined && { endMs }),
    ...(watch.state === 'clean' && { recMs: Math.max(effMs, crossings.violations.at(-1)?.toMs ?? effMs) }),
  };
}

function reaching({ violations, excursions }: Crossings, orderedMs: number): Crossings {
  const late = ({ toMs, open }: { readonly toMs: number; readonly open: boolean }) =>
    open || toMs > orderedMs;
  return { violations: violations.filter(late), excursions: excursions.filter(late) };
}

function beginningBy({ violations, excursions }: Crossings, stopMs: number): Crossings {
  const begun = ({ fromMs }: Interval) => fromMs <= stopMs;
  return { violations: violations.filter(begun), excursions: excursions.filter(begun) };
}
