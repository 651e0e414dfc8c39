import type { SeqRange } from '../records/ledger.ts';
import { intendedMs, type Schedule } from '../records/schedule.ts';
import { TimeLog } from './time-log.ts';

/** Gaps that are kept one by one; of older ones only the number of records is known. */
const maximumGaps = 1_000;

/** What was read of one partition of the input topic: the ledger's check of its sequence numbers, and times by offset. */
export class InputLog {
  readonly partition: number;
  /** The offset that was read first, the one to read next, and the sequence number expected there. */
  begin = 0;
  nextOffset = 0;
  nextSeq = 0;
  storedTwice = 0;
  outOfOrder = 0;
  private times: TimeLog;
  /** Sequence numbers that were skipped, oldest first. */
  private gaps: SeqRange[] = [];
  private missing = 0;
  /** Below it nothing is known: the topic no longer holds its first records. */
  private firstSeq = 0;
  private isFirst = false;
  private lastMs = Number.NEGATIVE_INFINITY;
  /** Acknowledged up to here, as told at that time; and what must therefore have been read by now. */
  private told: { readonly seq: number; readonly atMs: number } | null = null;
  private dueSeq = -1;

  constructor(partition: number) {
    this.partition = partition;
    this.times = new TimeLog(0);
  }

  /** The topic no longer holds what lay below `offset`: the ledger begins with the record there. */
  beginAt(offset: number): void {
    if (this.nextOffset === this.begin) this.begin = offset;
    this.nextOffset = offset;
    this.times = new TimeLog(offset);
    this.isFirst = true;
  }

  /** Takes the record at `nextOffset` into the ledger; a record that cannot tell its number goes to `skip`. */
  append(seq: number, timeMs: number): void {
    this.occupy(timeMs);
    if (this.isFirst) {
      this.isFirst = false;
      this.firstSeq = seq;
      this.nextSeq = seq;
    }
    if (seq === this.nextSeq) this.nextSeq++;
    else if (seq > this.nextSeq) {
      this.addGap({ from: this.nextSeq, to: seq });
      this.nextSeq = seq + 1;
    } else if (seq >= this.firstSeq) {
      if (this.fillGap(seq)) this.outOfOrder++;
      else this.storedTwice++;
    }
  }

  /** Takes what lies at `nextOffset` but has no place in this partition's sequence. */
  skip(): void {
    this.occupy(this.lastMs);
  }

  /** The generator says that everything up to `seq` was acknowledged, and said so by `atMs`. */
  acknowledged(seq: number, atMs: number): void {
    if (this.told === null && seq > this.dueSeq) this.told = { seq, atMs };
  }

  /** Everything that was stored before `drainedMs` has been read. */
  drained(drainedMs: number): void {
    if (this.told === null || this.told.atMs > drainedMs) return;
    this.dueSeq = this.told.seq;
    this.told = null;
  }

  /** Acknowledged records that the topic does not hold: the generator never goes on before the acknowledgement. */
  absent(): number {
    return this.missing + Math.max(0, this.dueSeq + 1 - this.nextSeq);
  }

  /** What it holds in memory: times, and gaps. */
  held(): { readonly times: number; readonly gaps: number } {
    return { times: this.times.held, gaps: this.gaps.length };
  }

  /** Forgets the times below an offset that the job has committed, and those before `sinceMs`. */
  forget(offset: number, sinceMs: number): void {
    this.times.forget(offset, sinceMs);
  }

  /** Intended time of the record at `offset`, or of the first one that was not read. */
  frontierMs(offset: number, schedule: Schedule): number {
    return this.times.at(offset) ?? this.endMs(schedule);
  }

  /** Intended time of the first record that was not read. */
  endMs(schedule: Schedule): number {
    return intendedMs(schedule, this.partition, this.nextSeq);
  }

  private occupy(timeMs: number): void {
    this.nextOffset++;
    this.lastMs = timeMs;
    this.times.push(timeMs);
  }

  private addGap(gap: SeqRange): void {
    this.missing += gap.to - gap.from;
    this.gaps.push(gap);
    if (this.gaps.length > maximumGaps) this.gaps.shift();
  }

  /** True when the number was skipped before. */
  private fillGap(seq: number): boolean {
    const index = this.gaps.findIndex(({ from, to }) => seq >= from && seq < to);
    if (index < 0) return false;
    const { from, to } = this.gaps[index]!;
    const rest = [
      { from, to: seq },
      { from: seq + 1, to },
    ].filter((range) => range.from < range.to);
    this.gaps.splice(index, 1, ...rest);
    this.missing--;
    return true;
  }
}
