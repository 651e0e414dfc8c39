import { once } from 'node:events';
import { connect } from 'node:net';
import type { Admin } from 'kafkajs';
import type { ControlPlane, ControlPlaneAnswer } from '../../../state-machines/recovery/control-planes.ts';
import { type AskBroker, topics } from '../kafka/kafka-client.ts';
import { getJson } from './poll.ts';

// What each control plane says of the parts that it can lose. An `ask` fails when nobody answers: that we cannot ask is
// not what the system has noticed.

/** One control plane as it is asked. */
export interface AskedPlane {
  readonly source: ControlPlane;
  readonly ask: (signal: AbortSignal) => Promise<ControlPlaneAnswer>;
}

export interface ControlPlaneOptions {
  /** Of the masters' pages. */
  readonly masters: readonly string[];
  readonly driverUi: string;
  /** `host:port` of the ensemble's servers. */
  readonly zookeepers: readonly string[];
  /** The application that the driver runs now. */
  readonly applicationId: () => string;
  readonly askBroker: AskBroker;
}

/** All that a streaming stack has. */
export function controlPlanesOf({
  masters,
  driverUi,
  zookeepers,
  applicationId,
  askBroker,
}: ControlPlaneOptions): readonly AskedPlane[] {
  return [
    {
      source: 'spark-master',
      ask: async (signal) =>
        readMasters(await answersOf(masters, (url) => getJson<MasterState>(`${url}/json/`, signal))),
    },
    {
      source: 'spark-driver',
      async ask(signal) {
        const id = applicationId();
        const url = `${driverUi}/api/v1/applications/${id}/executors`;
        return readExecutors(id, await getJson<ExecutorState[]>(url, signal));
      },
    },
    { source: 'kafka', ask: () => askBroker(askKafka) },
    {
      source: 'zookeeper',
      ask: async (signal) => readServers(await answersOf(zookeepers, (server) => askServer(server, signal))),
    },
  ];
}

/** Those that came, of all that were asked at once; throws when none did. */
async function answersOf<T>(
  names: readonly string[],
  ask: (name: string) => Promise<T>,
): Promise<ReadonlyMap<string, T>> {
  const asked = await Promise.allSettled(names.map(ask));
  const answers = new Map<string, T>();
  for (const [index, answer] of asked.entries()) {
    if (answer.status === 'fulfilled') answers.set(names[index]!, answer.value);
  }
  if (answers.size === 0)
    throw new AggregateError(asked.flatMap((it) => ('reason' in it ? [it.reason] : [])));
  return answers;
}

/** What Spark's master tells at /json/, as far as we read it. */
export interface MasterState {
  readonly status: string;
  readonly workers: readonly { readonly id: string; readonly state: string }[];
}

/** The masters by their addresses; workers are those of the leading one. */
export function readMasters(masters: ReadonlyMap<string, MasterState>): ControlPlaneAnswer {
  const alive = [...masters].filter(([, { status }]) => status === 'ALIVE');
  const [leading] = alive.length > 0 ? alive : [...masters];
  const workers = (leading?.[1].workers ?? []).filter(({ state }) => state === 'ALIVE');
  return {
    members: [...alive.map(([url]) => url), ...workers.map(({ id }) => id)],
    parts: { mastersAlive: alive.length, workersAlive: workers.length },
  };
}

/** https://spark.apache.org/docs/latest/monitoring.html: the executors that an application has. */
export interface ExecutorState {
  readonly id: string;
  readonly isActive: boolean;
  readonly totalCores: number;
}

/** An application numbers its executors anew, and gives no number twice. */
export function readExecutors(
  applicationId: string,
  executors: readonly ExecutorState[],
): ControlPlaneAnswer {
  const running = executors.filter(({ id, isActive }) => id !== 'driver' && isActive);
  return {
    members: running.map(({ id }) => `${applicationId}/${id}`),
    parts: {
      executors: running.length,
      cores: running.reduce((total, { totalCores }) => total + totalCores, 0),
    },
  };
}

/** One partition as Kafka's metadata has it: -1 leads where nobody does. */
export interface PartitionState {
  readonly topic: string;
  readonly partition: number;
  readonly leader: number;
  readonly inSync: readonly number[];
}

/**
 * kafkajs gives no answer at all when a partition has no leader, nor says why: brokers that answer before and after that
 * do not lead it, and which others they lead is not known.
 */
export async function askKafka(
  admin: Pick<Admin, 'describeCluster' | 'fetchTopicMetadata'>,
): Promise<ControlPlaneAnswer> {
  const brokers = async () => (await admin.describeCluster()).brokers.map(({ nodeId }) => nodeId);
  const before = await brokers();
  const metadata = await admin.fetchTopicMetadata({ topics: Object.values(topics) }).catch(() => undefined);
  if (metadata === undefined) return readMetadata(await brokers(), []);
  const partitions = metadata.topics.flatMap(({ name, partitions }) =>
    partitions.map(({ partitionId, leader, isr }) => ({
      ...{ topic: name, partition: partitionId, leader, inSync: isr },
    })),
  );
  return readMetadata(before, partitions);
}

/** A partition that another broker leads has lost the one that led it. */
export function readMetadata(
  brokers: readonly number[],
  partitions: readonly PartitionState[],
): ControlPlaneAnswer {
  const led = partitions.filter(({ leader }) => leader >= 0);
  const inSync = partitions.flatMap(({ topic, partition, inSync }) =>
    inSync.map((broker) => `${topic}/${partition} in sync on ${broker}`),
  );
  return {
    members: [
      ...brokers.map((broker) => `broker ${broker}`),
      ...led.map(({ topic, partition, leader }) => `${topic}/${partition} led by ${leader}`),
      ...inSync,
    ],
    parts: { brokers: brokers.length, partitionsLed: led.length, inSyncReplicas: inSync.length },
  };
}

/** The four letters that every server answers without being told to. */
async function askServer(server: string, signal: AbortSignal): Promise<string> {
  const [host, port] = server.split(':');
  const socket = connect({ host: host!, port: Number(port ?? 2181), signal });
  try {
    let answer = '';
    socket.setEncoding('utf8').on('data', (text: string) => {
      answer += text;
    });
    const ended = once(socket, 'close', { signal });
    socket.end('srvr');
    await ended;
    return answer;
  } finally {
    socket.destroy();
  }
}

/**
 * Servers by their addresses, with what they say to `srvr`; one without a quorum says that it serves nobody. The upper
 * half of a zxid is the epoch of the leader: https://zookeeper.apache.org/doc/current/zookeeperInternals.html.
 */
export function readServers(answers: ReadonlyMap<string, string>): ControlPlaneAnswer {
  const serving = [...answers].flatMap(([server, text]) => {
    const mode = /^Mode: (\w+)/m.exec(text)?.[1];
    const zxid = /^Zxid: 0x([0-9a-f]+)/m.exec(text)?.[1];
    return mode === undefined ? [] : [{ server, mode, epoch: BigInt(`0x${zxid ?? '0'}`) >> 32n }];
  });
  const leading = serving.filter(({ mode }) => mode === 'leader' || mode === 'standalone');
  return {
    members: [
      ...serving.map(({ server }) => server),
      ...leading.map(({ server, epoch }) => `epoch ${epoch} of ${server}`),
    ],
    parts: { serversServing: serving.length, leaders: leading.length },
  };
}
