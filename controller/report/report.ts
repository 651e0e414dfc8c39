import type { ClusterSpec } from '../../crds/cluster-spec.ts';
import { CONTROL, type FaultSchedule } from '../../crds/fault-schedule.ts';
import type { MeasurementPlan } from '../../crds/presets.ts';
import type { ScheduleStatus } from '../../crds/status.ts';
import type { Figure, TrialRecord } from '../../crds/trial-record.ts';
import type { controlsAllowClaim, proportionInterval } from '../../state-machines/recovery/statistics.ts';

/** One schedule with what became of it. */
export interface CampaignInput {
  readonly schedule: FaultSchedule;
  readonly status: ScheduleStatus;
  /** Absent when nobody knows its manifest any more. */
  readonly cluster?: ClusterSpec;
  /** The manifest is not the one that the status speaks of. */
  readonly isEdited?: boolean;
}

/** Where a report comes from: it depends on these and its inputs alone. */
export interface ReportOrigin {
  /** RFC 3339, UTC. */
  readonly writtenAt: string;
  /** Of the program that writes it, and of Node. */
  readonly versions: Readonly<Record<string, string>>;
  /** That this version of the program deploys, by their short names. */
  readonly images: Readonly<Record<string, string>>;
}

/** Everything that a reader is told, before it takes a form; what `-o json` prints. Durations are ms. */
export interface Report extends ReportOrigin {
  readonly campaigns: readonly Campaign[];
  /** Faults of the same name in several schedules: each against that of the first. */
  readonly comparisons: readonly Comparison[];
  /** Settings in force that are not the same in all campaigns, with a value for each; empty where it had none. */
  readonly differing: Readonly<Record<string, readonly string[]>>;
}

export interface Campaign {
  readonly schedule: FaultSchedule;
  readonly cluster?: ClusterSpec;
  readonly plan: MeasurementPlan;
  /** The seed in use. */
  readonly seed?: number;
  readonly calibration?: NonNullable<ScheduleStatus['calibration']>;
  /** What limits the claim, in sentences. */
  readonly notes: readonly string[];
  /** Trials without a fault: how many could be judged, and how many showed a violation. */
  readonly controls: ReturnType<typeof controlsAllowClaim>;
  /** One per fault, or faults together, of the schedule. */
  readonly arms: readonly Arm[];
  /** All of them, in the order in which they ran. Those that are Invalid bear no figures. */
  readonly trials: readonly TrialRecord[];
  /** By name, with every value that it had. */
  readonly settings: Readonly<Record<string, readonly string[]>>;
}

/** What the trials of one fault say together. */
export interface Arm {
  /** `schedule/fault`: unique in a report. */
  readonly id: string;
  readonly fault: string;
  /** What it is called beside others: its fault, or its id where the report is about several schedules. */
  readonly label: string;
  /** What is done to what: `killContainer of spark-worker`. */
  readonly deed: string;
  readonly headline: string;
  readonly trials: readonly TrialRecord[];
  /** Whether the controls without a fault let a time of recovery be claimed. */
  readonly isClaimed: boolean;
  /** Measured, and not Invalid. */
  readonly valid: number;
  /** Valid trials by verdict, `Recovered, Correct`, most frequent first. */
  readonly verdicts: Readonly<Record<string, number>>;
  /** Masked or Recovered, with results that are correct, among the valid ones: Clopper-Pearson, 95 %. */
  readonly cameBack?: NonNullable<ReturnType<typeof proportionInterval>> & { readonly trials: number };
  /** Records and windows by class of error, over the valid trials. */
  readonly errors: Readonly<Record<string, number>>;
  readonly figures: Readonly<Record<FigureName, Spread>>;
}

/** Durations of a trial that are told with a bound, in the order of their appearance. */
export const figureNames = [
  'detection',
  'stall',
  'firstOutput',
  'catchUp',
  'recovery',
  'redundancy',
] as const;
export type FigureName = (typeof figureNames)[number];

/** Those that a table of trials has room for, in the order of its columns. */
export const trialFigures = ['detection', 'stall', 'recovery', 'redundancy'] as const;

/** One figure of one trial. */
export interface Point {
  readonly trial: number;
  /** Null: not within the watch, so later than any that was seen. */
  readonly ms: number | null;
  readonly errorMs: number;
}

/** One figure over the trials of an arm. */
export interface Spread {
  /** Of a trial in which it did not happen, as of one that nobody noticed, there is none. */
  readonly points: readonly Point[];
  /** Valid trials, with a point or without. */
  readonly trials: number;
  /** Largest bound of a single trial's error. */
  readonly errorMs: number;
  /** From six points on, and only where a claim is allowed; null: not within the watch. */
  readonly median?: {
    readonly ms: number | null;
    readonly lowMs: number | null;
    readonly highMs: number | null;
    readonly coverage: number;
  };
}

export interface Comparison {
  readonly first: string;
  readonly second: string;
  /** Median recovery of the second by that of the first; absent where one is not finite, zero, or not told. */
  readonly ratio?: number;
  /** Of "no difference", by permutation; adjusted by Holm over all comparisons of the report. */
  readonly pValue?: number;
  readonly adjusted?: number;
}

/** All faults of a report: what several schedules have stands side by side. */
export function armsOf({ campaigns }: Pick<Report, 'campaigns'>): readonly Arm[] {
  const arms = campaigns.flatMap((campaign) => campaign.arms);
  const faults = [...new Set(arms.map(({ fault }) => fault))];
  return faults.flatMap((name) => arms.filter(({ fault }) => fault === name));
}

/** Whether a trial was one in which nothing was done. */
export function isControl({ fault }: Pick<TrialRecord, 'fault'>): boolean {
  return fault === CONTROL;
}

/** Whether its figures may be read: measured, and not Invalid. */
export function isValid({ verdict }: Pick<TrialRecord, 'verdict'>): boolean {
  return verdict !== undefined && verdict.recovery !== 'Invalid';
}

/** What is not there because it did not happen within the watch is censored; all else that is not there is no point. */
export function pointOf(name: FigureName, trial: TrialRecord): Point | undefined {
  const figure: Figure | undefined = trial.figures[name];
  return isLate(name, trial)
    ? { trial: trial.number, ms: null, errorMs: figure?.errorMs ?? 0 }
    : figure && { trial: trial.number, ...figure };
}

/** Whether the watch ended before it did: nobody knows when. */
function isLate(name: FigureName, { verdict, redundancy, figures }: TrialRecord): boolean {
  if (verdict?.recovery === 'Invalid') return false;
  if (name === 'redundancy') return redundancy === 'lost';
  if (verdict?.recovery !== 'NotRecovered' || name === 'detection') return false;
  // What never began to come again was still stalled.
  return name === 'recovery' || name === 'catchUp' || figures.firstOutput === undefined;
}
