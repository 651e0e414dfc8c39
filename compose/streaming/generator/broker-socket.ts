import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { deadline } from '../../../provisioners/deadline.ts';
import type { KafkaRequest } from './kafka-requests.ts';

export interface BrokerAddress {
  readonly host: string;
  readonly port: number;
}

export interface SocketLimits {
  readonly clientId: string;
  readonly connectTimeoutMs: number;
  /** An answer that takes longer is none, and the connection with it is over. */
  readonly requestTimeoutMs: number;
}

/** Nothing of the request has reached a broker. */
export class NotSentError extends Error {
  readonly code = 'NOT_SENT';
}

interface Waiting {
  readonly read: (body: Buffer) => void;
  readonly fail: (error: Error) => void;
  readonly timer: NodeJS.Timeout;
}

/** One connection to one broker. After its first trouble it is over, and all that waits for an answer learns that. */
export class BrokerSocket {
  private readonly socket: Socket;
  private readonly limits: SocketLimits;
  private readonly connected: Promise<void>;
  private readonly waiting = new Map<number, Waiting>();
  private readonly received: Buffer[] = [];
  private receivedBytes = 0;
  private correlation = 0;

  constructor(address: BrokerAddress, limits: SocketLimits) {
    this.limits = limits;
    this.socket = connect({ ...address, noDelay: true });
    this.connected = this.connect(address);
    // Whoever asks learns it; nobody may be asking.
    this.connected.catch(() => {});
    this.socket.on('data', (chunk) => this.take(chunk));
    this.socket.on('error', () => {});
    this.socket.on('close', () => this.end(new Error('the broker closed the connection')));
  }

  /** True until the first trouble. */
  isOpen(): boolean {
    return !this.socket.destroyed;
  }

  /** Rejects with a NotSentError when there is no connection, with a KafkaRefusal when the broker says no. */
  async ask<Answer>(request: KafkaRequest<Answer>): Promise<Answer> {
    await this.connected;
    if (!this.isOpen()) throw new NotSentError('the connection is over');
    return new Promise((resolve, reject) => {
      const id = ++this.correlation;
      const late = () => this.end(new Error(`no answer within ${this.limits.requestTimeoutMs} ms`));
      const read = (body: Buffer) => resolve(request.read(body));
      this.waiting.set(id, { read, fail: reject, timer: setTimeout(late, this.limits.requestTimeoutMs) });
      this.write(request, id);
    });
  }

  /** Ends the connection; what still waits is rejected with the reason. */
  end(reason: Error): void {
    this.socket.destroy();
    for (const [id, { timer, fail }] of this.waiting) {
      clearTimeout(timer);
      this.waiting.delete(id);
      fail(reason);
    }
  }

  private async connect({ host, port }: BrokerAddress): Promise<void> {
    const signal = deadline(this.limits.connectTimeoutMs);
    try {
      await once(this.socket, 'connect', { signal });
    } catch (error) {
      this.socket.destroy();
      throw new NotSentError(`no connection to ${host}:${port}`, { cause: error });
    }
  }

  /** Length and header of version 1: what is asked, a number to know the answer by, who asks. */
  private write({ apiKey, apiVersion, parts }: KafkaRequest<unknown>, id: number): void {
    const client = Buffer.from(this.limits.clientId);
    const head = Buffer.alloc(14 + client.length);
    head.writeInt32BE(
      parts.reduce((sum, part) => sum + part.length, head.length - 4),
      0,
    );
    head.writeInt16BE(apiKey, 4);
    head.writeInt16BE(apiVersion, 6);
    head.writeInt32BE(id, 8);
    head.writeInt16BE(client.length, 12);
    client.copy(head, 14);
    this.socket.cork();
    for (const part of [head, ...parts]) this.socket.write(part);
    this.socket.uncork();
  }

  /** Answers come whole, in parts or several at once. */
  private take(chunk: Buffer): void {
    this.received.push(chunk);
    this.receivedBytes += chunk.length;
    if (this.receivedBytes < 4) return;
    let all = Buffer.concat(this.received);
    for (let bytes = 4; all.length >= 4; all = all.subarray(bytes)) {
      bytes = 4 + all.readInt32BE(0);
      if (all.length < bytes) break;
      this.answered(all.readInt32BE(4), all.subarray(8, bytes));
    }
    this.received.splice(0, Number.POSITIVE_INFINITY, all);
    this.receivedBytes = all.length;
  }

  private answered(id: number, body: Buffer): void {
    const waiting = this.waiting.get(id);
    if (waiting === undefined) return;
    this.waiting.delete(id);
    clearTimeout(waiting.timer);
    try {
      waiting.read(body);
    } catch (error) {
      waiting.fail(error as Error);
    }
  }
}
