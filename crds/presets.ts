import { type FaultSchedule, faultGroups } from './fault-schedule.ts';
import { parseDuration } from './parse-duration.ts';

/** How a schedule is measured, in numbers: MEASUREMENT's words. */
export interface MeasurementPlan {
  /** Trials of each fault; 0: inject once and measure nothing. */
  readonly trials: number;
  /** Trials in which nothing is done, in all. */
  readonly controls: number;
  readonly calibrationMs: number;
  readonly gateMs: number;
  /** T_max: a trial that is not recovered by then is censored. */
  readonly maxRecoveryMs: number;
  /** Quiet time between the end of one trial and the next one's gate. */
  readonly gapMs: number;
}

type Preset = FaultSchedule['spec']['preset'];

/** `smoke` and `quick` calibrate for less than the 300 s that a claim needs, and reports say so. */
const PRESETS: Readonly<Record<Preset, Omit<MeasurementPlan, 'controls'>>> = {
  none: { trials: 0, calibrationMs: 0, gateMs: 0, maxRecoveryMs: 0, gapMs: 0 },
  smoke: { trials: 1, calibrationMs: 15_000, gateMs: 10_000, maxRecoveryMs: 600_000, gapMs: 5_000 },
  quick: { trials: 3, calibrationMs: 60_000, gateMs: 30_000, maxRecoveryMs: 600_000, gapMs: 10_000 },
  standard: { trials: 10, calibrationMs: 300_000, gateMs: 120_000, maxRecoveryMs: 600_000, gapMs: 30_000 },
  paper: { trials: 30, calibrationMs: 300_000, gateMs: 120_000, maxRecoveryMs: 600_000, gapMs: 30_000 },
};

/** Trials with a fault for each control. */
const faultsPerControl = 5;

/**
 * The fewest controls of a measured campaign. No recovery time is claimed when more than a tenth of the controls show a
 * violation: with ten of them a single one, by chance, does not decide.
 */
const LEAST_CONTROLS: Readonly<Partial<Record<Preset, number>>> = { quick: 1, standard: 10, paper: 10 };

function controlsOf({ preset }: FaultSchedule['spec'], faultTrials: number): number {
  const least = LEAST_CONTROLS[preset];
  return least === undefined ? 0 : Math.max(least, Math.ceil(faultTrials / faultsPerControl));
}

/** The preset's numbers with the schedule's own in place of them. */
export function measurementPlan(spec: FaultSchedule['spec']): MeasurementPlan {
  const preset = PRESETS[spec.preset];
  const ms = (text: string | undefined, otherwise: number) =>
    text === undefined ? otherwise : parseDuration(text);
  const trials = spec.trials ?? preset.trials;
  return {
    trials,
    controls: spec.controls ?? controlsOf(spec, trials * faultGroups(spec).length),
    calibrationMs: ms(spec.calibration, preset.calibrationMs),
    gateMs: ms(spec.gate, preset.gateMs),
    maxRecoveryMs: ms(spec.maxRecovery, preset.maxRecoveryMs),
    gapMs: ms(spec.gap, preset.gapMs),
  };
}
