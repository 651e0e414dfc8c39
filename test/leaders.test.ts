import { createRequire } from 'node:module';
import t, { type Test } from 'tap';
import { type Question, questionOf } from '../state-machines/leaders/questions.ts';
import { shellcheck } from './contracts/fault-kind.ts';

const require = createRequire(import.meta.url);

t.test('the script that asks is POSIX sh in which shellcheck finds nothing', async (t) => {
  await shellcheck(t, ['state-machines/leaders/ask.sh']);
});

const answers = (
  t: Test,
  { leads }: Question,
  ...cases: readonly (readonly [string | Buffer, boolean | RegExp])[]
) => {
  for (const [answer, expected] of cases) {
    const label = answer.toString('latin1').slice(0, 60);
    if (typeof expected === 'boolean') t.equal(leads(Buffer.from(answer)), expected, label);
    else t.throws(() => leads(Buffer.from(answer)), expected, label);
  }
};

t.test('a Spark master says its status, whatever its workers are', async (t) => {
  const question = questionOf({ sparkMaster: { port: 8080 } });
  t.match(question, { port: 8080, endsBy: 'close' });
  t.equal(question.said.toString(), 'GET /json/ HTTP/1.0\r\n\r\n');
  const master = (status: string) =>
    `HTTP/1.1 200 OK\r\nContent-Type: text/json\r\n\r\n{"workers" : [ {"state" : "ALIVE"} ], "status" : "${status}"}`;
  answers(
    t,
    question,
    [master('ALIVE'), true],
    [master('STANDBY'), false],
    [master('RECOVERING'), false],
    ['HTTP/1.1 400 Bad Request\r\n\r\n', /no Spark master/],
    ['', /no Spark master/],
  );
});

t.test('a ZooKeeper server says its mode, or why it does not', async (t) => {
  const question = questionOf({ zookeeper: { port: 2181 } });
  t.equal(question.said.toString(), 'srvr');
  const server = (mode: string) =>
    `Zookeeper version: 3.9.5\nLatency min/avg/max: 0/0.5/9\nMode: ${mode}\nNode count: 5\n`;
  answers(
    t,
    question,
    [server('leader'), true],
    [server('standalone'), true],
    [server('follower'), false],
    [server('observer'), false],
    ['This ZooKeeper instance is not currently serving requests\n', /not currently serving/],
    ['srvr is not executed because it is not in the whitelist.', /whitelist/],
    ['', /says nothing/],
  );
});

const int16 = (value: number) => [value >> 8, value & 0xff];
const int32 = (value: number) => [...int16(value >> 16), ...int16(value & 0xffff)];

t.test('a broker is asked for offsets of its partition as a client of Kafka asks', async (t) => {
  const question = questionOf({ kafkaPartition: { topic: 'trades', partition: 4, port: 9092 } });
  const request = require('kafkajs/src/protocol/request') as (asked: object) => Promise<{ buffer: Buffer }>;
  const listOffsets = require('kafkajs/src/protocol/requests/listOffsets/v1/request') as (
    asked: object,
  ) => object;
  const asked = await request({
    ...{ correlationId: 1, clientId: 'spark-failures' },
    request: listOffsets({ replicaId: -1, topics: [{ topic: 'trades', partitions: [{ partition: 4 }] }] }),
  });
  t.same(question.said, asked.buffer);
  t.equal(question.endsBy, 'size');
  const broker = (error: number) =>
    Buffer.from([
      ...int32(1),
      ...int32(1),
      ...[...int16(6), ...Buffer.from('trades')],
      ...[...int32(1), ...int32(4), ...int16(error), ...Array<number>(16).fill(0)],
    ]);
  answers(
    t,
    question,
    [broker(0), true],
    [broker(6), false],
    [broker(3), /knows of none/],
    [broker(29), /error 29/],
    ['HTTP/1.1 400', /no Kafka/],
    ['', /no Kafka/],
  );
});

t.test('a controller is asked for the quorum of the metadata', async (t) => {
  const question = questionOf({ kafkaController: { port: 9093 } });
  const said = [
    ...[...int16(55), ...int16(0), ...int32(1), ...int16(14), ...Buffer.from('spark-failures'), 0],
    ...[2, 19, ...Buffer.from('__cluster_metadata'), 2, ...int32(0), 0, 0, 0],
  ];
  t.same(question.said, Buffer.from([...int32(said.length), ...said]));
  const controller = (error: number, partitionError: number) =>
    Buffer.from([
      ...[...int32(1), 0, ...int16(error), 2, 19, ...Buffer.from('__cluster_metadata')],
      ...[2, ...int32(0), ...int16(partitionError), ...int32(1), ...int32(7), 0, 0],
    ]);
  answers(
    t,
    question,
    [controller(0, 0), true],
    [controller(0, 6), false],
    [controller(31, 0), /error 31/],
    [controller(0, 0).subarray(0, 9), /no Kafka/],
  );
});
