import { mkdtemp, readdir, readFile, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import fc from 'fast-check';
import { Kafka, logLevel } from 'kafkajs';
import t, { type Test } from 'tap';
import {
  BrokerConnection,
  certainlyNotStored,
  leadersOf,
} from '../compose/streaming/generator/broker-connection.ts';
import { NotSentError } from '../compose/streaming/generator/broker-socket.ts';
import { describeFrontier } from '../compose/streaming/generator/describe-frontier.ts';
import { KafkaRefusal } from '../compose/streaming/generator/kafka-requests.ts';
import {
  type KeptLedger,
  keepLedger,
  readLedger,
  writeLedger,
} from '../compose/streaming/generator/ledger-file.ts';
import { parseRate } from '../compose/streaming/generator/parse-rate.ts';
import { PartitionSender } from '../compose/streaming/generator/partition-sender.ts';
import { readSettings } from '../compose/streaming/generator/read-settings.ts';
import {
  type BatchContent,
  batchRoom,
  recordsPerBatch,
  stampBatch,
  writeBatch,
} from '../compose/streaming/generator/record-batch.ts';
import { resume } from '../compose/streaming/generator/resume.ts';
import { readTopicEnds } from '../compose/streaming/generator/topic-ends.ts';
import { json, serveRoutes } from '../compose/streaming/http-routes.ts';
import { askGenerators, GeneratorAnswers } from '../compose/streaming/observer/ask-generators.ts';
import { joinFrontiers, partitionsOf } from '../compose/streaming/records/frontier.ts';
import {
  acknowledge,
  attemptEnded,
  type Ledger,
  maximumRanges,
  openLedger,
  sendRange,
} from '../compose/streaming/records/ledger.ts';
import { type Catalogue, parseRecord, recordValue } from '../compose/streaming/records/record.ts';
import {
  dueCount,
  intendedMs,
  resumeSchedule,
  type Schedule,
  stretchesOf,
} from '../compose/streaming/records/schedule.ts';
import { FakeBroker } from './support/fake-broker.ts';
import { type FakeConsumer, fakeKafka } from './support/fake-kafka.ts';

const catalogue: Catalogue = { seed: 1, partitions: 3, products: 7 };
const schedule: Schedule = { baseMs: 1_700_000_000_000, rate: 30, partitions: 3 };
const noFile = async (path: string): Promise<string> => {
  throw new Error(`no file ${path}`);
};

// ---- the rate

t.test('each way to write a rate says what it says', async (t) => {
  t.equal(await parseRate('2000', noFile), 2000);
  t.same(await parseRate('ramp:1000..5000/10m', noFile), [
    { atMs: 0, turns: 0, rate: 1000, slope: 4000 / 600 },
    { atMs: 600_000, turns: 1_800_000, rate: 5000, slope: 0 },
  ]);
  const steps = [
    { atMs: 0, turns: 0, rate: 500, slope: 0 },
    { atMs: 300_000, turns: 150_000, rate: 2000, slope: 0 },
    { atMs: 330_500, turns: 211_000, rate: 1.5, slope: 0 },
  ];
  t.same(await parseRate('step:500@0s,2000@5m,1.5@330500ms', noFile), steps);
  const trace = '# seconds,rate\n0,500\n\n300, 2000\n330.5,1.5\n';
  t.same(await parseRate('trace:/run/rates', async (path) => (path === '/run/rates' ? trace : '')), steps);
  t.equal(await parseRate('step:500@0s', noFile), 500, 'one step is no change');
});

t.test('a rate that cannot be is refused with the part that is wrong', async (t) => {
  const refused: readonly (readonly [string, RegExp])[] = [
    ['', /from 1 to 10000000, got ""/],
    ['0', /got "0"/],
    ['0.5', /got "0.5"/],
    ['1e6', /got "1e6"/],
    ['-5', /got "-5"/],
    ['10000001', /got "10000001"/],
    ['sine:1..2/3s', /expected a number, ramp:, step: or trace:, got "sine:1..2\/3s"/],
    ['ramp:1000-5000/10m', /ramp:1000..5000\/10m, got "ramp:1000-5000\/10m"/],
    ['ramp:1000..5000/10', /expected a time as in 500ms, 90s, 10m, 2h, got "10"/],
    ['ramp:1000..5000/0s', /longer than no time/],
    ['ramp:1000..x/10m', /got "x"/],
    ['step:500', /expected step:RATE@TIME/],
    ['step:500@1s', /first rate is from 0 s on/],
    ['step:500@0s,600@5s,700@5s', /after 5 s comes one that does not/],
    ['trace:/x', /expected a line seconds,rate in the trace, got "0;500"/],
  ];
  for (const [text, message] of refused)
    await t.rejects(
      parseRate(text, async () => '0;500'),
      { name: 'RangeError', message },
      text,
    );
  await t.rejects(
    parseRate('trace:/x', async () => '# nothing'),
    /first rate/,
  );
  const long = Array.from({ length: 1_001 }, (_, second) => `${second},5`).join('\n');
  await t.rejects(
    parseRate('trace:/x', async () => long),
    /at most 1000 rates, got 1001/,
  );
});

const rate = fc.integer({ min: 1, max: 200_000 });
/** Constant, and every mixture of ramps up and down, steps and plateaus. */
const schedules: fc.Arbitrary<Schedule> = fc.record({
  baseMs: fc.nat(2 ** 41),
  baseTurn: fc.nat(1_000_000),
  partitions: fc.integer({ min: 1, max: 32 }),
  rate: fc.oneof(
    rate,
    fc
      .tuple(
        fc.array(fc.record({ lengthMs: fc.integer({ min: 1, max: 100_000 }), rate, endRate: rate }), {
          minLength: 1,
          maxLength: 6,
        }),
        rate,
      )
      .map(([parts, last]) => stretchesOf(parts, last)),
  ),
});

t.test(
  'the number of due records inverts the time at which each is due, whatever the rate does',
  async () => {
    fc.assert(
      fc.property(schedules, fc.nat(31), fc.nat(800_000), (plan, index, afterMs) => {
        const partition = index % plan.partitions;
        const nowMs = plan.baseMs + afterMs;
        const due = dueCount(plan, partition, nowMs);
        const lastIsDue = due === 0 || intendedMs(plan, partition, due - 1) <= nowMs;
        const atMs = intendedMs(plan, partition, due);
        return (
          lastIsDue &&
          atMs > nowMs &&
          dueCount(plan, partition, atMs) > due &&
          dueCount(plan, partition, atMs - 1) <= due
        );
      }),
      { numRuns: 1_000 },
    );
  },
);

t.test('no record is due before the one in front of it', async () => {
  fc.assert(
    fc.property(schedules, fc.nat(31), fc.nat(800_000), (plan, index, afterMs) => {
      const partition = index % plan.partitions;
      const first = Math.max(0, dueCount(plan, partition, plan.baseMs + afterMs) - 50);
      const times = Array.from({ length: 100 }, (_, more) => intendedMs(plan, partition, first + more));
      return times.every((time, at) => at === 0 || time >= times[at - 1]!);
    }),
    { numRuns: 1_000 },
  );
});

t.test('as many records are due as the integral of the rate says', async () => {
  fc.assert(
    fc.property(schedules, fc.nat(800_000), (plan, afterMs) => {
      const begun = { ...plan, baseTurn: 0 };
      let due = 0;
      for (let partition = 0; partition < plan.partitions; partition++)
        due += dueCount(begun, partition, plan.baseMs + afterMs);
      // A record that is due within a millisecond counts with its beginning; the first one at the base itself.
      return Math.abs(due - integral(plan.rate, afterMs + 1)) <= 1;
    }),
    { numRuns: 1_000 },
  );
});

/** By trapezoids over the stretches, not by the formula of the schedule. */
function integral(of: Schedule['rate'], untilMs: number): number {
  if (typeof of === 'number') return (of * untilMs) / 1000;
  return of.reduce((total, { atMs, rate, slope }, index) => {
    const seconds = (Math.min(untilMs, of[index + 1]?.atMs ?? untilMs) - atMs) / 1000;
    return seconds <= 0 ? total : total + ((rate + rate + slope * seconds) / 2) * seconds;
  }, 0);
}

t.test(
  'a rate that changes begins anew with the first record not yet written, and then goes on',
  async (t) => {
    const ramp = await parseRate('ramp:30..3000/60s', noFile);
    const ends = [40, 41, 39].map((seq, partition) => ({ partition, seq, intendedMs: 5 }));
    const begun = resumeSchedule(ends, { rate: ramp, partitions: 3, nowMs: 1_000_000 });
    t.equal(intendedMs(begun, 2, 40), 1_000_000, 'turn 122, the first one that is left');
    t.equal(intendedMs(begun, 0, 41), 1_000_000 + 32);
    t.equal(intendedMs(begun, 2, 39), 1_000_000 - 100, 'what is older has times, too, for who reads it');
    const due = [0, 1, 2].map((partition) => dueCount(begun, partition, 1_060_000));
    t.ok(Math.abs(due[0]! + due[1]! + due[2]! - 122 - 90_900) <= 4, 'a minute at 1515/s on average');
  },
);

// ---- the bytes

/** kafkajs's own way to write a batch, which brokers accept. */
const require = createRequire(import.meta.url);
const { RecordBatch } = require('kafkajs/src/protocol/recordBatch/v0') as {
  RecordBatch: (batch: object) => Promise<{ buffer: Buffer }>;
};
const Record = require('kafkajs/src/protocol/recordBatch/record/v0') as (record: object) => object;

async function batchByKafkajs({ catalogue, schedule, partition, range }: BatchContent, sequence: number) {
  const times = Array.from({ length: range.to - range.from }, (_, index) => {
    return intendedMs(schedule, partition, range.from + index);
  });
  const records = times.map((time, offsetDelta) => {
    const value = recordValue(catalogue, partition, range.from + offsetDelta, time);
    return Record({ offsetDelta, timestampDelta: time - times[0]!, key: null, value });
  });
  const { buffer } = await RecordBatch({
    ...{ records, firstTimestamp: times[0], maxTimestamp: times.at(-1), lastOffsetDelta: times.length - 1 },
    ...{ producerId: 7, producerEpoch: 3, firstSequence: sequence },
  });
  return buffer;
}

t.test('a batch is byte for byte what kafkajs makes of the same records', async (t) => {
  const contents = fc.record({
    catalogue: fc.record({
      ...{
        seed: fc.nat(2 ** 31 - 1),
        partitions: fc.constant(3),
        products: fc.integer({ min: 3, max: 5_000 }),
      },
      recordBytes: fc.constantFrom(1, 60, 100, 300, 9_000),
    }),
    schedule: fc.record({
      baseMs: fc.nat(2 ** 41),
      rate: fc.constantFrom(1, 30, 150_000),
      partitions: fc.constant(3),
    }),
    partition: fc.nat(2),
    range: fc
      .tuple(fc.oneof(fc.nat(2 ** 20), fc.nat(2 ** 44)), fc.integer({ min: 1, max: 150 }))
      .map(([from, count]) => ({ from, to: from + count })),
  });
  await fc.assert(
    fc.asyncProperty(contents, fc.nat(2 ** 31 - 1), async (content, sequence) => {
      const count = content.range.to - content.range.from;
      const batch = writeBatch(Buffer.alloc(batchRoom(content.catalogue, count)), content);
      stampBatch(batch, { id: 7n, epoch: 3, sequence });
      return batch.equals(await batchByKafkajs(content, sequence));
    }),
    { numRuns: 200 },
  );
  t.pass('in 200 cases');
});

t.test('records are filled up to a size, and read back as what they were', async (t) => {
  const sized = { ...catalogue, recordBytes: 100 };
  const short = recordValue(catalogue, 2, 41, 1_700_000_000_123);
  const value = recordValue(sized, 2, 41, 1_700_000_000_123);
  t.equal(value.length, 100);
  t.equal(
    value.toString(),
    short.toString().replace('2-41', `2-${'41'.padStart(2 + 100 - short.length, '0')}`),
  );
  const [{ crc: _, ...long }, { crc: __, ...plain }] = [parseRecord(value)!, parseRecord(short)!];
  t.same(long, plain);
  t.equal(
    recordValue({ ...catalogue, recordBytes: 10 }, 2, 41, 5)
      .toString()
      .split(',')[0],
    '2-41',
    'never cut',
  );
});

t.test('a batch holds at most two thousand records, and less than a broker refuses', async (t) => {
  t.equal(recordsPerBatch(catalogue), 2_000);
  const large = { ...catalogue, recordBytes: 10_000 };
  t.equal(recordsPerBatch(large), 89);
  t.ok(batchRoom(large, 89) < 1_000_000);
  t.equal(recordsPerBatch({ ...catalogue, recordBytes: 2_000_000 }), 1);
});

// ---- the ledger

function failing(ledger: Ledger, answer: 'failed' | 'unknown', records: number): Ledger {
  const range = { from: ledger.acked, to: ledger.acked + records };
  return acknowledge(sendRange(attemptEnded(sendRange(ledger, range), answer), range));
}

t.test('a ledger tells which records an outage was about, as one range however long it took', async (t) => {
  let ledger = failing(openLedger(10), 'unknown', 5);
  ledger = failing(ledger, 'unknown', 5);
  ledger = failing(ledger, 'failed', 7);
  ledger = acknowledge(sendRange(ledger, { from: 27, to: 100 }));
  ledger = failing(ledger, 'unknown', 1);
  t.same(ledger.unanswered, [
    { from: 10, to: 20 },
    { from: 100, to: 101 },
  ]);
  t.same(ledger.failed, [{ from: 20, to: 27 }]);
  t.equal(ledger.acked, 101);
});

t.test('a ledger stays small however many outages there are, and never forgets a record', async (t) => {
  let ledger = openLedger(0);
  const troubled: number[] = [];
  for (let outage = 0; outage < 500; outage++) {
    const gap = 1 + ((outage * 7919) % 1000);
    ledger = acknowledge(sendRange(ledger, { from: ledger.acked, to: ledger.acked + gap }));
    troubled.push(ledger.acked);
    ledger = failing(ledger, 'unknown', 1);
  }
  t.equal(ledger.unanswered.length, maximumRanges);
  t.ok(troubled.every((seq) => ledger.unanswered.some(({ from, to }) => from <= seq && seq < to)));
  t.ok(
    ledger.unanswered.every(({ to }, index) => index === 0 || ledger.unanswered[index - 1]!.to < to),
    'in order',
  );
});

// ---- a restart

const kept = (ledgers: readonly Ledger[], fields: Partial<KeptLedger> = {}): KeptLedger => ({
  ...{ catalogue, schedule, partitions: ledgers.map((ledger, partition) => ({ partition, ledger })) },
  ...fields,
});
const plan = { catalogue, rate: 30, own: [0, 1, 2], nowMs: schedule.baseMs + 60_000 };
const endsAt = (...counts: readonly number[]) =>
  counts.flatMap((count, partition) =>
    count === 0
      ? []
      : [{ partition, seq: count - 1, intendedMs: intendedMs(schedule, partition, count - 1) }],
  );

t.test('what was stored after the ledger was last kept is not sent again', async (t) => {
  const found = { kept: kept([openLedger(50), openLedger(50), openLedger(50)]), expired: [] };
  const resumed = resume({ ...found, ends: endsAt(50, 57, 50) }, plan);
  t.same(
    resumed.ledgers.map(({ acked }) => acked),
    [50, 57, 50],
  );
  t.ok(resumed.ledgers.every(({ absent }) => absent.length === 0));
  t.same(resumed.schedule, schedule, 'late records keep their stamps');
});

t.test('what was acknowledged and is not in the topic is told, and not sent again', async (t) => {
  const before = { ...openLedger(50), absent: [{ from: 3, to: 5 }] };
  const found = { kept: kept([openLedger(50), before, openLedger(50)]), expired: [2] };
  const resumed = resume({ ...found, ends: endsAt(50, 41) }, plan);
  t.same(
    resumed.ledgers.map(({ acked }) => acked),
    [50, 50, 50],
  );
  t.same(resumed.ledgers[1]!.absent, [
    { from: 3, to: 5 },
    { from: 41, to: 50 },
  ]);
  t.same(resumed.ledgers[2]!.absent, [], 'records that have expired are not lost');
  const again = resume({ kept: kept(resumed.ledgers), ends: endsAt(50, 4, 50), expired: [] }, plan);
  t.same(again.ledgers[1]!.absent, [{ from: 3, to: 50 }], 'lost once more, further down');
  const [, frontier] = describeFrontier(resumed.ledgers, {
    schedule,
    catalogue,
    startedMs: 7,
    atMs: plan.nowMs,
  }).perPartition;
  t.same(frontier!.absent, resumed.ledgers[1]!.absent, 'and everybody can read it');
});

t.test(
  "the newest record of each partition is where a generator goes on, unless it is nobody's",
  async (t) => {
    const stop = new AbortController();
    const tooLong = setTimeout(() => stop.abort(new Error('still reading')), 5_000);
    t.teardown(() => clearTimeout(tooLong));
    const endsOf = (newest: Buffer) => {
      const at = { topic: 'events', stampMs: schedule.baseMs };
      const deliver = async (consumer: FakeConsumer) => {
        await consumer.deliver({ ...at, partition: 0, from: 6, values: [recordValue(catalogue, 0, 6, 5)] });
        await consumer.deliver({ ...at, partition: 1, from: 2, values: [newest] });
      };
      const onRun = (consumer: FakeConsumer) => setImmediate(() => void deliver(consumer));
      const { kafka } = fakeKafka(onRun, { events: [7, 3, 0] });
      return readTopicEnds(kafka, stop.signal);
    };
    t.same(await endsOf(recordValue(catalogue, 1, 2, 4)), {
      ends: [
        { partition: 0, seq: 6, intendedMs: 5 },
        { partition: 1, seq: 2, intendedMs: 4 },
      ],
      expired: [],
    });
    await t.rejects(endsOf(Buffer.from('what is this?')), { code: 'FOREIGN_RECORD', message: /partition 1/ });
  },
);

t.test('a rate that changes goes on from the ledger, which alone knows when it began', async (t) => {
  const ramp = await parseRate('ramp:30..60/10m', noFile);
  const begun = { baseMs: schedule.baseMs, baseTurn: 33, rate: ramp, partitions: 3 };
  const found = {
    kept: kept([openLedger(50), openLedger(50), openLedger(50)], { schedule: begun }),
    expired: [],
  };
  t.same(resume({ ...found, ends: endsAt(50, 50, 50) }, { ...plan, rate: ramp }).schedule, begun);
  const other = resume({ ...found, ends: endsAt(50, 50, 50) }, { ...plan, rate: 500 }).schedule;
  t.equal(intendedMs(other, 0, 50), plan.nowMs, 'another rate begins now');
});

t.test('without a ledger, or with one of other records, the topic decides', async (t) => {
  const other = kept([openLedger(90), openLedger(90), openLedger(90)], {
    catalogue: { ...catalogue, seed: 2 },
  });
  for (const lost of [null, other]) {
    const resumed = resume({ kept: lost, ends: endsAt(50, 57, 0), expired: [] }, plan);
    t.same(
      resumed.ledgers.map(({ acked }) => acked),
      [50, 57, 0],
    );
    t.equal(resumed.fromLedger, false);
  }
});

t.test('a ledger that was kept is read back, and a half-written one is none', async (t) => {
  const folder = await mkdtemp(join(t.testdir({}), 'ledger-'));
  const path = join(folder, 'ledger.json');
  t.equal(await readLedger(path), null);
  const ledger = kept([failing(openLedger(9), 'unknown', 4), openLedger(3), openLedger(0)]);
  await writeLedger(path, ledger);
  t.same(await readLedger(path), ledger);
  t.same(await readdir(folder), ['ledger.json'], 'nothing beside it');
  await writeFile(path, JSON.stringify(ledger).slice(0, 50));
  await t.rejects(readLedger(path), SyntaxError);
});

t.test(
  'a ledger is kept once more when its generator ends, and trouble with it does not end the load',
  async (t) => {
    const folder = t.testdir({});
    const path = join(folder, 'ledger.json');
    const stop = new AbortController();
    let acked = 1;
    const troubles: unknown[] = [];
    const parts = {
      now: () => kept([openLedger(acked)]),
      onTrouble: (error: unknown) => troubles.push(error),
    };
    const keeping = keepLedger(path, parts, stop.signal);
    while ((await readLedger(path)) === null) await sleep(5);
    acked = 2;
    stop.abort();
    await keeping;
    t.equal((await readLedger(path))!.partitions[0]!.ledger.acked, 2);
    await keepLedger(join(folder, 'no', 'such', 'folder'), parts, stop.signal);
    t.match(troubles, [{ code: 'ENOENT' }]);
  },
);

// ---- the way to the broker

/** Long enough for a machine that does other things, too; one test waits for it. */
const limits = { clientId: 'test', connectTimeoutMs: 10_000, requestTimeoutMs: 2_000 };

async function withBroker(t: Test, use: (broker: FakeBroker, connection: BrokerConnection) => Promise<void>) {
  const broker = await FakeBroker.start('events', catalogue.partitions);
  const brokers = [`127.0.0.1:${broker.port}`];
  const kafka = new Kafka({
    brokers,
    logLevel: logLevel.NOTHING,
    connectionTimeout: 10_000,
    retry: { retries: 1, initialRetryTime: 10 },
  });
  const connection = new BrokerConnection(leadersOf(kafka, 'events'), limits);
  t.teardown(() => {
    connection.close();
    broker.close();
  });
  await use(broker, connection);
}

const content = (partition: number, from: number, to: number): BatchContent => {
  return { catalogue, schedule, partition, range: { from, to } };
};

/** Values of what the broker has of a partition, as kafkajs reads them. */
async function storedValues(broker: FakeBroker, partition: number): Promise<string[]> {
  const Decoder = require('kafkajs/src/protocol/decoder') as new (bytes: Buffer) => object;
  const decode = require('kafkajs/src/protocol/recordBatch/v0/decoder') as (
    decoder: object,
  ) => Promise<{ records: { value: Buffer }[] }>;
  const batches = broker.stored.filter((batch) => batch.partition === partition);
  const decoded = await Promise.all(batches.map(({ bytes }) => decode(new Decoder(bytes))));
  return decoded.flatMap(({ records }) => records.map(({ value }) => value.toString()));
}

function valuesOf(partition: number, to: number): string[] {
  return Array.from({ length: to }, (_, seq) =>
    recordValue(catalogue, partition, seq, intendedMs(schedule, partition, seq)).toString(),
  );
}

t.test('records of several partitions reach the broker in order, over one connection', (t) =>
  withBroker(t, async (broker, connection) => {
    await Promise.all([0, 1, 2].map((partition) => connection.send(content(partition, 0, 300))));
    await Promise.all([0, 1, 2].map((partition) => connection.send(content(partition, 300, 310))));
    for (const partition of [0, 1, 2])
      t.same(await storedValues(broker, partition), valuesOf(partition, 310));
    t.equal(new Set(broker.stored.map(({ producerId }) => producerId)).size, 3, 'a producer for each');
    t.ok(broker.connections <= 3, `${broker.connections}: ours, and what asked for the leaders`);
  }),
);

t.test('what was stored without an answer is not stored twice, though the connection is another one', (t) =>
  withBroker(t, async (broker, connection) => {
    await connection.send(content(1, 0, 20));
    broker.produces = 'none';
    const before = broker.connections;
    const error = await connection.send(content(1, 20, 50)).catch((it: unknown) => it);
    t.match(error, { message: 'no answer within 2000 ms' });
    t.notOk(certainlyNotStored(error));
    broker.produces = 'answer';
    await connection.send(content(1, 20, 50));
    await connection.send(content(1, 50, 60));
    t.ok(broker.connections > before, 'a silent connection is not used again');
    t.same(await storedValues(broker, 1), valuesOf(1, 60));
  }),
);

t.test('trouble of one partition leaves the requests of others alone', (t) =>
  withBroker(t, async (broker, connection) => {
    await connection.send(content(0, 0, 5));
    broker.produces = 6;
    const refused = connection.send(content(1, 0, 5));
    await t.rejects(refused, { code: 'KAFKA_REFUSAL', type: 'NOT_LEADER_FOR_PARTITION' });
    broker.produces = 'answer';
    const before = broker.connections;
    await Promise.all([connection.send(content(0, 5, 9)), connection.send(content(1, 0, 5))]);
    t.ok(broker.connections - before <= 1, 'only the leaders are asked for again');
    t.same(await storedValues(broker, 1), valuesOf(1, 5));
  }),
);

t.test('a broker that has forgotten a producer gets another one from the same record on', (t) =>
  withBroker(t, async (broker, connection) => {
    await connection.send(content(0, 0, 20));
    broker.forgetProducers();
    await t.rejects(connection.send(content(0, 20, 25)), {
      code: 'KAFKA_REFUSAL',
      type: 'OUT_OF_ORDER_SEQUENCE_NUMBER',
    });
    await connection.send(content(0, 20, 25));
    t.same(await storedValues(broker, 0), valuesOf(0, 25));
    t.same(
      broker.stored.map(({ sequence }) => sequence),
      [0, 0],
    );
  }),
);

t.test('sequence numbers follow from the place of a record, and begin again after 2^31', (t) =>
  withBroker(t, async (broker, connection) => {
    await connection.send(content(2, 5, 10));
    broker.produces = 7;
    for (const from of [10, 2 ** 31 + 1, 2 ** 31 + 10])
      await t.rejects(connection.send(content(2, from, from + 9)), { code: 'KAFKA_REFUSAL' });
    t.same(
      broker.received.map(({ sequence }) => sequence),
      [0, 5, 2 ** 31 - 4, 5],
      'as Kafka counts',
    );
  }),
);

t.test('only what never left or was refused is certainly not stored', async (t) => {
  t.ok(certainlyNotStored(new NotSentError('no connection')));
  t.ok(certainlyNotStored(new KafkaRefusal(10)), 'too large');
  t.ok(certainlyNotStored(new KafkaRefusal(19)), 'too few replicas to append at all');
  t.notOk(certainlyNotStored(new KafkaRefusal(6)), 'appended, and then another one led');
  t.notOk(certainlyNotStored(new KafkaRefusal(3)), 'appended, and then the replica was taken away');
  t.notOk(certainlyNotStored(new KafkaRefusal(7)), 'timed out at the broker: some replicas may have it');
  t.notOk(certainlyNotStored(new KafkaRefusal(20)), 'appended, and then too few replicas');
  t.notOk(certainlyNotStored(Object.assign(new Error('reset'), { code: 'ECONNRESET' })));
  t.notOk(certainlyNotStored('what?'));
});

t.test('where no broker is, nothing was sent', async (t) => {
  const address = { host: '127.0.0.1', port: 1 };
  const refusing = new BrokerConnection(async () => new Map([[0, address]]), limits);
  await t.rejects(refusing.send(content(0, 0, 1)), { code: 'NOT_SENT' });
  const leaderless = new BrokerConnection(async () => new Map(), limits);
  await t.rejects(leaderless.send(content(0, 0, 1)), { code: 'NOT_SENT', message: /no leader/ });
  const unknown = new BrokerConnection(() => Promise.reject(new Error('all are away')), limits);
  await t.rejects(unknown.send(content(0, 0, 1)), { code: 'NOT_SENT', message: /all are away/ });
});

// ---- one partition's sender

interface Attempt {
  readonly from: number;
  readonly to: number;
  readonly atMs: number;
  readonly stored: boolean;
}

/** Runs a sender against a clock that goes on whenever it waits, and a broker that is away for a while. */
async function runSender(
  plan: Schedule,
  { outage, untilMs }: { outage: { fromMs: number; toMs: number }; untilMs: number },
  onSend: (attempt: Attempt) => void,
): Promise<PartitionSender> {
  const stop = new AbortController();
  let nowMs = plan.baseMs;
  const pass = (ms: number) => {
    nowMs += ms;
    if (nowMs > untilMs) stop.abort();
  };
  const sender = new PartitionSender({
    ...{ partition: 1, schedule: plan, ledger: openLedger(0), maximumRecords: recordsPerBatch(catalogue) },
    clock: { now: () => nowMs, sleep: async (ms) => pass(ms) },
    send: async (range) => {
      const stored = nowMs < outage.fromMs || nowMs >= outage.toMs;
      onSend({ ...range, atMs: nowMs, stored });
      pass(stored ? 5 : 10_000);
      if (!stored) throw new Error('no answer');
    },
    isDefinite: () => false,
    onFailure: () => {},
  });
  await sender.run(stop.signal);
  return sender;
}

t.test('a sender repeats the same records through an outage and then catches up', async (t) => {
  const { baseMs } = schedule;
  const attempts: Attempt[] = [];
  const outage = { fromMs: baseMs + 2_000, toMs: baseMs + 30_000 };
  const sender = await runSender(schedule, { outage, untilMs: baseMs + 60_000 }, (it) => attempts.push(it));
  let next = 0;
  for (const { from, to, stored } of attempts) {
    if (!stored) continue;
    t.equal(from, next, 'contiguous');
    next = to;
  }
  const repeated = new Set(attempts.filter((it) => !it.stored).map(({ from, to }) => `${from}-${to}`));
  t.equal(repeated.size, 1, 'one range under way, whatever the outage');
  t.ok(
    attempts.some(({ from, to, stored }) => stored && to - from > 200),
    'late records in one go',
  );
  t.ok(next >= 599, 'nothing left behind');
  t.equal(sender.ledger.unanswered.length, 1);
});

t.test('ten minutes without a broker cost no memory and no record, and change no stamp', async (t) => {
  const plan: Schedule = { baseMs: 1_700_000_000_000, rate: 6_000, partitions: 3 };
  const outage = { fromMs: plan.baseMs + 30_000, toMs: plan.baseMs + 630_000 };
  const room = batchRoom(catalogue, recordsPerBatch(catalogue));
  const into = Buffer.alloc(room);
  let next = 0;
  let wrong = 0;
  let heapAtMs: number | undefined;
  const heap: number[] = [];
  const untilMs = outage.toMs + 60_000;
  const sender = await runSender(plan, { outage, untilMs }, ({ from, to, atMs, stored }) => {
    // The one buffer of a partition holds whatever is under way: it throws when a batch does not fit.
    const batch = writeBatch(into, { catalogue, schedule: plan, partition: 1, range: { from, to } });
    if (atMs >= (heapAtMs ?? 0)) {
      heapAtMs = atMs + 60_000;
      heap.push(process.memoryUsage().heapUsed);
    }
    if (!stored) return;
    if (from !== next || Number(batch.readBigInt64BE(27)) !== intendedMs(plan, 1, from)) wrong++;
    if (
      Number(batch.readBigInt64BE(35)) !== intendedMs(plan, 1, to - 1) ||
      intendedMs(plan, 1, to - 1) > atMs
    )
      wrong++;
    next = to;
  });
  t.equal(wrong, 0, 'in order, each with the time at which it was due, none before its time');
  t.ok(next >= 2_000 * 685, `${next} records, 1.2 million of them late: all that were due`);
  t.ok(
    Math.max(...heap) - heap[0]! < 50e6,
    `heap: ${heap.map((bytes) => Math.round(bytes / 1e6)).join(' ')} MB`,
  );
  const [outageRange, ...others] = sender.ledger.unanswered;
  t.same(others, [], 'one outage is one range');
  t.ok(outageRange!.to - outageRange!.from <= recordsPerBatch(catalogue));
});

// ---- several generators

t.test('several generators share the partitions, and together they say what one would', async (t) => {
  const shares = [0, 1].map((index) => ({ index, count: 2 }));
  t.same(
    shares.map((share) => partitionsOf(share, 3)),
    [[0, 2], [1]],
  );
  const atMs = schedule.baseMs + 10_000;
  const one = describeFrontier([openLedger(90), openLedger(80), openLedger(70)], {
    schedule,
    catalogue,
    startedMs: 7,
    atMs,
  });
  const [even, odd] = [
    describeFrontier([openLedger(90), openLedger(70)], {
      schedule,
      catalogue,
      startedMs: 7,
      atMs,
      share: shares[0]!,
    }),
    describeFrontier([openLedger(80)], {
      schedule,
      catalogue,
      startedMs: 7,
      atMs: atMs + 5,
      share: shares[1]!,
    }),
  ];
  t.equal(joinFrontiers([even!]), null, 'a partition of which nobody tells anything would look healthy');
  t.equal(joinFrontiers([]), null);
  const { schedule: joinedSchedule, ...joined } = joinFrontiers([odd!, even!])!;
  const { schedule: _, share: __, ...alone } = one;
  t.same(joined, { ...alone, behindMs: joined.behindMs });
  t.equal(joined.behindMs, one.behindMs, 'the one that is farthest behind');
  for (const partition of [0, 1, 2])
    t.equal(intendedMs(joinedSchedule, partition, 77), intendedMs(schedule, partition, 77));
  t.equal(joinFrontiers([one]), one);
});

t.test('generators that began at different times keep their own stamps, and all of the rate', async (t) => {
  const nowMs = schedule.baseMs;
  const starts = [0, 1].map((index) => {
    const own = partitionsOf({ index, count: 2 }, 3);
    const begun = resumeSchedule([], { rate: 30, partitions: 3, own, nowMs: nowMs + index * 7_777 });
    const ledgers = own.map(() => openLedger(0));
    return describeFrontier(ledgers, {
      schedule: begun,
      catalogue,
      startedMs: 7,
      atMs: nowMs,
      share: { index, count: 2 },
    });
  });
  const joined = joinFrontiers(starts)!;
  t.equal(intendedMs(joined.schedule, 0, 0), nowMs);
  t.equal(intendedMs(joined.schedule, 1, 0), nowMs + 7_777);
  const dueIn = (fromMs: number, toMs: number) =>
    [0, 1, 2].reduce(
      (sum, it) => sum + dueCount(joined.schedule, it, toMs) - dueCount(joined.schedule, it, fromMs),
      0,
    );
  t.equal(dueIn(nowMs + 20_000, nowMs + 30_000), 300);
});

t.test('a generator that falls silent is still part of the whole, and makes the answer old', async (t) => {
  const answer = (index: number, count: number, acked: number) => {
    const share = { index, count };
    const ledgers = partitionsOf(share, 3).map(() => openLedger(acked));
    return describeFrontier(ledgers, {
      schedule,
      catalogue,
      startedMs: 7,
      atMs: schedule.baseMs + 10_000,
      share,
    });
  };
  const answers = new GeneratorAnswers();
  t.equal(answers.add([answer(0, 2, 50)], 1_000), null, 'the other one was never heard');
  t.match(answers.add([answer(1, 2, 50)], 1_250), { seenMs: 1_000, frontier: { acked: 150 } });
  t.match(answers.add([answer(0, 2, 90)], 9_000), { seenMs: 1_250, frontier: { acked: 230 } });
  t.match(
    answers.add([answer(0, 1, 95)], 9_250),
    { seenMs: 9_250, frontier: { acked: 285 } },
    'now it is alone',
  );
  t.match(answers.add([answer(0, 1, 96)], 9_500), { seenMs: 9_500, frontier: { acked: 288 } });
});

t.test('every task behind a name is asked, and one that does not answer is left out', async (t) => {
  const frontier = describeFrontier([openLedger(1)], {
    schedule: { ...schedule, partitions: 1 },
    catalogue,
    startedMs: 7,
    atMs: 5,
  });
  const stop = new AbortController();
  t.teardown(() => stop.abort());
  const server = await serveRoutes(0, { '/frontier': json(() => frontier) }, stop.signal);
  const { port } = server.address() as AddressInfo;
  const urls = ['http://127.0.0.1:1', `http://localhost:${port}`];
  t.same(await askGenerators(urls, stop.signal), [frontier]);
  await t.rejects(askGenerators(urls.slice(0, 1), stop.signal), /no generator answers/);
});

// ---- the environment

t.test('the environment says what to send, and what is wrong with it', async (t) => {
  t.same(await readSettings({}, noFile), {
    catalogue: { seed: 1, partitions: 6, products: 50 },
    ...{ rate: 2000, share: { index: 0, count: 1 }, brokers: ['kafka:9092'], ledgerFile: undefined },
  });
  const env = {
    GENERATORS: '3',
    GENERATOR_SLOT: '2',
    RECORD_BYTES: '100',
    LEDGER_FILE: '/l',
    KAFKA_BROKERS: 'a,b',
  };
  t.match(await readSettings(env, noFile), {
    catalogue: { recordBytes: 100 },
    ...{ share: { index: 1, count: 3 }, brokers: ['a', 'b'], ledgerFile: '/l' },
  });
  const refused: readonly (readonly [NodeJS.ProcessEnv, RegExp])[] = [
    [{ RATE: 'fast' }, /RATE/],
    [{ PARTITIONS: '0' }, /PARTITIONS must be a positive integer/],
    [{ PRODUCTS: '5' }, /PRODUCTS must not be fewer/],
    [{ GENERATORS: '7' }, /GENERATORS must not be more than PARTITIONS/],
    [{ GENERATOR_SLOT: '2' }, /GENERATOR_SLOT must not be more than GENERATORS/],
    [{ RECORD_BYTES: '200000' }, /RECORD_BYTES must not be more than 100000/],
  ];
  for (const [wrong, message] of refused)
    await t.rejects(readSettings(wrong, noFile), { name: 'RangeError', message });
});

t.test('the stack hands every setting of the generator on', async (t) => {
  const text = await readFile('compose/streaming/stack.yaml', 'utf8');
  for (const name of ['RATE', 'PARTITIONS', 'PRODUCTS', 'SEED', 'GENERATORS', 'RECORD_BYTES'])
    t.match(text, new RegExp(`${name}: .*\\$\\{${name}:-`));
});
