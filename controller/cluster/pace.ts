import type { Clock } from '../../state-machines/contract.ts';
import type { StepResult } from './apply-plan.ts';
import type { PassReport } from './cluster-status.ts';
import type { StepBackoff } from './step-backoff.ts';

/** A change that no event told is found within this time. */
export const resyncMs = 2_500;
export const soonMs = 100;
const pendingMs = 500;
/** Tasks that start are watched closely; those that do not start within a minute, less so. */
const convergingMs = 250;
const stuckAfterMs = 60_000;
const stuckMs = 1_000;
/** To rest for each ms of a pass: an engine that starts many tasks answers slowly, and asking it keeps it from them. */
const restPerMs = 19;

/** How soon a cluster is looked at again. */
export class Pace {
  readonly #clock: Pick<Clock, 'now'>;
  readonly #backoff: StepBackoff;
  #beganMs = 0;
  /** Since when waiting is all there is to do. */
  #waitingSinceMs: number | undefined;

  constructor(clock: Pick<Clock, 'now'>, backoff: StepBackoff) {
    this.#clock = clock;
    this.#backoff = backoff;
  }

  begin(): void {
    this.#beganMs = this.#clock.now();
  }

  /** From the end of a pass to the beginning of the next one. */
  nextMs({ plan, observed, leftAlone }: PassReport, results: readonly StepResult[]): number {
    if (leftAlone) return resyncMs; // for what others do
    const states = new Set(results.map(({ outcome }) => outcome.state));
    if (states.has('done') || plan.waiting.length === 0) this.#waitingSinceMs = undefined;
    if (states.has('done') || (!observed.swarm && states.size > 0)) return soonMs;
    if (states.has('pending') || states.has('held')) return pendingMs;
    const retryMs = Math.min(resyncMs, this.#backoff.nextRetryMs(plan.steps) ?? resyncMs);
    if (plan.waiting.length === 0) return retryMs;
    const nowMs = this.#clock.now();
    this.#waitingSinceMs ??= nowMs;
    const paceMs = nowMs - this.#waitingSinceMs > stuckAfterMs ? stuckMs : convergingMs;
    const againMs = Math.min(...plan.waiting.map((each) => each.againMs ?? paceMs));
    const dueMs = Math.min(Math.max(againMs, paceMs), stuckMs);
    return Math.min(retryMs, Math.max(dueMs, restPerMs * (nowMs - this.#beganMs)));
  }
}
