import type { TrialRecord } from '../../crds/trial-record.ts';
import type { Clock, FaultRun } from '../../state-machines/contract.ts';
import type { FaultState } from '../../state-machines/fault-machine.ts';
import type { Progress } from '../../state-machines/run-trial.ts';
import type { TrialMetrics } from '../metrics/trial-metrics.ts';
import type { NewEvent } from '../status/events.ts';

/** Who hears of a run while it goes on. */
interface Listeners {
  readonly metrics: Pick<TrialMetrics, 'phaseEnded' | 'faultActive'>;
  readonly progress: (schedule: string, line: string) => void;
  readonly clock: Clock;
}

const sayEveryMs = 5_000;

/** A fault is active from when it is seen, or may be there, until it is verified gone. */
export function stateTeller(
  schedule: string,
  { metrics, progress }: Listeners,
): (run: FaultRun, state: FaultState, atMs: number) => void {
  const runs = new Map<
    string,
    { readonly state: FaultState; readonly atMs: number; readonly isInjected: boolean }
  >();
  return ({ runId, fault, steps, checkpointHit }, state, atMs) => {
    const last = runs.get(runId);
    if (last) metrics.phaseEnded(fault, last.state, (atMs - last.atMs) / 1000);
    // What is healed without an inject is only made sure of.
    const isInjected = last?.isInjected === true || state === 'inject';
    runs.set(runId, { state, atMs, isInjected });
    const active = isInjected && ['hold', 'heal', 'verify', 'stuck'].includes(state);
    for (const { target } of steps) metrics.faultActive(schedule, fault, target, active);
    const alsoHit = checkpointHit ? `, which hits the checkpoint, too (${checkpointHit.join(', ')})` : '';
    progress(schedule, `${fault} on ${steps.map(({ target }) => target).join(', ')}${alsoHit}: ${state}`);
  };
}

/** A line when something else is awaited, and every five seconds. */
export function progressTeller(
  schedule: string,
  number: number,
  { progress, clock }: Listeners,
): (progress: Progress) => void {
  let last: { readonly awaiting: Progress['awaiting']; readonly atMs: number } | undefined;
  return ({ awaiting, elapsedMs, leftMs }) => {
    const atMs = clock.now();
    if (last?.awaiting === awaiting && atMs - last.atMs < sayEveryMs) return;
    last = { awaiting, atMs };
    const left = leftMs === undefined ? '' : `, at least ${Math.ceil(leftMs / 1000)} s to go`;
    progress(schedule, `trial ${number}: awaiting ${awaiting}, ${Math.round(elapsedMs / 1000)} s${left}`);
  };
}

/** A trial that is over, by how it ended. */
export function trialEvent({ number, fault, targets, outcome, verdict, message }: TrialRecord): NewEvent {
  const on = targets.length > 0 ? ` on ${targets.join(', ')}` : '';
  const judged = verdict ? [`${verdict.recovery}, ${verdict.correctness}`] : [];
  const told = [`trial ${number}: ${fault}${on}`, ...judged, ...(message === undefined ? [] : [message])];
  return {
    type: outcome === 'Healed' ? 'Normal' : 'Warning',
    reason: `Trial${outcome}`,
    message: told.join(': '),
  };
}
