import type { ClusterStatus, Drift, ScheduleStatus } from '../../crds/status.ts';
import { readRunJournal } from '../status/run-journal.ts';
import { answer, type CliContext, type ExitCode, formatTable } from './cli-context.ts';
import { formatTrials, trialsOf } from './get.ts';
import { readState } from './read-state.ts';

/** `controller describe NAME`: conditions, events, trials and unfinished runs of the resources of that name. */
export async function describe(context: CliContext, name: string): Promise<ExitCode> {
  const { clusters, schedules } = await readState(context.stateDir);
  const { runs } = await readRunJournal(context.stateDir);
  const cluster = clusters.get(name);
  const schedule = schedules.get(name);
  if (!cluster && !schedule) {
    context.note(`nothing is known of ${name}`);
    return 1;
  }
  const open = runs.filter(
    (run) => run.outcome === undefined && (run.schedule === name || run.cluster === name),
  );
  const described = {
    name,
    ...(cluster && { cluster }),
    ...(schedule && { schedule }),
    unfinishedRuns: open,
  };
  answer(context, described, () =>
    [
      ...(cluster ? clusterLines(name, cluster) : []),
      ...(schedule ? scheduleLines(name, schedule) : []),
      ...open.map((run) => `Unfinished run ${run.runId}: ${run.phase}`),
    ].join('\n'),
  );
  return 0;
}

function clusterLines(name: string, status: ClusterStatus): string[] {
  const { nodes, inventory } = status;
  return [
    `ClusterSpec ${name}`,
    `Nodes: ${nodes.ready} of ${nodes.desired} ready, ${nodes.managers} managers${unreachable(nodes.unreachable)}`,
    ...Object.entries(nodes.trustedOnFirstUse ?? {}).map(
      ([node, key]) => `Trusted at first use: ${node} ${key}`,
    ),
    `Stacks: ${inventory.stacks.join(', ') || 'none'}; ${inventory.services.length} services`,
    ...Object.entries(status.rollouts ?? {}).map(
      ([service, { state, revision, message }]) =>
        `Rollout of ${service}: ${state}, revision ${revision}${message === undefined ? '' : `: ${message}`}`,
    ),
    ...driftLines(status.drift ?? []),
    ...commonLines(status),
  ];
}

function driftLines(drift: readonly Drift[]): string[] {
  if (drift.length === 0) return [];
  const rows = drift.map(({ target, field = '', want = '', have = '', step }) => [
    target,
    field,
    have,
    want,
    step,
  ]);
  return ['Left as it is:', formatTable(['TARGET', 'FIELD', 'HAVE', 'WANT', 'STEP'], rows)];
}

function unreachable(names: readonly string[]): string {
  return names.length === 0 ? '' : `, unreachable: ${names.join(', ')}`;
}

function scheduleLines(name: string, status: ScheduleStatus): string[] {
  const trials = trialsOf([name, status]);
  return [
    `FaultSchedule ${name}`,
    `Seed: ${status.seed ?? 'not drawn yet'}`,
    ...commonLines(status),
    'Trials:',
    trials.length === 0 ? '  none' : formatTrials(trials),
    ...trials.filter(({ message }) => message).map(({ number, message }) => `Trial ${number}: ${message}`),
  ];
}

function commonLines({ conditions, events }: Pick<ClusterStatus, 'conditions' | 'events'>): string[] {
  const conditionRows = conditions.map(({ type, status, reason, lastTransitionTime, message }) => [
    type,
    status,
    reason,
    lastTransitionTime,
    message,
  ]);
  const eventRows = (events ?? []).map(({ type, reason, count, lastTimestamp, message }) => [
    type,
    reason,
    `${count}`,
    lastTimestamp,
    message,
  ]);
  return [
    'Conditions:',
    formatTable(['TYPE', 'STATUS', 'REASON', 'SINCE', 'MESSAGE'], conditionRows),
    'Events:',
    eventRows.length === 0
      ? '  none'
      : formatTable(['TYPE', 'REASON', 'COUNT', 'LAST', 'MESSAGE'], eventRows),
  ];
}
