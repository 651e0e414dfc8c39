import { formatProblem } from '../../crds/problem.ts';
import type { Condition, ScheduleStatus } from '../../crds/status.ts';
import type { StoredResource } from '../source/resource-store.ts';
import { stateReason } from '../status/condition-vocabulary.ts';
import { type ConditionUpdate, findCondition, setCondition } from '../status/conditions.ts';
import { addTransitions } from '../status/events.ts';
import type { StateError } from '../status/state-error.ts';

type Statement = Omit<ConditionUpdate, 'observedGeneration'>;

/** The status with these statements made about a generation; what they say anew is added to its events. */
export function withConditions(
  status: ScheduleStatus,
  generation: number,
  statements: readonly Statement[],
  nowMs: number,
): ScheduleStatus {
  const conditions = statements.reduce<readonly Condition[]>(
    (all, statement) => setCondition(all, { ...statement, observedGeneration: generation }, nowMs),
    status.conditions,
  );
  const events = addTransitions(status.events ?? [], status.conditions, conditions, nowMs);
  return { ...status, conditions: [...conditions], events };
}

/** Whether the last run has closed its books. */
export function isClosed({ conditions }: ScheduleStatus): boolean {
  return findCondition(conditions, 'Complete') !== undefined;
}

/** Whether the manifest as it is now is in force, and why not. */
export function acceptance({ problems }: Pick<StoredResource, 'problems'>): Statement {
  if (problems.length === 0)
    return { type: 'Accepted', status: 'True', reason: 'Valid', message: 'the manifest is in force' };
  const message = problems.map(formatProblem).join('; ');
  return { type: 'Accepted', status: 'False', reason: 'InvalidManifest', message };
}

/** It would run if its cluster were Ready. */
export function waitingFor(cluster: string): Statement {
  const message = `cluster ${cluster} is not Ready`;
  return { type: 'Active', status: 'False', reason: 'WaitingForCluster', message };
}

/** Another operator acts on its cluster. */
export function leftTo(whom: string): Statement {
  return {
    ...{ type: 'Active', status: 'False', reason: 'WaitingForLease' },
    message: `its cluster is left to ${whom}`,
  };
}

/** A run has been started. */
export const running: Statement = {
  type: 'Active',
  status: 'True',
  reason: 'Running',
  message: 'a run is in progress',
};

/** A run was cut off and what it injected is not verified gone: nothing else happens until it is. */
export function healing(targets: readonly string[]): readonly Statement[] {
  const message = `a run was cut off, and is healed first: ${targets.join(', ')}`;
  return [{ type: 'Active', status: 'True', reason: 'Healing', message }, notHealed(targets)];
}

/** The run is over, and how it ended. */
export function ended(
  reason: 'Finished' | 'Aborted' | 'Refused' | 'RunElsewhere',
  message: string,
): readonly Statement[] {
  return [
    { type: 'Active', status: 'False', reason: 'Idle', message: 'no run is in progress' },
    { type: 'Complete', status: 'True', reason, message },
  ];
}

/** A fault may still be in force. */
export function notHealed(targets: readonly string[]): Statement {
  const message = `not healed: ${targets.join(', ')}`;
  return { type: 'Stalled', status: 'True', reason: 'FaultNotHealed', message };
}

/** What happens cannot be kept on the disk. */
export function stateUnusable(error: StateError): Statement {
  return { type: 'Stalled', status: 'True', reason: stateReason(error), message: error.message };
}

/** As they are once the disk takes what is written. */
export function withoutStateTrouble(conditions: readonly Condition[]): Condition[] {
  return conditions.filter(({ reason }) => !reason.startsWith('StateDirectory'));
}
