/** A moment of a schedule and the number of records that are due before it, all partitions together. */
export interface Anchor {
  /** When turn `baseTurn` is due; epoch ms. */
  readonly baseMs: number;
  /** Absent: 0. */
  readonly baseTurn?: number;
}

/** A stretch in which the rate changes evenly, up to the beginning of the next one; the last one's stays as it is. */
export interface Stretch {
  /** Where it begins, in ms after the schedule's base, and the number of turns due by then: the integral of the rate. */
  readonly atMs: number;
  readonly turns: number;
  /** Records per second at its beginning, above zero, and by how much that changes in a second. */
  readonly rate: number;
  readonly slope: number;
}

/**
 * An open-loop schedule: record `seq` of partition `p` is due at a time that depends on nothing but these numbers, so
 * a stalled broker cannot make the load wait for it. Partitions take turns: it is turn `seq * partitions + p`, and a
 * turn is due when the integral of the rate has reached its number. Plain data, so that whoever reads it agrees.
 */
export interface Schedule extends Anchor {
  /** Records per second, all partitions together; a list where the rate changes. */
  readonly rate: number | readonly Stretch[];
  readonly partitions: number;
  /** By partition, where their generators began at different times; the schedule's own where there is none. */
  readonly anchors?: readonly (Anchor | undefined)[];
}

/** When a record should be sent; epoch ms. Never decreases from one record of a partition to the next. */
export function intendedMs(schedule: Schedule, partition: number, seq: number): number {
  const { baseMs, baseTurn = 0 } = schedule.anchors?.[partition] ?? schedule;
  return baseMs + turnMs(schedule.rate, seq * schedule.partitions + partition - baseTurn);
}

/** The number of a partition's records that are due at `nowMs`: the first seq that is not. */
export function dueCount(schedule: Schedule, partition: number, nowMs: number): number {
  const { baseMs, baseTurn = 0 } = schedule.anchors?.[partition] ?? schedule;
  const turns = baseTurn + turnsBy(schedule.rate, nowMs - baseMs + 1);
  let due = Math.max(0, Math.floor((turns - partition) / schedule.partitions));
  // The guess inverts a rounded-down time: it can be off by one record either way.
  while (due > 0 && intendedMs(schedule, partition, due - 1) > nowMs) due--;
  while (intendedMs(schedule, partition, due) <= nowMs) due++;
  return due;
}

/** Stretches of these lengths, one after the other, and after them `lastRate` for good. */
export function stretchesOf(
  parts: readonly { readonly lengthMs: number; readonly rate: number; readonly endRate: number }[],
  lastRate: number,
): readonly Stretch[] {
  let atMs = 0;
  let turns = 0;
  const stretches = parts.map(({ lengthMs, rate, endRate }): Stretch => {
    const stretch = { atMs, turns, rate, slope: ((endRate - rate) * 1000) / lengthMs };
    atMs += lengthMs;
    turns += (lengthMs * (rate + endRate)) / 2000;
    return stretch;
  });
  return [...stretches, { atMs, turns, rate: lastRate, slope: 0 }];
}

/** Where a partition of the topic ends: its newest record. */
export interface PartitionEnd {
  readonly partition: number;
  readonly seq: number;
  readonly intendedMs: number;
}

/** What a schedule is to be, and which partitions somebody is to serve by it. */
export interface SchedulePlan {
  readonly rate: Schedule['rate'];
  readonly partitions: number;
  /** Absent: all. */
  readonly own?: readonly number[];
  readonly nowMs: number;
}

/**
 * Goes on where the topic ends. When every partition's end lies on one schedule of this constant rate (a restarted
 * generator), that schedule continues and what was missed meanwhile is sent late, with its old stamps. Otherwise
 * (first start, another rate, a rate that changes: its end does not tell its beginning) a new one begins.
 */
export function resumeSchedule(ends: readonly PartitionEnd[], plan: SchedulePlan): Schedule {
  const { rate, partitions, own = allOf(partitions) } = plan;
  const ours = ends.filter(({ partition }) => own.includes(partition));
  if (typeof rate === 'number' && ours.length === own.length) {
    const bases = ours.map((end) => end.intendedMs - turnMs(rate, end.seq * partitions + end.partition));
    const [base] = bases;
    if (base !== undefined && bases.every((other) => other === base))
      return { baseMs: base, rate, partitions };
  }
  return beginSchedule(new Map(ours.map(({ partition, seq }) => [partition, seq + 1])), plan);
}

/** A schedule by which the first record that is still to be written is due now; `nextSeqs` has it by partition. */
export function beginSchedule(
  nextSeqs: ReadonlyMap<number, number>,
  { rate, partitions, own = allOf(partitions), nowMs }: SchedulePlan,
): Schedule {
  const turns = own.map((partition) => (nextSeqs.get(partition) ?? 0) * partitions + partition);
  const baseTurn = Math.min(...turns);
  return typeof rate === 'number'
    ? { baseMs: nowMs - turnMs(rate, baseTurn), rate, partitions }
    : { baseMs: nowMs, baseTurn, rate, partitions };
}

function allOf(partitions: number): readonly number[] {
  return Array.from({ length: partitions }, (_, partition) => partition);
}

/** When so many turns are due, in ms after the base: the inverse of the integral of the rate, rounded down. */
function turnMs(rate: Schedule['rate'], turns: number): number {
  if (typeof rate === 'number') return Math.floor((turns * 1000) / rate);
  const stretch = lastThat(rate, (it) => it.turns <= turns);
  const more = turns - stretch.turns;
  // Before its base a schedule has the rate that it begins with.
  const slope = more < 0 ? 0 : stretch.slope;
  // rate * s + slope * s^2 / 2 = more, solved for s so that nothing cancels out when the slope is small.
  const root = Math.sqrt(stretch.rate * stretch.rate + 2 * slope * more);
  return Math.floor(stretch.atMs + (2000 * more) / (stretch.rate + root));
}

/** The integral of the rate from the base to `atMs` after it; not rounded, and negative before the base. */
function turnsBy(rate: Schedule['rate'], atMs: number): number {
  if (typeof rate === 'number') return (atMs * rate) / 1000;
  const stretch = lastThat(rate, (it) => it.atMs <= atMs);
  const seconds = (atMs - stretch.atMs) / 1000;
  const slope = seconds < 0 ? 0 : stretch.slope;
  return stretch.turns + stretch.rate * seconds + (slope * seconds * seconds) / 2;
}

/** The last stretch that has begun, by bisection; the first when none has. */
function lastThat(stretches: readonly Stretch[], hasBegun: (stretch: Stretch) => boolean): Stretch {
  let [low, high] = [0, stretches.length - 1];
  while (low < high) {
    const middle = Math.ceil((low + high) / 2);
    if (hasBegun(stretches[middle]!)) low = middle;
    else high = middle - 1;
  }
  return stretches[low]!;
}
