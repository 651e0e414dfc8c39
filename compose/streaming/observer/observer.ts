import { setTimeout as sleep } from 'node:timers/promises';
import type { Kafka } from 'kafkajs';
import { pino } from 'pino';
import type { Sample } from '../../../state-machines/recovery/sample.ts';
import { json, metricsOf, serveRoutes } from '../http-routes.ts';
import { kafkaClient, topics } from '../kafka/kafka-client.ts';
import { readTopics, type TopicReader } from '../kafka/read-topics.ts';
import { askGenerators, GeneratorAnswers } from './ask-generators.ts';
import { askJob } from './job-progress.ts';
import { ObservedStream } from './observed-stream.ts';
import { observerMetrics } from './observer-metrics.ts';
import { poll } from './poll.ts';
import { SampleRing } from './sample-ring.ts';
import { askSpark } from './system-view.ts';

const log = pino({ name: 'observer' });
const httpPort = 9401;
const sampleMs = 250;
const keepMs = 20 * 60_000;
/** The broker shares our machine: a silence of so long is a broken connection. */
const requestTimeoutMs = 3_000;

main(process.env).catch((error: unknown) => {
  log.fatal({ err: error }, 'observer failed');
  process.exitCode = 1;
});

async function main(env: NodeJS.ProcessEnv): Promise<void> {
  const stop = new AbortController();
  for (const name of ['SIGTERM', 'SIGINT'] as const) process.once(name, () => stop.abort());
  const brokers = (env.KAFKA_BROKERS ?? 'kafka:9092').split(',');
  const kafka = kafkaClient({ brokers, clientId: 'observer', requestTimeoutMs, log });
  const stream = new ObservedStream();
  const ring = new SampleRing(keepMs);
  let newest: Sample | null = null;
  const metrics = observerMetrics(() => newest);
  await serveRoutes(
    httpPort,
    {
      '/samples': ({ query }, response) => ring.follow(response, Number(query.get('since') ?? Date.now())),
      '/clock': json(() => ({ nowMs: Date.now() })),
      '/metrics': metricsOf(metrics),
    },
    stop.signal,
  );
  const ticking = everySampleTick((atMs) => {
    newest = stream.sample(atMs);
    if (newest !== null) ring.add(newest);
  }, stop.signal);
  const asking = askEveryone(stream, env, stop.signal);
  await scheduleKnown(stream, stop.signal);
  const reading = readTopics(readerOf(stream, kafka), stop.signal);
  await Promise.all([ticking, asking, reading]);
}

function readerOf(stream: ObservedStream, kafka: Kafka): TopicReader {
  let interrupted = false;
  return {
    kafka,
    groupPrefix: 'observer',
    topics: Object.values(topics),
    nextOffsets: () => stream.nextOffsets(),
    onBatch: (batch) => {
      stream.batchRead(batch, Date.now());
      if (interrupted) log.warn('reading again');
      interrupted = false;
    },
    onInterrupted: (error) => {
      // One line per outage, not per attempt.
      if (!interrupted) log.warn({ reason: String(error) }, 'reading interrupted');
      interrupted = true;
    },
  };
}

/** The schedule tells how to read the records: nothing can be judged before. */
async function scheduleKnown(stream: ObservedStream, signal: AbortSignal): Promise<void> {
  while (!signal.aborted && !stream.canRead()) await quietSleep(100, signal);
}

/** Ticks on whole multiples of the sample time; a late tick does not move the next one. */
async function everySampleTick(tick: (atMs: number) => void, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    await quietSleep(sampleMs - (Date.now() % sampleMs), signal);
    tick(Date.now());
  }
}

async function askEveryone(
  stream: ObservedStream,
  env: NodeJS.ProcessEnv,
  signal: AbortSignal,
): Promise<void> {
  const generators = (env.GENERATOR_URL ?? 'http://generator:9400').split(',');
  const answers = new GeneratorAnswers();
  const driver = env.DRIVER_URL ?? 'http://driver:9402';
  const urls = {
    masters: (env.MASTER_URLS ?? 'http://spark-master:8080').split(','),
    driverUi: env.DRIVER_UI_URL ?? 'http://driver:4040',
  };
  let applicationId = '';
  await Promise.all([
    poll(
      {
        everyMs: 250,
        timeoutMs: 1_000,
        ask: (it) => askGenerators(generators, it),
        onAnswer: (frontiers) => {
          const joined = answers.add(frontiers, Date.now());
          if (joined !== null) stream.generatorAnswered(joined.frontier, joined.seenMs);
        },
        onSilence: () => {},
      },
      signal,
    ),
    poll(
      {
        everyMs: 250,
        timeoutMs: 1_000,
        ask: (it) => askJob(driver, it),
        onAnswer: (progress) => {
          applicationId = progress.applicationId;
          if (progress.batchId !== null) stream.jobAnswered(progress, Date.now());
        },
        onSilence: () => {},
      },
      signal,
    ),
    poll(
      {
        everyMs: 500,
        timeoutMs: 1_000,
        ask: (it) => askSpark(urls, applicationId, it),
        onAnswer: (view) => stream.systemAnswered(view),
        onSilence: () => stream.systemAnswered(null),
      },
      signal,
    ),
  ]);
}

async function quietSleep(ms: number, signal: AbortSignal): Promise<void> {
  await sleep(ms, undefined, { signal }).catch(() => {});
}
