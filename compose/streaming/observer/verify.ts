import { setTimeout as sleep } from 'node:timers/promises';
import type { Kafka } from 'kafkajs';
import type { Correctness } from '../../../state-machines/recovery/sample.ts';
import { topics } from '../kafka/kafka-client.ts';
import { type PartitionRange, type ReadBatch, readTopics, topicRanges } from '../kafka/read-topics.ts';
import type { Catalogue } from '../records/record.ts';
import { Oracle } from './oracle.ts';

/** After so many interruptions without a record in between the broker is away; each takes a quarter of a second at least. */
const mostInterruptions = 10;

/** What the two topics say by themselves, without generator and job. */
export interface OfflineVerdict {
  /** `Unknown`: nothing is wrong so far, but records are pending that are not new. */
  readonly verdict: 'Correct' | 'Incorrect' | 'Unknown';
  readonly correctness: Correctness;
  /** Intended time from which on records and windows were judged, epoch ms; null when there are none. */
  readonly countedSinceMs: number | null;
  /** Records of the input topic that were read, and of them those behind the last one that its partition has counted. */
  readonly records: number;
  readonly pendingRecords: number;
  /** What cannot be known from the topics alone, by class, and why. */
  readonly undecided: Readonly<Partial<Record<keyof Correctness, string>>>;
}

/** Where the topics are read from. */
export interface TopicSource {
  /** What both topics hold now. */
  ranges(): Promise<readonly PartitionRange[]>;
  /** Hands over records, from where the oracle is, until it has read what it was told of. */
  readThrough(oracle: Oracle): Promise<void>;
  now(): number;
  wait(ms: number): Promise<void>;
}

/** The results of one batch are not written at one instant. */
const batchWrittenMs = 10_000;
/** A record that is older than the newest one by so much is not pending because it has only just come: no trigger is so long. */
const newMs = 60_000;

/**
 * The oracle's two checks of the topics from their beginning to their end now. Short and missing are judged up to the
 * last record of a partition that any result counts, for a batch takes a partition's records in order: what lies behind
 * it may still be counted, and when some of it is old nobody knows whether it will be. `catalogue`: what the generator
 * drew the records from; null: nobody knows.
 */
export async function verifyTopics(
  source: TopicSource,
  catalogue: Catalogue | null,
): Promise<OfflineVerdict> {
  const oracle = new Oracle(await source.ranges(), { followsJob: false });
  oracle.catalogue = catalogue;
  const readToEnd = async () => {
    // Twice: what the results that were read the first time speak of is in the input the second time.
    for (const _time of [1, 2]) {
      const askedMs = source.now();
      oracle.endsAsked(await source.ranges(), askedMs);
      await source.readThrough(oracle);
    }
  };
  await readToEnd();
  const counted = new Map(oracle.check.countedOffsets());
  await source.wait(batchWrittenMs);
  await readToEnd();
  oracle.check.commit({ endOffsets: counted, watermarkMs: null });
  const correctness = oracle.correctness();
  const sum = (of: (log: Oracle['logs'][number]) => number) =>
    oracle.logs.reduce((total, log) => total + of(log), 0);
  return {
    verdict: verdictOf(oracle, correctness),
    correctness,
    countedSinceMs: oracle.judgedSinceMs(),
    records: sum(({ nextOffset, begin }) => nextOffset - begin),
    pendingRecords: sum(({ partition, nextOffset, begin }) => nextOffset - (counted.get(partition) ?? begin)),
    undecided: {
      acknowledgedButAbsent:
        'a gap in the numbers counts; what was lost behind the last record only the generator knows',
      lateDropped: 'the watermark is not in the topics: such records count as short or missing',
      ...(catalogue === null && {
        altered: 'what the records were drawn from was not told: only their times were compared',
      }),
    },
  };
}

function verdictOf(oracle: Oracle, correctness: Correctness): OfflineVerdict['verdict'] {
  if (!isRight(correctness)) return 'Incorrect';
  return oracle.hasPending(newMs) ? 'Unknown' : 'Correct';
}

function isRight({ reemitted, unjudged, ...errors }: Correctness): boolean {
  return Object.values(errors).every((count) => count === 0);
}

/** The topics of a broker; gives up when the signal says so, and when the broker stays away. */
export async function kafkaSource(kafka: Kafka, signal: AbortSignal): Promise<TopicSource> {
  const admin = kafka.admin();
  await admin.connect();
  signal.addEventListener('abort', () => {
    admin.disconnect().catch(() => {});
  });
  return {
    ranges: () => topicRanges(admin, Object.values(topics)),
    readThrough: (oracle) => readThrough(kafka, oracle, signal),
    now: Date.now,
    wait: (ms) => sleep(ms, undefined, { signal }),
  };
}

async function readThrough(kafka: Kafka, oracle: Oracle, signal: AbortSignal): Promise<void> {
  const enough = new AbortController();
  const endWhenRead = () => {
    if (oracle.hasReadAsked()) enough.abort(null);
  };
  endWhenRead();
  let interruptions = 0;
  await readTopics(
    {
      kafka,
      groupPrefix: 'verifier',
      topics: Object.values(topics),
      nextOffsets: () => oracle.nextOffsets(),
      ahead: () => oracle.ahead(),
      onInterrupted: (error) => {
        interruptions++;
        if (interruptions < mostInterruptions) return;
        enough.abort(new Error(`gave up after ${interruptions} interruptions in a row`, { cause: error }));
      },
      onBatch: (batch: ReadBatch) => {
        interruptions = 0;
        try {
          oracle.batchRead(batch, Date.now());
        } catch (error) {
          enough.abort(error);
        }
        endWhenRead();
      },
    },
    AbortSignal.any([signal, enough.signal]),
  );
  signal.throwIfAborted();
  if (enough.signal.reason instanceof Error) throw enough.signal.reason;
}
