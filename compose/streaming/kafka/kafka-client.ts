import { type Admin, Kafka, type LogEntry, logLevel } from 'kafkajs';
import type { Logger } from 'pino';

/** Input and output of the job. */
export const topics = { events: 'events', results: 'results' } as const;

export interface KafkaClientOptions {
  readonly brokers: readonly string[];
  readonly clientId: string;
  /** A request without an answer for so long ends, and with it the connection: TCP alone would wait for minutes. */
  readonly requestTimeoutMs: number;
  readonly log: Logger;
}

/** A client that gives up soon: its users retry in their own way, with state that is theirs. */
export function kafkaClient({ brokers, clientId, requestTimeoutMs, log }: KafkaClientOptions): Kafka {
  return new Kafka({
    brokers: [...brokers],
    clientId,
    connectionTimeout: 2_000,
    requestTimeout: requestTimeoutMs,
    retry: { retries: 1, initialRetryTime: 100, maxRetryTime: 500 },
    logLevel: logLevel.ERROR,
    // Its errors come back to us as rejections; said twice they would only drown the log.
    logCreator: () => (entry: LogEntry) =>
      log.debug({ kafkajs: entry.namespace, detail: entry.log.message }, 'kafkajs'),
  });
}

/** Asks or tells the brokers something by a connection of its own. */
export async function withAdmin<T>(kafka: Kafka, use: (admin: Admin) => Promise<T>): Promise<T> {
  const admin = kafka.admin();
  try {
    await admin.connect();
    return await use(admin);
  } finally {
    await admin.disconnect();
  }
}

/** Asks by a connection that is kept from question to question. */
export type AskBroker = <T>(ask: (admin: Admin) => Promise<T>) => Promise<T>;

/** A connection is made when one is needed; whoever fails to answer on it has lost it. */
export function keptAdmin(kafka: Kafka): AskBroker {
  let kept: Admin | null = null;
  return async (ask) => {
    const admin = kept ?? kafka.admin();
    try {
      if (kept === null) await admin.connect();
      kept = admin;
      return await ask(admin);
    } catch (error) {
      // One that lost its peer in silence would not notice for minutes.
      kept = null;
      admin.disconnect().catch(() => {});
      throw error;
    }
  };
}
