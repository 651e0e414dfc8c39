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
  readonly #onSettled: (key: string) => void;

  constructor(onSettled: (key: string) => void) {
    this.#onSettled = onSettled;
  }

  /** Starts `run` unless the key has one already. `run` reports its own failures: a rejection is a bug, but no crash. */
  start(key: string, generation: number, run: (signal: AbortSignal) => Promise<void>): void {
    if (this.#active.has(key)) return;
    const abort = new AbortController();
    const settled = run(abort.signal)
      .catch(() => undefined)
      .finally(() => {
        this.#active.delete(key);
        this.#onSettled(key);
      });
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
