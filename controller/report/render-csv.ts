import type { Figure, TrialRecord } from '../../crds/trial-record.ts';
import { controlPlanes } from '../../state-machines/recovery/control-planes.ts';
import { findingClasses } from '../../state-machines/recovery/sample.ts';
import { type FigureName, figureNames, isControl, pointOf, type Report } from './report.ts';

type Cell = string | number | undefined;
type Column = readonly [name: string, of: (trial: TrialRecord, schedule: string) => Cell];

const instantNames = ['cmd', 'eff', 'det', 'end', 'first', 'rec', 'red'] as const;

/** The same for every report, so that files of several can be put below each other; units are in the names. */
const columns: readonly Column[] = [
  ['schedule', (_, schedule) => schedule],
  ['trial', ({ number }) => number],
  ['fault', ({ fault }) => fault],
  ['kind', ({ kind }) => kind],
  ['control', (trial) => `${isControl(trial)}`],
  ['targets', ({ targets }) => targets.join(' ')],
  ['seed', ({ seed }) => seed],
  ['run_id', ({ runId }) => runId],
  ['outcome', ({ outcome }) => outcome],
  ['recovery_verdict', ({ verdict }) => verdict?.recovery],
  ['correctness_verdict', ({ verdict }) => verdict?.correctness],
  ['redundancy_state', ({ redundancy }) => redundancy],
  ['started_at', ({ startedAt }) => startedAt],
  ['finished_at', ({ finishedAt }) => finishedAt],
  ...instantNames.flatMap((name): Column[] => [
    [`t_${name}_epoch_ms`, ({ instants }) => instants[name]?.atMs],
    [`t_${name}_resolution_ms`, ({ instants }) => instants[name]?.resolutionMs],
  ]),
  ['t_det_source', ({ instants }) => instants.det?.source],
  ...controlPlanes.map(
    (plane): Column => [
      `noticed_by_${plane.replace('-', '_')}_epoch_ms`,
      ({ noticed }) => noticed?.find(({ source }) => source === plane)?.atMs,
    ],
  ),
  ...figureNames.flatMap((name): Column[] => [
    [`${snake(name)}_ms`, (trial) => seen(name, trial)?.ms],
    [`${snake(name)}_error_ms`, (trial) => seen(name, trial)?.errorMs],
  ]),
  ['catch_up_predicted_ms', ({ figures }) => figures.catchUpPredicted?.ms],
  ['recovery_after_heal_ms', ({ afterHeal }) => afterHeal?.recovery?.ms],
  ['violated_in_hold_ms', ({ afterHeal }) => afterHeal?.violatedInHoldMs],
  ['theta_ms', ({ thetaMs }) => thetaMs],
  ...([1.1, 1.25, 1.5] as const).map(
    (factor): Column => [
      `recovery_at_${factor}_ms`,
      ({ recoveryBand = [] }) => recoveryBand.find((each) => each.factor === factor)?.ms,
    ],
  ),
  ['excursions', ({ excursions }) => excursions],
  ['smallest_stall_ms', ({ smallestStallMs }) => smallestStallMs],
  ...findingClasses.map((name): Column => [snake(name), ({ correctness }) => correctness?.[name]]),
  ['revision', ({ source }) => source?.revision],
  ['message', ({ message }) => message],
  ['rows_offset_ms', ({ rowsOffsetMs }) => rowsOffsetMs],
  ['samples', ({ samples }) => samples],
];

/**
 * One line per trial (RFC 4180, CRLF, a header). What is not there is empty: a censored figure has no number, the
 * verdict says NotRecovered, or redundancy_state lost; an Invalid trial has no figures at all.
 */
export function renderCsv({ campaigns }: Report): string {
  const lines = campaigns.flatMap(({ schedule, trials }) =>
    trials.map((trial) => columns.map(([, of]) => of(trial, schedule.metadata.name))),
  );
  return [columns.map(([name]) => name), ...lines]
    .map((cells) => `${cells.map(quoted).join(',')}\r\n`)
    .join('');
}

/** What is censored has no number, though the record may have how long it was watched. */
function seen(name: FigureName, trial: TrialRecord): Figure | undefined {
  return pointOf(name, trial)?.ms === null ? undefined : trial.figures[name];
}

function quoted(cell: Cell): string {
  const text = `${cell ?? ''}`;
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

function snake(camelCase: string): string {
  return camelCase.replaceAll(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}
