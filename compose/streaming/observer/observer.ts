import { setTimeout as sleep } from 'node:timers/promises';
import type { Kafka } from 'kafkajs';
import { pino } from 'pino';
import { viewer } from '../../../state-machines/recovery/control-planes.ts';
import type { Sample } from '../../../state-machines/recovery/sample.ts';
import { json, metricsOf, serveRoutes } from '../http-routes.ts';
import { kafkaClient, keptAdmin, topics } from '../kafka/kafka-client.ts';
import { readTopics, type TopicReader, topicRanges } from '../kafka/read-topics.ts';
import type { Catalogue } from '../records/record.ts';
import { askGenerators, GeneratorAnswers } from './ask-generators.ts';
import { controlPlanesOf } from './control-planes.ts';
import { askJob } from './job-progress.ts';
import { ObservedStream } from './observed-stream.ts';
import { observerMetrics } from './observer-metrics.ts';
import { poll } from './poll.ts';
import { SampleRing } from './sample-ring.ts';
import { kafkaSource, verifyTopics } from './verify.ts';

// Follows the workload and serves a row of what it knows every 250 ms; with `--verify` it reads both topics once, prints
// a verdict as JSON and ends: 0 when it is Correct, 1 when it is Incorrect, 2 when it is Unknown or there is none. SEED,
// PRODUCTS and PARTITIONS are the generator's.

const log = pino({ name: 'observer' });
const httpPort = 9401;
const sampleMs = 250;
const keepMs = 20 * 60_000;
/** The broker shares our machine: a silence of so long is a broken connection. */
const requestTimeoutMs = 3_000;
const exitCodes = { Correct: 0, Incorrect: 1, Unknown: 2 } as const;

const asked = process.argv.includes('--verify') ? verify : follow;
asked(process.env).catch((error: unknown) => {
  log.fatal({ err: error }, 'observer failed');
  process.exitCode = 2;
});

async function verify(env: NodeJS.ProcessEnv): Promise<void> {
  const catalogue = env.SEED === undefined ? null : readCatalogue(env);
  const stop = untilStopped();
  try {
    const verdict = await verifyTopics(await kafkaSource(kafkaOf(env), stop.signal), catalogue);
    process.stdout.write(`${JSON.stringify(verdict, null, 2)}\n`);
    process.exitCode = exitCodes[verdict.verdict];
  } finally {
    // A connection that is left open would keep the process.
    stop.abort(null);
  }
}

async function follow(env: NodeJS.ProcessEnv): Promise<void> {
  const stop = untilStopped();
  const kafka = kafkaOf(env);
  const stream = new ObservedStream(Date.now());
  const ring = new SampleRing(keepMs);
  let newest: Sample | null = null;
  const metrics = observerMetrics(
    () => newest,
    () => stream.held(),
  );
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
  const asking = [askEveryone(stream, kafka, env, stop.signal), followEnds(stream, kafka, stop.signal)];
  await readable(stream, stop.signal);
  const reading = readTopics(readerOf(stream, kafka, stop), stop.signal);
  await Promise.all([ticking, ...asking, reading]);
  if (stop.signal.reason instanceof Error) throw stop.signal.reason;
}

function kafkaOf(env: NodeJS.ProcessEnv): Kafka {
  const brokers = (env.KAFKA_BROKERS ?? 'kafka:9092').split(',');
  return kafkaClient({ brokers, clientId: 'observer', requestTimeoutMs, log });
}

function untilStopped(): AbortController {
  const stop = new AbortController();
  for (const name of ['SIGTERM', 'SIGINT'] as const) process.once(name, () => stop.abort(null));
  return stop;
}

function readCatalogue(env: NodeJS.ProcessEnv): Catalogue {
  const [seed, partitions, products] = [env.SEED, env.PARTITIONS ?? 6, env.PRODUCTS ?? 50].map(Number);
  return { seed: seed!, partitions: partitions!, products: products! };
}

function readerOf(stream: ObservedStream, kafka: Kafka, stop: AbortController): TopicReader {
  let interrupted = false;
  return {
    kafka,
    groupPrefix: 'observer',
    topics: Object.values(topics),
    nextOffsets: () => stream.nextOffsets(),
    ahead: () => stream.ahead(),
    onBatch: (batch) => {
      try {
        stream.batchRead(batch, Date.now());
      } catch (error) {
        // Reading the same once more ends the same: the swarm starts us anew, and we read from the beginning.
        stop.abort(error);
        throw error;
      }
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

/** Asks for the ends of both topics: first for what there is to read, then for what must have been read by now. */
async function followEnds(stream: ObservedStream, kafka: Kafka, signal: AbortSignal): Promise<void> {
  const askBroker = keptAdmin(kafka);
  await poll(
    {
      everyMs: 500,
      // A late answer is worth as much: it speaks of the instant at which it was asked for.
      timeoutMs: 60_000,
      ask: () => askBroker((admin) => topicRanges(admin, Object.values(topics))),
      onAnswer: (ranges, askedMs) => stream.endsAsked(ranges, askedMs),
      onSilence: () => {},
    },
    signal,
  );
}

/** Before the topics are known, and the schedule that tells how to read the records, nothing can be judged. */
async function readable(stream: ObservedStream, signal: AbortSignal): Promise<void> {
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
  kafka: Kafka,
  env: NodeJS.ProcessEnv,
  signal: AbortSignal,
): Promise<void> {
  const generators = (env.GENERATOR_URL ?? 'http://generator:9400').split(',');
  const answers = new GeneratorAnswers();
  const driver = env.DRIVER_URL ?? 'http://driver:9402';
  let applicationId = '';
  const planes = controlPlanesOf({
    masters: (env.MASTER_URLS ?? 'http://spark-master:8080').split(','),
    driverUi: env.DRIVER_UI_URL ?? 'http://driver:4040',
    zookeepers: (env.ZOOKEEPERS ?? 'zookeeper:2181').split(','),
    applicationId: () => applicationId,
    askBroker: keptAdmin(kafka),
  });
  await Promise.all([
    poll(
      {
        everyMs: 250,
        timeoutMs: 1_000,
        ask: (it) => askGenerators(generators, it),
        onAnswer: (frontiers) => {
          const joined = answers.add(frontiers, Date.now());
          if (joined !== null) stream.generatorAnswered(joined, Date.now());
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
    ...planes.map(({ source, ask }) => {
      const view = viewer(source);
      return poll(
        {
          everyMs: 500,
          timeoutMs: 1_000,
          ask,
          onAnswer: (answer, askedMs) => stream.viewed(view(answer, { askedMs, atMs: Date.now() })),
          onSilence: () => stream.silent(source),
        },
        signal,
      );
    }),
  ]);
}

async function quietSleep(ms: number, signal: AbortSignal): Promise<void> {
  await sleep(ms, undefined, { signal }).catch(() => {});
}
