import type { FaultSchedule } from '../../crds/fault-schedule.ts';
import type { ScheduleStatus } from '../../crds/status.ts';
import type { RunRecord } from '../../state-machines/contract.ts';
import type { StoredResource } from '../source/resource-store.ts';
import { findCondition, removeCondition } from '../status/conditions.ts';
import { ended, notHealed, withConditions } from './schedule-conditions.ts';
import { interruptedTrial } from './to-trial-record.ts';

/**
 * The status of a run that was started and is not active any more without having closed its books: the process was
 * killed in it. Trials that it did not live to record are taken from the journal.
 */
export function closeInterrupted(
  status: ScheduleStatus,
  journal: readonly RunRecord[],
  { name, generation }: Pick<StoredResource, 'name' | 'generation'>,
  schedule: FaultSchedule,
  nowMs: number,
): ScheduleStatus {
  const { trials, conditions } = status;
  const recorded = new Set(trials.map(({ runId }) => runId));
  const startedMs = Date.parse(findCondition(conditions, 'Active')?.lastTransitionTime ?? '') || 0;
  const cutOff = journal.filter(
    ({ runId, atMs }) =>
      runId.startsWith(`${name}-${generation}-`) && !recorded.has(runId) && atMs >= startedMs,
  );
  const added = cutOff.map((run, index) =>
    interruptedTrial(run, status, schedule, trials.length + index + 1),
  );
  const message = 'the run was cut off before it was recorded; what it had injected was healed';
  const closed = { ...status, trials: [...trials, ...added] };
  return withConditions(closed, generation, ended('Aborted', message), nowMs);
}

/** The status of a run that left a fault in force, once the journal is asked again: Stalled until nothing is left. */
export function settleStuck(
  status: ScheduleStatus,
  journal: readonly RunRecord[],
  generation: number,
  nowMs: number,
): ScheduleStatus {
  const outcomes = new Map(journal.map(({ runId, outcome }) => [runId, outcome]));
  const trials = status.trials.map((trial) =>
    trial.outcome === 'Stuck' ? { ...trial, outcome: outcomes.get(trial.runId) ?? 'Stuck' } : trial,
  );
  const stuck = trials.filter(({ outcome }) => outcome === 'Stuck').flatMap(({ targets }) => targets);
  const settled = { ...status, trials, conditions: removeCondition(status.conditions, 'Stalled') };
  return stuck.length === 0
    ? settled
    : withConditions({ ...status, trials }, generation, [notHealed(stuck)], nowMs);
}
