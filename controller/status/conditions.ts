import type { ConditionReason, ConditionType } from './condition-vocabulary.ts';

/** An observation with the semantics of metav1.Condition; a condition that is absent counts as `Unknown`. */
export interface Condition {
  readonly type: ConditionType;
  readonly status: 'True' | 'False' | 'Unknown';
  readonly reason: ConditionReason;
  /** One sentence for people. */
  readonly message: string;
  /** The generation that this observation is about. */
  readonly observedGeneration: number;
  /** RFC 3339; when `status` (not reason or message) last changed. */
  readonly lastTransitionTime: string;
}

/** A condition as its observer states it; the time is filled in by `setCondition`. */
export type ConditionUpdate = Omit<Condition, 'lastTransitionTime'>;

/** Adds or replaces the condition of its type in place; `lastTransitionTime` moves only when `status` does. */
export function setCondition(
  conditions: readonly Condition[],
  update: ConditionUpdate,
  nowMs: number,
): readonly Condition[] {
  const current = findCondition(conditions, update.type);
  const changed = current?.status !== update.status;
  const lastTransitionTime = changed ? new Date(nowMs).toISOString() : current.lastTransitionTime;
  const next = { ...update, lastTransitionTime };
  if (!current) return [...conditions, next];
  return conditions.map((condition) => (condition === current ? next : condition));
}

/** Takes a condition away: `Reconciling` and `Stalled` are absent, not False, when all is well (kstatus). */
export function removeCondition(conditions: readonly Condition[], type: ConditionType): readonly Condition[] {
  return conditions.filter((condition) => condition.type !== type);
}

/** The condition of that type, if it was observed. */
export function findCondition(conditions: readonly Condition[], type: ConditionType): Condition | undefined {
  return conditions.find((condition) => condition.type === type);
}

/** Whether the condition is `True`, and about this generation: an old observation proves nothing about a new spec. */
export function isTrue(conditions: readonly Condition[], type: ConditionType, generation: number): boolean {
  const condition = findCondition(conditions, type);
  return condition?.status === 'True' && condition.observedGeneration >= generation;
}
