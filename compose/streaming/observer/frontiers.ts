import type { GeneratorFrontier } from '../records/frontier.ts';
import { dueCount, intendedMs, type Schedule } from '../records/schedule.ts';
import type { InputLog } from './input-log.ts';

/** The oldest of the partitions' times, never later than now: an age is not negative. */
function slowest(times: Iterable<number>, atMs: number): number {
  let oldest = atMs;
  for (const time of times) oldest = Math.min(oldest, time);
  return oldest;
}

/** Intended time of the first record not acknowledged; it ages on when the generator no longer answers. */
export function ackedFrontier(generator: GeneratorFrontier, atMs: number): number {
  const { perPartition, schedule } = generator;
  return slowest(
    perPartition.map(({ partition, ackedSeq }) => intendedMs(schedule, partition, ackedSeq + 1)),
    atMs,
  );
}

/** Intended time of the first record beyond the committed end offsets. */
export function committedFrontier(
  logs: readonly InputLog[],
  {
    endOffsets,
    schedule,
    atMs,
  }: { endOffsets: ReadonlyMap<number, number>; schedule: Schedule; atMs: number },
): number {
  return slowest(
    logs.map((log) => log.frontierMs(endOffsets.get(log.partition) ?? 0, schedule)),
    atMs,
  );
}

/** Intended time of the first record that is not counted in its result, or not even stored. */
export function visibleFrontier(
  logs: readonly InputLog[],
  { uncounted, schedule, atMs }: { uncounted: Iterable<number>; schedule: Schedule; atMs: number },
): number {
  const times = logs.map((log) => log.endMs(schedule));
  for (const timeMs of uncounted) times.push(timeMs);
  return slowest(times, atMs);
}

/** Records that the schedule has asked for by now. */
export function intendedRecords({ schedule }: GeneratorFrontier, atMs: number): number {
  let total = 0;
  for (let partition = 0; partition < schedule.partitions; partition++) {
    total += dueCount(schedule, partition, atMs);
  }
  return total;
}
