import type { Correctness, Sample, SystemView } from '../../../state-machines/recovery/sample.ts';
import { topics } from '../kafka/kafka-client.ts';
import type { ReadBatch } from '../kafka/read-topics.ts';
import type { GeneratorFrontier } from '../records/frontier.ts';
import { parseRecord, purchaseAt, type StoredRecord } from '../records/record.ts';
import { parseResult } from '../records/window.ts';
import { ResultsCheck } from './check-results.ts';
import { ackedFrontier, committedFrontier, intendedRecords, visibleFrontier } from './frontiers.ts';
import { InputLog } from './input-log.ts';
import type { JobProgress } from './job-progress.ts';

/** Results of a batch must have been read so long after it was seen to be committed. */
const resultsReadWithinMs = 5_000;
/** A generator that has not answered for so long is measured by its schedule alone. */
const staleMs = 1_000;
/** An answer about the end of a partition may be so old when it arrives. */
const drainMarginMs = 1_000;

/** Everything the observer knows, and the row that it makes of it. No input or output of its own. */
export class ObservedStream {
  private readonly logs: InputLog[] = [];
  private readonly check = new ResultsCheck();
  private readonly nextResults = new Map<number, number>();
  private readonly commits: { readonly seenMs: number; readonly endOffsets: ReadonlyMap<number, number> }[] =
    [];
  private generator: GeneratorFrontier | null = null;
  private generatorSeenMs = Number.NEGATIVE_INFINITY;
  private progress: JobProgress | null = null;
  private batchAtMs: number | null = null;
  private system: SystemView | null = null;
  private foreign = 0;
  /** Partitions of the output topic with results that have not been read. */
  private readonly behind = new Set<number>();
  private caughtUp = false;

  generatorAnswered(frontier: GeneratorFrontier, nowMs: number): void {
    this.generator = frontier;
    this.generatorSeenMs = nowMs;
    while (this.logs.length < frontier.schedule.partitions) this.logs.push(new InputLog(this.logs.length));
  }

  jobAnswered(progress: JobProgress, nowMs: number): void {
    if (progress.batchId === this.progress?.batchId) return;
    this.progress = progress;
    this.batchAtMs = progress.committedAtMs ?? this.batchAtMs;
    this.commits.push({ seenMs: nowMs, endOffsets: progress.endOffsets });
    for (const log of this.logs) log.forgetBelow(progress.endOffsets.get(log.partition) ?? 0);
    this.check.forget();
  }

  systemAnswered(view: SystemView | null): void {
    this.system = view;
  }

  /** Where reading goes on after an interruption. */
  nextOffsets(): readonly { topic: string; partition: number; offset: number }[] {
    return [
      ...this.logs.map(({ partition, nextOffset }) => ({
        topic: topics.events,
        partition,
        offset: nextOffset,
      })),
      ...[...this.nextResults].map(([partition, offset]) => ({ topic: topics.results, partition, offset })),
    ];
  }

  batchRead(batch: ReadBatch, nowMs: number): void {
    if (batch.topic === topics.events) this.inputRead(batch, nowMs);
    else this.resultsRead(batch, nowMs);
  }

  /** True once the generator has told its schedule: before that, records cannot be judged. */
  canRead(): boolean {
    return this.generator !== null;
  }

  /** The row of this instant; null until the topics have been read up to the present once. */
  sample(atMs: number): Sample | null {
    const { generator, logs, progress } = this;
    if (generator === null || !this.hasCaughtUp(generator)) return null;
    const { schedule } = generator;
    this.check.settle(Math.min(...logs.map((log) => log.drainedAtMs)) - drainMarginMs);
    const ackedMs = ackedFrontier(generator, atMs);
    const fresh = atMs - this.generatorSeenMs < staleMs;
    const endOffsets = progress?.endOffsets;
    const cells = this.check.openCells();
    return {
      atMs,
      ackedMs,
      committedMs: endOffsets ? committedFrontier(logs, { endOffsets, schedule, atMs }) : null,
      visibleMs: this.check.resultsSeen() > 0 ? visibleFrontier(logs, { cells, schedule, atMs }) : null,
      intended: intendedRecords(generator, atMs),
      acked: generator.acked,
      generatorBehindMs: fresh ? generator.behindMs : atMs - ackedMs,
      batchId: progress?.batchId ?? null,
      batchAtMs: this.batchAtMs,
      system: this.system,
      correctness: this.correctness(atMs),
    };
  }

  /** What was written before our own start is no stall of the job. */
  private hasCaughtUp({ perPartition }: GeneratorFrontier): boolean {
    const inputRead = perPartition.every(
      ({ partition, ackedSeq }) => this.logs[partition]!.nextSeq > ackedSeq,
    );
    this.caughtUp ||= inputRead && this.behind.size === 0;
    return this.caughtUp;
  }

  private correctness(atMs: number): Correctness {
    const sum = (of: (log: InputLog) => number) => this.logs.reduce((total, log) => total + of(log), 0);
    const totals = this.check.resultTotals();
    return {
      acknowledgedButAbsent: sum((log) => log.absent()),
      storedTwice: sum((log) => log.storedTwice),
      ...totals,
      phantom: totals.phantom + this.foreign,
      ...this.check.shortOf(this.offsetsCommittedBefore(atMs - resultsReadWithinMs)),
    };
  }

  private offsetsCommittedBefore(limitMs: number): ReadonlyMap<number, number> {
    while (this.commits.length > 1 && this.commits[1]!.seenMs <= limitMs) this.commits.shift();
    const [oldest] = this.commits;
    return oldest !== undefined && oldest.seenMs <= limitMs ? oldest.endOffsets : new Map();
  }

  private inputRead({ partition, records, endOffset }: ReadBatch, nowMs: number): void {
    const log = this.logs[partition];
    if (log === undefined) return;
    for (const { offset, value } of records) {
      // A new connection may begin before the place where the old one ended.
      if (offset !== log.nextOffset) continue;
      const record = parseRecord(value);
      if (record === null)
        throw new Error(`record ${offset} of partition ${partition} is none of the generator's`);
      log.append(record, this.isGenuine(record));
      this.check.addRecord(record, offset);
    }
    if (log.nextOffset >= endOffset) log.drainedAtMs = nowMs;
  }

  private resultsRead({ partition, records, endOffset }: ReadBatch, nowMs: number): void {
    for (const { offset, value } of records) {
      if (offset < (this.nextResults.get(partition) ?? 0)) continue;
      this.nextResults.set(partition, offset + 1);
      const result = parseResult(value);
      if (result === null) this.foreign++;
      else this.check.addResult(result, nowMs);
    }
    if ((this.nextResults.get(partition) ?? 0) >= endOffset) this.behind.delete(partition);
    else this.behind.add(partition);
  }

  private isGenuine({ partition, seq, product, cents, quantity }: StoredRecord): boolean {
    const { catalogue, schedule } = this.generator!;
    const meant = purchaseAt({ ...catalogue, partitions: schedule.partitions }, partition, seq);
    return meant.product === product && meant.cents === cents && meant.quantity === quantity;
  }
}
