import { EventEmitter } from 'node:events';
import type { EachBatchPayload, Kafka } from 'kafkajs';

/** Records as kafkajs hands them over: the first one's offset, their values, and the time that each is stamped with. */
export interface Delivery {
  readonly topic: string;
  readonly partition: number;
  readonly from: number;
  readonly values: readonly Buffer[];
  readonly stampMs: number;
}

/** A consumer of kafkajs as far as a reader of topics uses it: it joins when it is run, and else does what it is told. */
export class FakeConsumer {
  readonly events = { CRASH: 'crash', GROUP_JOIN: 'join' } as const;
  /** Where it was told to go on, as topic, partition and offset; all calls in their order. */
  readonly seeks: (readonly [string, number, number])[] = [];
  private readonly emitter = new EventEmitter();
  private readonly onRun: (consumer: FakeConsumer) => void;
  private eachBatch: ((payload: EachBatchPayload) => Promise<void>) | null = null;

  constructor(onRun: (consumer: FakeConsumer) => void) {
    this.onRun = onRun;
  }

  on(event: string, listener: (event: object) => void): void {
    this.emitter.on(event, listener);
  }

  async connect(): Promise<void> {}
  async subscribe(): Promise<void> {}

  async disconnect(): Promise<void> {
    this.eachBatch = null;
  }

  async run({ eachBatch }: { eachBatch: (payload: EachBatchPayload) => Promise<void> }): Promise<void> {
    this.eachBatch = eachBatch;
    this.join();
    this.onRun(this);
  }

  seek({ topic, partition, offset }: { topic: string; partition: number; offset: string }): void {
    if (this.eachBatch === null) throw new Error('not running');
    this.seeks.push([topic, partition, Number(offset)]);
  }

  paused(): readonly [] {
    return [];
  }

  pause(): void {}
  resume(): void {}

  /** The first time, or once more: kafkajs does it by itself whenever a leader or its own membership is lost. */
  join(): void {
    this.emitter.emit('join', {});
  }

  /** A consumer that crashes is not run any more when it says so. */
  crash(error: Error): void {
    this.eachBatch = null;
    this.emitter.emit('crash', { payload: { error } });
  }

  /** Hands records over; when that fails, it crashes. */
  async deliver({ topic, partition, from, values, stampMs }: Delivery): Promise<void> {
    const messages = values.map((value, index) => {
      return { offset: String(from + index), value, timestamp: String(stampMs) };
    });
    const batch = { topic, partition, messages, highWatermark: String(from + values.length) };
    try {
      await this.eachBatch?.({ batch } as unknown as EachBatchPayload);
    } catch (error) {
      this.crash(error as Error);
    }
  }
}

/** A Kafka without a broker: every consumer that was made, and topics that hold so many records in each partition. */
export function fakeKafka(
  onRun: (consumer: FakeConsumer) => void = () => {},
  held: Readonly<Record<string, readonly number[]>> = {},
): { readonly kafka: Kafka; readonly consumers: readonly FakeConsumer[] } {
  const consumers: FakeConsumer[] = [];
  const fetchTopicOffsets = async (topic: string) =>
    (held[topic] ?? []).map((high, partition) => ({ partition, low: '0', high: String(high) }));
  const admin = { connect: async () => {}, disconnect: async () => {}, fetchTopicOffsets };
  const kafka = {
    admin: () => admin,
    consumer: () => {
      const consumer = new FakeConsumer(onRun);
      consumers.push(consumer);
      return consumer;
    },
  };
  return { kafka: kafka as unknown as Kafka, consumers };
}
