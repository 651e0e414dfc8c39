import type { TrialRecord } from '../../crds/trial-record.ts';
import { type Arm, armsOf, type Campaign, type Comparison, type Report, trialFigures } from './report.ts';
import { formatErrors, formatPoint, formatProportion, formatSpread, plural } from './sentences.ts';

/** What goes into a README or a pull request: sentences first, then tables; ends in one line break. */
export function renderMarkdown(report: Report): string {
  const { campaigns, versions, writtenAt } = report;
  const blocks = [
    ...campaigns.flatMap(campaignBlocks),
    ...(campaigns.length > 1 ? comparedBlocks(report) : []),
    `Written ${writtenAt} by ${Object.entries(versions)
      .map(([name, version]) => `${name} ${version}`)
      .map(safe)
      .join(', ')}.`,
  ];
  return `${blocks.filter((block) => block !== '').join('\n\n')}\n`;
}

function campaignBlocks(campaign: Campaign): readonly string[] {
  const { schedule, arms, trials, notes, settings, calibration, plan, seed, controls } = campaign;
  const measured = [
    `preset ${schedule.spec.preset}`,
    plural(trials.length, 'trial'),
    seed !== undefined && `seed ${seed}`,
    calibration &&
      `theta ${calibration.thetaMs / 1000} s from ${Math.round(calibration.durationMs / 1000)} s of calibration`,
    `T_max ${plan.maxRecoveryMs / 1000} s`,
    controls.judged > 0 && `${controls.violated} of ${controls.judged} controls with a violation`,
  ];
  return [
    `## ${safe(schedule.metadata.name)}`,
    `Cluster ${safe(schedule.spec.clusterRef.name)}; ${measured.filter(Boolean).join(', ')}.`,
    list(arms.map(({ headline }) => `**${safe(headline)}**`)),
    list(notes.map(safe)),
    table(armHead, arms.map(armCells)),
    table(trialHead, trials.map(trialCells)),
    Object.keys(settings).length === 0
      ? ''
      : `Settings: ${Object.entries(settings)
          .map(([name, values]) => `\`${name}=${values.join(' | ')}\``)
          .join(', ')}.`,
  ];
}

function comparedBlocks(report: Report): readonly string[] {
  const shared = new Set(report.comparisons.flatMap(({ first, second }) => [first, second]));
  const figures = armHead.slice(-comparedFigures.length);
  const arms = armsOf(report).filter(({ id }) => shared.has(id));
  return [
    '## Compared',
    table(
      ['Fault', ...figures],
      arms.map((arm) => [arm.label, ...armCells(arm).slice(-comparedFigures.length)]),
    ),
    list(describeComparisons(report.comparisons).map(safe)),
    describeDiffering(report),
    table(...differingTable(report)),
  ];
}

/** What of the settings stands above their table. */
export function describeDiffering({ differing }: Report): string {
  return Object.keys(differing).length === 0
    ? 'The same settings were in force in all of them.'
    : 'Settings in force that were not the same:';
}

export function differingTable({
  campaigns,
  differing,
}: Report): readonly [head: readonly string[], rows: readonly (readonly string[])[]] {
  return [
    ['Setting', ...campaigns.map(({ schedule }) => schedule.metadata.name)],
    Object.entries(differing).map(([name, values]) => [name, ...values]),
  ];
}

/** The last columns of the table of all faults. */
export const comparedFigures = ['detection', 'stall', 'recovery', 'catchUp', 'redundancy'] as const;

export const armHead = [
  'Fault',
  'Valid',
  'Back and correct',
  'Verdicts',
  'Errors',
  'Detection',
  'Stall',
  'Recovery',
  'Catch-up',
  'Redundancy',
];

/** A fault's row in the table of all; medians with their interval from six valid trials on, else every point. */
export function armCells(arm: Arm): readonly string[] {
  const { fault, trials, valid, verdicts, errors, figures } = arm;
  return [
    fault,
    `${valid} of ${trials.length}`,
    formatProportion(arm),
    Object.entries(verdicts)
      .map(([pair, count]) => `${count} ${pair}`)
      .join('; '),
    valid === 0 ? '' : formatErrors(errors) || 'none',
    ...comparedFigures.map((name) => formatSpread(figures[name])),
  ];
}

export const trialHead = [
  '#',
  'Fault',
  'Targets',
  'Outcome',
  'Verdict',
  'Detection',
  'Stall',
  'Recovery',
  'Redundancy',
  'Why',
];

/** A trial's row; why it is Invalid, Stuck or Refused stands in the last cell. */
export function trialCells(trial: TrialRecord): readonly string[] {
  const { number, fault, targets, outcome, verdict, message = '' } = trial;
  return [
    ...[`${number}`, fault, targets.join(', '), outcome],
    verdict ? `${verdict.recovery}, ${verdict.correctness}` : '',
    ...trialFigures.map((name) => formatPoint(name, trial)),
    message,
  ];
}

/** A sentence for each ratio, its p-value beside what it was adjusted to, and one for all that have none. */
export function describeComparisons(comparisons: readonly Comparison[]): readonly string[] {
  const p = (value = Number.NaN) => (value < 0.001 ? '< 0.001' : `= ${value.toFixed(3)}`);
  const told = comparisons.flatMap(({ first, second, ratio, pValue, adjusted }) =>
    ratio === undefined
      ? []
      : `${second} takes ${ratio.toFixed(2)} times the median recovery of ${first}; p ${p(pValue)} by permutation, ${p(adjusted)} after Holm.`,
  );
  const untold = comparisons.filter(({ ratio }) => ratio === undefined).map(({ second }) => second);
  if (untold.length === 0) return told;
  return [
    ...told,
    `No ratio for ${untold.join(', ')}: it needs six valid trials of each with a finite median above zero.`,
  ];
}

function list(lines: readonly string[]): string {
  return lines.map((line) => `- ${line}`).join('\n');
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  if (rows.length === 0) return '';
  const line = (cells: readonly string[]) => `| ${cells.join(' | ')} |`;
  return [line(head), line(head.map(() => '---')), ...rows.map((cells) => line(cells.map(safe)))].join('\n');
}

/** What names and messages could end a cell or begin markup with. */
function safe(text: string): string {
  return text
    .replaceAll(/[\r\n]+/g, ' ')
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll(/[\\`*_[\]|]/g, (mark) => `\\${mark}`);
}
