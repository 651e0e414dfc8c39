import { formatBounded, formatPoint } from '../../controller/report/sentences.ts';
import type { TrialRecord } from '../../crds/trial-record.ts';

/** One kind against the job, as it is kept. */
export interface KindTrial {
  readonly trial: TrialRecord;
  /** As in the manifest; absent for an instant kind. */
  readonly hold?: string;
  readonly managers: number;
  readonly about: string;
}

/** Markdown: a row per kind, in the order given, and what there is to say of single ones. */
export function table(trials: readonly KindTrial[]): string {
  const days = [...new Set(trials.map(({ trial }) => trial.startedAt.slice(0, 10)))].sort();
  const abouts = [...new Set(trials.map(({ about }) => about))].join(' or ');
  const settings = [...new Set(trials.map(({ trial }) => settingsOf(trial)))].join('; or ');
  const head = [
    'kind',
    'target',
    'hold',
    'ended',
    'verdict',
    'detection',
    'stall',
    'recovery',
    'after the heal',
    'redundancy',
  ];
  const rows = trials.map(({ trial, hold, managers }) => {
    const back = formatPoint('redundancy', trial);
    const { kind, targets, outcome, verdict, afterHeal, redundancy } = trial;
    return [
      `${kind}${managers > 1 ? ` (${managers} managers)` : ''}`,
      targets.join(', '),
      hold ?? 'instant',
      outcome,
      verdict ? `${verdict.recovery}, ${verdict.correctness}` : '-',
      ...(['detection', 'stall', 'recovery'] as const).map((name) => formatPoint(name, trial)),
      afterHeal?.recovery ? formatBounded(afterHeal.recovery) : '-',
      back === '-' && redundancy ? redundancy : back,
    ];
  });
  const messages = trials.flatMap(({ trial: { kind, message } }) =>
    message ? [`- ${kind}: ${message}`] : [],
  );
  return [
    `${[...new Set([days[0], days.at(-1)])].join(' to ')}; ${abouts}; ${settings}.`,
    '',
    ...[head, head.map(() => '---'), ...rows].map((cells) => `| ${cells.join(' | ')} |`),
    ...(messages.length > 0 ? ['', ...messages] : []),
  ]
    .join('\n')
    .concat('\n');
}

function settingsOf({ settings = {} }: TrialRecord): string {
  return Object.entries(settings)
    .map(([name, value]) => `${name} ${value}`)
    .join(', ');
}
