import type { Correctness } from '../../../state-machines/recovery/sample.ts';
import { topics } from '../kafka/kafka-client.ts';
import type { PartitionRange, ReadBatch, ReadRecord, TopicPartition } from '../kafka/read-topics.ts';
import { type Catalogue, RecordReader } from '../records/record.ts';
import { parseResult, windowMs, windowStartMs } from '../records/window.ts';
import { type Commit, keepMs, ResultsCheck } from './check-results.ts';
import { InputLog } from './input-log.ts';

/** How far one partition of either topic has been read. */
interface Place extends TopicPartition {
  readonly begin: number;
  next: number;
  /** The end that was last heard of. */
  end: number;
  /** When its newest record that was read was stamped; epoch ms. */
  stampMs: number;
  /** Everything that was stored before it has been read, and what is still to be read to say so of a later time; epoch ms. */
  drainedMs: number;
  asked: { readonly end: number; readonly atMs: number } | null;
}

/** The topic holds less than was read of it: it was made anew, or its broker has lost records. */
export class TopicCutError extends Error {
  readonly code = 'TOPIC_CUT';
}

/** A record's time is its stamp in the input topic; one that is later by so much would make all else old. */
const farMs = 60_000;
/** Commits that wait for their results to be read: a newer one speaks for older ones, but for their watermark. */
const maximumCommits = 1_000;
/** Of two partitions with more to read the one that is ahead waits, if it is ahead by so much. */
const aheadMs = 60_000;

/**
 * Both checks, made from nothing but what the two topics hold and in which order: the same for who follows them and for
 * who reads them once. No input or output of its own.
 *
 * Reading a long history takes no more memory than following it did: partitions are read at one pace, by the stamps of
 * their records, so that what waits for its result is what waited then.
 */
export class Oracle {
  readonly logs: readonly InputLog[];
  readonly check = new ResultsCheck();
  /** What the generator's records are drawn from; without it only times are found altered. */
  catalogue: Catalogue | null = null;
  private readonly places: readonly Place[];
  private readonly followsJob: boolean;
  private readonly reader = new RecordReader();
  private readonly commits: (Commit & { readonly seenMs: number })[] = [];
  private committed: ReadonlyMap<number, number> = new Map();
  private newestMs = Number.NEGATIVE_INFINITY;
  private oldestMs = Number.POSITIVE_INFINITY;
  private caughtUp = false;
  private foreignResults = 0;
  private altered = 0;
  private misplaced = 0;

  /**
   * `ranges`: of every partition of both topics, as they were at the start. `followsJob`: the time of each record is kept
   * until it is committed, for the committed frontier.
   */
  constructor(
    ranges: readonly PartitionRange[],
    { followsJob }: { readonly followsJob: boolean } = { followsJob: true },
  ) {
    this.followsJob = followsJob;
    const unread = { stampMs: Number.NEGATIVE_INFINITY, drainedMs: Number.NEGATIVE_INFINITY, asked: null };
    this.places = ranges.map((range) => ({ ...range, ...unread, next: range.begin }));
    this.logs = ranges
      .filter(({ topic }) => topic === topics.events)
      .sort((a, b) => a.partition - b.partition)
      .map(({ partition }) => new InputLog(partition));
  }

  /** Where reading goes on after an interruption. */
  nextOffsets(): readonly (TopicPartition & { readonly offset: number })[] {
    return this.places.map(({ topic, partition, next }) => ({ topic, partition, offset: next }));
  }

  /** The next records of a partition; those that were read before, by an earlier connection, are passed over. */
  batchRead(batch: ReadBatch, nowMs: number): void {
    const place = this.places.find((it) => it.topic === batch.topic && it.partition === batch.partition);
    if (place === undefined) throw new TopicCutError(`${batch.topic} has a new partition ${batch.partition}`);
    if (batch.endOffset < place.next) {
      throw new TopicCutError(
        `${batch.topic} ${batch.partition} ends at ${batch.endOffset}, not ${place.next}`,
      );
    }
    place.end = batch.endOffset;
    const { records } = batch;
    const skip = records.findIndex(({ offset }) => offset >= place.next);
    if (skip < 0) return;
    const first = records[skip]!;
    const unread = place.stampMs === Number.NEGATIVE_INFINITY;
    if (first.offset > place.next || (unread && first.offset > 0)) this.beginsAt(place, first);
    for (let index = skip; index < records.length; index++) {
      const record = records[index]!;
      if (batch.topic === topics.events) this.recordRead(this.logs[batch.partition]!, record);
      else this.resultRead(record, nowMs);
    }
    const last = records.at(-1)!;
    place.next = last.offset + 1;
    place.stampMs = last.stampMs;
    drain(place);
    if (batch.topic === topics.events) this.forget(this.logs[batch.partition]!);
    this.settle();
  }

  /** The broker, asked at `atMs`, has told where the partitions end. */
  endsAsked(ranges: readonly PartitionRange[], atMs: number): void {
    for (const { topic, partition, end } of ranges) {
      const place = this.places.find((it) => it.topic === topic && it.partition === partition);
      if (place === undefined) continue;
      place.end = Math.max(place.end, end);
      place.asked ??= { end, atMs };
      drain(place);
    }
    this.settle();
  }

  /** A batch was seen to be committed. */
  commit(commit: Commit, seenMs: number): void {
    this.committed = commit.endOffsets;
    this.commits.push({ ...commit, seenMs });
    if (this.commits.length > maximumCommits) this.commits.shift();
    for (const log of this.logs) this.forget(log);
  }

  /** True when everything that is known to be there has been read. */
  isAtEnd(): boolean {
    return this.places.every(({ next, end }) => next >= end);
  }

  /** Everything that was stored before it, in either topic, has been read; epoch ms. */
  readUpToMs(): number {
    return Math.min(...this.places.map(({ drainedMs }) => drainedMs));
  }

  /** True once everything has been read up to the ends that the broker told. */
  hasReadAsked(): boolean {
    return this.places.every(({ asked }) => asked === null);
  }

  /** Who should wait, because others with more to read are far behind; that is for a history, and what comes after it is news. */
  ahead(): readonly TopicPartition[] {
    if (this.caughtUp) return [];
    const unfinished = this.places.filter(({ next, end }) => next < end);
    const slowestMs = Math.min(...unfinished.map(({ stampMs }) => stampMs));
    return unfinished.filter(({ stampMs }) => stampMs > slowestMs + aheadMs);
  }

  /** True when a record that no result counts is older than the newest one by more than this. */
  hasPending(olderMs: number): boolean {
    for (const timeMs of this.check.uncounted()) if (timeMs < this.newestMs - olderMs) return true;
    return false;
  }

  /** Intended time from which on records and windows are judged, epoch ms; null before the first record. */
  judgedSinceMs(): number | null {
    if (this.oldestMs === Number.POSITIVE_INFINITY) return null;
    return Math.max(windowStartMs(this.oldestMs), this.check.judgedSince());
  }

  /** Running totals of both checks. */
  correctness(): Correctness {
    const sum = (of: (log: InputLog) => number) => this.logs.reduce((total, log) => total + of(log), 0);
    const totals = this.check.resultTotals();
    return {
      acknowledgedButAbsent: sum((log) => log.absent()),
      storedTwice: sum((log) => log.storedTwice),
      outOfOrder: sum((log) => log.outOfOrder),
      ...{ altered: this.altered, misplaced: this.misplaced },
      ...totals,
      phantom: totals.phantom + this.foreignResults,
    };
  }

  /** Sizes of everything that grows. */
  held(): Readonly<
    Record<'records' | 'cells' | 'early' | 'products' | 'times' | 'gaps' | 'commits', number>
  > {
    const sum = (of: (log: InputLog) => number) => this.logs.reduce((total, log) => total + of(log), 0);
    return {
      ...this.check.held(),
      times: sum((log) => log.held().times),
      gaps: sum((log) => log.held().gaps),
      commits: this.commits.length,
    };
  }

  /** Judges what had to wait for something to be read. */
  private settle(): void {
    this.caughtUp ||= this.isAtEnd();
    this.check.settle({ atMs: this.drainedMs(topics.events), stampMs: this.historyReadMs() });
    for (const log of this.logs) log.drained(this.drainedMs(topics.events, log.partition));
    const resultsReadMs = this.drainedMs(topics.results);
    while (this.commits[0] !== undefined && this.commits[0].seenMs < resultsReadMs) {
      this.check.commit(this.commits.shift()!);
    }
  }

  private recordRead(log: InputLog, { value, offset, stampMs }: ReadRecord): void {
    const { reader, check, catalogue } = this;
    // A cell keeps amounts in 32 bits, the generator's are far smaller; and a time far ahead would make all else old.
    const isOurs = reader.read(value) && reader.cents * reader.quantity < 2 ** 32;
    if (!isOurs || reader.intendedMs > stampMs + farMs) {
      this.altered++;
      log.skip();
      return;
    }
    const { partition, seq, intendedMs } = reader;
    if (intendedMs > this.newestMs) this.newestMs = intendedMs;
    if (intendedMs < this.oldestMs) this.oldestMs = intendedMs;
    const product = check.addRecord(reader, value, log.partition, offset);
    // The topic's stamp tells the time, not the schedule: that of records from before a change of the rate nobody knows.
    const drawn = catalogue === null || reader.isGenuine(catalogue, product.index);
    const genuine = drawn && intendedMs === stampMs;
    if (!genuine) this.altered++;
    else if (partition !== log.partition) this.misplaced++;
    // The number of an altered record is only believed where it is the one that was expected.
    if (partition === log.partition && (genuine || seq === log.nextSeq)) log.append(seq, intendedMs);
    else log.skip();
  }

  private resultRead({ value, stampMs }: ReadRecord, atMs: number): void {
    const result = parseResult(value);
    if (result === null) this.foreignResults++;
    else this.check.addResult(result, { atMs, stampMs });
  }

  /**
   * A partition's older records were removed. Of windows that had begun when its first one was stamped, records or
   * results may be among them.
   */
  private beginsAt(place: Place, { offset, stampMs }: ReadRecord): void {
    if (place.topic === topics.events) this.logs[place.partition]!.beginAt(offset);
    this.check.judgeSince(windowStartMs(stampMs) + windowMs);
  }

  private forget(log: InputLog): void {
    const neededFrom = this.followsJob ? (this.committed.get(log.partition) ?? 0) : Number.POSITIVE_INFINITY;
    log.forget(neededFrom, this.newestMs - keepMs);
  }

  /**
   * In a history, results stamped before this speak of nothing that was not read: a record is not stored before its time,
   * and the clocks of generator and broker do not differ by a minute. A partition that was read to its end may have grown
   * since, so it counts like the others. Who has caught up knows better: when it was read.
   */
  private historyReadMs(): number {
    if (this.caughtUp) return Number.NEGATIVE_INFINITY;
    const input = this.places.filter(({ topic }) => topic === topics.events);
    return Math.min(...input.map(({ stampMs }) => stampMs)) - aheadMs;
  }

  private drainedMs(topic: string, partition?: number): number {
    const asked = this.places.filter(
      (it) => it.topic === topic && (partition === undefined || it.partition === partition),
    );
    return Math.min(...asked.map(({ drainedMs }) => drainedMs));
  }
}

function drain(place: Place): void {
  if (place.asked === null || place.next < place.asked.end) return;
  place.drainedMs = place.asked.atMs;
  place.asked = null;
}
