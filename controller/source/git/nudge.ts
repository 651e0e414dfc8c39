import type { Clock } from '../../../state-machines/contract.ts';

/** Wakes one who sleeps, or the next sleep of one who is at work: a hint is never lost, and many are one. */
export class Nudge {
  #isDue = false;
  #wake: () => void = () => {};

  give(): void {
    this.#isDue = true;
    this.#wake();
  }

  /** Until the time is over or a nudge is given; rejects when the signal aborts. */
  async sleep(ms: number, clock: Clock, signal: AbortSignal): Promise<void> {
    const cut = new AbortController();
    this.#wake = () => cut.abort();
    if (!this.#isDue)
      await clock.sleep(ms, AbortSignal.any([signal, cut.signal])).catch(() => signal.throwIfAborted());
    this.#isDue = false;
  }
}
