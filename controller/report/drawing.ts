import {
  type Correctness,
  findingClasses,
  type Sample,
  viewOf,
} from '../../state-machines/recovery/sample.ts';
import { visibleAge } from '../../state-machines/recovery/signal.ts';

/** A trial's rows, few enough to be drawn; all columns are as long as `x`. */
export interface Drawing {
  /** Seconds since the origin. */
  readonly x: readonly number[];
  /** Frontier ages, seconds. */
  readonly acked: Column;
  readonly committed: Column;
  readonly visible: Column;
  /** Records per second that were due, and that Kafka acknowledged: means over a second, or over a bucket. */
  readonly offered: Column;
  readonly acknowledged: Column;
  /** Records due since the committed frontier: what the job has yet to take, at most. */
  readonly lag: Column;
  readonly workers: Column;
  readonly executors: Column;
  /** Windows of the observer's checks, in order. */
  readonly checks: readonly Check[];
  /** Rows that were read, and those that were left out because time went back. */
  readonly rows: number;
  readonly backwards: number;
  readonly bucketMs: number;
}

type Column = readonly (number | null)[];

/** What the observer's totals came to in some seconds; the gravest of it. */
export interface Check {
  readonly fromS: number;
  readonly toS: number;
  readonly state: 'ok' | 'reemitted' | 'short' | 'lost' | 'wrong' | 'unknown';
}

/** No row for so long is a hole that no line may cross. */
const holeMs = 5_000;
/** At first a bucket holds one row. */
const rowMs = 250;
/** A mean over less than this shows the rhythm of the rows, not a rate. */
const rateMs = 1_000;
/** As long as a window of the workload. */
const checkMs = 5_000;
const mostChecks = 120;

const channels = ['acked', 'committed', 'visible', 'lag', 'workers', 'executors'] as const;
type Channel = (typeof channels)[number];
/** One for each channel, in their order. */
type Values = (number | null)[];

/** Rows that are drawn as one or two points. Written in place: there is one step for each of a day's rows. */
interface Bucket {
  index: number;
  rows: number;
  readonly fromMs: number;
  /** The last of its rows. */
  to: Sample;
  readonly least: Values;
  readonly most: Values;
  /** Of which channels the most came after the least. */
  readonly rising: boolean[];
}

export interface DrawingBuilder {
  add(row: Sample): void;
  /** `originMs` (epoch ms, the rows' clock) is where x is 0. */
  build(originMs: number): Drawing;
}

/**
 * Takes rows one after another and keeps the least and the most of each bucket, so that no peak is lost. Buckets double
 * their width whenever there are more than `mostBuckets`, so memory does not grow with the rows. Rows before `fromMs`
 * (epoch ms) are read and not drawn.
 */
export function drawingBuilder(fromMs: number, mostBuckets: number): DrawingBuilder {
  let buckets: Bucket[] = [];
  let bucketMs = rowMs;
  let rows = 0;
  let backwards = 0;
  let lastMs = Number.NEGATIVE_INFINITY;
  const lagOf = lagMeter();
  return {
    add(row) {
      rows += 1;
      if (row.atMs <= lastMs) {
        backwards += 1;
        return;
      }
      lastMs = row.atMs;
      const lag = lagOf(row);
      if (row.atMs < fromMs) return;
      const index = Math.floor((row.atMs - fromMs) / bucketMs);
      collect(buckets, bucketOf(index, row, lag));
      if (buckets.length <= mostBuckets) return;
      bucketMs *= 2;
      const halved: Bucket[] = [];
      for (const bucket of buckets) {
        bucket.index = Math.floor(bucket.index / 2);
        collect(halved, bucket);
      }
      buckets = halved;
    },
    build: (originMs) => ({ ...columnsOf(buckets, originMs), rows, backwards, bucketMs }),
  };
}

function bucketOf(index: number, row: Sample, lag: number | null): Bucket {
  const { atMs, ackedMs, committedMs } = row;
  const values: Values = [
    atMs - ackedMs,
    committedMs === null ? null : atMs - committedMs,
    visibleAge(row),
    lag,
    viewOf(row, 'spark-master')?.parts.workersAlive ?? null,
    viewOf(row, 'spark-driver')?.parts.executors ?? null,
  ];
  const rising = values.map(() => false);
  return { index, rows: 1, fromMs: atMs, to: row, least: [...values], most: values, rising };
}

/** Puts a bucket behind the others, or into the last one when that has its index. */
function collect(buckets: Bucket[], next: Bucket): void {
  const last = buckets.at(-1);
  if (last?.index === next.index) absorb(last, next);
  else buckets.push(next);
}

function absorb(first: Bucket, second: Bucket): void {
  const { least, most, rising } = first;
  first.rows += second.rows;
  first.to = second.to;
  for (let channel = 0; channel < channels.length; channel++) {
    const isLower = isBelow(second.least[channel]!, least[channel]!);
    const isHigher = isBelow(most[channel]!, second.most[channel]!);
    if (isLower) least[channel] = second.least[channel]!;
    if (isHigher) most[channel] = second.most[channel]!;
    if (isHigher || isLower) rising[channel] = isHigher && (!isLower || second.rising[channel]!);
  }
}

/** What is not known takes no part. */
function isBelow(a: number | null, b: number | null): boolean {
  return b === null ? a !== null : a !== null && a < b;
}

interface DrawnPoint {
  readonly atMs: number;
  readonly values: Values;
  /** Absent in a hole. */
  readonly bucket?: Bucket;
}

const nothing: Values = channels.map(() => null);

function columnsOf(
  buckets: readonly Bucket[],
  originMs: number,
): Omit<Drawing, 'rows' | 'backwards' | 'bucketMs'> {
  const points = buckets.flatMap((bucket, index) => pointsOf(bucket, buckets[index - 1]));
  const rates = ratesOf(buckets);
  const column = (of: (point: DrawnPoint) => number | null | undefined, digits: number): Column =>
    points.map((point) => {
      const value = of(point);
      return value === null || value === undefined ? null : Number(value.toFixed(digits));
    });
  const of = (channel: Channel, perUnit = 1) => {
    const at = channels.indexOf(channel);
    return column(
      ({ values }) => (values[at] === null ? null : values[at]! / perUnit),
      perUnit === 1 ? 0 : 2,
    );
  };
  const rate = (name: keyof Rates) => column(({ bucket }) => bucket && rates.get(bucket)?.[name], 0);
  return {
    x: points.map(({ atMs }) => Number(((atMs - originMs) / 1_000).toFixed(3))),
    ...{ acked: of('acked', 1_000), committed: of('committed', 1_000), visible: of('visible', 1_000) },
    ...{ offered: rate('offered'), acknowledged: rate('acknowledged') },
    ...{ lag: of('lag'), workers: of('workers'), executors: of('executors') },
    checks: checksOf(buckets, originMs),
  };
}

function pointsOf(bucket: Bucket, before: Bucket | undefined): readonly DrawnPoint[] {
  const { fromMs, to, least, most, rising, rows } = bucket;
  const side = (isFirst: boolean): Values =>
    channels.map((_, at) => (rising[at] === isFirst ? least[at]! : most[at]!));
  const isAfterHole = before !== undefined && fromMs - before.to.atMs > holeMs;
  const hole = isAfterHole ? [{ atMs: (fromMs + before.to.atMs) / 2, values: nothing }] : [];
  if (rows === 1) return [...hole, { atMs: fromMs, values: most, bucket }];
  return [
    ...hole,
    { atMs: fromMs, values: side(true), bucket },
    { atMs: to.atMs, values: side(false), bucket },
  ];
}

interface Rates {
  readonly offered: number | null;
  readonly acknowledged: number | null;
}

/** From the counters of each bucket's last row and of the nearest one that lies far enough back. */
function ratesOf(buckets: readonly Bucket[]): ReadonlyMap<Bucket, Rates> {
  let back = 0;
  return new Map(
    buckets.map((bucket) => {
      const now = bucket.to;
      while (now.atMs - (buckets[back + 1]?.to.atMs ?? now.atMs) >= rateMs) back += 1;
      const then = buckets[back]!.to;
      const elapsedS = (now.atMs - then.atMs) / 1_000;
      // A counter that falls began anew: its producer was restarted.
      const rate = (added: number) => (elapsedS * 1_000 < rateMs || added < 0 ? null : added / elapsedS);
      return [
        bucket,
        { offered: rate(now.intended - then.intended), acknowledged: rate(now.acked - then.acked) },
      ];
    }),
  );
}

/** Records that fell due after the committed frontier's: from the rows' own counts, for a rate may change. */
function lagMeter(): (row: Sample) => number | null {
  const due: { readonly atMs: number; readonly intended: number }[] = [];
  let head = 0;
  return ({ atMs, intended, committedMs }) => {
    due.push({ atMs, intended });
    if (committedMs === null) return null;
    while (head + 1 < due.length && due[head + 1]!.atMs <= committedMs) head += 1;
    if (head > 1_000) {
      due.splice(0, head);
      head = 0;
    }
    const [before, after] = [due[head]!, due[head + 1]];
    if (before.atMs > committedMs) return null;
    if (!after) return 0;
    const share = (committedMs - before.atMs) / (after.atMs - before.atMs);
    return Math.max(0, intended - before.intended - share * (after.intended - before.intended));
  };
}

/** In windows of five seconds, or of more when that were too many to be seen. */
function checksOf(buckets: readonly Bucket[], originMs: number): readonly Check[] {
  const [first, last] = [buckets[0], buckets.at(-1)];
  if (!first || !last) return [];
  const lengthMs = Math.max(checkMs, Math.ceil((last.to.atMs - first.fromMs) / mostChecks / 1_000) * 1_000);
  const startMs = originMs + Math.floor((first.fromMs - originMs) / lengthMs) * lengthMs;
  const count = Math.floor((last.to.atMs - startMs) / lengthMs) + 1;
  const ends = Array.from<Sample | undefined>({ length: count });
  for (const { to } of buckets) ends[Math.floor((to.atMs - startMs) / lengthMs)] = to;
  let before: Sample | undefined;
  return ends.map((end, index) => {
    const fromS = (startMs - originMs + index * lengthMs) / 1_000;
    const state = checkState(before, end);
    before = end ?? before;
    return { fromS, toS: fromS + lengthMs / 1_000, state };
  });
}

/** As what each class is shown: a class that is new has to be given a place here. */
const shownAs: Readonly<Record<keyof Correctness, Exclude<Check['state'], 'unknown'>>> = {
  ...{ wrong: 'wrong', longWindows: 'wrong', longRecords: 'wrong', conflicting: 'wrong', phantom: 'wrong' },
  ...{ acknowledgedButAbsent: 'lost', storedTwice: 'lost', outOfOrder: 'lost', altered: 'lost' },
  ...{ misplaced: 'lost', shortWindows: 'short', shortRecords: 'short', missingWindows: 'short' },
  ...{ missingRecords: 'short', lateDropped: 'short', reemitted: 'reemitted', unjudged: 'ok' },
};

/** The gravest class to which something was added since the last window: what was there before is none of this trial. */
function checkState(before: Sample | undefined, end: Sample | undefined): Check['state'] {
  if (!end || end.visibleMs === null) return 'unknown';
  // The totals are the observer's since its start: the first window has nothing to be compared with.
  if (!before) return 'ok';
  const added = findingClasses.filter((name) => end.correctness[name] > before.correctness[name]);
  const states = ['wrong', 'lost', 'short', 'reemitted'] as const;
  return states.find((state) => added.some((name) => shownAs[name] === state)) ?? 'ok';
}
