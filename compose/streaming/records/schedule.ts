/**
 * An open-loop schedule: record `seq` of partition `p` is due at a time that depends on nothing but these numbers, so
 * a stalled broker cannot make the load wait for it. Partitions take turns.
 */
export interface Schedule {
  /** When record 0 of partition 0 would have been due; epoch ms. */
  readonly baseMs: number;
  /** Records per second, all partitions together. */
  readonly rate: number;
  readonly partitions: number;
}

/** When a record should be sent; epoch ms. */
export function intendedMs(schedule: Schedule, partition: number, seq: number): number {
  return schedule.baseMs + turnMs(schedule, partition, seq);
}

/** The number of a partition's records that are due at `nowMs`: the first seq that is not. */
export function dueCount(schedule: Schedule, partition: number, nowMs: number): number {
  const { baseMs, rate, partitions } = schedule;
  const guess = Math.max(0, Math.floor((((nowMs - baseMs + 1) * rate) / 1000 - partition) / partitions));
  // The guess inverts a rounded-down time: it can be off by one record either way.
  let due = Math.max(0, guess - 1);
  while (intendedMs(schedule, partition, due) <= nowMs) due++;
  return due;
}

/** Where a partition of the topic ends: its newest record. */
export interface PartitionEnd {
  readonly partition: number;
  readonly seq: number;
  readonly intendedMs: number;
}

/**
 * Goes on where the topic ends. When every partition's end lies on one schedule of this rate (a restarted generator),
 * that schedule continues and what was missed meanwhile is sent late, with its old stamps. Otherwise (first start,
 * another rate) a new one begins so that the first record not yet written is due now.
 */
export function resumeSchedule(
  ends: readonly PartitionEnd[],
  plan: { readonly rate: number; readonly partitions: number; readonly nowMs: number },
): Schedule {
  const { rate, partitions, nowMs } = plan;
  const fresh = { baseMs: 0, rate, partitions };
  const bases = new Set(ends.map((end) => end.intendedMs - turnMs(fresh, end.partition, end.seq)));
  const [base] = bases;
  if (base !== undefined && bases.size === 1 && ends.length === partitions) return { ...fresh, baseMs: base };
  const nextSeqs = Array.from({ length: partitions }, () => 0);
  for (const end of ends) nextSeqs[end.partition] = end.seq + 1;
  const firstTurn = Math.min(...nextSeqs.map((seq, partition) => turnMs(fresh, partition, seq)));
  return { ...fresh, baseMs: nowMs - firstTurn };
}

function turnMs({ rate, partitions }: Schedule, partition: number, seq: number): number {
  return Math.floor(((seq * partitions + partition) * 1000) / rate);
}
