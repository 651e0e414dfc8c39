import { once } from 'node:events';
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';

/** A batch as it was received. */
export interface ReceivedBatch {
  readonly partition: number;
  readonly producerId: bigint;
  readonly sequence: number;
  readonly count: number;
  /** Of all the bytes that a record batch has. */
  readonly bytes: Buffer;
}

const outOfOrderSequence = 45;

/**
 * One Kafka broker with one topic, as far as producers see it: it answers what kafkajs asks before it says who leads,
 * gives out producer ids, and stores each sequence number of a producer once. On a free port of this machine.
 */
export class FakeBroker {
  /** All that was asked to be stored, and what is in the topic; in order. */
  readonly received: ReceivedBatch[] = [];
  readonly stored: ReceivedBatch[] = [];
  /** Answers to produce requests: `none` stores and says nothing, a number refuses with it and stores nothing. */
  produces: 'answer' | 'none' | number = 'answer';
  connections = 0;
  private readonly known = new Map<string, { readonly last: ReceivedBatch[] }>();
  private readonly topic: string;
  private readonly partitions: number;
  private readonly server: Server;
  private readonly sockets = new Set<Socket>();
  private producers = 0n;

  private constructor(topic: string, partitions: number) {
    this.topic = topic;
    this.partitions = partitions;
    this.server = createServer((socket) => this.serve(socket));
  }

  static async start(topic: string, partitions: number): Promise<FakeBroker> {
    const broker = new FakeBroker(topic, partitions);
    broker.server.listen(0, '127.0.0.1');
    await once(broker.server, 'listening');
    return broker;
  }

  get port(): number {
    return (this.server.address() as AddressInfo).port;
  }

  /** As a broker does whose log of a producer has expired. */
  forgetProducers(): void {
    this.known.clear();
  }

  close(): void {
    this.server.close();
    for (const socket of this.sockets) socket.destroy();
  }

  private serve(socket: Socket): void {
    this.connections++;
    this.sockets.add(socket);
    socket.on('error', () => {});
    socket.on('close', () => this.sockets.delete(socket));
    let received = Buffer.alloc(0);
    socket.on('data', (chunk) => {
      received = Buffer.concat([received, chunk]);
      while (received.length >= 4 && received.length >= 4 + received.readInt32BE(0)) {
        const end = 4 + received.readInt32BE(0);
        const answer = this.answer(received.subarray(4, end));
        received = received.subarray(end);
        if (answer !== null) socket.write(Buffer.concat([int32(answer.length), answer]));
      }
    });
  }

  private answer(request: Buffer): Buffer | null {
    const apiKey = request.readInt16BE(0);
    const body = request.subarray(10 + Math.max(0, request.readInt16BE(8)));
    const answer = this.answerBody(apiKey, body);
    return answer === null ? null : Buffer.concat([request.subarray(4, 8), answer]);
  }

  private answerBody(apiKey: number, body: Buffer): Buffer | null {
    switch (apiKey) {
      case 18: {
        const apis = [
          [0, 3, 7],
          [3, 6, 6],
          [18, 0, 2],
          [22, 0, 1],
        ].map((api) => Buffer.concat(api.map(int16)));
        return Buffer.concat([int16(0), int32(apis.length), ...apis, int32(0)]);
      }
      case 3:
        return this.metadata();
      case 22:
        return Buffer.concat([int32(0), int16(0), int64(++this.producers), int16(0)]);
      case 0:
        return this.produce(body);
      default:
        throw new RangeError(`the fake broker knows no API ${apiKey}`);
    }
  }

  private metadata(): Buffer {
    const node = 1;
    const broker = [int32(1), int32(node), text('127.0.0.1'), int32(this.port), int16(-1)];
    const partitions = Array.from({ length: this.partitions }, (_, partition) => {
      const nodes = [int32(1), int32(node)];
      return [int16(0), int32(partition), int32(node), ...nodes, ...nodes, int32(0)];
    });
    const topic = [int32(1), int16(0), text(this.topic), Buffer.from([0]), int32(this.partitions)];
    return Buffer.concat([int32(0), ...broker, text('fake'), int32(node), ...topic, ...partitions.flat()]);
  }

  private produce(body: Buffer): Buffer | null {
    const nameBytes = body.readInt16BE(12);
    const at = 14 + nameBytes + 4;
    const bytes = Buffer.from(body.subarray(at + 8, at + 8 + body.readInt32BE(at + 4)));
    const batch: ReceivedBatch = {
      partition: body.readInt32BE(at),
      producerId: bytes.readBigInt64BE(43),
      sequence: bytes.readInt32BE(53),
      count: bytes.readInt32BE(57),
      bytes,
    };
    if (bytes.length !== 12 + bytes.readInt32BE(8)) throw new RangeError('a batch of another length');
    this.received.push(batch);
    const refusal = typeof this.produces === 'number' ? this.produces : this.store(batch);
    if (this.produces === 'none') return null;
    const answer = [int32(batch.partition), int16(refusal), int64(0n), int64(-1n), int64(0n)];
    return Buffer.concat([int32(1), text(this.topic), int32(1), ...answer, int32(0)]);
  }

  /** Kafka's rule: the next number of a producer is stored, one of its last five batches is not stored again. */
  private store(batch: ReceivedBatch): number {
    const name = `${batch.partition} ${batch.producerId}`;
    const { last } = this.known.get(name) ?? { last: [] };
    if (last.some(({ sequence, count }) => sequence === batch.sequence && count === batch.count)) return 0;
    const newest = last.at(-1);
    const expected = newest === undefined ? 0 : (newest.sequence + newest.count) % 2 ** 31;
    if (batch.sequence !== expected) return outOfOrderSequence;
    this.known.set(name, { last: [...last, batch].slice(-5) });
    this.stored.push(batch);
    return 0;
  }
}

function int16(value: number): Buffer {
  const bytes = Buffer.alloc(2);
  bytes.writeInt16BE(value);
  return bytes;
}

function int32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeInt32BE(value);
  return bytes;
}

function int64(value: bigint): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigInt64BE(value);
  return bytes;
}

function text(value: string): Buffer {
  return Buffer.concat([int16(Buffer.byteLength(value)), Buffer.from(value)]);
}
