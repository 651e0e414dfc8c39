import { availableParallelism, release, totalmem } from 'node:os';

/** When a figure is good enough: its value, or its ratio to the baseline, stays below a limit, or reaches it. */
export interface Target {
  readonly of: 'value' | 'ratio';
  readonly sign: '<' | '<=' | '>=';
  readonly limit: number;
}

/** What was measured, beside the same thing done as plainly as possible. */
export interface Reading {
  readonly value: number;
  readonly unit: 's' | 'ms' | '%' | 'MB' | 'requests' | 'lines' | 'services' | 'runs' | 'calls' | 'events/s';
  /** Measurements that the value was made of. */
  readonly n: number;
  readonly baseline: number;
  /** Absent where no limit was set. */
  readonly target?: Target;
}

/** One line of the bench's answer. */
export interface Figure {
  readonly name: string;
  readonly value: number;
  readonly unit: Reading['unit'];
  readonly n: number;
  readonly baseline: number;
  /** Null when the baseline is nothing. */
  readonly ratio: number | null;
  readonly target: string;
  /** Null without a target. */
  readonly pass: boolean | null;
}

/** A reading under its name, rounded for people, judged before that. */
export function toFigure(name: string, { value, unit, n, baseline, target }: Reading): Figure {
  const ratio = baseline === 0 ? null : value / baseline;
  return {
    ...{ name, value: rounded(value), unit, n, baseline: rounded(baseline) },
    ratio: ratio === null ? null : rounded(ratio),
    target: target ? `${target.of} ${target.sign} ${target.limit}` : 'none',
    pass: target ? meets(target, value, ratio) : null,
  };
}

function meets({ of, sign, limit }: Target, value: number, ratio: number | null): boolean {
  const judged = of === 'value' ? value : (ratio ?? Number.POSITIVE_INFINITY);
  if (sign === '>=') return judged >= limit;
  return sign === '<' ? judged < limit : judged <= limit;
}

const rounded = (value: number): number => Math.round(value * 1000) / 1000;

/** Of an even number of values the mean of the middle two. */
export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length / 2;
  const upper = sorted[Math.floor(middle)];
  if (upper === undefined) throw new RangeError('there is no median of nothing');
  return Number.isInteger(middle) ? (sorted[middle - 1]! + upper) / 2 : upper;
}

/** This machine, as it is told beside what was measured on it. */
export const aboutMachine = (): string =>
  `Linux ${release()}, ${availableParallelism()} cores, ${Math.round(totalmem() / 2 ** 30)} GiB`;
