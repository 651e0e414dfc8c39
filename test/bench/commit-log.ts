import { readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { intendedMs, type Schedule } from '../../compose/streaming/records/schedule.ts';

/** A batch as the job's own checkpoint tells of it. */
export interface Commit {
  /** When its file in `commits` was written, epoch ms. */
  readonly atMs: number;
  /** The offset behind its last record, by partition. */
  readonly ends: readonly number[];
}

/**
 * Reads those batches of a checkpoint (https://spark.apache.org/docs/latest/structured-streaming-programming-guide.html,
 * folders `offsets` and `commits`) that `known` lacks, and puts them there by their ids: Spark keeps the last hundred.
 */
export async function readCommits(
  checkpoint: string,
  topic: string,
  known: Map<number, Commit>,
): Promise<void> {
  const ids = (await readdir(join(checkpoint, 'commits'))).filter((name) => /^\d+$/.test(name)).map(Number);
  for (const id of ids.filter((each) => !known.has(each))) {
    try {
      const { mtimeMs } = await stat(join(checkpoint, 'commits', `${id}`));
      const offsets = await readFile(join(checkpoint, 'offsets', `${id}`), 'utf8');
      // A version, the batch's metadata, and a line for each source.
      const source = JSON.parse(offsets.trim().split('\n')[2]!) as Readonly<
        Record<string, Readonly<Record<string, number>>>
      >;
      const ends = Object.entries(source[topic]!).sort(([a], [b]) => Number(a) - Number(b));
      known.set(id, { atMs: mtimeMs, ends: ends.map(([, end]) => end) });
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error; // Spark has just removed it
    }
  }
}

/**
 * When the committed frontier was last older than `thetaMs` for longer than `gapMs` at a stretch; undefined when it never
 * was from `fromMs` on. Exact, for between two commits the frontier stands still: it is the intended time of the first
 * record that no commit covers, in the slowest partition, whose offsets are its records' numbers.
 */
export function lastViolationEnd(
  commits: readonly Commit[],
  schedule: Schedule,
  { fromMs, thetaMs, gapMs }: { readonly fromMs: number; readonly thetaMs: number; readonly gapMs: number },
): number | undefined {
  const inOrder = [...commits].sort((a, b) => a.atMs - b.atMs);
  let sinceMs: number | undefined;
  let end: number | undefined;
  for (const [index, { atMs: toMs }] of inOrder.slice(1).entries()) {
    const { atMs, ends } = inOrder[index]!;
    const frontierMs = Math.min(...ends.map((offset, partition) => intendedMs(schedule, partition, offset)));
    const lateMs = Math.max(atMs, frontierMs + thetaMs);
    if (lateMs > atMs) sinceMs = undefined;
    if (lateMs >= toMs) continue;
    sinceMs ??= lateMs;
    if (toMs > fromMs && toMs - sinceMs > gapMs) end = toMs;
  }
  return end;
}
