import type { StoredRecord } from '../records/record.ts';
import { intendedMs, type Schedule } from '../records/schedule.ts';

/** Forgetting moves what remains: in large steps. */
const forgetStep = 10_000;

/**
 * What was read of one partition of the input topic: the intended time of each record by offset, as far as the job
 * has not committed it, and the ledger's check of the sequence numbers.
 */
export class InputLog {
  readonly partition: number;
  /** The offset to read next, and the sequence number expected there. */
  nextOffset = 0;
  nextSeq = 0;
  storedTwice = 0;
  /** When it was last seen that there is nothing more to read; epoch ms. */
  drainedAtMs = Number.NEGATIVE_INFINITY;
  private firstOffset = 0;
  private times: number[] = [];
  private readonly missing = new Set<number>();
  private altered = 0;

  constructor(partition: number) {
    this.partition = partition;
  }

  /** Takes the record at `nextOffset`; `genuine`: it is what the generator's function gives for its number. */
  append(record: StoredRecord, genuine: boolean): void {
    this.nextOffset++;
    this.times.push(record.intendedMs);
    if (!genuine) this.altered++;
    if (record.seq < this.nextSeq) {
      if (!this.missing.delete(record.seq)) this.storedTwice++;
      return;
    }
    for (let seq = this.nextSeq; seq < record.seq; seq++) this.missing.add(seq);
    this.nextSeq = record.seq + 1;
  }

  /** Acknowledged records that the topic does not hold as they were: the generator never goes on before the ack. */
  absent(): number {
    return this.missing.size + this.altered;
  }

  /** Forgets the times below an offset that the job has committed. */
  forgetBelow(offset: number): void {
    const drop = Math.min(offset, this.nextOffset) - this.firstOffset;
    if (drop < forgetStep) return;
    this.times = this.times.slice(drop);
    this.firstOffset += drop;
  }

  /** Intended time of the record at `offset`, or of the first one that was not read. */
  frontierMs(offset: number, schedule: Schedule): number {
    return this.times[offset - this.firstOffset] ?? this.endMs(schedule);
  }

  /** Intended time of the first record that was not read. */
  endMs(schedule: Schedule): number {
    return intendedMs(schedule, this.partition, this.nextSeq);
  }
}
