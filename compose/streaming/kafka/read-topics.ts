import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { EachBatchPayload, Kafka } from 'kafkajs';

/** A run of records of one partition, in offset order. */
export interface ReadBatch {
  readonly topic: string;
  readonly partition: number;
  readonly records: readonly {
    readonly offset: number;
    readonly value: Buffer;
  }[];
  /** The end of the partition when the broker answered: the offset that the next record will get. */
  readonly endOffset: number;
}

export interface TopicReader {
  readonly kafka: Kafka;
  readonly groupPrefix: string;
  readonly topics: readonly string[];
  /** Where to go on, asked at each (re)connection: nothing is committed to Kafka. */
  readonly nextOffsets: () => readonly {
    readonly topic: string;
    readonly partition: number;
    readonly offset: number;
  }[];
  readonly onBatch: (batch: ReadBatch) => void;
  readonly onInterrupted: (error: unknown) => void;
}

const reconnectDelayMs = 250;

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
    maxWaitTimeInMs: 100,
    retry: { retries: 1, initialRetryTime: 100, maxRetryTime: 500, restartOnFailure: async () => false },
  });
  const ended = new Promise<void>((resolve, reject) => {
    consumer.on(consumer.events.CRASH, ({ payload }) => reject(payload.error));
    signal.addEventListener('abort', () => resolve(), { once: true });
  });
  // A crash before anybody awaits it is no unhandled rejection.
  ended.catch(() => {});
  try {
    await consumer.connect();
    await consumer.subscribe({ topics: [...reader.topics], fromBeginning: true });
    await consumer.run({
      autoCommit: false,
      eachBatch: async (payload) => reader.onBatch(toBatch(payload)),
    });
    // `run` resolves although it could not join: then there is nothing to seek in.
    await Promise.race([ended, Promise.resolve()]);
    for (const { topic, partition, offset } of reader.nextOffsets()) {
      consumer.seek({ topic, partition, offset: String(offset) });
    }
    await ended;
  } finally {
    await consumer.disconnect().catch(() => {});
  }
}

function toBatch({ batch }: EachBatchPayload): ReadBatch {
  return {
    topic: batch.topic,
    partition: batch.partition,
    endOffset: Number(batch.highWatermark),
    records: batch.messages.map((message) => ({
      offset: Number(message.offset),
      value: message.value ?? Buffer.alloc(0),
    })),
  };
}
