import type { Condition, ObjectEvent } from '../../crds/status.ts';
import type { ConditionReason } from './condition-vocabulary.ts';

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

/** What is a part of every life; any other reason is a warning. */
const usual: ReadonlySet<string> = new Set<ConditionReason>([
  ...(['Valid', 'Fetched', 'Converged', 'Progressing', 'JoinPending', 'TasksNotRunning'] as const),
  ...(['DependencyNotReady', 'NotLeading', 'HeldByTrial', 'Suspended', 'Deleting', 'Waiting'] as const),
  ...(['WaitingForCluster', 'WaitingForLease', 'Running', 'RunElsewhere', 'Idle', 'Finished'] as const),
]);

/** An event for each condition with another status or reason than before, under that reason. Two that say the same are one. */
export function addTransitions(
  ring: readonly ObjectEvent[],
  before: readonly Condition[],
  after: readonly Condition[],
  nowMs: number,
): ObjectEvent[] {
  const changed = after.filter(({ type, status, reason }) => {
    const old = before.find((condition) => condition.type === type);
    // What these would say, the other conditions do.
    return type !== 'Reconciling' && reason !== 'Idle' && (old?.status !== status || old.reason !== reason);
  });
  const told = changed.map(({ reason, message }): NewEvent => {
    return { type: usual.has(reason) ? 'Normal' : 'Warning', reason, message };
  });
  return told
    .filter((event, index) => told.findIndex((other) => isSame(other, event)) === index)
    .reduce<ObjectEvent[]>((all, event) => addEvent(all, event, nowMs), [...ring]);
}
