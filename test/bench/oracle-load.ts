import { topics } from '../../compose/streaming/kafka/kafka-client.ts';
import type { ReadBatch, ReadRecord, TopicPartition } from '../../compose/streaming/kafka/read-topics.ts';
import { Oracle } from '../../compose/streaming/observer/oracle.ts';
import {
  type Catalogue,
  parseRecord,
  RecordReader,
  recordValue,
} from '../../compose/streaming/records/record.ts';
import { dueCount, intendedMs } from '../../compose/streaming/records/schedule.ts';
import { parseResult, type WindowResult } from '../../compose/streaming/records/window.ts';
import { countRecord } from '../support/count-record.ts';
import type { OracleCost } from './oracle-speed.ts';

// One process that verifies a workload second by second, as fast as it can: `node oracle-load.js check|read SECONDS`. Records
// and results are made beforehand, each second anew, as they come from Kafka: parts of one buffer per answer. `read` only
// reads the same bytes and their checksums. Prints what it cost as JSON.

type StampedValue = Omit<ReadRecord, 'offset'>;

/** The target is for records of 100 bytes. */
const catalogue: Catalogue = { seed: 1, partitions: 6, products: 50, recordBytes: 100 };
const schedule = { baseMs: 1_700_000_000_000, rate: 150_000, partitions: catalogue.partitions };
/** As many as fit into one partition's part of an answer, 512 KiB, with about ten bytes around each. */
const batchRecords = 4_700;

const [mode, seconds] = [process.argv[2], Number(process.argv[3])];
/** Of the six partitions of the input, and of the one of the results that is used. */
const ends = [0, 0, 0, 0, 0, 0, 0];
const ranges = () =>
  ends.map((end, index) => {
    const isInput = index < catalogue.partitions;
    const name = isInput
      ? { topic: topics.events, partition: index }
      : { topic: topics.results, partition: 0 };
    return { ...name, begin: 0, end };
  });
const oracle = new Oracle(ranges());
oracle.catalogue = catalogue;
const reader = new RecordReader();
const counted = new Map<string, WindowResult>();

/** All batches of one second of the workload, its records before their results. */
function batchesOf(second: number): readonly ReadBatch[] {
  const untilMs = schedule.baseMs + second * 1_000 + 999;
  const batches: ReadBatch[] = [];
  const changed = new Set<string>();
  for (let partition = 0; partition < catalogue.partitions; partition++) {
    const due = dueCount(schedule, partition, untilMs);
    while (ends[partition]! < due) {
      const begin = ends[partition]!;
      const end = Math.min(due, begin + batchRecords);
      const values: StampedValue[] = [];
      for (let seq = begin; seq < end; seq++) {
        const stampMs = intendedMs(schedule, partition, seq);
        const value = recordValue(catalogue, partition, seq, stampMs);
        values.push({ value, stampMs });
        changed.add(countRecord(counted, parseRecord(value)!));
      }
      ends[partition] = end;
      batches.push(toBatch({ topic: topics.events, partition }, begin, values));
    }
  }
  const results = [...changed].map((key) => {
    return { value: Buffer.from(JSON.stringify(counted.get(key))), stampMs: untilMs };
  });
  for (const key of counted.keys()) if (!changed.has(key)) counted.delete(key);
  const begin = ends[6]!;
  ends[6] = begin + results.length;
  return [...batches, toBatch({ topic: topics.results, partition: 0 }, begin, results)];
}

function toBatch(place: TopicPartition, begin: number, values: readonly StampedValue[]): ReadBatch {
  const answer = Buffer.concat(values.map(({ value }) => value));
  let at = 0;
  const records = values.map(({ value: { length }, stampMs }, index) => {
    at += length;
    return { offset: begin + index, value: answer.subarray(at - length, at), stampMs };
  });
  return { ...place, records, endOffset: begin + values.length };
}

/** The records' sum of checksums: nobody may leave the work out. */
function readOnly({ topic, records }: ReadBatch): number {
  let sum = 0;
  for (const { value } of records) {
    if (topic === topics.results) sum += parseResult(value)!.crc;
    else if (reader.read(value)) sum += reader.crc;
  }
  return sum;
}

let [events, cpuMs, sum, rssMb] = [0, 0, 0, 0];
for (let second = 0; second < seconds; second++) {
  const batches = batchesOf(second);
  // What making them has left behind is not the check's to clear away.
  globalThis.gc?.();
  const before = process.cpuUsage();
  for (const batch of batches) {
    if (mode === 'check') oracle.batchRead(batch, second);
    else sum += readOnly(batch);
    if (batch.topic === topics.events) events += batch.records.length;
  }
  if (mode === 'check') {
    oracle.commit({ endOffsets: new Map(ends.slice(0, 6).entries()), watermarkMs: null }, second);
    oracle.endsAsked(ranges(), second + 0.5);
  }
  const { user, system } = process.cpuUsage(before);
  cpuMs += (user + system) / 1000;
  rssMb = Math.max(rssMb, process.memoryUsage.rss() / 1e6);
}
const wrong = Object.values(oracle.correctness()).some((found) => found > 0);
if (wrong || (mode === 'read' && sum === 0)) throw new Error(JSON.stringify(oracle.correctness()));
const cost: OracleCost = { events, cpuMs, rssMb, held: oracle.held().records };
process.stdout.write(JSON.stringify(cost));
