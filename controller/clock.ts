import { setTimeout as timer } from 'node:timers/promises';
import type { Clock } from '../state-machines/contract.ts';

/** Longest delay that a Node timer keeps; a longer one would fire at once. */
const MAX_TIMER_MS = 2 ** 31 - 1;

/** The machine's own clock; the only place beside main.ts where real time enters. */
export const systemClock: Clock = {
  now: () => Date.now(),
  async sleep(ms, signal) {
    signal.throwIfAborted();
    for (let leftMs = ms; leftMs > 0; leftMs -= MAX_TIMER_MS) {
      await timer(Math.min(leftMs, MAX_TIMER_MS), undefined, { signal }).catch((error: unknown) => {
        signal.throwIfAborted(); // the reason, not the timer's own AbortError
        throw error;
      });
    }
  },
};

/** The same, for times between: it goes on as before when somebody sets the time of day. */
export const steadyClock: Clock = {
  ...systemClock,
  now: () => performance.timeOrigin + performance.now(),
};
