import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parse, stringify } from 'yaml';
import { type BenchLab, type StackEntry, withLab } from './bench-lab.ts';
import { type BenchSite, type Measure, until } from './bench-site.ts';
import { median } from './figure.ts';
import { askFrontier, memoryMb } from './generator-task.ts';

const stackName = 'load';
const generator = `${stackName}_generator`;
const recordBytes = 100;
/** Never reached: it sends what it can, and what is due only grows. */
const rate = 2_000_000;
const partitions = 6;
const warmMs = 3_000;
const windowMs = 10_000;
/** About as many as the generator sends in a window. */
const rivalRecords = 3_000_000;
const node = 1;
const rivalTopic = 'rival';
const bootstrap = 'kafka:9092';

type Name = 'generator-rate' | 'generator-memory';

/**
 * Records of 100 bytes that one generator gets acknowledged by all in-sync replicas in a second, beside Kafka's own
 * ProducerPerformance from the broker's container: into the same broker, on a machine that does nothing else, in turn.
 * The generator is frozen while its rival runs. Its memory is the most that the process ever had, beside that of a
 * Node process which has loaded nothing.
 */
export const measureGeneratorRate: Measure<Name> = (site, signal) =>
  withLab(
    site,
    { name: 'bench-load', subnet: '10.94.9.0/24', nodes: [{ place: 'source' }] },
    async (lab) => {
      site.progress('generator-rate: a node with a broker and a generator');
      lab.save([saveLoad(site)]);
      await lab.apply();
      const isSending = async () => (await askFrontier(lab, node, generator)).acked > 0 || undefined;
      const wait = { what: 'records acknowledged', everyMs: 500, deadlineMs: 180_000 };
      await until(wait, () => isSending().catch(() => undefined), signal);
      const topic = ['--bootstrap-server', bootstrap, '--topic', rivalTopic, '--partitions', `${partitions}`];
      await inBroker(lab, ['kafka-topics.sh', '--create', ...topic]);
      const ours: number[] = [];
      const theirs: number[] = [];
      const n = site.runs ?? 3;
      for (let run = 1; run <= n; run++) {
        await sleep(warmMs, undefined, { signal });
        ours.push(await acknowledgedPerSecond(lab, signal));
        await lab.onTask(node, generator, ['pause']);
        theirs.push(await rivalPerSecond(lab));
        await lab.onTask(node, generator, ['unpause']);
        site.progress(`generator-rate: ${ours.at(-1)} a second, ProducerPerformance ${theirs.at(-1)}`);
      }
      const [memory, plain] = await memoryMb(lab, node, generator);
      return {
        'generator-rate': {
          ...{ value: median(ours), unit: 'events/s', n, baseline: median(theirs) },
          target: { of: 'value', sign: '>=', limit: 150_000 },
        },
        'generator-memory': {
          ...{ value: memory, unit: 'MB', n: 1, baseline: plain },
          target: { of: 'value', sign: '<', limit: 200 },
        },
      };
    },
    signal,
  );

/** The streaming stack's own broker and generator, with nobody who reads. */
function saveLoad({ packageRoot, workDir }: BenchSite): StackEntry {
  const folder = join(packageRoot, 'compose', 'streaming');
  const stack = parse(readFileSync(join(folder, 'stack.yaml'), 'utf8'), { merge: true });
  const { kafka, generator: load } = stack.services;
  // Its rival runs beside the broker.
  kafka.deploy.resources.limits.memory = '2048M';
  // Some ten gigabytes a minute: the machine's disk is smaller than what all runs send.
  Object.assign(kafka.environment, {
    KAFKA_LOG_SEGMENT_BYTES: '134217728',
    KAFKA_LOG_RETENTION_BYTES: '268435456',
    KAFKA_LOG_RETENTION_CHECK_INTERVAL_MS: '1000',
    KAFKA_LOG_SEGMENT_DELETE_DELAY_MS: '1000',
  });
  // Octal in the file, and read as the number 644.
  kafka.configs[0].mode = '0644';
  const configs = Object.fromEntries(
    ['kafka-properties', 'trace'].map((name) => [
      name,
      { file: stack.configs[name].file.replace('./', `${folder}/`) },
    ]),
  );
  const volumes = { 'kafka-data': null, 'generator-ledger': null };
  const path = join(workDir, 'stacks', 'load.yaml');
  mkdirSync(join(workDir, 'stacks'), { recursive: true });
  writeFileSync(
    path,
    stringify({ services: { kafka, generator: load }, networks: stack.networks, volumes, configs }),
  );
  const env = { RATE: `${rate}`, RECORD_BYTES: `${recordBytes}`, PARTITIONS: `${partitions}` };
  return { name: stackName, compose: path, env };
}

async function acknowledgedPerSecond(lab: BenchLab, signal: AbortSignal): Promise<number> {
  const before = await askFrontier(lab, node, generator);
  await sleep(windowMs, undefined, { signal });
  const after = await askFrontier(lab, node, generator);
  return Math.round(((after.acked - before.acked) * 1000) / (after.atMs - before.atMs));
}

async function rivalPerSecond(lab: BenchLab): Promise<number> {
  const load = ['--num-records', `${rivalRecords}`, '--record-size', `${recordBytes}`, '--throughput', '-1'];
  const producer = ['--producer-props', `bootstrap.servers=${bootstrap}`, 'acks=all'];
  const said = await inBroker(lab, [
    'kafka-producer-perf-test.sh',
    '--topic',
    rivalTopic,
    ...load,
    ...producer,
  ]);
  const [, perSecond] = /records sent, ([\d.]+) records\/sec/.exec(said.split('\n').at(-1)!) ?? [];
  if (perSecond === undefined) throw new Error(`ProducerPerformance said: ${said}`);
  return Math.round(Number(perSecond));
}

/** A tool of Kafka's, without the options that make the broker small, and without its agent, whose port is taken. */
function inBroker(lab: BenchLab, [tool, ...args]: readonly [string, ...string[]]): Promise<string> {
  const own = ['KAFKA_OPTS=', 'KAFKA_JMX_OPTS=', 'KAFKA_JVM_PERFORMANCE_OPTS=', 'KAFKA_HEAP_OPTS=-Xmx256m'];
  const options = ['exec', ...own.flatMap((variable) => ['-e', variable])];
  return lab.onTask(node, `${stackName}_kafka`, options, [`/opt/kafka/bin/${tool}`, ...args]);
}
