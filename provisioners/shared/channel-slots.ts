/** Who asks for a channel: ordinary scripts, long-lived dials, or healing, which may take the last one. */
export type Lane = 'work' | 'dial' | 'heal';

/** sshd allows ten sessions a connection by default; two stay unused, because it frees a closed one late. */
const ceilings: Readonly<Record<Lane, number>> = { work: 7, dial: 7, heal: 8 };
/** Dials stay open for long: without a ceiling of their own they would starve the scripts. */
const maxDials = 4;

interface Waiter {
  readonly lane: Lane;
  readonly grant: () => void;
}

/** Counts the session channels of one connection, and keeps the eighth free for healing. */
export class ChannelSlots {
  #used = 0;
  #dials = 0;
  #waiting: Waiter[] = [];

  /** Resolves with the function that gives the slot back (calling it twice does no harm). */
  acquire(lane: Lane, signal: AbortSignal): Promise<() => void> {
    if (signal.aborted) return Promise.reject(signal.reason as Error);
    return new Promise((resolve, reject) => {
      const waiter: Waiter = {
        lane,
        grant: () => {
          signal.removeEventListener('abort', leave);
          resolve(this.#take(lane));
        },
      };
      const leave = () => {
        this.#waiting = this.#waiting.filter((other) => other !== waiter);
        reject(signal.reason as Error);
      };
      signal.addEventListener('abort', leave, { once: true });
      this.#waiting.push(waiter);
      this.#grantWaiting();
    });
  }

  #mayTake(lane: Lane): boolean {
    return this.#used < ceilings[lane] && (lane !== 'dial' || this.#dials < maxDials);
  }

  #take(lane: Lane): () => void {
    this.#used += 1;
    if (lane === 'dial') this.#dials += 1;
    let held = true;
    return () => {
      if (!held) return;
      held = false;
      this.#used -= 1;
      if (lane === 'dial') this.#dials -= 1;
      this.#grantWaiting();
    };
  }

  #grantWaiting(): void {
    for (const waiter of [...this.#waiting]) {
      if (!this.#mayTake(waiter.lane)) continue;
      this.#waiting = this.#waiting.filter((other) => other !== waiter);
      waiter.grant();
    }
  }
}
