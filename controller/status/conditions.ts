import type { Condition } from '../../crds/status.ts';
import type { ConditionReason, ConditionType } from './condition-vocabulary.ts';

/** A condition as its observer states it, in the fixed vocabulary; the time is filled in by `setCondition`. */
export interface ConditionUpdate {
  readonly type: ConditionType;
  readonly status: Condition['status'];
  readonly reason: ConditionReason;
  /** One sentence for people. */
  readonly message: string;
  readonly observedGeneration: number;
}

/**
 * Adds or replaces the condition of its type, with the semantics of metav1.Condition: `lastTransitionTime` moves only when
 * `status` does, not with reason or message. A condition that is absent counts as `Unknown`.
 */
export function setCondition(
  conditions: readonly Condition[],
  update: ConditionUpdate,
  nowMs: number,
): Condition[] {
  const current = findCondition(conditions, update.type);
  const changed = current?.status !== update.status;
  const lastTransitionTime = changed ? new Date(nowMs).toISOString() : current.lastTransitionTime;
  const next = { ...update, lastTransitionTime };
  if (!current) return [...conditions, next];
  return conditions.map((condition) => (condition === current ? next : condition));
}

/** Takes a condition away: `Reconciling` and `Stalled` are absent, not False, when all is well (kstatus). */
export function removeCondition(conditions: readonly Condition[], type: ConditionType): Condition[] {
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
