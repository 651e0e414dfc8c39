import { setTimeout as timer } from 'node:timers/promises';

/** Time, for whoever waits for AWS: tests have another one. */
export interface Ec2Clock {
  /** ms since the epoch. */
  now(): number;
  sleep(ms: number, signal: AbortSignal): Promise<void>;
}

export const systemClock: Ec2Clock = {
  now: () => Date.now(),
  sleep: (ms, signal) => timer(ms, undefined, { signal }),
};
