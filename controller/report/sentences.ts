import type { ClusterSpec } from '../../crds/cluster-spec.ts';
import type { MeasurementPlan } from '../../crds/presets.ts';
import type { TrialRecord } from '../../crds/trial-record.ts';
import { errorClasses } from '../../state-machines/recovery/sample.ts';
import { fewestForMedian } from '../../state-machines/recovery/statistics.ts';
import { type Arm, type Campaign, type FigureName, pointOf, type Spread } from './report.ts';

/** So long a calibration and a gate must be for a claim; what is shorter says so. */
const claimCalibrationMs = 300_000;
const claimGateMs = 120_000;

/** `16.9 s`; `not in time` for what did not happen within the watch. */
export function formatMs(ms: number | null): string {
  return ms === null ? 'not in time' : `${seconds(ms)} s`;
}

/** `16.9 s ± 1.7 s`: a figure is never told without the bound of its error. */
export function formatBounded({
  ms,
  errorMs,
}: {
  readonly ms: number | null;
  readonly errorMs: number;
}): string {
  return ms === null ? formatMs(ms) : `${formatMs(ms)} ± ${seconds(errorMs)} s`;
}

/** One figure of a trial, in a cell: a dash where there is none. */
export function formatPoint(name: FigureName, trial: TrialRecord): string {
  const point = pointOf(name, trial);
  return point ? formatBounded(point) : '-';
}

/** A median with its interval, or all points in rising order, with the largest bound; empty when there is none. */
export function formatSpread(spread: Spread): string {
  return spread.points.length === 0 ? '' : `${valuesOf(spread)}${formatShare(spread)}`;
}

/** ` (6 of 10 trials)`: of how many a figure speaks, where that is not all of them. */
export function formatShare({ points, trials }: Spread): string {
  return points.length === trials ? '' : ` (${points.length} of ${plural(trials, 'trial')})`;
}

function valuesOf({ points, median, errorMs }: Spread): string {
  const [only] = points;
  if (points.length === 1) return formatBounded(only!);
  const bound = `± ${seconds(errorMs)} s`;
  if (median) return `${formatMs(median.ms)} ${formatInterval(median)} ${bound}`;
  const finite = points.flatMap(({ ms }) => ms ?? []).sort((a, b) => a - b);
  const late = points.length - finite.length;
  return [
    finite.length > 0 && `${finite.map(seconds).join(', ')} s ${bound}`,
    late > 0 && `${late} not in time`,
  ]
    .filter(Boolean)
    .join('; ');
}

/** `[13.0 to 33.3]`, seconds. */
export function formatInterval({ lowMs, highMs }: NonNullable<Spread['median']>): string {
  const limit = (ms: number | null) => (ms === null ? 'not in time' : seconds(ms));
  return `[${limit(lowMs)} to ${limit(highMs)}]`;
}

/** `9 of 10 (55 to 100 %)`, the 95 % interval of the proportion. */
export function formatProportion({ cameBack, valid }: Pick<Arm, 'cameBack' | 'valid'>): string {
  if (!cameBack) return '';
  const percent = (share: number) => Math.round(100 * share);
  return `${cameBack.trials} of ${valid} (${percent(cameBack.low)} to ${percent(cameBack.high)} %)`;
}

/** `1 stored twice, 3 wrong`; empty when nothing went wrong. */
export function formatErrors(errors: Readonly<Record<string, number>>): string {
  return errorClasses.flatMap((name) => (errors[name] ? [`${errors[name]} ${words(name)}`] : [])).join(', ');
}

/** `acknowledgedButAbsent` as people write it. */
export function words(camelCase: string): string {
  return camelCase.replaceAll(/[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`);
}

type Unfinished = Omit<Arm, 'headline'>;

/** One sentence on a fault: how it came back, the stall, and whether the results are right, never one without the other. */
export function headlineOf(arm: Unfinished, plan: MeasurementPlan): string {
  return `${arm.deed}: ${arm.valid === 0 ? withoutValid(arm.trials) : told(arm, plan)}`;
}

function withoutValid(trials: readonly TrialRecord[]): string {
  if (trials.length === 0) return 'no trial yet';
  if (trials.every(({ verdict }) => verdict === undefined))
    return `${plural(trials.length, 'run')}, not measured`;
  const [only] = trials;
  const reason = trials.length === 1 && only?.message ? ` (${only.message})` : '';
  return `no valid trial of ${trials.length}, so no figure${reason}`;
}

function told(arm: Unfinished, plan: MeasurementPlan): string {
  const isMasked = Object.keys(arm.verdicts).every((pair) => pair.startsWith('Masked'));
  const stall = !isMasked && arm.figures.stall.points.length > 0 && `stall ${summary(arm.figures.stall)}`;
  return [returned(arm, plan), stall, results(arm)].filter(Boolean).join('; ');
}

function returned(arm: Unfinished, plan: MeasurementPlan): string {
  const { recovery } = arm.figures;
  const is = (...verdicts: readonly string[]) =>
    arm.trials.filter(({ verdict }) => verdicts.includes(verdict?.recovery ?? '')).length;
  const [masked, degraded, censored] = [is('Masked'), is('RecoveredDegraded'), is('NotRecovered')];
  // T_max runs from the end of a fault that is held.
  const isHeld = arm.trials.some(({ instants }) => instants.end !== undefined);
  const limitText = `within ${plan.maxRecoveryMs / 1000} s${isHeld ? ' of its end' : ''}`;
  const shareOf = (trials: number) => (arm.valid === 1 ? '' : ` in ${trials} of ${arm.valid} trials`);
  if (!arm.isClaimed) return `no recovery time is claimed, because controls without a fault were late, too`;
  if (censored === arm.valid)
    return `not recovered ${limitText}${arm.valid === 1 ? '' : ` in any of ${arm.valid} trials`}`;
  if (masked === arm.valid) return `masked${shareOf(masked)}: ${smallestStall(arm.trials)}`;
  // A median is one of all trials: those that were masked took no time.
  const spread = recovery.median ? recovery : withoutMasked(recovery, arm.trials);
  const came = arm.valid - censored - (recovery.median ? 0 : masked);
  const parts = [
    `recovered${shareOf(came)} ${recovery.median ? 'after a median of' : arm.valid === 1 ? 'in' : 'after'} ${summary(spread)}`,
    degraded > 0 && (arm.valid === 1 ? 'redundancy is not back' : `redundancy not back in ${degraded}`),
    censored > 0 && `not recovered ${limitText} in ${censored}`,
    masked > 0 && `masked in ${masked}`,
  ];
  return parts.filter(Boolean).join(', ');
}

function withoutMasked(spread: Spread, trials: readonly TrialRecord[]): Spread {
  const masked = trials.filter(({ verdict }) => verdict?.recovery === 'Masked').map(({ number }) => number);
  return { ...spread, points: spread.points.filter(({ trial }) => !masked.includes(trial)) };
}

function smallestStall(trials: readonly TrialRecord[]): string {
  const largest = Math.max(...trials.map(({ smallestStallMs = 0 }) => smallestStallMs));
  return `no violation; a stall of ${formatMs(largest)} would have been seen`;
}

function results({ verdicts, valid, errors }: Unfinished): string {
  const with_ = (correctness: string) =>
    Object.entries(verdicts).reduce((sum, [pair, n]) => sum + (pair.endsWith(`, ${correctness}`) ? n : 0), 0);
  const [incorrect, unknown] = [with_('Incorrect'), with_('Unknown')];
  const of = (n: number) => (valid === 1 ? '' : n === valid ? ' in all' : ` in ${n} of ${valid}`);
  if (incorrect > 0)
    return [`results incorrect${of(incorrect)}`, formatErrors(errors)].filter(Boolean).join(': ');
  if (unknown > 0) return `correctness of the results unknown${of(unknown)}`;
  return `results correct${of(valid)}`;
}

/** A spread in a sentence: the median with its interval, or from the least to the largest. */
function summary(spread: Spread): string {
  const { points, median, errorMs } = spread;
  const finite = points.flatMap(({ ms }) => ms ?? []).sort((a, b) => a - b);
  if (median) return formatSpread(spread);
  if (finite.length === 0) return 'that had not ended when the watch did';
  if (finite.length === 1) return formatBounded({ ms: finite[0]!, errorMs });
  return `${seconds(finite[0]!)} to ${seconds(finite.at(-1)!)} s ± ${seconds(errorMs)} s`;
}

/** What limits the claims of a campaign, one sentence each, gravest first. */
export function notesOf(campaign: Omit<Campaign, 'notes'>, isEdited: boolean): readonly string[] {
  const { arms, trials, controls, schedule, cluster, plan } = campaign;
  const isMeasured = schedule.spec.preset !== 'none';
  const valid = arms.reduce((sum, arm) => sum + arm.valid, 0);
  const invalid = trials.filter(({ verdict }) => verdict?.recovery === 'Invalid').length;
  const revisions = new Map(trials.flatMap(({ source }) => (source ? [[source.revision, source]] : [])));
  const few = arms.some((arm) => arm.valid > 0 && arm.valid < fewestForMedian);
  const notes = [
    isMeasured && valid === 0 && 'This campaign has no valid trial: nothing is claimed.',
    !isMeasured && 'Preset none injects and measures nothing.',
    !controls.allowed &&
      `${controls.violated} of ${controls.judged} controls without a fault showed a violation: no recovery time is claimed.`,
    isEdited &&
      'The manifest has been edited since these trials ran: its text is not the one that they followed.',
    ...[...revisions.values()].map(({ revision, message }) => `Run with ${revision}: ${message}`),
    ...calibrationNotes(campaign),
    ...checkpointNotes(cluster),
    valid > 0 &&
      controls.judged === 0 &&
      'No control without a fault was run: nothing tells how often a violation comes by itself.',
    few && `A fault with fewer than ${fewestForMedian} valid trials has points only: no median, no interval.`,
    invalid > 0 && `${plural(invalid, 'trial')} Invalid: the reason stands in the list of trials.`,
    isMeasured &&
      plan.gateMs < claimGateMs &&
      `The gate before each fault took ${plan.gateMs / 1000} s, not the ${claimGateMs / 1000} s that a claim needs.`,
  ];
  return notes.filter((note) => note !== false);
}

function calibrationNotes({ calibration, plan, schedule }: Omit<Campaign, 'notes'>): readonly string[] {
  const tookMs = calibration?.durationMs ?? plan.calibrationMs;
  // Rows come every 250 ms, so that a full calibration spans a little less.
  if (schedule.spec.preset === 'none' || tookMs >= 0.99 * claimCalibrationMs) return [];
  return [
    `Preset ${schedule.spec.preset} calibrated for ${seconds(tookMs)} s, shorter than the ${claimCalibrationMs / 1000} s that a claim needs: the threshold is provisional.`,
  ];
}

function checkpointNotes(cluster: ClusterSpec | undefined): readonly string[] {
  if (!cluster) return ["The cluster's manifest is not known here: its settings are not listed."];
  const { checkpoint } = cluster.spec;
  if (checkpoint?.path === undefined) return [];
  return ['Checkpoint not isolated: it is a folder of the host, which an isolated node still reaches.'];
}

export function plural(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? '' : 's'}`;
}

/** One decimal, two below a tenth of a second: a bound of 0.0 s would claim too much. */
export function seconds(ms: number): string {
  return (ms / 1000).toFixed(ms !== 0 && Math.abs(ms) < 100 ? 2 : 1);
}
