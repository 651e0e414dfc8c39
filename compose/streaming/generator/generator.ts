import { setTimeout as sleep } from 'node:timers/promises';
import type { Message } from 'kafkajs';
import { pino } from 'pino';
import { json, metricsOf, serveRoutes } from '../http-routes.ts';
import { kafkaClient, topics } from '../kafka/kafka-client.ts';
import type { SeqRange } from '../records/ledger.ts';
import { type Catalogue, recordValue } from '../records/record.ts';
import { intendedMs, type PartitionEnd, resumeSchedule, type Schedule } from '../records/schedule.ts';
import { BrokerConnection, certainlyNotStored } from './broker-connection.ts';
import { describeFrontier } from './describe-frontier.ts';
import { generatorMetrics } from './generator-metrics.ts';
import { PartitionSender } from './partition-sender.ts';
import { createTopics, readTopicEnds } from './topic-ends.ts';

const log = pino({ name: 'generator' });
const httpPort = 9400;
const requestTimeoutMs = 10_000;

const stop = new AbortController();
for (const name of ['SIGTERM', 'SIGINT'] as const) process.once(name, () => stop.abort());

main(process.env).catch((error: unknown) => {
  if (stop.signal.aborted) return;
  log.fatal({ err: error }, 'generator failed');
  process.exitCode = 1;
});

async function main(env: NodeJS.ProcessEnv): Promise<void> {
  const startedMs = Date.now();
  const catalogue = readCatalogue(env);
  const { partitions } = catalogue;
  const rate = positive(env, 'RATE', 2000);
  const brokers = (env.KAFKA_BROKERS ?? 'kafka:9092').split(',');
  const kafka = kafkaClient({ brokers, clientId: 'generator', requestTimeoutMs, log });

  await untilItWorks('topics', () => createTopics(kafka, partitions), stop.signal);
  const ends = await untilItWorks('topic ends', () => readTopicEnds(kafka, stop.signal), stop.signal);
  const schedule = resumeSchedule(ends, { rate, partitions, nowMs: Date.now() });
  log.info({ ...catalogue, rate, baseMs: schedule.baseMs, resumed: ends.length > 0 }, 'schedule begins');

  const connection = new BrokerConnection(kafka);
  const senders = sendersFor({ catalogue, schedule, ends, connection });
  const frontier = () =>
    describeFrontier(
      senders.map(({ ledger }) => ledger),
      { schedule, catalogue, startedMs, atMs: Date.now() },
    );
  const routes = { '/frontier': json(frontier), '/metrics': metricsOf(generatorMetrics(frontier)) };
  await serveRoutes(httpPort, routes, stop.signal);
  await Promise.all(senders.map((sender) => sender.run(stop.signal)));
  await connection.close();
}

interface SenderParts {
  readonly catalogue: Catalogue;
  readonly schedule: Schedule;
  readonly ends: readonly PartitionEnd[];
  readonly connection: BrokerConnection;
}

/** One sender for each partition; they share the connection, and nothing else. */
function sendersFor({ catalogue, schedule, ends, connection }: SenderParts): readonly PartitionSender[] {
  const nextSeqs = new Map(ends.map(({ partition, seq }) => [partition, seq + 1]));
  const failing = new Set<number>();
  return Array.from({ length: catalogue.partitions }, (_, own) => {
    return new PartitionSender({
      partition: own,
      firstSeq: nextSeqs.get(own) ?? 0,
      schedule,
      clock: { now: Date.now, sleep: quietSleep },
      isDefinite: certainlyNotStored,
      onFailure: (partition, error) => {
        // One line per outage and partition, not per attempt.
        if (failing.has(partition)) return;
        failing.add(partition);
        log.warn({ partition, reason: String(error) }, 'records not acknowledged');
      },
      send: async (partition, range) => {
        await connection.send(topics.events, makeMessages(catalogue, schedule, { partition, range }));
        if (failing.delete(partition)) log.warn({ partition }, 'records acknowledged again');
      },
    });
  });
}

function makeMessages(
  catalogue: Catalogue,
  schedule: Schedule,
  { partition, range }: { readonly partition: number; readonly range: SeqRange },
): Message[] {
  return Array.from({ length: range.to - range.from }, (_, index) => {
    const seq = range.from + index;
    const dueMs = intendedMs(schedule, partition, seq);
    return { partition, value: recordValue(catalogue, partition, seq, dueMs), timestamp: String(dueMs) };
  });
}

function readCatalogue(env: NodeJS.ProcessEnv): Catalogue {
  const partitions = positive(env, 'PARTITIONS', 6);
  const products = positive(env, 'PRODUCTS', 50);
  if (products < partitions) throw new RangeError('PRODUCTS must not be fewer than PARTITIONS');
  return { seed: positive(env, 'SEED', 1), partitions, products };
}

function positive(env: NodeJS.ProcessEnv, name: string, otherwise: number): number {
  const value = Number(env[name] ?? otherwise);
  if (!Number.isInteger(value) || value <= 0) throw new RangeError(`${name} must be a positive integer`);
  return value;
}

/** The broker may come up after us: short, patient attempts. */
async function untilItWorks<T>(what: string, attempt: () => Promise<T>, signal: AbortSignal): Promise<T> {
  for (let attempts = 1; ; attempts++) {
    try {
      return await attempt();
    } catch (error) {
      signal.throwIfAborted();
      if (attempts === 1) log.info({ what, reason: String(error) }, 'waiting for kafka');
    }
    await sleep(300, undefined, { signal });
  }
}

/** Resolves early when aborted: the loops look at the signal themselves. */
async function quietSleep(ms: number, signal: AbortSignal): Promise<void> {
  await sleep(ms, undefined, { signal }).catch(() => {});
}
