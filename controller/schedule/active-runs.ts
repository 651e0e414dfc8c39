interface Active {
  readonly generation: number;
  readonly abort: AbortController;
  readonly settled: Promise<void>;
}

/**
 * Owns the schedules that run now, so that no reconcile ever awaits a run: reconcile starts, aborts or looks, and
 * returns; `onSettled` hands the key back to the queue.
 */
export class ActiveRuns {
  readonly #active = new Map<string, Active>();
  readonly #onSettled: (key: string, error?: unknown) => void;

  /** `onSettled` gets the error of a run that rejected: it could not keep its status, or it has a bug. */
  constructor(onSettled: (key: string, error?: unknown) => void) {
    this.#onSettled = onSettled;
  }

  /** Starts `run` unless the key has one already. */
  start(key: string, generation: number, run: (signal: AbortSignal) => Promise<void>): void {
    if (this.#active.has(key)) return;
    const abort = new AbortController();
    const settle = (error?: unknown) => {
      this.#active.delete(key);
      this.#onSettled(key, error);
    };
    const settled = run(abort.signal).then(() => settle(), settle);
    this.#active.set(key, { generation, abort, settled });
  }

  /** The generation that runs now, if any. */
  generationOf(key: string): number | undefined {
    return this.#active.get(key)?.generation;
  }

  /** Asks a run to end; it heals first, so it goes on being active for a while. */
  abort(key: string, reason: string): void {
    this.#active.get(key)?.abort.abort(new Error(reason));
  }

  /** Aborts all and resolves when every one has healed and settled. */
  async stop(reason: string): Promise<void> {
    const all = [...this.#active.keys()];
    for (const key of all) this.abort(key, reason);
    await Promise.all([...this.#active.values()].map(({ settled }) => settled));
  }
}
