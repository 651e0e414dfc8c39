/** What the loop must know of a resource: the name under which it is queued and which edit of it this is. */
export interface LoopResource {
  /** `<Kind>/<name>`. */
  readonly key: string;
  /** Grows with each edit of the spec: a newer one aborts the pass in progress. */
  readonly generation: number;
  /** True once the manifest is gone: the pass destroys what the resource owns instead of making it. */
  readonly deleting: boolean;
}

export interface ReconcileResult {
  /** Look again in so many ms: for waiting on something that will not tell. */
  readonly requeueAfterMs?: number;
  /** For a `deleting` resource only: nothing of it is left, so the loop may drop it. */
  readonly finalized?: boolean;
}

/**
 * Makes the world match one kind of resource.
 *
 * - A pass gets the resource as it is *now*, never an event: it observes everything anew and acts on the difference,
 *   so a missed or merged event costs nothing. It must be safe to run at any time, any number of times.
 * - The loop never runs two passes over one key at once.
 * - `signal` aborts when a newer generation arrives or the process ends: leave at the next safe point, by throwing.
 *   A pass that ignores it delays the newer one.
 * - With `deleting` set, the same function undoes instead: it returns `finalized: true` when the world holds nothing of
 *   the resource any more, and is called again (by retry or `requeueAfterMs`) until then.
 * - Throw for what may mend itself (retried with backoff), a `TerminalError` for what only an edit can mend
 *   (not retried: the edit brings a new pass). A pass never awaits something that a person waits for, such as a fault
 *   run: start it, come back, read it.
 */
export interface Reconciler<R extends LoopResource> {
  readonly kind: string;
  reconcile(resource: R, signal: AbortSignal): Promise<ReconcileResult>;
}

/** Where the loop reads resources: answers for the present moment, from memory. */
export interface LoopResources<R extends LoopResource> {
  /** The current resource; undefined when there is none of that key (any more). */
  get(key: string): R | undefined;
  /** Drops a resource whose deletion is complete; called only while it is still `deleting`, at the same generation. */
  finalized(key: string): void;
}

/** Only an edit of the manifest can help: reported and counted, never retried. */
export class TerminalError extends Error {
  readonly code = 'TERMINAL';
  constructor(message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'TerminalError';
  }
}
