import type { FaultSchedule } from '../../crds/fault-schedule.ts';
import type { ScheduleStatus } from '../../crds/status.ts';
import type { Clock, Outcome, RunJournal, RunRecord } from '../../state-machines/contract.ts';
import { gravest } from '../../state-machines/run-together.ts';
import type { TrialMetrics } from '../metrics/trial-metrics.ts';
import type { StoredResource } from '../source/resource-store.ts';
import { findCondition, removeCondition } from '../status/conditions.ts';
import { planCampaign } from './plan-campaign.ts';
import { ended, notHealed, withConditions } from './schedule-conditions.ts';
import { interruptedTrial } from './to-trial-record.ts';

/**
 * The status of a run that was started and is not active any more without having closed its books: the process was
 * killed in it. Trials that it did not live to record are taken from the journal; one that the journal does not know
 * had done nothing yet.
 */
export function recordInterrupted(
  status: ScheduleStatus,
  journal: readonly RunRecord[],
  { name, generation }: Pick<StoredResource, 'name' | 'generation'>,
  schedule: FaultSchedule,
): ScheduleStatus {
  const { trials, conditions } = status;
  const recorded = new Set(trials.map(({ runId }) => runId));
  const startedMs = Date.parse(findCondition(conditions, 'Active')?.lastTransitionTime ?? '') || 0;
  const cutOff = journal.filter(
    (run) =>
      run.runId.startsWith(`${name}-${generation}-`) && !recorded.has(trialOf(run)) && run.atMs >= startedMs,
  );
  const ids = [...new Set(cutOff.map(trialOf))];
  const added = ids.map((id, index) => {
    const runs = cutOff.filter((run) => trialOf(run) === id);
    return interruptedTrial(id, runs, status, schedule, trials.length + index + 1);
  });
  return { ...status, trials: [...trials, ...added] };
}

/** The books of a run that does not go on after its process was killed. */
export function closeInterrupted(status: ScheduleStatus, generation: number, nowMs: number): ScheduleStatus {
  const message = 'the run was cut off before it was recorded; what it had injected was healed';
  return withConditions(status, generation, ended('Aborted', message), nowMs);
}

/** Whether trials of the campaign are left that no process has begun; injections that nobody measures are not taken up. */
export function hasTrialsLeft({ seed = 0, trials }: ScheduleStatus, { spec }: FaultSchedule): boolean {
  const recorded = new Set(trials.map(({ number }) => number));
  return spec.preset !== 'none' && planCampaign(spec, seed).some(({ number }) => !recorded.has(number));
}

interface Books {
  readonly journal: RunJournal;
  readonly clock: Clock;
  readonly metrics: Pick<TrialMetrics, 'faultActive'>;
  readonly log: { info(fields: object, message: string): void };
}

/** Closes the unfinished runs of a cluster that was removed with its machines: what is on a machine that is left stays. */
export async function closeGone(
  cluster: string,
  left: readonly string[],
  { journal, clock, metrics, log }: Books,
): Promise<void> {
  const isGone = ({ steps }: RunRecord) => !steps.some(({ node }) => left.includes(node));
  const open = (await journal.unfinished()).filter((run) => run.cluster === cluster && isGone(run));
  const message = 'gone with its machines: the cluster was removed';
  const outcome = 'Aborted';
  for (const run of open) {
    await journal.write({ ...run, phase: 'healed', atMs: clock.now(), outcome, message });
    for (const { target } of run.steps) metrics.faultActive(run.schedule, run.fault, target, false);
    log.info({ runId: run.runId, outcome, message }, 'unfinished run closed');
  }
}

/** The trial that a run belongs to: that of its name, unless it is one of several faults. */
function trialOf({ runId, together = runId }: RunRecord): string {
  return together;
}

function outcomeOf(trial: string, journal: readonly RunRecord[]): Outcome {
  const runs = journal.filter((run) => trialOf(run) === trial);
  return gravest(runs.map(({ outcome = 'Stuck' }) => outcome)) ?? 'Stuck';
}

/** The status of a run that left a fault in force, once the journal is asked again: Stalled until nothing is left. */
export function settleStuck(
  status: ScheduleStatus,
  journal: readonly RunRecord[],
  generation: number,
  nowMs: number,
): ScheduleStatus {
  const trials = status.trials.map((trial) =>
    trial.outcome === 'Stuck' ? { ...trial, outcome: outcomeOf(trial.runId, journal) } : trial,
  );
  const stuck = trials.filter(({ outcome }) => outcome === 'Stuck').flatMap(({ targets }) => targets);
  const settled = { ...status, trials, conditions: removeCondition(status.conditions, 'Stalled') };
  return stuck.length === 0
    ? settled
    : withConditions({ ...status, trials }, generation, [notHealed(stuck)], nowMs);
}
