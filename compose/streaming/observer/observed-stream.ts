import type { ControlPlane, ControlPlaneView } from '../../../state-machines/recovery/control-planes.ts';
import type { BatchProgress, Sample } from '../../../state-machines/recovery/sample.ts';
import type { PartitionRange, ReadBatch, TopicPartition } from '../kafka/read-topics.ts';
import type { GeneratorFrontier } from '../records/frontier.ts';
import type { JoinedAnswer } from './ask-generators.ts';
import { ackedFrontier, committedFrontier, intendedRecords, visibleFrontier } from './frontiers.ts';
import type { JobProgress } from './job-progress.ts';
import { Oracle } from './oracle.ts';

/** A generator that has not answered for so long is measured by its schedule alone. */
const staleMs = 1_000;
/** Ends are asked for twice a second, and read a fetch later: who has read what was there so long ago is in the present. */
const presentMs = 2_000;

/** Everything the observer knows, and the row that it makes of it. No input or output of its own. */
export class ObservedStream {
  private readonly startedMs: number;
  private oracle: Oracle | null = null;
  private generator: GeneratorFrontier | null = null;
  /** When the one that is silent longest, and the one that is not, answered last. */
  private generatorSeenMs = Number.NEGATIVE_INFINITY;
  private generatorToldMs = Number.NEGATIVE_INFINITY;
  private progress: JobProgress | null = null;
  private batchAtMs: number | null = null;
  private batch: BatchProgress | null = null;
  private readonly views = new Map<ControlPlane, ControlPlaneView>();
  private caughtUp = false;

  /** `startedMs`: when this observer began to know things; epoch ms. */
  constructor(startedMs: number) {
    this.startedMs = startedMs;
  }

  /** At `nowMs` one of the generators at least has answered; what the silent ones said is part of it. */
  generatorAnswered({ frontier, seenMs }: JoinedAnswer, nowMs: number): void {
    this.generator = frontier;
    this.generatorSeenMs = seenMs;
    this.generatorToldMs = nowMs;
    this.tellOracle();
  }

  /** The broker, asked at `atMs`, has told what the topics hold; reading begins where they began when it was asked first. */
  endsAsked(ranges: readonly PartitionRange[], atMs: number): void {
    if (this.oracle === null) {
      this.oracle = new Oracle(ranges);
      // The job's next answer tells the oracle, too.
      this.progress = null;
      this.tellOracle();
    }
    this.oracle.endsAsked(ranges, atMs);
  }

  jobAnswered(progress: JobProgress, nowMs: number): void {
    this.batch = progress.batch ?? this.batch;
    if (progress.batchId === this.progress?.batchId) return;
    this.progress = progress;
    this.batchAtMs = progress.committedAtMs ?? this.batchAtMs;
    this.oracle?.commit(
      { endOffsets: progress.endOffsets, watermarkMs: progress.batch?.watermarkMs ?? null },
      nowMs,
    );
  }

  viewed(view: ControlPlaneView): void {
    this.views.set(view.source, view);
  }

  /** A control plane that does not answer says nothing, also not what it said before. */
  silent(source: ControlPlane): void {
    this.views.delete(source);
  }

  /** Where reading goes on after an interruption. */
  nextOffsets(): readonly (TopicPartition & { readonly offset: number })[] {
    return this.oracle?.nextOffsets() ?? [];
  }

  /** Which partitions should wait for the others. */
  ahead(): readonly TopicPartition[] {
    return this.oracle?.ahead() ?? [];
  }

  batchRead(batch: ReadBatch, nowMs: number): void {
    this.oracle?.batchRead(batch, nowMs);
  }

  /** Sizes of everything that grows. */
  held(): ReturnType<Oracle['held']> | null {
    return this.oracle?.held() ?? null;
  }

  /** True once the generator has said how to read the records, and the broker where they are. */
  canRead(): boolean {
    return this.generator !== null && this.oracle !== null;
  }

  /** The row of this instant; null until the topics have been read up to the present once. */
  sample(atMs: number): Sample | null {
    const { generator, oracle, progress } = this;
    if (generator === null || oracle === null || !this.hasCaughtUp(generator, oracle, atMs)) return null;
    const { schedule } = generator;
    const { logs, check } = oracle;
    const ackedMs = ackedFrontier(generator, atMs);
    const fresh = atMs - this.generatorSeenMs < staleMs;
    const endOffsets = progress?.endOffsets;
    const uncounted = check.uncounted();
    return {
      atMs,
      ackedMs,
      committedMs: endOffsets ? committedFrontier(logs, { endOffsets, schedule, atMs }) : null,
      visibleMs: check.resultsSeen() > 0 ? visibleFrontier(logs, { uncounted, schedule, atMs }) : null,
      intended: intendedRecords(generator, atMs),
      acked: generator.acked,
      generatorBehindMs: fresh ? generator.behindMs : atMs - ackedMs,
      batchId: progress?.batchId ?? null,
      batchAtMs: this.batchAtMs,
      batch: this.batch,
      views: [...this.views.values()],
      correctness: oracle.correctness(),
      sources: {
        observerStartedMs: this.startedMs,
        generatorStartedMs: generator.startedMs,
        generatorSeenMs: this.generatorSeenMs,
        countedSinceMs: oracle.judgedSinceMs(),
      },
    };
  }

  /**
   * What was written before our own start is no stall of the job: both topics must have been read up to their ends as
   * they are now, and every record of which the generator knows that it is stored. What is read later is late.
   */
  private hasCaughtUp({ perPartition }: GeneratorFrontier, oracle: Oracle, atMs: number): boolean {
    this.caughtUp ||=
      // A fast topic has grown again whenever one looks.
      (oracle.isAtEnd() || oracle.readUpToMs() > atMs - presentMs) &&
      perPartition.every(({ partition, ackedSeq }) => (oracle.logs[partition]?.nextSeq ?? 0) > ackedSeq);
    return this.caughtUp;
  }

  private tellOracle(): void {
    const { generator, oracle } = this;
    if (generator === null || oracle === null) return;
    const { catalogue, schedule, perPartition } = generator;
    oracle.catalogue = { ...catalogue, partitions: schedule.partitions };
    for (const { partition, ackedSeq } of perPartition) {
      oracle.logs[partition]?.acknowledged(ackedSeq, this.generatorToldMs);
    }
  }
}
