import { type FaultEntry, faultGroups, faultOf } from '../../crds/fault-schedule.ts';
import { type MeasurementPlan, measurementPlan } from '../../crds/presets.ts';
import type { Selector } from '../../crds/selector.ts';
import type { TrialRecord } from '../../crds/trial-record.ts';
import {
  controlsAllowClaim,
  holm,
  medianInterval,
  proportionInterval,
  ratioOfMedians,
} from '../../state-machines/recovery/statistics.ts';
import {
  type Arm,
  type Campaign,
  type CampaignInput,
  type Comparison,
  type FigureName,
  figureNames,
  isControl,
  isValid,
  pointOf,
  type Report,
  type ReportOrigin,
  type Spread,
} from './report.ts';
import { headlineOf, notesOf } from './sentences.ts';

/** Reads schedules and their status into what a reader is told. */
export function buildReport(inputs: readonly CampaignInput[], origin: ReportOrigin): Report {
  const campaigns = inputs.map((input) => buildCampaign(input, inputs.length > 1));
  return { ...origin, campaigns, comparisons: compare(campaigns), differing: differingOf(campaigns) };
}

function buildCampaign(
  { schedule, status, cluster, isEdited = false }: CampaignInput,
  isOneOfSeveral: boolean,
): Campaign {
  const trials = status.trials.map(withoutIdleFigures);
  const controls = controlsAllowClaim(trials.filter(isControl));
  const plan = measurementPlan(schedule.spec);
  const faulty = trials.filter((trial) => !isControl(trial));
  // An edit may have taken a fault out of the schedule that has trials already.
  const deeds = new Map(faulty.map(({ fault, kind }) => [fault, kind]));
  for (const { name, faults } of faultGroups(schedule.spec)) deeds.set(name, deedOf(faults));
  const arms = [...deeds].map(([fault, deed]) => {
    const own = faulty.filter((trial) => trial.fault === fault);
    const id = `${schedule.metadata.name}/${fault}`;
    const named = { id, fault, label: isOneOfSeveral ? id : fault, deed, isClaimed: controls.allowed };
    return buildArm(named, own, plan);
  });
  const campaign = {
    ...{ schedule, plan, controls, arms, trials, settings: settingsOf(trials) },
    ...(cluster && { cluster }),
    ...(status.seed !== undefined && { seed: status.seed }),
    ...(status.calibration && { calibration: status.calibration }),
  };
  return { ...campaign, notes: notesOf(campaign, isEdited) };
}

/** An Invalid trial is told with its reason and what was done in it, never with a number of what came of that. */
function withoutIdleFigures(trial: TrialRecord): TrialRecord {
  if (trial.verdict?.recovery !== 'Invalid') return trial;
  const { recoveryBand, afterHeal, smallestStallMs, excursions, ...told } = trial;
  const { correctness, redundancy, noticed, ...rest } = told;
  const { det, first, rec, red, ...instants } = trial.instants;
  return { ...rest, instants, figures: {} };
}

function buildArm(
  named: Pick<Arm, 'id' | 'fault' | 'label' | 'deed' | 'isClaimed'>,
  trials: readonly TrialRecord[],
  plan: MeasurementPlan,
): Arm {
  const valid = trials.filter(isValid);
  const backAndCorrect = valid.filter(
    ({ verdict }) =>
      verdict!.correctness === 'Correct' && ['Masked', 'Recovered'].includes(verdict!.recovery),
  ).length;
  const proportion = proportionInterval(backAndCorrect, valid.length);
  const arm = {
    ...named,
    trials,
    valid: valid.length,
    verdicts: counted(valid.map(({ verdict }) => `${verdict!.recovery}, ${verdict!.correctness}`)),
    ...(proportion && { cameBack: { ...proportion, trials: backAndCorrect } }),
    errors: summed(valid.map(({ correctness = {} }) => correctness)),
    figures: Object.fromEntries(
      figureNames.map((name) => [name, spreadOf(name, valid, named.isClaimed)]),
    ) as unknown as Arm['figures'],
  };
  return { ...arm, headline: headlineOf(arm, plan) };
}

function spreadOf(name: FigureName, valid: readonly TrialRecord[], isClaimed: boolean): Spread {
  const points = valid.flatMap((trial) => pointOf(name, trial) ?? []);
  const values = points.map(({ ms }) => ms ?? Number.POSITIVE_INFINITY);
  // Where controls do not stay clean a violation may have come by itself: then no time of recovery is claimed.
  const isOfSystem = name === 'detection' || name === 'redundancy';
  const interval = isClaimed || isOfSystem ? medianInterval(values) : undefined;
  const finite = (ms: number) => (Number.isFinite(ms) ? ms : null);
  return {
    ...{ points, trials: valid.length },
    errorMs: points.reduce((most, { errorMs }) => Math.max(most, errorMs), 0),
    ...(interval && {
      median: {
        ms: finite(interval.median),
        lowMs: finite(interval.low),
        highMs: finite(interval.high),
        coverage: interval.coverage,
      },
    }),
  };
}

/** `killContainer of spark-worker`; several that are together are joined. */
function deedOf(faults: readonly FaultEntry[]): string {
  return faults.map((fault) => `${faultOf(fault).kind} of ${describeTarget(fault.target)}`).join(' and ');
}

function describeTarget({ nodes, services, pick = 'one', count }: FaultEntry['target']): string {
  const { matchNames = [], matchLabels = {} }: Selector = nodes ?? services ?? {};
  const named = [...matchNames, ...Object.values(matchLabels)].join(', ');
  const many = count === undefined ? (pick === 'one' ? '' : pick) : `${count}`;
  return [many, named, nodes && (many === '' || pick === 'leader' ? 'node' : 'nodes')]
    .filter(Boolean)
    .join(' ');
}

function counted(values: readonly string[]): Readonly<Record<string, number>> {
  const counts = new Map<string, number>();
  for (const value of values) counts.set(value, (counts.get(value) ?? 0) + 1);
  return Object.fromEntries([...counts].sort(([, a], [, b]) => b - a));
}

function summed(all: readonly Readonly<Record<string, number>>[]): Readonly<Record<string, number>> {
  const sums: Record<string, number> = {};
  for (const [name, count] of all.flatMap((one) => Object.entries(one)))
    sums[name] = (sums[name] ?? 0) + count;
  return sums;
}

function settingsOf(trials: readonly TrialRecord[]): Campaign['settings'] {
  const values: Record<string, string[]> = {};
  for (const [name, value] of trials.flatMap(({ settings = {} }) => Object.entries(settings))) {
    values[name] ??= [];
    if (!values[name].includes(value)) values[name].push(value);
  }
  return values;
}

function differingOf(campaigns: readonly Campaign[]): Report['differing'] {
  const names = new Set(campaigns.flatMap(({ settings }) => Object.keys(settings)));
  const rows = [...names].map(
    (name) => [name, campaigns.map(({ settings }) => (settings[name] ?? []).join(' | '))] as const,
  );
  return Object.fromEntries(rows.filter(([, values]) => new Set(values).size > 1));
}

/** Each fault of a later schedule against the one of the same name in the first that has it. */
function compare(campaigns: readonly Campaign[]): readonly Comparison[] {
  const arms = campaigns.flatMap((campaign) => campaign.arms);
  const pairs = arms.flatMap((second, index) => {
    const first = arms.slice(0, index).find(({ fault }) => fault === second.fault);
    return first ? [{ first, second }] : [];
  });
  const recoveries = ({ figures }: Arm) =>
    figures.recovery.median ? figures.recovery.points.map(({ ms }) => ms ?? Number.POSITIVE_INFINITY) : [];
  const told = pairs.map(({ first, second }) => ratioOfMedians(recoveries(second), recoveries(first)));
  const adjusted = [...holm(told.flatMap((each) => each?.pValue ?? []))];
  return pairs.map(({ first, second }, index) => ({
    ...{ first: first.id, second: second.id },
    ...(told[index] && { ...told[index], adjusted: adjusted.shift()! }),
  }));
}
