import type { ClusterStatus, Condition, ScheduleStatus } from '../../crds/status.ts';
import type { TrialRecord } from '../../crds/trial-record.ts';
import { trialFigures } from '../report/report.ts';
import { formatPoint } from '../report/sentences.ts';
import { findCondition } from '../status/conditions.ts';
import { answer, type CliContext, type ExitCode, formatTable } from './cli-context.ts';
import { readState } from './read-state.ts';

/** What `get` can list. */
export const GET_KINDS = ['clusters', 'schedules', 'trials'] as const;
export type GetKind = (typeof GET_KINDS)[number];

/** `controller get clusters|schedules|trials [name]`: what the status files say now. */
export async function get(context: CliContext, kind: GetKind, name: string | undefined): Promise<ExitCode> {
  const { clusters, schedules, unreadable } = await readState(context.stateDir);
  for (const { path, problem } of unreadable) context.note(`${path}: ${problem}`);
  const all: ReadonlyMap<string, unknown> = kind === 'clusters' ? clusters : schedules;
  const isMissing = name !== undefined && !all.has(name);
  if (isMissing) context.note(`nothing is known of ${name}`);
  const named = <S>(statuses: ReadonlyMap<string, S>) =>
    [...statuses].filter(([key]) => name === undefined || key === name);
  switch (kind) {
    case 'clusters':
      answer(context, named(clusters).map(withName), formatClusters);
      break;
    case 'schedules':
      answer(context, named(schedules).map(withName), formatSchedules);
      break;
    case 'trials':
      answer(context, named(schedules).flatMap(trialsOf), formatTrials);
      break;
    default:
      kind satisfies never;
  }
  return unreadable.length > 0 || isMissing ? 1 : 0;
}

/** A trial with the name of its schedule, as `get trials` answers. */
type NamedTrial = { readonly schedule: string } & TrialRecord;

/** The trials of a schedule, each with its name. */
export function trialsOf([schedule, { trials }]: readonly [
  string,
  Pick<ScheduleStatus, 'trials'>,
]): NamedTrial[] {
  return trials.map((trial) => ({ schedule, ...trial }));
}

type Named<S> = { readonly name: string } & S;

function withName<S extends object>([name, status]: readonly [string, S]): Named<S> {
  return { name, ...status };
}

function formatClusters(clusters: readonly Named<ClusterStatus>[]): string {
  const rows = clusters.map(({ name, conditions, nodes }) => {
    const ready = findCondition(conditions, 'Ready');
    return [
      name,
      ready?.status ?? 'Unknown',
      ready?.reason ?? '',
      `${nodes.ready}/${nodes.desired}`,
      ready?.message ?? '',
    ];
  });
  return formatTable(['NAME', 'READY', 'REASON', 'NODES', 'MESSAGE'], rows);
}

function formatSchedules(schedules: readonly Named<ScheduleStatus>[]): string {
  const rows = schedules.map(({ name, conditions, trials }) => {
    const [state, reason] = scheduleState(conditions);
    return [name, state, reason, `${trials.filter(({ finishedAt }) => finishedAt).length}`];
  });
  return formatTable(['NAME', 'STATE', 'REASON', 'TRIALS'], rows);
}

/** The one word for a schedule, out of its conditions: what is wrong before what is over before what goes on. */
function scheduleState(conditions: readonly Condition[]): readonly [string, string] {
  const held = (['Stalled', 'Complete', 'Active'] as const).map((type) => findCondition(conditions, type));
  const first = held.find((condition) => condition?.status === 'True');
  return first ? [first.type, first.reason] : ['Waiting', findCondition(conditions, 'Active')?.reason ?? ''];
}

/** A row per trial with the figures that people came for; each figure carries its error bound. */
export function formatTrials(trials: readonly NamedTrial[]): string {
  const rows = trials.map(({ schedule, ...trial }) => [
    schedule,
    `${trial.number}`,
    trial.fault,
    trial.targets.join(','),
    trial.outcome,
    trial.verdict ? `${trial.verdict.recovery}, ${trial.verdict.correctness}` : '-',
    ...trialFigures.map((name) => formatPoint(name, trial)),
  ]);
  const head = [
    'SCHEDULE',
    'TRIAL',
    'FAULT',
    'TARGETS',
    'OUTCOME',
    'VERDICT',
    'DETECTION',
    'STALL',
    'RECOVERY',
    'REDUNDANCY',
  ];
  return formatTable(head, rows);
}
