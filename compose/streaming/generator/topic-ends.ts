import type { Kafka } from 'kafkajs';
import { topics } from '../kafka/kafka-client.ts';
import { readTopics } from '../kafka/read-topics.ts';
import { parseRecord } from '../records/record.ts';
import type { PartitionEnd } from '../records/schedule.ts';

/** Creates what is missing: input stamped by us (the intended time), output stamped by the broker's clock. */
export async function createTopics(kafka: Kafka, partitions: number): Promise<void> {
  const admin = kafka.admin();
  try {
    await admin.connect();
    const present = new Set(await admin.listTopics());
    const wanted = [
      topic(topics.events, partitions, 'CreateTime'),
      topic(topics.results, 3, 'LogAppendTime'),
    ].filter((it) => !present.has(it.topic));
    if (wanted.length > 0) await admin.createTopics({ topics: wanted, waitForLeaders: true });
  } finally {
    await admin.disconnect();
  }
}

function topic(name: string, numPartitions: number, timestampType: 'CreateTime' | 'LogAppendTime') {
  return {
    topic: name,
    numPartitions,
    configEntries: [{ name: 'message.timestamp.type', value: timestampType }],
  };
}

/** The newest record of each partition that has any: all that a restarted generator needs to know. */
export async function readTopicEnds(kafka: Kafka, signal: AbortSignal): Promise<readonly PartitionEnd[]> {
  const newest = await newestOffsets(kafka);
  const ends = new Map<number, PartitionEnd>();
  if (newest.length === 0) return [];
  const enough = new AbortController();
  await readTopics(
    {
      kafka,
      groupPrefix: 'generator-start',
      topics: [topics.events],
      nextOffsets: () => newest,
      onInterrupted: () => {},
      onBatch: ({ partition, records }) => {
        const wanted = newest.find((it) => it.partition === partition);
        const last = records.find((it) => it.offset === wanted?.offset);
        if (last === undefined) return;
        const record = parseRecord(last.value);
        if (record === null) throw new Error(`the newest record of partition ${partition} is none of ours`);
        ends.set(partition, { partition, seq: record.seq, intendedMs: record.intendedMs });
        if (ends.size === newest.length) enough.abort();
      },
    },
    AbortSignal.any([signal, enough.signal]),
  );
  signal.throwIfAborted();
  return [...ends.values()];
}

async function newestOffsets(kafka: Kafka) {
  const admin = kafka.admin();
  try {
    await admin.connect();
    const offsets = await admin.fetchTopicOffsets(topics.events);
    return offsets
      .filter(({ high, low }) => Number(high) > Number(low))
      .map(({ partition, high }) => ({ topic: topics.events, partition, offset: Number(high) - 1 }));
  } finally {
    await admin.disconnect();
  }
}
