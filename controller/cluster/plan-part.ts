import type { ConditionReason } from '../status/condition-vocabulary.ts';
import type { LiveService } from '../swarm/swarm-types.ts';
import type { ClusterPlan, RemovalKind, Step, StepAction } from './cluster-plan.ts';

/** The plan of a part of the cluster: what it lacks is empty. */
export type PlanPart = Partial<ClusterPlan>;

/** One step; its id follows from what it does to which target. */
export function step(
  target: string,
  reason: string,
  after: readonly (Step | undefined)[],
  action: StepAction,
): Step {
  const ids = after.flatMap((earlier) => (earlier ? [earlier.id] : []));
  return { id: `${action.kind}/${target}`, target, reason, after: ids, ...action };
}

/** A step that removes an object from the swarm. */
export function removal(
  kind: RemovalKind,
  { id, name }: { readonly id: string; readonly name: string },
  reason: string,
  after: readonly (Step | undefined)[],
): Step {
  return step(name, reason, after, { kind, objectId: id });
}

/** Takes a service off the swarm, its tasks too: in this order. */
export function removeService({ ID, Spec }: LiveService, reason: string): readonly [Step, Step] {
  const remove = removal('remove-service', { id: ID, name: Spec.Name }, reason, []);
  const wait = { kind: 'await-tasks-gone', services: [ID] } as const;
  return [remove, step(Spec.Name, 'its tasks still use what they were given', [remove], wait)];
}

/** A plan of nothing but the problem that somebody else has taken a name. */
export function foreign(name: string, kind: 'service' | 'network'): PlanPart {
  const message = `a ${kind} of this name exists that this cluster's manifest did not make`;
  return problem(name, 'StackRefused', message);
}

/** A plan of nothing but one problem. */
export function problem(target: string, reason: ConditionReason, message: string): PlanPart {
  return { problems: [{ target, reason, message }] };
}

/** A plan of nothing but one thing to wait for. */
export function waiting(target: string, reason: ConditionReason, message: string): PlanPart {
  return { waiting: [{ target, reason, message }] };
}

/** A plan of nothing but one remark. */
export function note(target: string, reason: ConditionReason, message: string): PlanPart {
  return { notes: [{ target, reason, message }] };
}

/** Parts one after another. */
export function joinParts(parts: readonly PlanPart[]): ClusterPlan {
  return {
    steps: parts.flatMap(({ steps }) => steps ?? []),
    held: parts.flatMap(({ held }) => held ?? []),
    waiting: parts.flatMap(({ waiting }) => waiting ?? []),
    problems: parts.flatMap(({ problems }) => problems ?? []),
    notes: parts.flatMap(({ notes }) => notes ?? []),
  };
}
