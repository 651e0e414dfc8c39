import type { Calibration } from './calibrate.ts';
import type { Sample } from './sample.ts';
import { clockProblem, slope, visibleAge } from './signal.ts';
import { sourceProblems } from './sources.ts';
import { maximumOrP99 } from './statistics.ts';

const maxSlope = 0.01;
const p99Factor = 1.25;
const maxRateError = 0.01;

/**
 * Why the rows are no steady state to inject a fault into; empty when they are. Over the window of length T:
 * - least-squares slope of F_visible within 0.01 s/s, plus what a sawtooth of one commit gap P can fake: 2 P^2 / T^2
 *   (its exact maximum is 1.75 P^2 / T^2; 0.0006 at P = 2 s, T = 120 s, and only felt in short windows);
 * - p99 of F_visible (the maximum below 300 rows) within 1.25 x the calibration's;
 * - offered rate within 1 % of plan: the generator's lag behind its own schedule grows by less than 0.01 s/s;
 * - the same observer and generator throughout.
 */
export function gateProblems(rows: readonly Sample[], calibration: Calibration): readonly string[] {
  const clock = clockProblem(rows);
  if (clock) return [clock];
  const points = rows.flatMap((row): [number, number][] => {
    const age = visibleAge(row);
    return age === null ? [] : [[row.atMs, age]];
  });
  // What is not known is not steady.
  if (points.length < Math.max(2, rows.length)) return ['no result was visible'];
  const windowMs = rows.at(-1)!.atMs - rows[0]!.atMs;
  const sawtooth = 2 * (calibration.commitGapMs / windowMs) ** 2;
  const drift = slope(points);
  const { name, value } = maximumOrP99(points.map(([, age]) => age))!;
  const lag = slope(rows.map(({ atMs, generatorBehindMs }) => [atMs, generatorBehindMs]));
  return [
    ...sourceProblems(rows),
    ...(Math.abs(drift) > maxSlope + sawtooth
      ? [`results age by ${drift.toFixed(3)} s/s, allowed is ${(maxSlope + sawtooth).toFixed(3)}`]
      : []),
    ...(value > p99Factor * calibration.p99Ms
      ? [`${name} of the results' age is ${value} ms, calibrated were ${calibration.p99Ms} ms`]
      : []),
    ...(Math.abs(lag) > maxRateError
      ? [`the generator drifts from its plan by ${(lag * 100).toFixed(1)} %`]
      : []),
  ];
}

/**
 * Why the rows are no window to calibrate from: the gate's rules, with the newer half of the window as the measure, so
 * that results which are still getting younger after a start are not taken for the job's own rhythm.
 */
export function calibrationProblems(rows: readonly Sample[], calibration: Calibration): readonly string[] {
  const newer = rows
    .slice(Math.floor(rows.length / 2))
    .map(visibleAge)
    .filter((age) => age !== null);
  return gateProblems(rows, { ...calibration, p99Ms: maximumOrP99(newer)?.value ?? 0 });
}
