import type { ObjectEvent } from '../../crds/status.ts';

/** What a reporter says; `reason` is one CamelCase word per situation. */
export type NewEvent = Readonly<Pick<ObjectEvent, 'type' | 'reason' | 'message'>>;

/** How many different events an object keeps: what fits on a screen of `describe`. */
const RING_SIZE = 32;

/** Adds an event, newest last; an equal one is counted and moves to the end; the oldest beyond the ring are dropped. */
export function addEvent(ring: readonly ObjectEvent[], event: NewEvent, nowMs: number): ObjectEvent[] {
  const time = new Date(nowMs).toISOString();
  const same = ring.find((old) => isSame(old, event));
  const { type, reason, message } = event;
  const added = {
    type,
    reason,
    message,
    count: (same?.count ?? 0) + 1,
    firstTimestamp: same?.firstTimestamp ?? time,
    lastTimestamp: time,
  };
  return [...ring.filter((old) => old !== same), added].slice(-RING_SIZE);
}

function isSame(a: NewEvent, b: NewEvent): boolean {
  return a.type === b.type && a.reason === b.reason && a.message === b.message;
}

/** The events of all objects, by key, while the process lives; what `describe` shows is saved with the status. */
export class EventRecorder {
  readonly #rings = new Map<string, ObjectEvent[]>();
  readonly #now: () => number;

  constructor(now: () => number) {
    this.#now = now;
  }

  /** `saved` are the events from the status file, once, at start. */
  restore(key: string, saved: readonly ObjectEvent[]): void {
    if (!this.#rings.has(key)) this.#rings.set(key, saved.slice(-RING_SIZE));
  }

  record(key: string, event: NewEvent): void {
    this.#rings.set(key, addEvent(this.list(key), event, this.#now()));
  }

  /** Newest last. */
  list(key: string): ObjectEvent[] {
    return this.#rings.get(key) ?? [];
  }

  forget(key: string): void {
    this.#rings.delete(key);
  }
}
