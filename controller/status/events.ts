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
