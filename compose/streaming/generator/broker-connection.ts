import type { Kafka, Message, Producer } from 'kafkajs';

/**
 * One producer for all partitions, replaced as a whole after any error: a connection that lost its peer in silence
 * would otherwise wait for TCP's own retransmissions long after the network has healed.
 */
export class BrokerConnection {
  private readonly kafka: Kafka;
  private current: Promise<Producer> | null = null;

  constructor(kafka: Kafka) {
    this.kafka = kafka;
  }

  /** Resolves when all in-sync replicas have stored the messages; they keep their order. */
  async send(topic: string, messages: Message[]): Promise<void> {
    this.current ??= this.connect();
    const connecting = this.current;
    try {
      const producer = await connecting;
      await producer.send({ topic, messages, acks: -1 });
    } catch (error) {
      this.drop(connecting);
      throw error;
    }
  }

  async close(): Promise<void> {
    const producer = await this.current?.catch(() => null);
    await producer?.disconnect();
  }

  private async connect(): Promise<Producer> {
    const producer = this.kafka.producer({
      allowAutoTopicCreation: false,
      // Resending is the sender's: it must know about every attempt.
      retry: { retries: 0 },
      createPartitioner: () => (args) => args.message.partition!,
    });
    await producer.connect();
    return producer;
  }

  private drop(failed: Promise<Producer>): void {
    if (this.current !== failed) return;
    this.current = null;
    failed.then((producer) => producer.disconnect()).catch(() => {});
  }
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
  for (let cause = error; cause instanceof Error; cause = cause.cause) {
    const { code, type } = cause as { code?: unknown; type?: unknown };
    if (definiteCodes.has(String(code)) || definiteTypes.has(String(type))) return true;
  }
  return false;
}
