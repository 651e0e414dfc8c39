/** Something that happened to one object, for people; equal ones are counted, not repeated. */
export interface ObjectEvent {
  readonly type: 'Normal' | 'Warning';
  /** CamelCase, one per situation. */
  readonly reason: string;
  readonly message: string;
  readonly count: number;
  /** RFC 3339. */
  readonly firstTime: string;
  readonly lastTime: string;
}

export type NewEvent = Pick<ObjectEvent, 'type' | 'reason' | 'message'>;

/** How many different events an object keeps: what fits on a screen of `describe`. */
const RING_SIZE = 32;

/** Adds an event, newest last; an equal one is counted and moves to the end; the oldest beyond the ring are dropped. */
export function addEvent(
  ring: readonly ObjectEvent[],
  event: NewEvent,
  nowMs: number,
): readonly ObjectEvent[] {
  const time = new Date(nowMs).toISOString();
  const same = ring.find((old) => isSame(old, event));
  const { type, reason, message } = event;
  const added = {
    type,
    reason,
    message,
    count: (same?.count ?? 0) + 1,
    firstTime: same?.firstTime ?? time,
    lastTime: time,
  };
  return [...ring.filter((old) => old !== same), added].slice(-RING_SIZE);
}

function isSame(a: NewEvent, b: NewEvent): boolean {
  return a.type === b.type && a.reason === b.reason && a.message === b.message;
}

/** The events of all objects, by key, while the process lives; what `describe` shows is saved with the status. */
export class EventRecorder {
  readonly #rings = new Map<string, readonly ObjectEvent[]>();
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
  list(key: string): readonly ObjectEvent[] {
    return this.#rings.get(key) ?? [];
  }

  forget(key: string): void {
    this.#rings.delete(key);
  }
}
