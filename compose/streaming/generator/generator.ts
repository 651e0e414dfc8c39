import { readFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Kafka } from 'kafkajs';
import { pino } from 'pino';
import { json, metricsOf, serveRoutes } from '../http-routes.ts';
import { kafkaClient, topics } from '../kafka/kafka-client.ts';
import { partitionsOf } from '../records/frontier.ts';
import type { Catalogue } from '../records/record.ts';
import type { Schedule } from '../records/schedule.ts';
import { BrokerConnection, certainlyNotStored, leadersOf } from './broker-connection.ts';
import { describeFrontier } from './describe-frontier.ts';
import { generatorMetrics } from './generator-metrics.ts';
import { type KeptLedger, keepLedger, readLedger } from './ledger-file.ts';
import { PartitionSender } from './partition-sender.ts';
import { readSettings, type Settings } from './read-settings.ts';
import { recordsPerBatch } from './record-batch.ts';
import { type Resumed, resume } from './resume.ts';
import { createTopics, ForeignRecordError, hasInput, readTopicEnds } from './topic-ends.ts';

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
  const settings = await readSettings(env, (path) => readFile(path, 'utf8'));
  const { catalogue, share, brokers, ledgerFile } = settings;
  const own = partitionsOf(share, catalogue.partitions);
  const kafka = kafkaClient({ brokers, clientId: 'generator', requestTimeoutMs, log });
  const { schedule, ledgers } = await findPlace(kafka, settings, own);

  const limits = { clientId: 'generator', connectTimeoutMs: 2_000, requestTimeoutMs };
  const connection = new BrokerConnection(leadersOf(kafka, topics.events), limits);
  const senders = sendersFor({ own, ledgers, catalogue, schedule, connection });
  const now = () => senders.map(({ ledger }) => ledger);
  const frontier = () => describeFrontier(now(), { schedule, catalogue, startedMs, share, atMs: Date.now() });
  const routes = { '/frontier': json(frontier), '/metrics': metricsOf(generatorMetrics(frontier)) };
  await serveRoutes(httpPort, routes, stop.signal);
  const partitions = () => senders.map(({ partition, ledger }) => ({ partition, ledger }));
  const keeping = keep(ledgerFile, () => ({ catalogue, schedule, partitions: partitions() }));
  await Promise.all([keeping, ...senders.map((sender) => sender.run(stop.signal))]);
  connection.close();
}

/** Waits for Kafka, and finds out where to go on. */
async function findPlace(
  kafka: Kafka,
  { catalogue, rate, ledgerFile }: Settings,
  own: readonly number[],
): Promise<Resumed> {
  const kept = await keptBefore(ledgerFile);
  const isOld = await untilItWorks('topics', () => hasInput(kafka), stop.signal);
  if (!isOld && kept !== null) log.warn('the topic is new: the ledger of another one is not used');
  await untilItWorks('topics', () => createTopics(kafka, catalogue.partitions), stop.signal);
  const ends = await untilItWorks('topic ends', () => readTopicEnds(kafka, stop.signal), stop.signal);
  const found = { kept: isOld ? kept : null, ...ends };
  const resumed = resume(found, { catalogue, rate, own, nowMs: Date.now() });
  const { baseMs } = resumed.schedule;
  log.info({ ...catalogue, own, baseMs, fromLedger: resumed.fromLedger }, 'schedule begins');
  own.forEach((partition, at) => {
    const { absent } = resumed.ledgers[at]!;
    if (absent.length > 0) log.error({ partition, absent }, 'acknowledged records are not in the topic');
  });
  return resumed;
}

async function keptBefore(ledgerFile: string | undefined): Promise<KeptLedger | null> {
  if (ledgerFile === undefined) return null;
  try {
    return await readLedger(ledgerFile);
  } catch (error) {
    log.error({ ledgerFile, reason: String(error) }, 'the ledger cannot be read: only the topic is known');
    return null;
  }
}

async function keep(ledgerFile: string | undefined, now: () => KeptLedger): Promise<void> {
  if (ledgerFile === undefined) return;
  let told = false;
  const onTrouble = (error: unknown) => {
    if (!told) log.error({ ledgerFile, reason: String(error) }, 'the ledger cannot be kept');
    told = true;
  };
  await keepLedger(ledgerFile, { now, onTrouble }, stop.signal);
}

interface SenderParts {
  readonly own: readonly number[];
  readonly ledgers: Resumed['ledgers'];
  readonly catalogue: Catalogue;
  readonly schedule: Schedule;
  readonly connection: BrokerConnection;
}

/** One sender for each partition; they share the connection, and nothing else. */
function sendersFor({
  own,
  ledgers,
  catalogue,
  schedule,
  connection,
}: SenderParts): readonly PartitionSender[] {
  const failing = new Set<number>();
  return own.map((partition, at) => {
    return new PartitionSender({
      ...{ partition, schedule, ledger: ledgers[at]!, maximumRecords: recordsPerBatch(catalogue) },
      clock: { now: Date.now, sleep: quietSleep },
      isDefinite: certainlyNotStored,
      onFailure: (error) => {
        // One line per outage and partition, not per attempt.
        if (failing.has(partition)) return;
        failing.add(partition);
        log.warn({ partition, reason: String(error) }, 'records not acknowledged');
      },
      send: async (range) => {
        await connection.send({ catalogue, schedule, partition, range });
        if (failing.delete(partition)) log.warn({ partition }, 'records acknowledged again');
      },
    });
  });
}

/** The broker may come up after us: short, patient attempts. */
async function untilItWorks<T>(what: string, attempt: () => Promise<T>, signal: AbortSignal): Promise<T> {
  for (let attempts = 1; ; attempts++) {
    try {
      return await attempt();
    } catch (error) {
      signal.throwIfAborted();
      if (error instanceof ForeignRecordError) throw error;
      if (attempts === 1) log.info({ what, reason: String(error) }, 'waiting for kafka');
    }
    await sleep(300, undefined, { signal });
  }
}

/** Resolves early when aborted: the loops look at the signal themselves. */
async function quietSleep(ms: number, signal: AbortSignal): Promise<void> {
  await sleep(ms, undefined, { signal }).catch(() => {});
}
