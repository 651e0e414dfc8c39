import { bisect, gammaln, shuffle } from 'simple-statistics';
import type { TrialRecord } from '../../crds/trial-record.ts';
import { seededRandom } from '../seeded-random.ts';
import { quantile } from './signal.ts';

// Of trials, never of rows; a trial that was censored at T_max is given as Infinity. Nothing here takes a mean: of values
// with Infinity among them there is none, and of recovery times it says little.

/** From so many values on a median is told at all: below it the range of all of them covers the median in less than 95 %. */
export const fewestForMedian = 6;
/** The largest of n values exceeds the p-quantile with probability 1 - p^n (Wilks 1941): 95 % at n = 59 and n = 299. */
const fewestForP95 = 59;
const fewestForP99 = 300;

/** Up to so many trials in both arms all divisions into arms are counted, in a second or two; of more, so many are drawn. */
const mostForExact = 200;
const drawnDivisions = 20_000;

/** The median and an interval that covers the true one with probability `coverage`; in the unit of the values. */
export interface MedianInterval {
  readonly median: number;
  readonly low: number;
  readonly high: number;
  /** Exact, for any continuous distribution; at least the level that was asked for. */
  readonly coverage: number;
}

/**
 * Median with its order-statistic interval [x(k), x(n+1-k)], k the largest whose coverage 1 - 2 P(B(n, 1/2) < k) is at
 * least `level` (Hahn and Meeker, Statistical Intervals, 5.2). Undefined below n = 6, and where the level is out of reach
 * of n. The median is Infinity when more than half of the trials, or one of the middle two, are censored.
 */
export function medianInterval(values: readonly number[], level = 0.95): MedianInterval | undefined {
  const n = values.length;
  if (n < fewestForMedian) return undefined;
  const coverageOf = (k: number) => 1 - 2 * binomialUpTo(k - 1, n, 0.5);
  if (coverageOf(1) < level) return undefined;
  let k = 1;
  while (2 * (k + 1) <= n && coverageOf(k + 1) >= level) k++;
  const sorted = ascending(values);
  return { median: medianOf(sorted), low: sorted[k - 1]!, high: sorted[n - k]!, coverage: coverageOf(k) };
}

/**
 * A proportion with its Clopper-Pearson interval (Biometrika 26, 1934): the limits are the probabilities at which as many
 * successes or more, and as many or fewer, have probability (1 - level) / 2. Undefined for n = 0.
 */
export function proportionInterval(
  successes: number,
  n: number,
  level = 0.95,
): { readonly proportion: number; readonly low: number; readonly high: number } | undefined {
  if (n === 0) return undefined;
  const tail = (1 - level) / 2;
  // simple-statistics has no inverse of the beta distribution, so its bisection inverts the binomial tails.
  const limit = (excess: (p: number) => number) => bisect(excess, 0, 1, 100, 1e-12);
  return {
    proportion: successes / n,
    low: successes === 0 ? 0 : limit((p) => 1 - tail - binomialUpTo(successes - 1, n, p)),
    high: successes === n ? 1 : limit((p) => tail - binomialUpTo(successes, n, p)),
  };
}

/**
 * How many times as long the first arm takes as the second, by their medians, and the p-value of no difference. Undefined
 * unless both medians are told (n >= 6), finite and above zero.
 */
export function ratioOfMedians(
  first: readonly number[],
  second: readonly number[],
): { readonly ratio: number; readonly pValue: number } | undefined {
  const [a, b] = [medianInterval(first)?.median, medianInterval(second)?.median];
  const isTold = (median: number | undefined) => median !== undefined && median > 0 && median < Infinity;
  return isTold(a) && isTold(b) ? { ratio: a! / b!, pValue: permutationPValue(first, second) } : undefined;
}

/**
 * Two-sided p-value of the permutation test of "both arms come from one distribution". The
 * statistic is the difference of mean ranks, ties sharing theirs: censored values tie at the top, which is all that is
 * known of them, whereas a difference of means or medians may be Infinity - Infinity. As or more extreme: a rank sum as
 * far from its expectation as the one seen.
 *
 * All divisions into arms are counted (shift algorithm: Streitberg and Roehmel 1986), so there is no error of sampling; only
 * of more than 200 trials a fixed seed draws some, and the one seen counts among them (Phipson and Smyth 2010).
 */
export function permutationPValue(first: readonly number[], second: readonly number[]): number {
  const ranks = doubledRanks([...first, ...second]);
  // Either arm tells the same; the smaller one has fewer sums.
  const arm = first.length <= second.length ? ranks.slice(0, first.length) : ranks.slice(first.length);
  const expected = arm.length * (ranks.length + 1);
  const distance = Math.abs(sum(arm) - expected);
  const isExtreme = (total: number) => Math.abs(total - expected) >= distance;
  if (ranks.length > mostForExact) {
    const drawn = drawSums(ranks, arm.length);
    return (1 + drawn.filter(isExtreme).length) / (1 + drawn.length);
  }
  const ways = waysBySum(ranks, arm.length);
  return sum(ways.filter((_, total) => isExtreme(total))) / sum(ways);
}

/** P-values of a family of comparisons, adjusted by Holm's step-down method (1979), in the order given. */
export function holm(pValues: readonly number[]): readonly number[] {
  const adjusted: number[] = [];
  let atLeast = 0;
  const order = [...pValues.keys()].sort((a, b) => pValues[a]! - pValues[b]!);
  for (const [rank, index] of order.entries()) {
    atLeast = Math.max(atLeast, Math.min(1, (pValues.length - rank) * pValues[index]!));
    adjusted[index] = atLeast;
  }
  return adjusted;
}

/** The 99th percentile (nearest rank) where 300 values bear one, else the maximum, and says which; undefined for none. */
export function maximumOrP99(
  values: readonly number[],
): { readonly name: 'p99' | 'maximum'; readonly value: number } | undefined {
  if (values.length === 0) return undefined;
  const bearsIt = values.length >= fewestForP99;
  return { name: bearsIt ? 'p99' : 'maximum', value: quantile(values, bearsIt ? 0.99 : 1) };
}

/** The 95th percentile (nearest rank); undefined below n = 59. */
export function p95(values: readonly number[]): number | undefined {
  return values.length >= fewestForP95 ? quantile(values, 0.95) : undefined;
}

/**
 * Whether the no-fault controls let recovery times be claimed: at most a tenth of those that could be judged show a
 * violation. An invalid control says nothing. Without any judged one nothing speaks against a claim, and nothing for it:
 * who prints it has to say that.
 */
export function controlsAllowClaim(controls: readonly Pick<TrialRecord, 'verdict'>[]): {
  readonly allowed: boolean;
  readonly violated: number;
  readonly judged: number;
} {
  const verdicts = controls.flatMap(({ verdict }) => verdict?.recovery ?? []);
  const judged = verdicts.filter((recovery) => recovery !== 'Invalid');
  const violated = judged.filter((recovery) => recovery !== 'Masked').length;
  return { allowed: 10 * violated <= judged.length, violated, judged: judged.length };
}

/** P(B <= k) of a binomial B(n, p); simple-statistics' table of it leaves out the upper tail. */
function binomialUpTo(k: number, n: number, p: number): number {
  const times = (count: number, log: number) => (count === 0 ? 0 : count * log); // 0 log 0 is 0
  const logChoose = (count: number) => gammaln(n + 1) - gammaln(count + 1) - gammaln(n - count + 1);
  const terms = Array.from({ length: k + 1 }, (_, count) =>
    Math.exp(logChoose(count) + times(count, Math.log(p)) + times(n - count, Math.log1p(-p))),
  );
  return sum(terms);
}

/** Two equal middle values are their own mean, Infinity too: simple-statistics would make NaN of Infinity - Infinity. */
function medianOf(sorted: readonly number[]): number {
  const [low, high] = [sorted[Math.ceil(sorted.length / 2) - 1]!, sorted[Math.floor(sorted.length / 2)]!];
  return low === high ? low : (low + high) / 2;
}

/** Twice the rank of each value, from 1, ties sharing the mean of theirs: whole numbers. */
function doubledRanks(values: readonly number[]): readonly number[] {
  const sorted = ascending(values);
  return values.map((value) => sorted.indexOf(value) + sorted.lastIndexOf(value) + 2);
}

/** How many choices of `size` of the weights have each sum. */
function waysBySum(weights: readonly number[], size: number): Float64Array {
  const largest = sum(ascending(weights).slice(weights.length - size));
  const ways = Array.from({ length: size + 1 }, () => new Float64Array(largest + 1));
  ways[0]![0] = 1;
  for (const [index, weight] of weights.entries()) {
    for (let chosen = Math.min(index + 1, size); chosen > 0; chosen--) {
      const [without, withIt] = [ways[chosen - 1]!, ways[chosen]!];
      for (let total = weight; total <= largest; total++) withIt[total]! += without[total - weight]!;
    }
  }
  return ways[size]!;
}

/** Sums of `size` of the weights, chosen anew each time, the same ones at each call. */
function drawSums(weights: readonly number[], size: number): readonly number[] {
  const all = [...weights];
  const random = seededRandom(all.length);
  return Array.from({ length: drawnDivisions }, () => sum(shuffle(all, random).slice(0, size)));
}

function ascending(values: readonly number[]): readonly number[] {
  return values.toSorted((a, b) => a - b);
}

function sum(values: Iterable<number>): number {
  let total = 0;
  for (const value of values) total += value;
  return total;
}
