import type { TrialRecord } from '../../crds/trial-record.ts';
import { fewestForMedian, medianInterval } from '../../state-machines/recovery/statistics.ts';
import type { ChartSpec, Line } from './chart-spec.ts';
import type { Drawing } from './drawing.ts';
import { type Arm, type Campaign, isValid, pointOf } from './report.ts';

/** Drawings by run id; a trial whose rows are not there has none. */
export type Drawings = ReadonlyMap<string, Drawing>;

/** Instants in the order of a trial, as MEASUREMENT calls them. */
export const instantNames = ['cmd', 'eff', 'det', 'end', 'first', 'rec', 'red'] as const;

/** So much is seen before the fault at first; all of it when zoomed out. */
const leadS = 25;
const panelHeight = { large: 190, small: 84 } as const;

/** Seconds from t_eff (the start of the trial where there is none) to an instant. */
export function secondsAt(trial: TrialRecord, atMs: number): number {
  return (atMs - originOf(trial)) / 1_000;
}

/** Where x is 0: t_eff, or the start of a trial that never came to it; epoch ms, controller's clock. */
function originOf({ instants, startedAt }: TrialRecord): number {
  return instants.eff?.atMs ?? Date.parse(startedAt);
}

/** The same instant by the clock that stamped the trial's rows; a record that does not know it has the controller's. */
export function rowsOriginOf(trial: TrialRecord): number {
  return originOf(trial) + (trial.rowsOffsetMs ?? 0);
}

/** One trial over time: frontiers, rate, lag, membership, with what happened when. */
export function timelineOf(
  trial: TrialRecord,
  drawing: Drawing,
  calibration: Campaign['calibration'],
): ChartSpec {
  const { x } = drawing;
  const thetaMs = trial.thetaMs ?? calibration?.thetaMs;
  const level = (label: string, ms: number | undefined) =>
    ms === undefined ? [] : [{ at: ms / 1_000, label }];
  const line = (
    label: string,
    tone: Line['tone'],
    values: Line['values'],
    more: Partial<Line> = {},
  ): Line => ({
    ...{ label, tone, values, look: 'line', ...more },
  });
  const parts = [...drawing.workers, ...drawing.executors].map((count) => count ?? 0);
  return {
    xLabel: trial.instants.eff ? 'seconds since t_eff' : 'seconds since the start of the trial',
    x,
    view: [Math.max(x[0] ?? 0, -leadS), x.at(-1) ?? 1],
    shades: shadesOf(trial, x.at(-1) ?? 0),
    ticks: instantNames.flatMap((name) => {
      const instant = trial.instants[name];
      return instant ? [{ at: secondsAt(trial, instant.atMs), label: `t_${name}` }] : [];
    }),
    panels: [
      {
        ...{ title: 'Frontier age, slowest partition', unit: 's', height: panelHeight.large },
        lines: [
          line('F_visible', 'visible', drawing.visible),
          line('F_committed', 'committed', drawing.committed, { look: 'fine', dash: [7, 4] }),
          line('F_acked', 'acked', drawing.acked, { look: 'fine' }),
        ],
        levels: [...level('theta', thetaMs), ...level('baseline p99', calibration?.p99Ms)],
      },
      {
        ...{ title: 'Rate', unit: 'records/s', height: panelHeight.small, levels: [] },
        lines: [
          line('acknowledged', 'acked', drawing.acknowledged),
          line('offered', 'strong', drawing.offered, { look: 'fine', dash: [7, 4] }),
        ],
      },
      {
        ...{ title: 'Lag: due and not yet committed, at most', unit: 'records', height: panelHeight.small },
        ...{ levels: [], lines: [line('lag', 'committed', drawing.lag)] },
      },
      {
        ...{ title: 'Membership', unit: 'alive', height: panelHeight.small, levels: [] },
        top: Math.max(1, ...parts) + 0.5,
        lines: [
          line('workers', 'strong', drawing.workers, { look: 'steps' }),
          line('executors', 'visible', drawing.executors, { look: 'steps', dash: [5, 4] }),
        ],
      },
    ],
  };
}

/** The fault while it lasted, and the time until recovered, to the end of what was seen when it did not come. */
function shadesOf(trial: TrialRecord, lastS: number): ChartSpec['shades'] {
  const { eff, end, rec } = trial.instants;
  if (!eff) return [];
  const recS = rec ? secondsAt(trial, rec.atMs) : isLate(trial) ? lastS : 0;
  return [
    ...(end ? [{ from: 0, to: secondsAt(trial, end.atMs), tone: 'fault' as const }] : []),
    ...(recS > 0 ? [{ from: 0, to: recS, tone: 'recovery' as const }] : []),
  ];
}

const overlayPoints = 400;

/** F_visible of all valid trials of a fault, aligned at t_eff; of many, their median is what the legend tells, as long as all are known. */
export function overlayOf(
  arm: Arm,
  drawings: Drawings,
  calibration: Campaign['calibration'],
): ChartSpec | undefined {
  const shown = arm.trials.filter(isValid).flatMap((trial) => {
    const drawing = drawings.get(trial.runId);
    return drawing && drawing.x.length > 0 ? [{ trial, drawing }] : [];
  });
  if (shown.length === 0) return undefined;
  const ends = shown.map(({ trial, drawing }) => {
    const { rec, red, end } = trial.instants;
    const late = [rec, red, end].flatMap((instant) => (instant ? [secondsAt(trial, instant.atMs)] : []));
    return { isLate: isLate(trial), endS: isLate(trial) ? drawing.x.at(-1)! : Math.max(10, ...late) + 15 };
  });
  // One that never came back would squeeze the others: its line leaves the picture.
  const inTime = ends.every((end) => end.isLate) ? ends : ends.filter((end) => !end.isLate);
  const [from, to] = [-leadS, Math.max(...inTime.map(({ endS }) => endS))];
  const stepS = Math.max(0.25, (to - from) / overlayPoints);
  const x = Array.from({ length: Math.ceil((to - from) / stepS) }, (_, index) => round(from + index * stepS));
  const lines = shown.map(({ trial, drawing }) =>
    overlayLine(trial, resampled(drawing, from, stepS, x.length)),
  );
  const peaks = lines
    .filter(({ tone }) => tone !== 'late' || inTime === ends)
    .flatMap(({ values }) => values.map((age) => age ?? 0));
  const thetaMs = shown[0]!.trial.thetaMs ?? calibration?.thetaMs;
  return {
    ...{ xLabel: 'seconds since t_eff', x, shades: [], ticks: [{ at: 0, label: 't_eff' }] },
    panels: [
      {
        ...{ title: 'F_visible of every valid trial', unit: 's', height: panelHeight.large },
        top: 1.08 * Math.max(1, (thetaMs ?? 0) / 1_000, ...peaks),
        lines: withMedian(arm, lines, 'unknown'),
        levels: thetaMs === undefined ? [] : [{ at: thetaMs / 1_000, label: 'theta' }],
      },
    ],
  };
}

const dashes: readonly (readonly number[])[] = [[], [7, 4], [2, 3], [9, 3, 2, 3], [4, 2]];

function overlayLine(trial: TrialRecord, values: Line['values']): Line {
  const late = isLate(trial);
  return {
    label: late ? `trial ${trial.number}, not recovered` : `trial ${trial.number}`,
    ...{ tone: late ? 'late' : 'visible', look: 'thin', values },
    dash: dashes[(trial.number - 1) % dashes.length]!,
  };
}

function isLate({ verdict }: TrialRecord): boolean {
  return verdict?.recovery === 'NotRecovered';
}

/** The largest age in each step, so that the end of a violation stays where it is; what lies between is the step before. */
function resampled({ x, visible }: Drawing, from: number, stepS: number, count: number): Line['values'] {
  const values = Array.from<number | null | undefined>({ length: count });
  for (const [at, age] of visible.entries()) {
    const index = Math.floor((x[at]! - from) / stepS);
    if (index < 0 || index >= count) continue;
    values[index] = age === null ? (values[index] ?? null) : Math.max(values[index] ?? 0, age);
  }
  const last = Math.floor((x.at(-1)! - from) / stepS);
  let held: number | null = null;
  return values.map((value, index) => {
    if (value !== undefined) held = value;
    return index > last ? null : held;
  });
}

/**
 * With the median of all at each x, from as many trials on as bear one and where a claim is allowed. One that has no value
 * there is later than any; or nobody knows, and then there is no median of all.
 */
function withMedian(
  { isClaimed }: Arm,
  lines: readonly Line[],
  without: 'late' | 'unknown',
): readonly Line[] {
  if (!isClaimed || lines.length < fewestForMedian) return lines;
  const values = lines[0]!.values.map((_, index) => {
    const there = lines.map((line) => line.values[index] ?? Number.POSITIVE_INFINITY);
    const { median } = medianInterval(there)!;
    const isTold = Number.isFinite(median) && (without === 'late' || there.every(Number.isFinite));
    return isTold ? round(median) : null;
  });
  return [...lines, { label: 'median of trials', tone: 'strong', look: 'line', values }];
}

/**
 * The share of valid trials that had recovered by then; below six, and where no claim is allowed, a fault has points only.
 * Censored ones never arrive.
 */
export function ecdfOf(arms: readonly Arm[]): ChartSpec | undefined {
  const curves = arms.flatMap((arm) => {
    const points = arm.figures.recovery.points.map(({ ms }) => (ms === null ? null : round(ms / 1_000)));
    const reached = points.filter((s) => s !== null).sort((a, b) => a - b);
    return reached.length === 0 ? [] : [{ arm, reached, count: points.length }];
  });
  if (curves.every(({ count }) => count < 2)) return undefined;
  const longest = Math.max(...curves.flatMap(({ reached }) => reached));
  const x = [...new Set([0, ...curves.flatMap(({ reached }) => reached), round(longest * 1.08) || 1])].sort(
    (a, b) => a - b,
  );
  const tones = ['visible', 'committed', 'acked', 'strong', 'late', 'spare'] as const;
  return {
    ...{ xLabel: 'recovery time, seconds', x, shades: [], ticks: [] },
    panels: [
      {
        ...{
          title: 'Share of valid trials recovered',
          unit: '',
          height: panelHeight.large,
          levels: [],
          top: 1.04,
        },
        lines: curves.map(({ arm, reached, count }, index): Line => {
          const share = (s: number) => round(reached.filter((each) => each <= s).length / count);
          const isCurve = arm.isClaimed && count >= fewestForMedian;
          return {
            ...{ label: arm.label, tone: tones[index % tones.length]!, look: isCurve ? 'steps' : 'points' },
            dash: dashes[Math.floor(index / tones.length) % dashes.length]!,
            values: x.map((s) => (isCurve || reached.includes(s) ? share(s) : null)),
          };
        }),
      },
    ],
  };
}

/** Recovery time of each trial for other thresholds, the same ones in a campaign: does the answer hang on them? */
export function sensitivityOf(arm: Arm): ChartSpec | undefined {
  const shown = arm.trials.filter((trial) => isValid(trial) && (trial.recoveryBand ?? []).length > 0);
  const thetas = shown.flatMap(({ recoveryBand = [] }) => recoveryBand.map(({ thetaMs }) => thetaMs));
  const x = [...new Set(thetas.map((ms) => round(ms / 1_000)))].sort((a, b) => a - b);
  if (x.length === 0) return undefined;
  const edge = 0.08 * (x.at(-1)! - x[0]!) || 0.1;
  return {
    ...{ xLabel: 'threshold, seconds', x, shades: [], ticks: [] },
    view: [x[0]! - edge, x.at(-1)! + edge],
    panels: [
      {
        ...{ title: 'Recovery time by threshold', unit: 's', height: panelHeight.large, levels: [] },
        lines: withMedian(
          arm,
          shown.map((trial) => {
            const at = new Map(trial.recoveryBand?.map(({ thetaMs, ms }) => [round(thetaMs / 1_000), ms]));
            return overlayLine(
              trial,
              x.map((theta) => (at.get(theta) === undefined ? null : round(at.get(theta)! / 1_000))),
            );
          }),
          'late',
        ),
      },
    ],
  };
}

/** One piece of a trial from t_eff on; pieces follow each other without a gap. */
export interface Phase {
  readonly name: 'detection' | 'stall' | 'catch-up' | 'redundancy';
  readonly fromS: number;
  readonly toS: number;
}

/**
 * What the time from t_eff on went into: until the system noticed, from there to the first output, from there until
 * recovered, and what redundancy took beyond that. An instant that is not known leaves its time to the piece after it.
 */
export function phasesOf(trial: TrialRecord): readonly Phase[] {
  const { det, first, rec, red } = trial.instants;
  const marks = [
    ['detection', det],
    ['stall', first],
    ['catch-up', rec],
    ['redundancy', pointOf('redundancy', trial)?.ms === null ? undefined : red],
  ] as const;
  let fromS = 0;
  return marks.flatMap(([name, instant]): Phase[] => {
    if (!instant) return [];
    const toS = secondsAt(trial, instant.atMs);
    if (toS <= fromS) return [];
    const phase = { name, fromS, toS };
    fromS = toS;
    return [phase];
  });
}

function round(value: number): number {
  return Number(value.toFixed(3));
}
