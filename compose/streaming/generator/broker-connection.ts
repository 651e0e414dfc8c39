import type { Kafka, Message, Producer } from 'kafkajs';

/** Errors after which the broker no longer knows, or no longer accepts, our producer id. */
const forgottenTypes = new Set([
  'OUT_OF_ORDER_SEQUENCE_NUMBER',
  'UNKNOWN_PRODUCER_ID',
  'INVALID_PRODUCER_EPOCH',
]);

/**
 * One idempotent producer for all partitions. After any error its connections are replaced as a whole: one that lost
 * its peer in silence would wait for TCP's own retransmissions long after the network has healed. Its producer id
 * stays, so that a range which was stored without an answer is not stored twice when it is sent again.
 */
export class BrokerConnection {
  private readonly kafka: Kafka;
  private producer: Producer;
  private connected: Promise<void> | null = null;
  private disconnected: Promise<void> = Promise.resolve();

  constructor(kafka: Kafka) {
    this.kafka = kafka;
    this.producer = idempotentProducer(kafka);
  }

  /** Resolves when all in-sync replicas have stored the messages; they keep their order. */
  async send(topic: string, messages: Message[]): Promise<void> {
    this.connected ??= this.connect();
    const connected = this.connected;
    try {
      await connected;
      await this.producer.send({ topic, messages, acks: -1 });
    } catch (error) {
      if (this.connected === connected) this.reset(error);
      throw error;
    }
  }

  async close(): Promise<void> {
    await this.producer.disconnect();
  }

  private async connect(): Promise<void> {
    await this.disconnected;
    await this.producer.connect();
  }

  private reset(error: unknown): void {
    this.connected = null;
    this.disconnected = this.producer.disconnect().catch(() => {});
    if (causes(error).some(({ type }) => forgottenTypes.has(String(type)))) {
      this.producer = idempotentProducer(this.kafka);
    }
  }
}

function idempotentProducer(kafka: Kafka): Producer {
  return kafka.producer({
    allowAutoTopicCreation: false,
    idempotent: true,
    // The least that kafkajs accepts: resending is the sender's, with the same records and sequence numbers.
    retry: { retries: 1, initialRetryTime: 100 },
    createPartitioner: () => (args) => args.message.partition!,
  });
}

/** Errors before a request could reach a broker, or refusals by one: nothing was stored. */
const definiteCodes = new Set(['ECONNREFUSED', 'ENOTFOUND', 'EAI_AGAIN', 'EHOSTUNREACH', 'ENETUNREACH']);
const definiteTypes = new Set([
  'NOT_LEADER_FOR_PARTITION',
  'UNKNOWN_TOPIC_OR_PARTITION',
  'LEADER_NOT_AVAILABLE',
]);

/** True when an attempt certainly stored nothing; in doubt false. */
export function certainlyNotStored(error: unknown): boolean {
  return causes(error).some(
    ({ code, type }) => definiteCodes.has(String(code)) || definiteTypes.has(String(type)),
  );
}

interface Cause {
  readonly code?: unknown;
  readonly type?: unknown;
}

/** An error and all that it wraps. */
function causes(error: unknown): Cause[] {
  return error instanceof Error ? [error as Cause, ...causes(error.cause)] : [];
}
