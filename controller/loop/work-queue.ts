import type { Clock } from '../../state-machines/contract.ts';

/** How a queue is at the moment. */
export interface WorkQueueState {
  /** Keys that wait for a worker. */
  readonly depth: number;
  /** How long each key in the hands of a worker has been there. */
  readonly ageSeconds: readonly number[];
}

/** What a queue reports about itself; names as in client-go's MetricsProvider. Durations in seconds. */
export interface WorkQueueMetrics {
  added(): void;
  retried(): void;
  queued(seconds: number): void;
  worked(seconds: number): void;
  /** Takes what tells how the queue is, whenever that is asked for: told at each change, it would cost more than the queue. */
  state(read: () => WorkQueueState): void;
}

export interface WorkQueueOptions {
  readonly clock: Clock;
  readonly metrics?: WorkQueueMetrics;
  /** Source of jitter, in [0, 1). */
  readonly random?: () => number;
}

/**
 * First retry after about 250 ms (a swarm's API answers in tens), doubling, at most 60 s (Crossplane's cap: what a
 * person mends is seen within a minute). client-go's 5 ms and 1000 s suit an API server, not machines over ssh.
 */
const BASE_DELAY_MS = 250;
const MAX_DELAY_MS = 60_000;
/** A fifth of the delay is random and taken off, so that keys that failed together do not return together. */
const JITTER = 0.2;

/** Delay before the retry that follows `failures` failures in a row (1 = the first): never above 60 s. */
export function retryDelayMs(failures: number, random: number): number {
  const fullMs = Math.min(MAX_DELAY_MS, BASE_DELAY_MS * 2 ** (failures - 1));
  return Math.round(fullMs * (1 - JITTER * random));
}

interface Delayed {
  readonly readyAtMs: number;
  readonly timer: AbortController;
}

/**
 * client-go's workqueue: a FIFO of keys in which each key waits at most once (`dirty`), is in the hands of at most one
 * worker (`processing`), and comes back after `done` when it was added meanwhile. Nothing that was added is lost.
 */
export class WorkQueue {
  readonly #clock: Clock;
  readonly #metrics: WorkQueueMetrics | undefined;
  readonly #random: () => number;
  readonly #fifo = new Fifo();
  /** Keys that need a pass, with the instant since when; those in processing are not in the FIFO yet. */
  readonly #dirty = new Map<string, number>();
  /** Keys in the hands of a worker, with the instant at which it took them. */
  readonly #processing = new Map<string, number>();
  readonly #delayed = new Map<string, Delayed>();
  readonly #failures = new Map<string, number>();
  /** Wakes one worker each; it may find that another was faster, and goes to sleep again. */
  readonly #idle: (() => void)[] = [];
  readonly #drainWaiters: (() => void)[] = [];
  #shuttingDown = false;

  constructor(options: WorkQueueOptions) {
    this.#clock = options.clock;
    this.#metrics = options.metrics;
    this.#random = options.random ?? Math.random;
    this.#metrics?.state(() => {
      const nowMs = this.#clock.now();
      const ages = [...this.#processing.values()].map((sinceMs) => (nowMs - sinceMs) / 1000);
      return { depth: this.length, ageSeconds: ages };
    });
  }

  /** Keys that wait for a worker now (delayed ones and those in processing are not counted). */
  get length(): number {
    return this.#fifo.length;
  }

  /** Asks for a pass over `key`; does nothing when one is already asked for, or after `shutDown`. */
  add(key: string): void {
    if (this.#shuttingDown || this.#dirty.has(key)) return;
    this.#metrics?.added();
    this.#dirty.set(key, this.#clock.now());
    if (!this.#processing.has(key)) this.#enqueue(key);
  }

  /** Adds `key` in `delayMs`; of several delays for one key the earliest wins. */
  addAfter(key: string, delayMs: number): void {
    if (this.#shuttingDown) return;
    this.#metrics?.retried();
    const readyAtMs = this.#clock.now() + delayMs;
    const earlier = this.#delayed.get(key);
    if (delayMs <= 0) this.add(key);
    else if (!earlier || readyAtMs < earlier.readyAtMs) {
      earlier?.timer.abort();
      this.#addAt(key, readyAtMs, delayMs);
    }
  }

  #addAt(key: string, readyAtMs: number, delayMs: number): void {
    const delayed = { readyAtMs, timer: new AbortController() };
    this.#delayed.set(key, delayed);
    this.#clock.sleep(delayMs, delayed.timer.signal).then(
      () => {
        if (this.#delayed.get(key) !== delayed) return; // replaced in the very moment of waking
        this.#delayed.delete(key);
        this.add(key);
      },
      () => {}, // only an earlier delay or shutDown aborts this sleep
    );
  }

  /** Adds `key` after a delay that doubles with each call until `forget`; gives that delay, ms. */
  retry(key: string): number {
    const failures = (this.#failures.get(key) ?? 0) + 1;
    this.#failures.set(key, failures);
    const delayMs = retryDelayMs(failures, this.#random());
    this.addAfter(key, delayMs);
    return delayMs;
  }

  /** The next `retry` of `key` starts from the shortest delay again. Takes nothing out of the queue. */
  forget(key: string): void {
    this.#failures.delete(key);
  }

  /** How often `key` failed since it was last forgotten. */
  failures(key: string): number {
    return this.#failures.get(key) ?? 0;
  }

  /** The next key, when there is one; undefined once the queue is shut down and empty. Call `done` for each key. */
  async get(): Promise<string | undefined> {
    while (this.#fifo.length === 0 && !this.#shuttingDown) {
      await new Promise<void>((wake) => this.#idle.push(wake));
    }
    return this.#fifo.length > 0 ? this.#take() : undefined;
  }

  /** The worker is through with `key`: if it was added meanwhile, it is queued now. */
  done(key: string): void {
    const startedMs = this.#processing.get(key);
    if (startedMs === undefined) return;
    this.#processing.delete(key);
    this.#metrics?.worked((this.#clock.now() - startedMs) / 1000);
    if (this.#dirty.has(key)) this.#enqueue(key);
    this.#tellWhenDrained();
  }

  /**
   * Takes no more keys and drops the delayed ones; what waits is still handed out. Resolves when all of it is done,
   * so somebody must go on calling `get` until it gives undefined.
   */
  shutDown(): Promise<void> {
    this.#shuttingDown = true;
    for (const { timer } of this.#delayed.values()) timer.abort();
    this.#delayed.clear();
    for (const wake of this.#idle.splice(0)) wake();
    return new Promise((resolve) => {
      this.#drainWaiters.push(resolve);
      this.#tellWhenDrained();
    });
  }

  #enqueue(key: string): void {
    this.#fifo.push(key);
    this.#idle.shift()?.();
  }

  #tellWhenDrained(): void {
    if (!this.#shuttingDown || this.#fifo.length > 0 || this.#processing.size > 0) return;
    for (const drained of this.#drainWaiters.splice(0)) drained();
  }

  #take(): string {
    const key = this.#fifo.shift()!;
    const nowMs = this.#clock.now();
    this.#metrics?.queued((nowMs - this.#dirty.get(key)!) / 1000);
    this.#dirty.delete(key);
    this.#processing.set(key, nowMs);
    return key;
  }
}

/** Keys in their order. An array's own `shift` moves all that are behind the first one: ten thousand, for each key. */
class Fifo {
  #keys: string[] = [];
  #taken = 0;

  get length(): number {
    return this.#keys.length - this.#taken;
  }

  push(key: string): void {
    this.#keys.push(key);
  }

  shift(): string | undefined {
    const key = this.#keys[this.#taken];
    if (key !== undefined) this.#taken++;
    if (this.#taken * 2 > this.#keys.length) {
      this.#keys = this.#keys.slice(this.#taken);
      this.#taken = 0;
    }
    return key;
  }
}
