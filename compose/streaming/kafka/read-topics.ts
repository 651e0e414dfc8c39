import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Admin, Consumer, EachBatchPayload, Kafka } from 'kafkajs';

/** One partition of a topic. */
export interface TopicPartition {
  readonly topic: string;
  readonly partition: number;
}

/** A record as it lies in its partition. */
export interface ReadRecord {
  readonly offset: number;
  readonly value: Buffer;
  /** What the topic has stamped it with; epoch ms. */
  readonly stampMs: number;
}

/** A run of records of one partition, in offset order; at least one. */
export interface ReadBatch extends TopicPartition {
  readonly records: readonly ReadRecord[];
  /** The end of the partition when the broker answered: the offset that the next record will get. */
  readonly endOffset: number;
}

/** What a topic holds of a partition: from the first offset that was not removed yet to the one that comes next. */
export interface PartitionRange extends TopicPartition {
  readonly begin: number;
  readonly end: number;
}

/** The ranges of all partitions of these topics. */
export async function topicRanges(
  admin: Admin,
  names: readonly string[],
): Promise<readonly PartitionRange[]> {
  const asked = names.map(async (topic) => {
    const partitions = await admin.fetchTopicOffsets(topic);
    return partitions.map(({ partition, low, high }) => ({
      ...{ topic, partition },
      ...{ begin: Number(low), end: Number(high) },
    }));
  });
  return (await Promise.all(asked)).flat();
}

export interface TopicReader {
  readonly kafka: Kafka;
  readonly groupPrefix: string;
  readonly topics: readonly string[];
  /** Where to go on, asked whenever the group was joined: nothing is committed to Kafka. */
  readonly nextOffsets: () => readonly (TopicPartition & { readonly offset: number })[];
  readonly onBatch: (batch: ReadBatch) => void;
  /** Asked after each batch: which partitions to leave alone for now. Nobody waits when it is absent. */
  readonly ahead?: () => readonly TopicPartition[];
  readonly onInterrupted: (error: unknown) => void;
}

const reconnectDelayMs = 250;
/** An answer of 10 MiB has room for twenty partitions. */
const maximumBytesPerPartition = 512 * 1024;

/**
 * Reads topics until the signal, from where the reader already is. Each connection is a consumer group of its own
 * that lives only as long as the connection: a broker that comes back owes us no rebalance.
 */
export async function readTopics(reader: TopicReader, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    try {
      await readUntilCrash(reader, signal);
    } catch (error) {
      if (!signal.aborted) reader.onInterrupted(error);
    }
    await sleep(reconnectDelayMs, undefined, { signal }).catch(() => {});
  }
}

async function readUntilCrash(reader: TopicReader, signal: AbortSignal): Promise<void> {
  const consumer = reader.kafka.consumer({
    groupId: `${reader.groupPrefix}-${randomUUID()}`,
    sessionTimeout: 10_000,
    heartbeatInterval: 2_000,
    // Ten answers a second however fast records come: more would only cost processor time.
    minBytes: 256 * 1024,
    maxBytesPerPartition: maximumBytesPerPartition,
    maxWaitTimeInMs: 100,
    retry: { retries: 1, initialRetryTime: 100, maxRetryTime: 500, restartOnFailure: async () => false },
  });
  // kafkajs joins anew by itself when a leader or its membership is lost, and then reads from the beginning of the topics:
  // nothing is committed. Before the join is told there is nothing to seek in, and after it records are fetched at once.
  consumer.on(consumer.events.GROUP_JOIN, () => {
    for (const { topic, partition, offset } of reader.nextOffsets()) {
      consumer.seek({ topic, partition, offset: String(offset) });
    }
  });
  let end = () => {};
  const ended = new Promise<void>((resolve, reject) => {
    consumer.on(consumer.events.CRASH, ({ payload }) => reject(payload.error));
    end = resolve;
  });
  signal.addEventListener('abort', end, { once: true });
  // A crash before anybody awaits it is no unhandled rejection.
  ended.catch(() => {});
  try {
    await consumer.connect();
    await consumer.subscribe({ topics: [...reader.topics], fromBeginning: true });
    await consumer.run({
      autoCommit: false,
      eachBatch: async (payload) => {
        reader.onBatch(toBatch(payload));
        if (reader.ahead) holdBack(consumer, reader.ahead());
      },
    });
    // `run` resolves although it could not join: then a crash has been told.
    await ended;
  } finally {
    // The signal outlives many connections, and would keep each of them.
    signal.removeEventListener('abort', end);
    await consumer.disconnect().catch(() => {});
  }
}

/** Pauses these partitions, and no others. */
function holdBack(consumer: Consumer, ahead: readonly TopicPartition[]): void {
  const nameOf = ({ topic, partition }: TopicPartition) => `${topic} ${partition}`;
  const held = consumer
    .paused()
    .flatMap(({ topic, partitions }) => partitions.map((partition) => ({ topic, partition })));
  const isIn = (list: readonly TopicPartition[]) => {
    const names = new Set(list.map(nameOf));
    return (it: TopicPartition) => names.has(nameOf(it));
  };
  const each = ({ topic, partition }: TopicPartition) => ({ topic, partitions: [partition] });
  const pause = ahead.filter((it) => !isIn(held)(it));
  const resume = held.filter((it) => !isIn(ahead)(it));
  if (pause.length > 0) consumer.pause(pause.map(each));
  if (resume.length > 0) consumer.resume(resume.map(each));
}

function toBatch({ batch }: EachBatchPayload): ReadBatch {
  const { topic, partition, messages } = batch;
  return {
    topic,
    partition,
    endOffset: Number(batch.highWatermark),
    records: messages.map(({ offset, value, timestamp }) => ({
      offset: Number(offset),
      value: value ?? Buffer.alloc(0),
      stampMs: Number(timestamp),
    })),
  };
}
