import { spawn } from 'node:child_process';
import { mkdir, readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { crc32 } from 'node:zlib';
import fc from 'fast-check';
import t from 'tap';
import { parse } from 'yaml';
import { describeFrontier } from '../compose/streaming/generator/describe-frontier.ts';
import { ResultsCheck } from '../compose/streaming/observer/check-results.ts';
import { InputLog } from '../compose/streaming/observer/input-log.ts';
import { ObservedStream } from '../compose/streaming/observer/observed-stream.ts';
import { summarize } from '../compose/streaming/observer/system-view.ts';
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
  purchaseAt,
  recordValue,
  type StoredRecord,
} from '../compose/streaming/records/record.ts';
import {
  dueCount,
  intendedMs,
  resumeSchedule,
  type Schedule,
} from '../compose/streaming/records/schedule.ts';
import {
  addRecord,
  cellKey,
  noRecords,
  type WindowResult,
  windowStartMs,
} from '../compose/streaming/records/window.ts';
import { shellcheck } from './contracts/fault-kind.ts';

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
      const { product, cents, quantity } = purchaseAt(catalogue, partition, seq);
      return (
        read.partition === partition &&
        read.seq === seq &&
        read.intendedMs === dueMs &&
        read.product === product &&
        read.cents === cents &&
        read.quantity === quantity &&
        read.crc === crc32(value)
      );
    }),
  );
});

t.test('each product belongs to one partition, and all of them occur', async (t) => {
  const owners = new Map<string, Set<number>>();
  for (let partition = 0; partition < 3; partition++) {
    for (let seq = 0; seq < 500; seq++) {
      const { product } = purchaseAt(catalogue, partition, seq);
      owners.set(product, (owners.get(product) ?? new Set()).add(partition));
    }
  }
  t.equal(owners.size, catalogue.products);
  t.ok([...owners.values()].every((partitions) => partitions.size === 1));
});

t.test('bytes that are none of ours are refused', async (t) => {
  for (const value of ['', '1-2,product-001,5,1', '1-2,product-001,5,1,x', 'x'])
    t.equal(parseRecord(Buffer.from(value)), null);
});

t.test('the number of due records inverts the time at which each is due', async () => {
  const schedules = fc.record({
    baseMs: fc.nat(2 ** 41),
    rate: fc.integer({ min: 1, max: 200_000 }),
    partitions: fc.integer({ min: 1, max: 32 }),
  });
  fc.assert(
    fc.property(schedules, fc.nat(31), fc.nat(10_000_000), (plan, index, afterMs) => {
      const partition = index % plan.partitions;
      const nowMs = plan.baseMs + afterMs;
      const due = dueCount(plan, partition, nowMs);
      const lastIsDue = due === 0 || intendedMs(plan, partition, due - 1) <= nowMs;
      return lastIsDue && intendedMs(plan, partition, due) > nowMs;
    }),
  );
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
  for (const record of records) {
    const start = windowStartMs(record.intendedMs);
    const key = cellKey(record.product, start);
    results.set(key, {
      windowMs: start,
      product: record.product,
      ...addRecord(results.get(key) ?? noRecords, record),
    });
  }
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
const { records, results } = emissions(6);
const flat = results.flat();
/** An emission that is followed by a larger one of the same cell. */
const followed = flat.find((one) => flat.some((other) => isSameCell(one, other) && other.count > one.count))!;
const grown = flat.findLast((other) => isSameCell(followed, other) && other.count > followed.count)!;

function isSameCell(a: WindowResult, b: WindowResult): boolean {
  return a.product === b.product && a.windowMs === b.windowMs;
}

function judged(emitted: readonly WindowResult[]) {
  const check = new ResultsCheck();
  records.forEach((record, offset) => {
    check.addRecord(record, offset);
  });
  for (const result of emitted) check.addResult(result, 0);
  check.settle(allRead);
  return { ...check.resultTotals(), ...check.shortOf(new Map([[0, records.length]])) };
}

const clean = { wrong: 0, conflicting: 0, reemitted: 0, phantom: 0, shortWindows: 0, shortRecords: 0 };

t.test('a correct job is found correct', async (t) => {
  t.same(judged(flat), clean);
});

t.test('each way of being wrong is found, and only that', async (t) => {
  const last = flat.at(-1)!;
  const without = flat.filter((one) => !(one.product === last.product && one.windowMs === last.windowMs));
  const first = flat[0]!;
  const altered = (fields: Partial<WindowResult>) =>
    flat.map((one) => (one === last ? { ...one, ...fields } : one));
  t.same(judged(without), { ...clean, shortWindows: 1, shortRecords: last.count }, 'a window lost');
  t.match(judged(altered({ sum: last.sum + 1 })), { wrong: 1 }, 'a sum altered');
  t.match(judged(altered({ crc: last.crc + 1 })), { wrong: 1 }, 'a record swapped');
  t.match(judged(altered({ newestMs: last.newestMs + 1 })), { wrong: 1 }, 'another time');
  t.match(judged(altered({ count: last.count + 1 })), { wrong: 1 }, 'a record doubled');
  t.match(judged([...flat, { ...first, product: 'product-999' }]), { ...clean, phantom: 1 }, 'from nowhere');
  t.match(judged([...flat, last]), { ...clean, reemitted: 1 }, 'the same once more');
  t.match(
    judged([...flat, { ...last, sum: last.sum - 1 }]),
    { ...clean, conflicting: 1 },
    'the same count otherwise',
  );
  t.match(judged([...flat, followed]), { ...clean, conflicting: 1 }, 'a count went down');
  t.same(judged([...flat, followed, grown]), { ...clean, reemitted: 1 }, 'and was replayed');
});

t.test('results that come before their records wait for them, in order', async (t) => {
  const check = new ResultsCheck();
  for (const result of flat) check.addResult(result, 5_000);
  check.settle(5_000);
  t.same(check.resultTotals(), { wrong: 0, conflicting: 0, reemitted: 0, phantom: 0 }, 'not judged yet');
  records.forEach((record, offset) => {
    check.addRecord(record, offset);
  });
  check.settle(5_000);
  t.same(check.resultTotals(), { wrong: 0, conflicting: 0, reemitted: 0, phantom: 0 });
  t.same(check.shortOf(new Map([[0, records.length]])), { shortWindows: 0, shortRecords: 0 });
  check.addResult({ ...flat[0]!, windowMs: flat[0]!.windowMs + 3_600_000 }, 6_000);
  check.settle(6_001);
  t.equal(check.resultTotals().phantom, 1, 'everything was read, and there is no such window');
});

t.test('a counted window can be forgotten and is still compared by its totals', async (t) => {
  const check = new ResultsCheck();
  const late = Array.from({ length: 20 }, (_, index) => storedAt(0, 4_000 + index));
  [...records, ...late].forEach((record, offset) => {
    check.addRecord(record, offset);
  });
  for (const result of flat) check.addResult(result, 0);
  check.forget();
  check.addResult(flat.at(-1)!, 0);
  check.addResult({ ...flat.at(-1)!, sum: 1 }, 0);
  t.match(check.resultTotals(), { reemitted: 1, conflicting: 1, wrong: 0 });
});

// ---- the input topic against the ledger

t.test('a gap and a repetition in the input are counted apart', async (t) => {
  const log = new InputLog(0);
  for (const seq of [0, 1, 2, 5, 5, 3]) log.append(storedAt(0, seq), true);
  t.equal(log.absent(), 1, '4');
  t.equal(log.storedTwice, 1, '5');
  log.append(storedAt(0, 6), false);
  t.equal(log.absent(), 2, 'stored, but not as it was sent');
});

t.test('the input log forgets what is committed and still answers', async (t) => {
  const log = new InputLog(0);
  for (let seq = 0; seq < 25_000; seq++) log.append(storedAt(0, seq), true);
  log.forgetBelow(15_000);
  t.equal(log.frontierMs(15_001, schedule), intendedMs(schedule, 0, 15_001));
  t.equal(log.frontierMs(25_000, schedule), intendedMs(schedule, 0, 25_000), 'the next one to come');
});

// ---- the row

/** A stream that is fed by hand: `stored` and `counted` records of each partition. */
function observedStream() {
  const stream = new ObservedStream();
  const stored = [0, 0, 0];
  const resultOffsets = { value: 0 };
  return {
    stream,
    generatorAt(atMs: number, acked: readonly number[]) {
      const ledgers = acked.map((count) => openLedger(count));
      stream.generatorAnswered(describeFrontier(ledgers, { schedule, catalogue, startedMs: 7, atMs }), atMs);
    },
    store(partition: number, upTo: number, nowMs: number) {
      const records = [];
      for (; stored[partition]! < upTo; stored[partition]!++) {
        const seq = stored[partition]!;
        const dueMs = intendedMs(schedule, partition, seq);
        records.push({
          offset: seq,
          value: recordValue(catalogue, partition, seq, dueMs),
        });
      }
      stream.batchRead({ topic: 'events', partition, records, endOffset: upTo }, nowMs);
    },
    count(partition: number, upTo: number, nowMs: number) {
      const records = Array.from({ length: upTo }, (_, seq) => storedAt(partition, seq));
      const values = [...resultsOf(records).values()].map((result) => ({
        offset: resultOffsets.value++,
        value: Buffer.from(JSON.stringify(result)),
      }));
      stream.batchRead(
        { topic: 'results', partition: 0, records: values, endOffset: resultOffsets.value },
        nowMs,
      );
    },
    commit(batchId: number, ends: readonly number[], nowMs: number) {
      const endOffsets = new Map(ends.map((end, partition) => [partition, end]));
      stream.jobAnswered({ applicationId: 'a', batchId, committedAtMs: nowMs, endOffsets }, nowMs);
    },
  };
}

t.test(
  'there is no row before the schedule is known, and no frontier before something reached it',
  async (t) => {
    const { stream, generatorAt } = observedStream();
    t.equal(stream.sample(schedule.baseMs), null);
    generatorAt(schedule.baseMs, [0, 0, 0]);
    t.match(stream.sample(schedule.baseMs + 1_000), {
      visibleMs: null,
      committedMs: null,
      batchId: null,
      system: null,
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

t.test('what a committed batch did not count is short once its results must have been read', async (t) => {
  const feed = observedStream();
  const atMs = schedule.baseMs + 10_000;
  feed.generatorAt(atMs, [100, 0, 0]);
  feed.store(0, 100, atMs);
  feed.count(0, 90, atMs);
  feed.commit(1, [100, 0, 0], atMs);
  t.equal(feed.stream.sample(atMs + 1_000)!.correctness.shortRecords, 0, 'too early to tell');
  t.equal(feed.stream.sample(atMs + 6_000)!.correctness.shortRecords, 10);
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

t.test('the view of the system counts what is alive with the leading master', async (t) => {
  const workers = [{ state: 'ALIVE' }, { state: 'DEAD' }, { state: 'ALIVE' }];
  const executors = [
    { id: 'driver', isActive: true, totalCores: 0 },
    { id: '0', isActive: true, totalCores: 1 },
    { id: '1', isActive: false, totalCores: 1 },
  ];
  const masters = [
    { status: 'STANDBY', workers: [] },
    { status: 'ALIVE', workers },
  ];
  t.same(summarize(masters, executors, 5), {
    atMs: 5,
    mastersAlive: 1,
    workersAlive: 2,
    executors: 1,
    cores: 1,
  });
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
