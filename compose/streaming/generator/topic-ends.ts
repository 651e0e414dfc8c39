import type { Kafka } from 'kafkajs';
import { topics, withAdmin } from '../kafka/kafka-client.ts';
import { readTopics } from '../kafka/read-topics.ts';
import { parseRecord } from '../records/record.ts';
import type { PartitionEnd } from '../records/schedule.ts';

/** False when there is no input yet: then nothing that anybody remembers of another one concerns it. */
export async function hasInput(kafka: Kafka): Promise<boolean> {
  return withAdmin(kafka, async (admin) => (await admin.listTopics()).includes(topics.events));
}

/** Creates what is missing: input stamped by us (the intended time), output stamped by the broker's clock. */
export async function createTopics(kafka: Kafka, partitions: number): Promise<void> {
  await withAdmin(kafka, async (admin) => {
    const present = new Set(await admin.listTopics());
    const wanted = [
      topic(topics.events, partitions, 'CreateTime'),
      topic(topics.results, 3, 'LogAppendTime'),
    ].filter((it) => !present.has(it.topic));
    if (wanted.length > 0) await admin.createTopics({ topics: wanted, waitForLeaders: true });
  });
}

function topic(name: string, numPartitions: number, timestampType: 'CreateTime' | 'LogAppendTime') {
  return {
    topic: name,
    numPartitions,
    configEntries: [{ name: 'message.timestamp.type', value: timestampType }],
  };
}

/** How far the topic goes. */
export interface TopicEnds {
  /** The newest record of each partition that has any. */
  readonly ends: readonly PartitionEnd[];
  /** Partitions that had records once, and have none any more. */
  readonly expired: readonly number[];
}

/** The topic ends with a record of somebody else: asking again would tell the same. */
export class ForeignRecordError extends Error {
  readonly code = 'FOREIGN_RECORD';
}

/** All that the topic can tell a restarted generator; rejects with a ForeignRecordError where the newest record is none of ours. */
export async function readTopicEnds(kafka: Kafka, signal: AbortSignal): Promise<TopicEnds> {
  const { newest, expired } = await newestOffsets(kafka);
  const ends = new Map<number, PartitionEnd>();
  if (newest.length === 0) return { ends: [], expired };
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
        if (record === null) {
          // Thrown here it would only end the connection, and the next one would read the same.
          enough.abort(new ForeignRecordError(`the newest record of partition ${partition} is none of ours`));
          return;
        }
        ends.set(partition, { partition, seq: record.seq, intendedMs: record.intendedMs });
        if (ends.size === newest.length) enough.abort(null);
      },
    },
    AbortSignal.any([signal, enough.signal]),
  );
  signal.throwIfAborted();
  if (enough.signal.reason instanceof ForeignRecordError) throw enough.signal.reason;
  return { ends: [...ends.values()], expired };
}

function newestOffsets(kafka: Kafka) {
  return withAdmin(kafka, async (admin) => {
    const offsets = await admin.fetchTopicOffsets(topics.events);
    const isEmpty = ({ high, low }: { high: string; low: string }) => Number(high) === Number(low);
    return {
      newest: offsets
        .filter((it) => !isEmpty(it))
        .map(({ partition, high }) => ({ topic: topics.events, partition, offset: Number(high) - 1 })),
      expired: offsets.filter((it) => isEmpty(it) && Number(it.high) > 0).map(({ partition }) => partition),
    };
  });
}
