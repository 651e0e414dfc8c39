import type { Kafka } from 'kafkajs';
import { topics, withAdmin } from '../kafka/kafka-client.ts';
import { type BrokerAddress, BrokerSocket, NotSentError, type SocketLimits } from './broker-socket.ts';
import { initProducerId, KafkaRefusal, type ProducerId, produce } from './kafka-requests.ts';
import { type BatchContent, batchRoom, stampBatch, writeBatch } from './record-batch.ts';

/** Where the leader of each partition listens. */
export type FindLeaders = () => Promise<ReadonlyMap<number, BrokerAddress>>;

/** Asks any of the brokers. */
export function leadersOf(kafka: Kafka, topic: string): FindLeaders {
  return () =>
    withAdmin(kafka, async (admin) => {
      const [metadata, { brokers }] = await Promise.all([
        admin.fetchTopicMetadata({ topics: [topic] }),
        admin.describeCluster(),
      ]);
      const addresses = new Map(brokers.map(({ nodeId, host, port }) => [nodeId, { host, port }]));
      return new Map(
        (metadata.topics[0]?.partitions ?? []).flatMap(({ partitionId, leader }) => {
          const address = addresses.get(leader);
          return address ? [[partitionId, address]] : [];
        }),
      );
    });
}

/** A producer of the broker's for one partition alone: when the broker has forgotten it, no other is concerned. */
interface PartitionProducer extends ProducerId {
  /** The record that has sequence number 0. */
  readonly firstSeq: number;
}

const sequenceNumbers = 2 ** 31;

/**
 * The idempotent way to the brokers. A record's sequence number follows from its place alone, and a connection that
 * had trouble is replaced: one that lost its peer in silence would wait for TCP's own retransmissions long after the
 * network has healed. So a range that was stored without an answer is not stored twice when it is sent again, by
 * whatever connection. Why it is none of the usual clients is in ARCHITECTURE.md, "The generator speaks for itself".
 */
export class BrokerConnection {
  private readonly findLeaders: FindLeaders;
  private readonly limits: SocketLimits;
  private readonly sockets = new Map<string, BrokerSocket>();
  private readonly producers = new Map<number, PartitionProducer>();
  /** Of a partition: its bytes change only after they were acknowledged. */
  private readonly buffers = new Map<number, Buffer>();
  private leaders: ReturnType<FindLeaders> | null = null;

  constructor(findLeaders: FindLeaders, limits: SocketLimits) {
    this.findLeaders = findLeaders;
    this.limits = limits;
  }

  /** Resolves when all in-sync replicas have stored the records, in their order. One call at a time for a partition. */
  async send(content: BatchContent): Promise<void> {
    const { partition, range } = content;
    const batch = writeBatch(this.bufferFor(content), content);
    this.leaders ??= this.findLeaders();
    const { leaders } = this;
    try {
      const socket = await this.leaderOf(partition, leaders);
      const { id, epoch, firstSeq } = await this.producerOf(partition, range.from, socket);
      stampBatch(batch, { id, epoch, sequence: (range.from - firstSeq) % sequenceNumbers });
      const timeoutMs = this.limits.requestTimeoutMs;
      await socket.ask(produce(topics.events, { partition, batch, timeoutMs }));
    } catch (error) {
      if (this.leaders === leaders) this.leaders = null;
      if (error instanceof KafkaRefusal && forgottenTypes.has(error.type)) this.producers.delete(partition);
      throw error;
    }
  }

  /** Ends all connections. */
  close(): void {
    for (const socket of this.sockets.values()) socket.end(new Error('the generator ends'));
  }

  private bufferFor({ partition, catalogue, range }: BatchContent): Buffer {
    const room = batchRoom(catalogue, range.to - range.from);
    const before = this.buffers.get(partition);
    if (before !== undefined && before.length >= room) return before;
    const buffer = Buffer.allocUnsafe(room);
    this.buffers.set(partition, buffer);
    return buffer;
  }

  private async leaderOf(partition: number, leaders: ReturnType<FindLeaders>): Promise<BrokerSocket> {
    const leader = (await orNotSent(leaders)).get(partition);
    if (leader === undefined) throw new NotSentError(`partition ${partition} has no leader`);
    const name = `${leader.host}:${leader.port}`;
    const before = this.sockets.get(name);
    if (before?.isOpen()) return before;
    const socket = new BrokerSocket(leader, this.limits);
    this.sockets.set(name, socket);
    return socket;
  }

  private async producerOf(
    partition: number,
    from: number,
    socket: BrokerSocket,
  ): Promise<PartitionProducer> {
    const known = this.producers.get(partition);
    if (known !== undefined) return known;
    const { id, epoch } = await orNotSent(socket.ask(initProducerId(this.limits.requestTimeoutMs)));
    const producer = { id, epoch, firstSeq: from };
    this.producers.set(partition, producer);
    return producer;
  }
}

/** What comes before the records themselves: when it fails, none of them has left. */
async function orNotSent<T>(preparation: Promise<T>): Promise<T> {
  try {
    return await preparation;
  } catch (error) {
    throw new NotSentError(`not sent: ${(error as Error).message}`, { cause: error });
  }
}

/** After these the broker no longer knows, or no longer accepts, a producer: the range begins another one's numbers. */
const forgottenTypes = new Set([
  'OUT_OF_ORDER_SEQUENCE_NUMBER',
  'UNKNOWN_PRODUCER_ID',
  'INVALID_PRODUCER_EPOCH',
]);

/**
 * Refusals by a broker that has stored nothing. That it does not lead, or does not know the partition, is none: a leader
 * that has appended the records answers so, too, when it loses its place while it waits for its followers.
 */
const definiteTypes = new Set(['LEADER_NOT_AVAILABLE', 'MESSAGE_TOO_LARGE', 'NOT_ENOUGH_REPLICAS']);

/** True when an attempt certainly stored nothing; in doubt false. */
export function certainlyNotStored(error: unknown): boolean {
  return error instanceof NotSentError || (error instanceof KafkaRefusal && definiteTypes.has(error.type));
}
