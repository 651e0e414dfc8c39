import { randomUUID } from 'node:crypto';
import type { Clock } from '../../state-machines/contract.ts';
import { type LoopResource, type LoopResources, type Reconciler, TerminalError } from './reconciler.ts';
import { WorkQueue, type WorkQueueMetrics } from './work-queue.ts';

/** How a pass ended, in controller-runtime's words for `controller_runtime_reconcile_total`. */
export type ReconcileOutcome =
  | 'success'
  | 'requeue_after'
  | 'error'
  | 'panic'
  | 'timeout'
  | 'terminal_error'
  | 'superseded';

export interface ReconcileMetrics {
  started(): void;
  finished(outcome: ReconcileOutcome, seconds: number): void;
}

/** The logging that the loop needs: `within` adds fields to every line that `work` logs, however deep. */
interface LoopLog {
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
  debug(fields: object, message: string): void;
  within<T>(fields: Readonly<Record<string, string>>, work: () => T): T;
}

export interface ControlLoopOptions<R extends LoopResource> {
  readonly reconciler: Reconciler<R>;
  readonly resources: LoopResources<R>;
  readonly clock: Clock;
  readonly log: LoopLog;
  /** Keys worked on at the same time; never the same key twice. */
  readonly workers?: number;
  /** A pass that takes longer is aborted and tried again: what it waits for may never come. None: for ever. */
  readonly passLimitMs?: number;
  readonly metrics?: { readonly queue: WorkQueueMetrics; readonly reconcile: ReconcileMetrics };
  readonly random?: () => number;
}

interface Pass {
  readonly generation: number;
  readonly deleting: boolean;
  readonly abort: AbortController;
  /** Its limit has passed. */
  isLate: boolean;
  /** It goes on although it was aborted for that. */
  isStuck: boolean;
}

/** How long a pass whose limit has passed may take to leave. */
const leaveMs = 60_000;

type Settled =
  | { readonly outcome: 'success' }
  | { readonly outcome: 'requeue_after'; readonly requeueAfterMs: number }
  | { readonly outcome: 'error' | 'panic' | 'timeout' | 'terminal_error'; readonly error: unknown }
  | { readonly outcome: 'superseded' };

/** Takes keys of one kind, gives its reconciler the current resource, and acts on the outcome. */
export class ControlLoop<R extends LoopResource> {
  readonly #options: ControlLoopOptions<R>;
  readonly #queue: WorkQueue;
  readonly #passes = new Map<string, Pass>();
  #hasEnded = false;

  constructor(options: ControlLoopOptions<R>) {
    const { clock, random, metrics } = options;
    this.#options = options;
    this.#queue = new WorkQueue({
      clock,
      ...(random && { random }),
      ...(metrics && { metrics: metrics.queue }),
    });
  }

  /** Something about `key` may have changed; a pass over an older edit of it is aborted. Any hint will do. */
  add(key: string): void {
    this.#queue.add(key);
    const pass = this.#passes.get(key);
    if (pass && this.#isStale(key, pass)) pass.abort.abort(new Error('a newer edit replaced this one'));
  }

  /** Asks for a pass in `delayMs`. */
  addAfter(key: string, delayMs: number): void {
    this.#queue.addAfter(key, delayMs);
  }

  /** Works until the signal; then aborts the passes in progress and resolves when each has returned. */
  async run(signal: AbortSignal): Promise<void> {
    const stop = () => {
      void this.#queue.shutDown();
      for (const pass of this.#passes.values()) pass.abort.abort(signal.reason);
    };
    if (signal.aborted) stop();
    signal.addEventListener('abort', stop, { once: true });
    const workers = Array.from({ length: this.#options.workers ?? 1 }, () => this.#work(signal));
    try {
      await Promise.all(workers);
    } finally {
      this.#hasEnded = !signal.aborted;
    }
  }

  /** Why this loop does not do its work any more, and will not by itself; undefined as long as it does. */
  trouble(): string | undefined {
    if (this.#hasEnded) return 'the loop has ended';
    const stuck = [...this.#passes].filter(([, pass]) => pass.isStuck).map(([key]) => key);
    return stuck.length === 0 ? undefined : `stuck: ${stuck.join(', ')}`;
  }

  async #work(signal: AbortSignal): Promise<void> {
    for (let key = await this.#queue.get(); key !== undefined; key = await this.#queue.get()) {
      if (!signal.aborted) await this.#pass(key, signal);
      this.#queue.done(key);
    }
  }

  async #pass(key: string, signal: AbortSignal): Promise<void> {
    const resource = this.#options.resources.get(key);
    if (!resource) {
      this.#queue.forget(key); // gone: a later resource of that name starts afresh
      return;
    }
    const { metrics, clock, log, reconciler } = this.#options;
    const startedMs = clock.now();
    metrics?.reconcile.started();
    const fields = { kind: reconciler.kind, key, reconcileId: randomUUID() };
    await log.within(fields, async () => {
      const settled = await this.#reconcile(resource, signal);
      metrics?.reconcile.finished(settled.outcome, (clock.now() - startedMs) / 1000);
      this.#settle(key, settled);
    });
  }

  async #reconcile(resource: R, signal: AbortSignal): Promise<Settled> {
    const { key, generation, deleting } = resource;
    const pass: Pass = { generation, deleting, abort: new AbortController(), isLate: false, isStuck: false };
    this.#passes.set(key, pass);
    const returned = new AbortController();
    this.#watch(pass, returned.signal);
    try {
      const result = await this.#options.reconciler.reconcile(resource, pass.abort.signal);
      if (result.finalized && deleting && !this.#isStale(key, pass)) this.#options.resources.finalized(key);
      const { requeueAfterMs } = result;
      return requeueAfterMs === undefined
        ? { outcome: 'success' }
        : { outcome: 'requeue_after', requeueAfterMs };
    } catch (error) {
      if (pass.abort.signal.aborted && (signal.aborted || this.#isStale(key, pass)))
        return { outcome: 'superseded' };
      if (pass.isLate) return { outcome: 'timeout', error };
      if (error instanceof TerminalError) return { outcome: 'terminal_error', error };
      return { outcome: isMistake(error) ? 'panic' : 'error', error };
    } finally {
      returned.abort();
      this.#passes.delete(key);
    }
  }

  /** By timers, not by the time of day: who sets the clock makes no pass late. */
  #watch(pass: Pass, returned: AbortSignal): void {
    const { passLimitMs, clock } = this.#options;
    if (passLimitMs === undefined) return;
    const watch = async () => {
      await clock.sleep(passLimitMs, returned);
      pass.isLate = true;
      pass.abort.abort(new Error(`no pass may take longer than ${passLimitMs / 1000} s`));
      await clock.sleep(leaveMs, returned);
      pass.isStuck = true;
    };
    watch().catch(() => {}); // it returned in time
  }

  #settle(key: string, settled: Settled): void {
    const { log } = this.#options;
    if (!('error' in settled) || settled.outcome === 'terminal_error') this.#queue.forget(key);
    switch (settled.outcome) {
      case 'success':
        break;
      case 'requeue_after':
        this.#queue.addAfter(key, settled.requeueAfterMs);
        break;
      case 'superseded': // `add` has already asked for the next pass, or the process is ending
        log.debug({}, 'reconcile cut short');
        break;
      case 'terminal_error':
        log.error({ err: settled.error }, 'reconcile failed until the manifest is edited');
        break;
      case 'error':
      case 'panic':
      case 'timeout':
        log.warn({ err: settled.error, retryInMs: this.#queue.retry(key) }, 'reconcile failed');
        break;
      default:
        settled satisfies never;
    }
  }

  #isStale(key: string, pass: Pass): boolean {
    const current = this.#options.resources.get(key);
    return !current || current.generation !== pass.generation || current.deleting !== pass.deleting;
  }
}

/** What JavaScript throws when a program is wrong, whatever the world is like: a panic, in Go's words. */
function isMistake(error: unknown): boolean {
  const isOne = [TypeError, RangeError, ReferenceError].some((mistake) => error instanceof mistake);
  return isOne && (error as Error).cause === undefined; // `fetch` wraps what the network did in a TypeError
}
