import { setTimeout as timer } from 'node:timers/promises';

/** Time, for whoever waits for AWS: tests have another one. */
export interface Ec2Clock {
  /** ms since the epoch. */
  now(): number;
  sleep(ms: number, signal: AbortSignal): Promise<void>;
}

/** AWS: what was made may not be seen for seconds, rarely minutes. So long nothing is ordered again. */
export const settleMs = 120_000;
/** Between two looks at what is on the way. */
export const lookAgainMs = 2_000;

export const systemClock: Ec2Clock = {
  now: () => Date.now(),
  sleep: (ms, signal) => timer(ms, undefined, { signal }),
};
