import type { Clock } from '../../state-machines/contract.ts';

interface Sleeper {
  readonly wakeAtMs: number;
  readonly wake: () => void;
}

/** Lets everything that can run without time passing run: promises, streams, setImmediate. */
export async function settle(rounds = 5): Promise<void> {
  for (let round = 0; round < rounds; round++) await new Promise((resolve) => setImmediate(resolve));
}

/** A clock that stands still until a test moves it. */
export class FakeClock implements Clock {
  #nowMs: number;
  #sleepers: Sleeper[] = [];

  constructor(startMs = 1_700_000_000_000) {
    this.#nowMs = startMs;
  }

  now(): number {
    return this.#nowMs;
  }

  sleep(ms: number, signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      if (signal.aborted) return reject(signal.reason);
      const abort = () => {
        this.#sleepers = this.#sleepers.filter((other) => other !== sleeper);
        reject(signal.reason);
      };
      const wake = () => {
        signal.removeEventListener('abort', abort);
        resolve();
      };
      const sleeper = { wakeAtMs: this.#nowMs + Math.max(0, ms), wake };
      this.#sleepers.push(sleeper);
      signal.addEventListener('abort', abort, { once: true });
    });
  }

  /** How many sleeps are pending: zero proves that nothing was left behind. */
  get sleeping(): number {
    return this.#sleepers.length;
  }

  /** When the next sleeper wakes, epoch ms; undefined when none sleeps. */
  get nextWakeMs(): number | undefined {
    return this.#sleepers.length === 0 ? undefined : Math.min(...this.#sleepers.map((s) => s.wakeAtMs));
  }

  /** Somebody sets the time of day: who sleeps, sleeps as long as before. */
  set(nowMs: number): void {
    const byMs = nowMs - this.#nowMs;
    this.#nowMs = nowMs;
    this.#sleepers = this.#sleepers.map((each) => Object.assign(each, { wakeAtMs: each.wakeAtMs + byMs }));
  }

  /** Moves time on by `ms`, waking sleepers at their own instants, in order; what they start may sleep again. */
  async advance(ms: number): Promise<void> {
    const untilMs = this.#nowMs + ms;
    await settle();
    for (let next = this.#nextDue(untilMs); next; next = this.#nextDue(untilMs)) {
      this.#nowMs = next.wakeAtMs;
      this.#sleepers = this.#sleepers.filter((other) => other !== next);
      next.wake();
      await settle();
    }
    this.#nowMs = untilMs;
  }

  #nextDue(untilMs: number): Sleeper | undefined {
    return this.#sleepers
      .filter((sleeper) => sleeper.wakeAtMs <= untilMs)
      .sort((a, b) => a.wakeAtMs - b.wakeAtMs)[0];
  }
}
