import { spawn } from 'node:child_process';
import { getEventListeners } from 'node:events';
import { mkdir, readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { type AddressInfo, createServer as createTcpServer } from 'node:net';
import { join } from 'node:path';
import { crc32 } from 'node:zlib';
import fc from 'fast-check';
import t from 'tap';
import { parse } from 'yaml';
import { describeFrontier } from '../compose/streaming/generator/describe-frontier.ts';
import { type ReadRecord, readTopics } from '../compose/streaming/kafka/read-topics.ts';
import { ResultsCheck } from '../compose/streaming/observer/check-results.ts';
import {
  askKafka,
  controlPlanesOf,
  readExecutors,
  readMasters,
  readMetadata,
  readServers,
} from '../compose/streaming/observer/control-planes.ts';
import { InputLog } from '../compose/streaming/observer/input-log.ts';
import { type JobProgress, readProgress } from '../compose/streaming/observer/job-progress.ts';
import { ObservedStream } from '../compose/streaming/observer/observed-stream.ts';
import { observerMetrics } from '../compose/streaming/observer/observer-metrics.ts';
import { Oracle } from '../compose/streaming/observer/oracle.ts';
import { poll } from '../compose/streaming/observer/poll.ts';
import { kafkaSource, verifyTopics } from '../compose/streaming/observer/verify.ts';
import {
  acknowledge,
  attemptEnded,
  indeterminateRecords,
  openLedger,
  sendRange,
} from '../compose/streaming/records/ledger.ts';
import {
  type Catalogue,
  parseRecord,
  productIndex,
  RecordReader,
  recordValue,
  type StoredRecord,
} from '../compose/streaming/records/record.ts';
import {
  dueCount,
  intendedMs,
  resumeSchedule,
  type Schedule,
} from '../compose/streaming/records/schedule.ts';
import { cellKey, type WindowResult, windowStartMs } from '../compose/streaming/records/window.ts';
import { controlPlanes } from '../state-machines/recovery/control-planes.ts';
import type { Correctness } from '../state-machines/recovery/sample.ts';
import { shellcheck } from './contracts/fault-kind.ts';
import { countRecord } from './support/count-record.ts';
import { type FakeConsumer, fakeKafka } from './support/fake-kafka.ts';
import {
  observeStream,
  type Restart,
  type Sent,
  type SimulatedStream,
  type Simulation,
  simulateStream,
  sourceOf,
} from './support/simulated-stream.ts';

const catalogue: Catalogue = { seed: 1, partitions: 3, products: 7 };
const schedule: Schedule = { baseMs: 1_700_000_000_000, rate: 30, partitions: 3 };

function storedAt(partition: number, seq: number): StoredRecord {
  return parseRecord(recordValue(catalogue, partition, seq, intendedMs(schedule, partition, seq)))!;
}

t.test('a record is the same bytes for the same seed, partition and number', async (t) => {
  const value = recordValue(catalogue, 2, 41, 1_700_000_000_123);
  t.equal(value.toString(), recordValue(catalogue, 2, 41, 1_700_000_000_123).toString());
  t.equal(value.toString(), '2-41,product-002,3662,4,1700000000123', 'changing this breaks old topics');
  t.not(value.toString(), recordValue({ ...catalogue, seed: 2 }, 2, 41, 1_700_000_000_123).toString());
});

t.test('a record survives the way through its bytes', async () => {
  fc.assert(
    fc.property(fc.nat(2), fc.nat(2 ** 40), fc.nat(2 ** 42), (partition, seq, dueMs) => {
      const value = recordValue(catalogue, partition, seq, dueMs);
      const read = parseRecord(value)!;
      const reader = new RecordReader();
      return (
        read.partition === partition &&
        read.seq === seq &&
        read.intendedMs === dueMs &&
        read.crc === crc32(value) &&
        reader.read(value) &&
        reader.isGenuine(catalogue, productIndex(read.product))
      );
    }),
  );
});

t.test('each product belongs to one partition, and all of them occur', async (t) => {
  const owners = new Map<string, Set<number>>();
  for (let partition = 0; partition < 3; partition++) {
    for (let seq = 0; seq < 500; seq++) {
      const { product } = storedAt(partition, seq);
      owners.set(product, (owners.get(product) ?? new Set()).add(partition));
    }
  }
  t.equal(owners.size, catalogue.products);
  t.ok([...owners.values()].every((partitions) => partitions.size === 1));
});

t.test('bytes that are none of ours are refused', async (t) => {
  for (const value of ['', '1-2,product-001,5,1', '1-2,product-001,5,1,x', 'x'])
    t.equal(parseRecord(Buffer.from(value)), null);
  t.equal(parseRecord(Buffer.from(`1-${'9'.repeat(17)},product-001,5,1,1`)), null, 'no exact number');
  t.equal(parseRecord(Buffer.from(`1-${'0'.repeat(60)}7,product-001,5,1,1`))!.seq, 7, 'filled up with zeros');
});

t.test('a schedule offers its rate', async (t) => {
  let due = 0;
  for (let partition = 0; partition < 3; partition++)
    due += dueCount(schedule, partition, schedule.baseMs + 9_999);
  t.equal(due, 300);
});

t.test('a restarted generator goes on with the schedule that the topic shows', async () => {
  fc.assert(
    fc.property(fc.array(fc.nat(1_000_000), { minLength: 3, maxLength: 3 }), (seqs) => {
      const ends = seqs.map((seq, partition) => ({
        partition,
        seq,
        intendedMs: intendedMs(schedule, partition, seq),
      }));
      const resumed = resumeSchedule(ends, { rate: 30, partitions: 3, nowMs: schedule.baseMs + 99_999_999 });
      return resumed.baseMs === schedule.baseMs;
    }),
  );
});

t.test('another rate begins a schedule in which the next record is due now', async (t) => {
  const ends = [40, 41, 39].map((seq, partition) => ({
    partition,
    seq,
    intendedMs: intendedMs(schedule, partition, seq),
  }));
  const nowMs = schedule.baseMs + 60_000;
  const next = resumeSchedule(ends, { rate: 1000, partitions: 3, nowMs });
  const due = ends.map(({ partition, seq }) => intendedMs(next, partition, seq + 1));
  t.equal(Math.min(...due), nowMs);
  t.ok(Math.max(...due) < nowMs + 10);
  t.equal(intendedMs(resumeSchedule([], { rate: 10, partitions: 3, nowMs }), 0, 0), nowMs, 'first start');
});

t.test('a ledger knows what was acknowledged, what failed and what nobody knows', async (t) => {
  let ledger = sendRange(openLedger(10), { from: 10, to: 14 });
  t.equal(indeterminateRecords(ledger), 0);
  ledger = attemptEnded(ledger, 'failed');
  t.equal(indeterminateRecords(ledger), 0);
  ledger = attemptEnded(sendRange(ledger, { from: 10, to: 14 }), 'unknown');
  t.equal(indeterminateRecords(ledger), 4);
  ledger = acknowledge(sendRange(ledger, { from: 10, to: 14 }));
  t.match(ledger, {
    acked: 14,
    underWay: null,
    indeterminate: false,
    failedRecords: 4,
    unansweredRecords: 4,
  });
  t.throws(() => sendRange(ledger, { from: 15, to: 16 }), RangeError, 'no gap');
  t.throws(
    () => sendRange(sendRange(ledger, { from: 14, to: 16 }), { from: 14, to: 15 }),
    RangeError,
    'same range again',
  );
});

t.test('the generator speaks for its slowest partition', async (t) => {
  const atMs = schedule.baseMs + 10_000;
  const done = dueCount(schedule, 0, atMs);
  const ledgers = [openLedger(done), openLedger(10), sendRange(openLedger(50), { from: 50, to: 60 })];
  const frontier = describeFrontier(ledgers, { schedule, catalogue, startedMs: 7, atMs });
  t.equal(frontier.ackedMs, intendedMs(schedule, 1, 10));
  t.equal(frontier.behindMs, atMs - intendedMs(schedule, 1, 10));
  t.equal(frontier.acked, done + 60);
  t.match(frontier.perPartition[2], { ackedSeq: 49, nextSeq: 60 });
});

// ---- the observer's judgement of results

/** What a correct job says after the first `counts[cell]` records of each cell. */
function resultsOf(records: readonly StoredRecord[]): Map<string, WindowResult> {
  const results = new Map<string, WindowResult>();
  for (const record of records) countRecord(results, record);
  return results;
}

/** Batches of partition 0, as a job in update mode would emit them. */
function emissions(batches: number): { records: StoredRecord[]; results: WindowResult[][] } {
  const records = Array.from({ length: batches * 20 }, (_, seq) => storedAt(0, seq));
  const results = Array.from({ length: batches }, (_, batch) => {
    const before = resultsOf(records.slice(0, batch * 20));
    const after = resultsOf(records.slice(0, (batch + 1) * 20));
    return [...after]
      .filter(([key, result]) => result.count !== before.get(key)?.count)
      .map(([, result]) => result);
  });
  return { records, results };
}

const allRead = Number.POSITIVE_INFINITY;
/** Read at that time, and stamped whenever. */
const at = (atMs: number) => ({ atMs, stampMs: 0 });
const { records, results } = emissions(6);
const flat = results.flat();
/** An emission that is followed by a larger one of the same cell. */
const followed = flat.find((one) => flat.some((other) => isSameCell(one, other) && other.count > one.count))!;
const grown = flat.findLast((other) => isSameCell(followed, other) && other.count > followed.count)!;

/** The result that it follows. */
const before = flat.findLast((other) => isSameCell(grown, other) && other.count < grown.count)!;

function isSameCell(a: WindowResult, b: WindowResult): boolean {
  return a.product === b.product && a.windowMs === b.windowMs;
}

/** Stores records of partition 0, the first one at `begin`. */
function storeIn(check: ResultsCheck, records: readonly StoredRecord[], begin = 0): void {
  const reader = new RecordReader();
  records.forEach(({ seq }, index) => {
    const value = recordValue(catalogue, 0, seq, intendedMs(schedule, 0, seq));
    reader.read(value);
    check.addRecord(reader, value, 0, begin + index);
  });
}

/** The classes in which anything was found. */
function found(totals: Partial<Correctness>): Partial<Correctness> {
  return Object.fromEntries(Object.entries(totals).filter(([, count]) => count !== 0));
}

function judged(emitted: readonly WindowResult[]) {
  const check = new ResultsCheck();
  storeIn(check, records);
  for (const result of emitted) check.addResult(result, at(0));
  check.settle(at(allRead));
  check.commit({ endOffsets: new Map([[0, records.length]]), watermarkMs: null });
  return found(check.resultTotals());
}

t.test('a correct job is found correct', async (t) => {
  t.same(judged(flat), {});
});

t.test('each way of being wrong is found, and only that', async (t) => {
  const last = flat.at(-1)!;
  const without = flat.filter((one) => !(one.product === last.product && one.windowMs === last.windowMs));
  const first = flat[0]!;
  const altered = (fields: Partial<WindowResult>) =>
    flat.map((one) => (one === last ? { ...one, ...fields } : one));
  t.same(judged(without), { missingWindows: 1, missingRecords: last.count }, 'a window lost');
  t.same(
    judged(flat.filter((one) => one !== grown)),
    { shortWindows: 1, shortRecords: grown.count - before.count },
    'the newest result lost',
  );
  t.same(judged(altered({ sum: last.sum + 1 })), { wrong: 1 }, 'a sum altered');
  t.same(judged(altered({ crc: last.crc + 1 })), { wrong: 1 }, 'a record swapped');
  t.same(judged(altered({ newestMs: last.newestMs + 1 })), { wrong: 1 }, 'another time');
  t.same(judged(altered({ count: last.count + 1 })), { longWindows: 1, longRecords: 1 }, 'a record more');
  t.same(
    judged(altered({ count: 0 })),
    { wrong: 1, missingWindows: 1, missingRecords: last.count },
    'of nothing',
  );
  t.same(judged([...flat, { ...first, product: 'product-999' }]), { phantom: 1 }, 'from nowhere');
  t.same(judged([...flat, last]), { reemitted: 1 }, 'the same once more');
  t.same(judged([...flat, { ...last, sum: last.sum - 1 }]), { conflicting: 1 }, 'the same count otherwise');
  t.match(judged([...flat, followed]), { conflicting: 1 }, 'a count went down');
  t.same(judged([...flat, followed, grown]), { reemitted: 1 }, 'and was replayed');
});

t.test('results that come before their records wait for them, in order', async (t) => {
  const check = new ResultsCheck();
  for (const result of flat) check.addResult(result, at(5_000));
  check.settle(at(5_000));
  t.same(found(check.resultTotals()), {}, 'not judged yet');
  storeIn(check, records);
  check.settle(at(5_000));
  check.commit({ endOffsets: new Map([[0, records.length]]), watermarkMs: null });
  t.same(found(check.resultTotals()), {});
  check.addResult({ ...flat[0]!, windowMs: flat[0]!.windowMs + 3_600_000 }, at(6_000));
  check.settle(at(6_001));
  t.equal(check.resultTotals().phantom, 1, 'everything was read, and there is no such window');
});

t.test('a counted window can be forgotten and is still compared by its totals', async (t) => {
  const check = new ResultsCheck();
  let newest: WindowResult | undefined;
  for (let window = 0; window < 40; window++) {
    // A window of partition 0 has 50 records.
    const inWindow = Array.from({ length: 50 }, (_, index) => storedAt(0, window * 50 + index));
    storeIn(check, inWindow, window * 50);
    for (const result of resultsOf(inWindow).values()) {
      check.addResult(result, at(0));
      if (window === 0) newest = result;
    }
  }
  const { records: held } = check.held();
  t.ok(held <= 26 * 50, `${held} records are held, of the last two minutes`);
  check.addResult(newest!, at(0));
  check.addResult({ ...newest!, sum: 1 }, at(0));
  check.settle(at(allRead));
  t.same(found(check.resultTotals()), { reemitted: 1, conflicting: 1 });
});

// ---- the input topic against the ledger

t.test('a gap and a repetition in the input are counted apart', async (t) => {
  const log = new InputLog(0);
  const times = (seq: number) => intendedMs(schedule, 0, seq);
  for (const seq of [0, 1, 2, 5, 5, 3]) log.append(seq, times(seq));
  t.equal(log.absent(), 1, '4');
  t.equal(log.storedTwice, 1, '5');
  t.equal(log.outOfOrder, 1, '3');
  log.acknowledged(8, 1_000);
  log.drained(999);
  t.equal(log.absent(), 1, 'what was acknowledged just now may still be on its way');
  log.drained(1_000);
  t.equal(log.absent(), 4, 'behind the last record: 6 to 8');
  log.append(6, times(6));
  t.equal(log.absent(), 3);
});

t.test('the input log forgets what is committed and still answers', async (t) => {
  const log = new InputLog(0);
  for (let seq = 0; seq < 25_000; seq++) log.append(seq, intendedMs(schedule, 0, seq));
  log.forget(15_000, 0);
  t.equal(log.frontierMs(15_001, schedule), intendedMs(schedule, 0, 15_001));
  t.equal(log.frontierMs(25_000, schedule), intendedMs(schedule, 0, 25_000), 'the next one to come');
  t.ok(log.held().times <= 4 * 4_096);
});

// ---- the row

/** A stream that is fed by hand: `stored` and `counted` records of each partition. */
function observedStream() {
  const stream = new ObservedStream(schedule.baseMs);
  const stored = [0, 0, 0];
  let resultsEnd = 0;
  const ends = () => [
    ...stored.map((end, partition) => ({ topic: 'events', partition, begin: 0, end })),
    { topic: 'results', partition: 0, begin: 0, end: resultsEnd },
  ];
  stream.endsAsked(ends(), schedule.baseMs - 1);
  return {
    stream,
    /** `seenMs`: when one of several generators answered last that says nothing now. */
    generatorAt(atMs: number, acked: readonly number[], seenMs = atMs) {
      const ledgers = acked.map((count) => openLedger(count));
      const known = { schedule, catalogue, startedMs: schedule.baseMs - 1_000, atMs };
      stream.generatorAnswered({ frontier: describeFrontier(ledgers, known), seenMs }, atMs);
    },
    store(partition: number, upTo: number, nowMs: number) {
      const records = [];
      for (; stored[partition]! < upTo; stored[partition]!++) {
        const seq = stored[partition]!;
        const dueMs = intendedMs(schedule, partition, seq);
        records.push({
          offset: seq,
          value: recordValue(catalogue, partition, seq, dueMs),
          stampMs: dueMs,
        });
      }
      stream.batchRead({ topic: 'events', partition, records, endOffset: upTo }, nowMs);
    },
    count(partition: number, upTo: number, nowMs: number) {
      const records = Array.from({ length: upTo }, (_, seq) => storedAt(partition, seq));
      const values = [...resultsOf(records).values()].map((result) => ({
        offset: resultsEnd++,
        value: Buffer.from(JSON.stringify(result)),
        stampMs: nowMs,
      }));
      stream.batchRead({ topic: 'results', partition: 0, records: values, endOffset: resultsEnd }, nowMs);
    },
    commit(batchId: number, ends: readonly number[], nowMs: number) {
      const endOffsets = new Map(ends.map((end, partition) => [partition, end]));
      const job = { applicationId: 'a', batchId, committedAtMs: nowMs, batch: null };
      stream.jobAnswered({ ...job, endOffsets }, nowMs);
    },
    resultsEndAt(end: number, nowMs: number) {
      resultsEnd = end;
      stream.endsAsked(ends(), nowMs);
    },
    /** The broker says that there is nothing more. */
    drain(nowMs: number) {
      stream.endsAsked(ends(), nowMs);
    },
  };
}

t.test(
  'there is no row before the schedule is known, and no frontier before something reached it',
  async (t) => {
    const { stream, generatorAt } = observedStream();
    t.equal(stream.sample(schedule.baseMs), null);
    t.notOk(stream.canRead());
    generatorAt(schedule.baseMs, [0, 0, 0]);
    t.match(stream.sample(schedule.baseMs + 1_000), {
      visibleMs: null,
      committedMs: null,
      batchId: null,
      views: [],
    });
  },
);

t.test('a partition that is stuck shows, however healthy the others are', async (t) => {
  const feed = observedStream();
  const atMs = schedule.baseMs + 10_000;
  const due = [0, 1, 2].map((partition) => dueCount(schedule, partition, atMs));
  feed.generatorAt(atMs, due);
  for (const partition of [0, 1, 2]) feed.store(partition, due[partition]!, atMs);
  feed.count(0, due[0]!, atMs);
  feed.count(1, 5, atMs);
  feed.count(2, due[2]!, atMs);
  feed.commit(1, [due[0]!, 7, due[2]!], atMs);
  const row = feed.stream.sample(atMs)!;
  t.equal(row.visibleMs, intendedMs(schedule, 1, 5));
  t.equal(row.committedMs, intendedMs(schedule, 1, 7));
  t.equal(row.ackedMs, atMs, 'nothing outstanding: no age');
  t.equal(row.intended, row.acked);
});

t.test('rows begin when the topics were read up to the present', async (t) => {
  const feed = observedStream();
  feed.generatorAt(schedule.baseMs + 10_000, [100, 0, 0]);
  feed.store(0, 60, schedule.baseMs + 10_000);
  t.equal(feed.stream.sample(schedule.baseMs + 10_000), null, 'an observer that starts late is no stall');
  feed.store(0, 101, schedule.baseMs + 10_100);
  t.ok(feed.stream.sample(schedule.baseMs + 10_250));
  feed.generatorAt(schedule.baseMs + 11_000, [110, 0, 0]);
  t.ok(feed.stream.sample(schedule.baseMs + 11_000), 'and go on when reading is late');
});

t.test('ages go on when the generator is silent', async (t) => {
  const feed = observedStream();
  feed.generatorAt(schedule.baseMs + 10_000, [50, 50, 50]);
  for (const partition of [0, 1, 2]) feed.store(partition, 50, schedule.baseMs + 10_000);
  const row = feed.stream.sample(schedule.baseMs + 40_000)!;
  t.equal(row.ackedMs, intendedMs(schedule, 0, 50));
  t.equal(row.generatorBehindMs, row.atMs - row.ackedMs);
  t.equal(row.intended, 30 * 40 + 1);
});

t.test('what was acknowledged just now is not lost because another generator is silent', async (t) => {
  const feed = observedStream();
  const { baseMs } = schedule;
  feed.generatorAt(baseMs, [0, 0, 0]);
  t.ok(feed.stream.sample(baseMs + 250));
  feed.store(0, 40, baseMs + 2_000);
  feed.generatorAt(baseMs + 2_100, [50, 0, 0], baseMs + 1_000);
  feed.drain(baseMs + 2_000);
  const row = feed.stream.sample(baseMs + 2_250)!;
  t.equal(row.correctness.acknowledgedButAbsent, 0, 'the broker was asked before');
  t.equal(row.sources.generatorSeenMs, baseMs + 1_000, 'it is as old as the oldest answer');
  feed.drain(baseMs + 2_500);
  t.equal(feed.stream.sample(baseMs + 2_750)!.correctness.acknowledgedButAbsent, 10, 'and then after');
});

t.test('what a committed batch did not count is short once its results must have been read', async (t) => {
  const feed = observedStream();
  const atMs = schedule.baseMs + 10_000;
  feed.generatorAt(atMs, [100, 0, 0]);
  feed.store(0, 100, atMs);
  feed.count(0, 90, atMs);
  feed.commit(1, [100, 0, 0], atMs);
  t.equal(feed.stream.sample(atMs + 1_000)!.correctness.shortRecords, 0, 'too early to tell');
  feed.drain(atMs + 1_100);
  t.equal(feed.stream.sample(atMs + 1_250)!.correctness.shortRecords, 10);
});

t.test('frontiers never go back, ages are never negative, and visible never overtakes stored', async () => {
  const step = fc.record({
    afterMs: fc.integer({ min: 1, max: 2_000 }),
    partition: fc.nat(2),
    stored: fc.nat(40),
    counted: fc.nat(40),
    committed: fc.nat(40),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
      const feed = observedStream();
      let nowMs = schedule.baseMs;
      const stored = [0, 0, 0];
      const counted = [0, 0, 0];
      const committed = [0, 0, 0];
      let last = { visible: 0, committed: 0, acked: 0 };
      feed.generatorAt(nowMs, stored);
      steps.forEach((it, index) => {
        nowMs += it.afterMs;
        const p = it.partition;
        stored[p] = Math.min(stored[p]! + it.stored, dueCount(schedule, p, nowMs));
        counted[p] = Math.min(counted[p]! + it.counted, stored[p]!);
        committed[p] = Math.min(committed[p]! + it.committed, stored[p]!);
        feed.generatorAt(nowMs, stored);
        feed.store(p, stored[p]!, nowMs);
        if (counted[p]! > 0) feed.count(p, counted[p]!, nowMs);
        feed.commit(index, committed, nowMs);
        const row = feed.stream.sample(nowMs)!;
        const oldest = (counts: readonly number[]) =>
          Math.min(nowMs, ...counts.map((count, partition) => intendedMs(schedule, partition, count)));
        const visible = row.visibleMs ?? 0;
        const good =
          visible >= last.visible &&
          row.committedMs! >= last.committed &&
          row.ackedMs >= last.acked &&
          visible <= nowMs &&
          row.committedMs === oldest(committed) &&
          row.ackedMs === oldest(stored) &&
          (row.visibleMs === null || row.visibleMs === oldest(counted));
        if (!good) throw new Error(JSON.stringify({ row, stored, counted, committed }));
        last = { visible, committed: row.committedMs!, acked: row.ackedMs };
      });
    }),
  );
});

// ---- proven by mutation: a whole workload with exactly one thing wrong

const workload: Simulation = {
  ...{ seed: 1, catalogue, seconds: 40 },
  schedule: { ...schedule, baseMs: 1_700_000_000_000 },
};
/** What is found, while it happens and once more from the topics alone. */
async function named(mutation: Partial<Simulation>, seed = 1) {
  const stream = simulateStream({ ...workload, seed, ...mutation });
  const live = observeStream(stream, { seed }).rows.at(-1)!.correctness;
  const { correctness } = await verifyTopics(sourceOf(stream, { seed }), catalogue);
  return { live: found(live), offline: found(correctness), stream };
}

/** The results of a stream, in the order in which they were written. */
function emitted({ results }: SimulatedStream): readonly (WindowResult & { readonly atMs: number })[] {
  return results
    .flat()
    .map(({ value, atMs }) => ({ ...(JSON.parse(value.toString()) as WindowResult), atMs }))
    .sort((a, b) => a.atMs - b.atMs);
}

/** The end of each window by counting, without any order: how many records its newest result has too few, or too many. */
function countedInTheEnd(stream: SimulatedStream) {
  const stored = new Map<string, number>();
  for (const { value } of stream.events.flat()) {
    const record = parseRecord(value)!;
    const key = cellKey(record.product, windowStartMs(record.intendedMs));
    stored.set(key, (stored.get(key) ?? 0) + 1);
  }
  const newest = new Map(
    emitted(stream).map((result) => [cellKey(result.product, result.windowMs), result.count]),
  );
  const sums = { shortWindows: 0, shortRecords: 0, missingWindows: 0, missingRecords: 0 };
  const long = { longWindows: 0, longRecords: 0 };
  for (const [key, count] of stored) {
    const lacking = count - (newest.get(key) ?? 0);
    if (lacking < 0) {
      long.longWindows++;
      long.longRecords -= lacking;
    } else if (lacking > 0) {
      sums[newest.has(key) ? 'shortWindows' : 'missingWindows']++;
      sums[newest.has(key) ? 'shortRecords' : 'missingRecords'] += lacking;
    }
  }
  return found({ ...sums, ...long });
}

t.test('nothing is found in a workload in which nothing is wrong, whatever its timing', async (t) => {
  for (const seed of [1, 2, 3, 4, 5]) {
    const { live, offline } = await named({}, seed);
    t.same([live, offline], [{}, {}]);
  }
});

interface Victim {
  readonly partition: number;
  readonly seq: number;
  /** Which one of all results. */
  readonly result: number;
}

type Mutation = (victim: Victim) => Partial<Simulation>;

/** Stores all but the victim as it was sent; what becomes of that, and after which other record, the others say. */
const storing =
  (hit: (sent: Sent, store: (partition: number, value: Buffer) => void) => void): Mutation =>
  ({ partition, seq }) => ({
    store: (sent, store) => {
      if (sent.partition === partition && sent.seq === seq) hit(sent, store);
      else store(sent.partition, sent.value);
    },
  });

/** Keeps the victim back until another record of its partition has been stored. */
const keptBack =
  (bySeqs: number): Mutation =>
  ({ partition, seq }) => {
    let putKept = () => {};
    return {
      store: (sent, store) => {
        const put = () => store(sent.partition, sent.value);
        if (sent.partition === partition && sent.seq === seq) putKept = put;
        else put();
        if (sent.partition === partition && sent.seq === seq + bySeqs) putKept();
      },
    };
  };

const counting =
  (times: number): Mutation =>
  ({ partition, seq }) => ({
    times: (_partition, _offset, value) => (value.toString().startsWith(`${partition}-${seq},`) ? times : 1),
  });

const emitting =
  (...others: ((result: WindowResult) => Partial<WindowResult>)[]): Mutation =>
  ({ result: victim }) => {
    let index = 0;
    return {
      emit: (result, emit) => {
        if (index++ !== victim) return emit(result);
        for (const other of others) emit({ ...result, ...other(result) });
      },
    };
  };

const same = () => ({});
const moved = ({ value }: Sent) =>
  Buffer.from(
    value.toString().replace(/(\d),(\d+)$/, (_all, digit, ms) => `${(Number(digit) % 5) + 1},${ms}`),
  );

const atAnotherTime = ({ value }: Sent) =>
  Buffer.from(value.toString().replace(/\d$/, (digit) => `${(Number(digit) + 1) % 10}`));

/** Each with what must be found; `the end`: what counting finds at the end. */
const mutations: Readonly<Record<string, readonly [Mutation, Partial<Correctness> | 'the end']>> = {
  'a record lost by the broker': [storing(() => undefined), { acknowledgedButAbsent: 1 }],
  'a record stored twice': [
    storing(({ partition, value }, store) => {
      store(partition, value);
      store(partition, value);
    }),
    { storedTwice: 1 },
  ],
  'a record altered': [storing((sent, store) => store(sent.partition, moved(sent))), { altered: 1 }],
  "a record's time altered": [
    storing((sent, store) => store(sent.partition, atAnotherTime(sent))),
    { altered: 1 },
  ],
  'a record made unreadable': [
    storing(({ partition }, store) => store(partition, Buffer.from('what is this?'))),
    { altered: 1, acknowledgedButAbsent: 1 },
  ],
  'two records of a partition swapped': [keptBack(1), { outOfOrder: 1 }],
  'a record in another partition': [
    storing(({ partition, value }, store) => store((partition + 1) % 3, value)),
    { misplaced: 1, acknowledgedButAbsent: 1 },
  ],
  'a record that the job does not count': [counting(0), 'the end'],
  'a record that the job counts twice': [counting(2), { longWindows: 1, longRecords: 1 }],
  'a sum altered in a result': [emitting(({ sum }) => ({ sum: sum + 1 })), { wrong: 1 }],
  'a record taken for another one': [emitting(({ crc }) => ({ crc: crc - 1 })), { wrong: 1 }],
  'a result written twice': [emitting(same, same), { reemitted: 1 }],
  'a result written again with another sum': [
    emitting(same, ({ sum }) => ({ sum: sum - 1 })),
    { conflicting: 1 },
  ],
  'a result for a window that never was': [
    emitting(same, (result) => ({ windowMs: result.windowMs + 600_000 })),
    { phantom: 1 },
  ],
  'bytes that are no result': [emitting(same, () => ({ count: Number.NaN })), { phantom: 1 }],
};

t.test('one thing wrong is named by class and count, and nothing else, live and offline', async (t) => {
  const victims = [
    { partition: 1, seq: 157, result: 40 },
    { partition: 0, seq: 3, result: 0 },
    { partition: 2, seq: 250, result: 77 },
  ];
  for (const [what, [mutation, expected]] of Object.entries(mutations)) {
    for (const [index, victim] of victims.entries()) {
      const { live, offline, stream } = await named(mutation(victim), index + 1);
      const all = expected === 'the end' ? countedInTheEnd(stream) : expected;
      t.same([live, offline], [all, all], `${what}: ${JSON.stringify(victim)}`);
    }
  }
});

t.test('records behind the watermark are told from lost ones by who knows the watermark', async (t) => {
  const late = { watermarkMs: 15_000, seconds: 60 };
  const one = await named({ ...late, ...keptBack(300)({ partition: 1, seq: 157, result: 0 }) });
  t.same(one.live, { outOfOrder: 1, lateDropped: 1 });
  t.match(one.offline, { outOfOrder: 1, ...countedInTheEnd(one.stream) });
  // A partition that was silent for half a minute, while the others moved the watermark on.
  const waiting: [Sent, (partition: number, value: Buffer) => void][] = [];
  const silent = await named({
    ...late,
    store: (sent, store) => {
      const isLate = sent.partition === 2 && sent.seq >= 100 && sent.seq < 400;
      if (isLate) waiting.push([sent, store]);
      else store(sent.partition, sent.value);
      if (sent.partition !== 2 || sent.seq < 399) return;
      for (const [{ partition, value }, put] of waiting.splice(0)) put(partition, value);
    },
  });
  const { shortRecords = 0, missingRecords = 0 } = countedInTheEnd(silent.stream);
  t.ok(missingRecords > 50);
  t.same(silent.live, { lateDropped: shortRecords + missingRecords });
});

t.test('a job that comes back somewhere else is named by what that does to windows', async (t) => {
  const atMs = workload.schedule.baseMs + 12_000;
  const back = (from: Restart['from'], state: Restart['state'], downMs = 11_000) =>
    named({ seconds: 50, restart: { atMs, downMs, from, state } });
  /** Results that are smaller than an earlier one of their window, or as large with other content. */
  const conflicts = (stream: SimulatedStream) => {
    const largest = new Map<string, WindowResult>();
    return emitted(stream).filter((result) => {
      const key = cellKey(result.product, result.windowMs);
      const before = largest.get(key);
      if (!before || before.count < result.count) largest.set(key, result);
      return (
        before &&
        (result.count < before.count || (result.count === before.count && result.crc !== before.crc))
      );
    }).length;
  };

  const checkpoint = await back('checkpoint', 'kept');
  t.same([checkpoint.live, checkpoint.offline], [{}, {}], 'where it was: nothing is wrong');

  const latest = await back('latest', 'kept');
  const skipped = countedInTheEnd(latest.stream);
  t.ok(skipped.missingWindows! > 0 && skipped.shortWindows! > 0);
  t.same([latest.live, latest.offline], [skipped, skipped], 'at latest: short and missing');

  const forgotten = await back('latest', 'lost', 1_500);
  const conflicting = conflicts(forgotten.stream);
  t.ok(conflicting > 0);
  const all = { ...countedInTheEnd(forgotten.stream), conflicting };
  t.same([forgotten.live, forgotten.offline], [all, all], 'at latest without state: counts go down, too');

  const doubled = await back('earliest', 'kept');
  const long = countedInTheEnd(doubled.stream);
  t.ok(long.longWindows! > 0);
  t.same([doubled.live, doubled.offline], [long, long], 'at earliest with its state: long');

  const replayed = await back('earliest', 'lost');
  t.same(countedInTheEnd(replayed.stream), {});
  t.same(Object.keys(replayed.live), ['reemitted'], 'at earliest without state: all replayed');
  t.equal(replayed.live.reemitted, replayed.offline.reemitted);
});

t.test(
  'from the topics alone the last record lost, and records altered, are not known without being told',
  async (t) => {
    const last = dueCount(workload.schedule, 1, workload.schedule.baseMs + 40_000) - 1;
    const victim = { partition: 1, seq: last, result: 0 };
    const lost = await named(storing(() => undefined)(victim));
    t.same([lost.live, lost.offline], [{ acknowledgedButAbsent: 1 }, {}]);
    const stream = simulateStream({
      ...workload,
      ...storing((sent, store) => store(sent.partition, moved(sent)))({ ...victim, seq: 100 }),
    });
    const untold = await verifyTopics(sourceOf(stream), null);
    t.match(untold, {
      verdict: 'Correct',
      undecided: { altered: /not told/, acknowledgedButAbsent: /behind/ },
    });
    t.match(await verifyTopics(sourceOf(stream), catalogue), {
      verdict: 'Incorrect',
      correctness: { altered: 1 },
    });
  },
);

t.test('nothing is called right that the job has not counted for a minute', async (t) => {
  const verdictOf = async (mutation: Partial<Simulation>) => {
    const stream = simulateStream({ ...workload, seconds: 100, ...mutation });
    const { verdict, pendingRecords } = await verifyTopics(sourceOf(stream), catalogue);
    return { verdict, pendingRecords };
  };
  const { baseMs } = workload.schedule;
  t.same(
    await verdictOf({ emit: () => {} }),
    { verdict: 'Unknown', pendingRecords: 100 * 30 + 1 },
    'a job that never began',
  );
  t.match(
    await verdictOf({ times: (partition) => (partition === 1 ? 0 : 1) }),
    { verdict: 'Unknown', pendingRecords: 100 * 10 },
    'a partition that the job does not know',
  );
  const stopped = (atS: number) =>
    ({
      restart: { atMs: baseMs + atS * 1_000, downMs: 3_600_000, from: 'checkpoint', state: 'kept' },
    }) as const;
  t.match(await verdictOf(stopped(30)), { verdict: 'Unknown' }, 'a job that stands');
  t.match(await verdictOf(stopped(50)), { verdict: 'Correct' }, 'what is newer may still be counted');
  t.match(
    await verdictOf({ ...stopped(30), emit: (result, emit) => emit({ ...result, sum: result.sum + 1 }) }),
    { verdict: 'Incorrect' },
    'an error is one, whatever else is not known',
  );
});

// ---- a new observer, and a long life

t.test(
  'an observer that starts anew gives no row before it has caught up, and then finds the same',
  async (t) => {
    const stream = simulateStream({
      ...{ ...workload, seconds: 60 },
      ...counting(0)({ partition: 1, seq: 157, result: 0 }),
    });
    const { baseMs } = workload.schedule;
    const first = observeStream(stream).rows;
    const second = observeStream(stream, { startMs: baseMs + 45_000, seed: 7 }).rows;
    const atMs = second[0]!.atMs;
    t.ok(atMs > baseMs + 45_000, 'not at once');
    const age = second[0]!.atMs - second[0]!.visibleMs!;
    const old = first.find((row) => row.atMs === atMs)!;
    t.equal(old.visibleMs, intendedMs(workload.schedule, 1, 157), 'the record that is never counted');
    t.ok(Math.abs(age - (atMs - old.visibleMs!)) < 2_000, 'its own start is no stall');
    t.same(second.at(-1)!.correctness, first.at(-1)!.correctness);
    t.equal(first.at(-1)!.sources.observerStartedMs, baseMs);
    t.match(second.at(-1)!.sources, { observerStartedMs: baseMs + 45_000, countedSinceMs: baseMs });
  },
);

t.test('rows wait for the results, however soon the input has been read', async (t) => {
  const feed = observedStream();
  const atMs = schedule.baseMs + 10_000;
  feed.generatorAt(atMs, [100, 0, 0]);
  feed.store(0, 100, atMs);
  feed.resultsEndAt(7, atMs);
  t.equal(feed.stream.sample(atMs), null, 'there are seven results that nobody has read');
  const fast = observedStream();
  fast.generatorAt(atMs, [100, 0, 0]);
  fast.store(0, 100, atMs);
  fast.drain(atMs);
  fast.resultsEndAt(7, atMs + 500);
  t.ok(fast.stream.sample(atMs + 1_000), 'there is always something more: a second ago all was read');
});

t.test('what was removed from the topics is not judged, and the row says from when on it is', async (t) => {
  const stream = simulateStream({ ...workload, seconds: 60 });
  const { baseMs } = workload.schedule;
  const isFrom = (topic: string, ms: number) =>
    (topic === 'events' ? stream.events : stream.results).map(
      (list, partition) =>
        [`${topic} ${partition}`, list.findIndex(({ stampMs }) => stampMs >= baseMs + ms)] as const,
    );
  for (const [eventsMs, resultsMs] of [
    [23_000, 0],
    [0, 23_000],
    [12_000, 23_000],
  ] as const) {
    const removed = Object.fromEntries([...isFrom('events', eventsMs), ...isFrom('results', resultsMs)]);
    const { correctness, countedSinceMs } = await verifyTopics(sourceOf(stream, { removed }), catalogue);
    const { unjudged, ...classes } = correctness;
    t.same(found(classes), {}, `${eventsMs} ${resultsMs}`);
    t.ok(unjudged > 0);
    t.equal(countedSinceMs, baseMs + 25_000);
  }
});

t.test('a topic that is shorter than what was read of it ends the observer', async (t) => {
  const stream = simulateStream({ ...workload, seconds: 10 });
  const { observer } = observeStream(stream);
  const [value] = stream.events[0]!;
  t.throws(
    () =>
      observer.batchRead(
        {
          ...{ topic: 'events', partition: 0, endOffset: 1 },
          records: [{ offset: 0, ...value! }],
        },
        0,
      ),
    { code: 'TOPIC_CUT' },
  );
});

/** An oracle of one partition of each topic, of which the broker has said that they end there. */
function smallOracle(ends: { readonly events: number; readonly results: number }) {
  const plan: Schedule = { ...schedule, partitions: 1 };
  const one: Catalogue = { seed: 1, partitions: 1, products: 1 };
  const places = (['events', 'results'] as const).map((topic) => ({ topic, partition: 0 }));
  const oracle = new Oracle(places.map((it) => ({ ...it, begin: 0, end: ends[it.topic] })));
  const record = (seq: number, stampMs: number) => recordValue(one, 0, seq, stampMs);
  const timeOf = (seq: number) => intendedMs(plan, 0, seq);
  return {
    oracle,
    timeOf,
    /** Reads records of the input, by their numbers; at `endOffset` it ends now. */
    input(seqs: readonly number[], endOffset: number) {
      const records = seqs.map((seq) => ({
        ...{ offset: seq, stampMs: timeOf(seq), value: record(seq, timeOf(seq)) },
      }));
      oracle.batchRead({ topic: 'events', partition: 0, records, endOffset }, 0);
    },
    /** Reads a result of the first `count` records. */
    result(
      count: number,
      { offset, endOffset, stampMs }: { offset: number; endOffset: number; stampMs: number },
    ) {
      const counted = Array.from({ length: count }, (_, seq) => parseRecord(record(seq, timeOf(seq)))!);
      const [total] = resultsOf(counted).values();
      const records = [{ offset, stampMs, value: Buffer.from(JSON.stringify(total)) }];
      oracle.batchRead({ topic: 'results', partition: 0, records, endOffset }, 0);
    },
  };
}

t.test('who has caught up once keeps nobody waiting when records come late', async (t) => {
  const { oracle, input, result, timeOf } = smallOracle({ events: 1, results: 1 });
  input([0], 1);
  result(1, { offset: 0, endOffset: 1, stampMs: timeOf(1) });
  t.ok(oracle.isAtEnd());
  input([1], 5_000);
  result(2, { offset: 1, endOffset: 3, stampMs: timeOf(1) + 600_000 });
  t.same(oracle.ahead(), [], 'the broker was away for ten minutes, and what it counts now is news');
});

t.test('a result may be ahead of an input that was read to where it was said to end', async (t) => {
  const { oracle, input, result, timeOf } = smallOracle({ events: 10, results: 2 });
  const upTo = (from: number, to: number) => Array.from({ length: to - from }, (_, index) => from + index);
  input(upTo(0, 10), 10);
  result(12, { offset: 0, endOffset: 2, stampMs: timeOf(12) });
  t.same(found(oracle.correctness()), {}, 'it has grown meanwhile');
  input(upTo(10, 12), 12);
  t.same(found(oracle.correctness()), {});
});

t.test('a long history is read at one pace: no more is held than while it happened', async (t) => {
  const stream = simulateStream({ ...workload, seconds: 1_200 });
  for (const seed of [1, 2]) {
    const source = sourceOf(stream, { seed });
    const { verdict, records } = await verifyTopics(source, catalogue);
    t.equal(verdict, 'Correct');
    t.equal(records, 1_200 * 30 + 1);
    // Two minutes of counted windows, a minute between the slowest reader and the fastest, and what one batch overshoots.
    const { records: most, early, times } = source.mostHeld;
    t.ok(most < 30 * (120 + 60 + 5) + 9 * 500, `${most} records`);
    t.ok(early < 2_000, `${early} results`);
    t.ok(times <= 3 * 2 * 4_096, `${times} times, which nobody asks for`);
  }
});

t.test('a history in which every result is wrong is not held until its end', async (t) => {
  const stream = simulateStream({
    ...{ ...workload, seconds: 1_200 },
    emit: (result, emit) => emit({ ...result, crc: result.crc + 1 }),
  });
  const source = sourceOf(stream);
  const { correctness } = await verifyTopics(source, catalogue);
  t.same(correctness.wrong, (1_200 / 5) * 7 + 1);
  t.ok(source.mostHeld.early < 5_000, `${source.mostHeld.early} results`);
});

t.test('hours make it no larger, and a stalled job only by what is uncounted', async (t) => {
  const [rate, hours, stall] = [30, 3.5, { fromS: 3_600, toS: 4_200 }];
  const plan: Schedule = { ...schedule, rate };
  const parts = [0, 1, 2];
  const topicParts = [
    ...parts.map((partition) => ({ topic: 'events', partition })),
    { topic: 'results', partition: 0 },
  ];
  const oracle = new Oracle(topicParts.map((it) => ({ ...it, begin: 0, end: 0 })));
  oracle.catalogue = catalogue;
  const stored = [0, 0, 0, 0];
  const state = new Map<string, WindowResult>();
  const pending = new Set<string>();
  const most = { before: 0, stalled: 0, after: 0, cells: 0, times: 0, early: 0, commits: 0 };
  const put = (
    topic: string,
    partition: number,
    values: readonly Omit<ReadRecord, 'offset'>[],
    atMs: number,
  ) => {
    const index = topic === 'events' ? partition : 3;
    const records = values.map((value) => ({ offset: stored[index]!++, ...value }));
    if (values.length > 0) oracle.batchRead({ topic, partition, records, endOffset: stored[index]! }, atMs);
  };
  for (let second = 0; second < hours * 3_600; second++) {
    const atMs = plan.baseMs + second * 1_000;
    for (const partition of parts) {
      const values: Omit<ReadRecord, 'offset'>[] = [];
      for (let seq = stored[partition]!; seq < dueCount(plan, partition, atMs); seq++) {
        const stampMs = intendedMs(plan, partition, seq);
        const value = recordValue(catalogue, partition, seq, stampMs);
        pending.add(countRecord(state, parseRecord(value)!));
        values.push({ value, stampMs });
      }
      put('events', partition, values, atMs);
    }
    const stalled = second >= stall.fromS && second < stall.toS;
    if (!stalled) {
      put(
        'results',
        0,
        [...pending].map((key) => ({ value: Buffer.from(JSON.stringify(state.get(key))), stampMs: atMs })),
        atMs,
      );
      for (const [key, { windowMs }] of state) if (windowMs < atMs - 10_000) state.delete(key);
      pending.clear();
      const endOffsets = new Map(parts.map((partition) => [partition, stored[partition]!]));
      oracle.commit({ endOffsets, watermarkMs: atMs - 900_000 }, atMs);
    }
    oracle.endsAsked(
      topicParts.map((it, index) => ({ ...it, begin: 0, end: stored[index]! })),
      atMs + 1,
    );
    if (second % 60 > 0) continue;
    const held = oracle.held();
    const phase = second < stall.fromS ? 'before' : stalled || second < stall.toS + 180 ? 'stalled' : 'after';
    most[phase] = Math.max(most[phase], held.records);
    for (const part of ['cells', 'times', 'early', 'commits'] as const)
      most[part] = Math.max(most[part], held[part]);
  }
  t.same(found(oracle.correctness()), {}, 'and all was right');
  t.ok(most.before <= 131 * rate, `${most.before} records of two minutes`);
  t.ok(most.stalled > 600 * rate, 'what nobody counts is held');
  t.ok(most.stalled <= (600 + 131) * rate, `${most.stalled} records of twelve minutes`);
  t.ok(most.after <= 131 * rate, `${most.after} records, hours later`);
  t.ok(most.cells <= 7 * (7_200 / 5 + 2), `${most.cells} windows of two hours`);
  t.ok(most.times <= 600 * rate + 3 * 2 * 4_096, `${most.times} times of what is not committed`);
  t.ok(most.early === 0 && most.commits <= 1);
});

t.test('a job that never comes back is held for two hours, and then told as missing', async (t) => {
  const check = new ResultsCheck();
  for (let minute = 0; minute < 180; minute++) {
    const begin = minute * 600;
    storeIn(
      check,
      Array.from({ length: 600 }, (_, index) => storedAt(0, begin + index)),
      begin,
    );
  }
  const { records, cells } = check.held();
  t.ok(records <= 7_205 * 10 && cells < 5_000, `${records} records in ${cells} windows`);
  t.ok(check.resultTotals().missingRecords >= 59 * 600);
});

t.test('gaps are remembered one by one only as far as memory allows', async (t) => {
  const log = new InputLog(0);
  for (let seq = 0; seq < 10_000; seq += 2) log.append(seq, 0);
  t.equal(log.absent(), 4_999);
  t.equal(log.held().gaps, 1_000);
  log.append(9_997, 0);
  t.same([log.absent(), log.outOfOrder, log.storedTwice], [4_998, 1, 0]);
});

// ---- reading both topics

/** Reads the input topic, of one partition, through consumers that do what `onRun` says. */
async function readBy(
  onRun: (consumer: FakeConsumer, stop: AbortController) => void,
  nextOffset: () => number = () => 0,
) {
  const stop = new AbortController();
  const { kafka, consumers } = fakeKafka((consumer) => onRun(consumer, stop));
  const interruptions: unknown[] = [];
  await readTopics(
    {
      ...{ kafka, groupPrefix: 'test', topics: ['events'], onBatch: () => {} },
      nextOffsets: () => [{ topic: 'events', partition: 0, offset: nextOffset() }],
      onInterrupted: (error) => interruptions.push(error),
    },
    stop.signal,
  );
  return { consumers, interruptions };
}

t.test('a reader goes on where it is however often its group is joined anew', async (t) => {
  let next = 5;
  const { consumers, interruptions } = await readBy(
    (consumer, stop) => {
      next = 900;
      consumer.join();
      stop.abort();
    },
    () => next,
  );
  t.same(
    consumers.map(({ seeks }) => seeks),
    [
      [
        ['events', 0, 5],
        ['events', 0, 900],
      ],
    ],
    'before the first record is fetched, and not at the beginning of the topic the second time',
  );
  t.same(interruptions, []);
});

t.test('a reader that has lost its connections keeps nothing of them', async (t) => {
  const listeners: number[] = [];
  const { interruptions } = await readBy((consumer, stop) => {
    listeners.push(getEventListeners(stop.signal, 'abort').length);
    if (listeners.length < 5) consumer.crash(new Error('the broker is away'));
    else stop.abort();
  });
  t.equal(interruptions.length, 4);
  t.same(listeners, [1, 1, 1, 1, 1], 'that of the connection it has');
});

t.test('who reads both topics once gives up when the broker stays away', async (t) => {
  const held = { events: [3], results: [1] };
  const { kafka, consumers } = fakeKafka(
    (consumer) => setImmediate(() => consumer.crash(new Error('no broker'))),
    held,
  );
  const stop = new AbortController();
  const source = await kafkaSource(kafka, stop.signal);
  const tooLong = setTimeout(() => stop.abort(new Error('still reading')), 10_000);
  await t.rejects(verifyTopics(source, catalogue), { message: /gave up/, cause: { message: 'no broker' } });
  clearTimeout(tooLong);
  t.ok(consumers.length > 5, `not at once: ${consumers.length} attempts`);
});

// ---- the job's own figures

const answer = {
  ...{ applicationId: 'app', batchId: 7, committedAtMs: 1_000, endOffsets: { 0: 40, 2: 50 }, inputRows: 90 },
  ...{ durationsMs: { triggerExecution: 830, addBatch: 600, walCommit: 100 }, stateRows: 1_234 },
  ...{ droppedByWatermark: 3, watermarkMs: 500 },
};

t.test("a batch's figures come into the row, and stay when the job has nothing to do", async (t) => {
  t.same(readProgress({ ...answer, batchId: null }), { applicationId: 'app', batchId: null });
  const progress = readProgress(answer) as JobProgress;
  t.same(
    [...progress.endOffsets],
    [
      [0, 40],
      [2, 50],
    ],
  );
  const feed = observedStream();
  feed.generatorAt(schedule.baseMs, [0, 0, 0]);
  feed.stream.jobAnswered(progress, schedule.baseMs);
  feed.stream.jobAnswered(
    readProgress({ ...answer, committedAtMs: null, inputRows: 0 }) as JobProgress,
    schedule.baseMs,
  );
  const row = feed.stream.sample(schedule.baseMs + 250)!;
  t.same(row.batch, {
    ...{
      durationMs: 830,
      addBatchMs: 600,
      inputRows: 90,
      stateRows: 1_234,
      droppedRows: 3,
      watermarkMs: 500,
    },
  });
  t.match(row, { batchId: 7, batchAtMs: 1_000 });
  const metrics = await observerMetrics(
    () => row,
    () => ({ records: 5 }),
  ).metrics();
  for (const line of [
    'sparkfailures_job_batch_duration_seconds 0.83',
    'sparkfailures_job_batch_input_rows 90',
    'sparkfailures_job_state_rows 1234',
    'sparkfailures_job_batch_dropped_rows 3',
    'sparkfailures_observer_held{of="records"} 5',
    'sparkfailures_found_windows{result="long"} 0',
  ]) {
    t.match(metrics, line);
  }
  t.notMatch(
    await observerMetrics(
      () => null,
      () => null,
    ).metrics(),
    /^sparkfailures_job_\w+ \d/m,
  );
});

t.test('what control planes answer', async (t) => {
  const workers = ['ALIVE', 'DEAD', 'ALIVE'].map((state, at) => ({ id: `worker-${at}`, state }));
  const executors = [
    { id: 'driver', isActive: true, totalCores: 0 },
    { id: '0', isActive: true, totalCores: 1 },
    { id: '1', isActive: false, totalCores: 1 },
  ];
  const standby = { status: 'STANDBY', workers: [] };
  const masters = new Map([
    ['http://a', standby],
    ['http://b', { status: 'ALIVE', workers }],
  ]);
  t.same(
    readMasters(masters),
    {
      members: ['http://b', 'worker-0', 'worker-2'],
      parts: { mastersAlive: 1, workersAlive: 2 },
    },
    'workers are those of the leading master',
  );
  t.same(readMasters(new Map([['http://a', standby]])).parts, { mastersAlive: 0, workersAlive: 0 });
  t.same(readExecutors('app-1', executors), {
    members: ['app-1/0'],
    parts: { executors: 1, cores: 1 },
  });

  const partition = { topic: 'events', partition: 0, leader: 2, inSync: [1, 2] };
  t.same(readMetadata([1, 2], [partition, { ...partition, partition: 1, leader: -1, inSync: [] }]), {
    members: ['broker 1', 'broker 2', 'events/0 led by 2', 'events/0 in sync on 1', 'events/0 in sync on 2'],
    parts: { brokers: 2, partitionsLed: 1, inSyncReplicas: 2 },
  });

  const broker = (leads: boolean) => ({
    describeCluster: async () => ({
      ...{ brokers: [{ nodeId: 1, host: 'kafka', port: 9092 }], controller: 1, clusterId: 'c' },
    }),
    fetchTopicMetadata: async () => {
      // What kafkajs makes of the answer of a broker that knows of no leader.
      if (!leads) throw new TypeError("Cannot read properties of null (reading 'topicMetadata')");
      const partitionErrorCode = 0;
      const partitions = [{ partitionErrorCode, partitionId: 0, leader: 1, replicas: [1], isr: [1] }];
      return { topics: [{ name: 'events', partitions }] };
    },
  });
  t.same((await askKafka(broker(true))).parts, { brokers: 1, partitionsLed: 1, inSyncReplicas: 1 });
  t.same((await askKafka(broker(false))).parts, { brokers: 1, partitionsLed: 0, inSyncReplicas: 0 });
  const gone = { ...broker(false), describeCluster: () => Promise.reject(new Error('no broker answers')) };
  await t.rejects(askKafka(gone), /no broker answers/, 'who does not answer has lost nothing');

  const srvr = (mode: string) =>
    `Zookeeper version: 3.9.5\nZxid: 0x500000003\nMode: ${mode}\nNode count: 7\n`;
  const servers = new Map([
    ['zk1:2181', srvr('follower')],
    ['zk2:2181', srvr('leader')],
    ['zk3:2181', 'This ZooKeeper instance is not currently serving requests\n'],
  ]);
  t.same(readServers(servers), {
    members: ['zk1:2181', 'zk2:2181', 'epoch 5 of zk2:2181'],
    parts: { serversServing: 2, leaders: 1 },
  });
  t.same(readServers(new Map([['zookeeper:2181', srvr('standalone')]])).parts, {
    serversServing: 1,
    leaders: 1,
  });
});

t.test('a control plane is asked by what it speaks, and one of several is enough', async (t) => {
  const zookeeper = createTcpServer((socket) => {
    socket.once('data', (said) => socket.end(said.toString() === 'srvr' ? 'Mode: standalone\n' : ''));
  });
  await new Promise<void>((resolve) => zookeeper.listen(0, '127.0.0.1', resolve));
  t.teardown(() => zookeeper.close());
  const { port } = zookeeper.address() as AddressInfo;
  const nobody = '127.0.0.1:1';
  const asked = (zookeepers: readonly string[]) => {
    const planes = controlPlanesOf({
      ...{ masters: [`http://${nobody}`], driverUi: `http://${nobody}`, zookeepers },
      applicationId: () => 'app-1',
      askBroker: () => Promise.reject(new Error('no broker')),
    });
    t.same(
      planes.map(({ source }) => source),
      controlPlanes.filter((source) => source !== 'swarm'),
    );
    return planes.at(-1)!.ask(AbortSignal.timeout(5_000));
  };
  const server = `127.0.0.1:${port}`;
  t.match(await asked([nobody, server]), { parts: { serversServing: 1, leaders: 1 } });
  await t.rejects(asked([nobody]), AggregateError);
});

t.test(
  'silence is told in time by who is asked without a signal, and nobody is asked twice at once',
  async (t) => {
    const stop = new AbortController();
    const said: string[] = [];
    let asked = 0;
    let endFirst = (_answer: string) => {};
    const polling = poll(
      {
        ...{ everyMs: 1, timeoutMs: 20 },
        ask: () => {
          asked++;
          if (asked > 1) return Promise.resolve('second');
          return new Promise<string>((resolve) => {
            endFirst = resolve;
          });
        },
        onAnswer: (answer, askedMs) => {
          said.push(answer);
          t.ok(Math.abs(Date.now() - askedMs) < 1_000);
          stop.abort();
        },
        onSilence: () => said.push('silence'),
      },
      stop.signal,
    );
    while (said.length === 0) await new Promise((resolve) => setTimeout(resolve, 5));
    t.same([said, asked], [['silence'], 1], 'though the first question is still open');
    endFirst('first');
    await polling;
    t.same(said, ['silence', 'second'], 'an answer that takes longer is none');
  },
);

t.test('an end of polling waits for nobody', async (t) => {
  const stop = new AbortController();
  const polling = poll(
    {
      ...{ everyMs: 1, timeoutMs: 10_000, ask: () => new Promise(() => {}) },
      onAnswer: () => {},
      onSilence: () => t.fail('it was not silent for long'),
    },
    stop.signal,
  );
  stop.abort();
  await polling;
});

t.test('both profiles set the same settings', async (t) => {
  const keys = async (profile: string, file: string) => {
    const text = await readFile(`compose/streaming/profiles/${profile}/${file}`, 'utf8');
    const lines = text.split('\n').filter((line) => line !== '' && !line.startsWith('#'));
    return lines.map((line) => line.split(/[\s=]+/)[0]);
  };
  for (const file of ['spark-defaults.conf', 'kafka.properties']) {
    t.same(await keys('fast', file), await keys('defaults', file));
  }
});

t.test('a command waits for the folder, the port or the HDFS that it needs', async (t) => {
  const script = 'compose/streaming/spark/when-ready.sh';
  await shellcheck(t, [script], 'bash');
  let state = 'safeMode';
  const asked: string[] = [];
  const nameNode = createServer((request, response) => {
    asked.push(request.url ?? '');
    response.end(`{ "beans" : [ { "FSState" : "${state}" } ] }`);
  });
  // The page of a NameNode is where its clients do not say: each has an address of its own here.
  await new Promise<void>((resolve) => nameNode.listen(9870, '127.98.70.1', resolve));
  t.teardown(() => nameNode.close());
  const folder = join(t.testdir({}), 'made later');
  const waiting = ['hdfs://127.98.70.1:8020/checkpoint', '127.98.70.1:9870', folder];
  const command = spawn('bash', [script, ...waiting, '--', 'printf', '%s|', 'a b', '*']);
  let said = '';
  command.stdout.on('data', (data) => {
    said += data;
  });
  const ended = new Promise((resolve) => command.on('close', resolve));
  while (asked.length < 2) await new Promise((resolve) => setTimeout(resolve, 20));
  state = 'Operational';
  while (asked.length < 3) await new Promise((resolve) => setTimeout(resolve, 20));
  t.equal(said, '', 'not before all is there');
  await mkdir(folder);
  t.equal(await ended, 0);
  t.equal(said, 'a b|*|');
  t.equal(asked[0], '/jmx?qry=Hadoop:service=NameNode,name=FSNamesystemState');
});

t.test('the stack pins each worker to its slot and lets swarm restart everything', async (t) => {
  const stack = parse(await readFile('compose/streaming/stack.yaml', 'utf8'), { merge: true });
  for (const slot of [1, 2, 3]) {
    const { hostname, deploy } = stack.services[`spark-worker-${slot}`];
    t.equal(hostname, `spark-worker-${slot}`);
    t.match(deploy, { labels: { role: 'spark-worker' } });
    t.same(deploy.placement.constraints, ['node.labels.place == compute', `node.labels.slot == ${slot}`]);
  }
  for (const [name, service] of Object.entries<Record<string, unknown>>(stack.services)) {
    t.match(service, {
      hostname: name,
      deploy: { endpoint_mode: 'dnsrr', restart_policy: { condition: 'any' } },
    });
    t.ok(
      (service.deploy as { resources: { limits: { memory?: string } } }).resources.limits.memory,
      `${name} has a memory limit`,
    );
  }
});
