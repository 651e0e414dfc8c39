// The two requests that a producer needs, in the newest versions without tagged fields; Kafka 4 takes both.
// https://kafka.apache.org/protocol.html

/** A request without its length and header. The parts are written one after the other, so that none is copied. */
export interface KafkaRequest<Answer> {
  readonly apiKey: number;
  readonly apiVersion: number;
  readonly parts: readonly Buffer[];
  /** Reads the answer's body; throws a KafkaRefusal when the broker says no. */
  readonly read: (body: Buffer) => Answer;
}

export interface ProducerId {
  readonly id: bigint;
  readonly epoch: number;
}

/** Why a broker refused, by the name that Kafka and kafkajs have for it; the number where it does not matter to us. */
export class KafkaRefusal extends Error {
  readonly code = 'KAFKA_REFUSAL';
  readonly type: string;

  constructor(errorCode: number) {
    const type = refusals.get(errorCode) ?? `ERROR_${errorCode}`;
    super(`the broker refused: ${type}`);
    this.type = type;
  }
}

const refusals: ReadonlyMap<number, string> = new Map([
  [3, 'UNKNOWN_TOPIC_OR_PARTITION'],
  [5, 'LEADER_NOT_AVAILABLE'],
  [6, 'NOT_LEADER_FOR_PARTITION'],
  [7, 'REQUEST_TIMED_OUT'],
  [10, 'MESSAGE_TOO_LARGE'],
  [19, 'NOT_ENOUGH_REPLICAS'],
  [45, 'OUT_OF_ORDER_SEQUENCE_NUMBER'],
  [47, 'INVALID_PRODUCER_EPOCH'],
  [59, 'UNKNOWN_PRODUCER_ID'],
]);

/** Not a refusal: the broker has these records from an earlier attempt. */
const duplicateSequence = 46;

/** Asks for a producer id that nobody else has. */
export function initProducerId(timeoutMs: number): KafkaRequest<ProducerId> {
  const body = Buffer.alloc(6);
  body.writeInt16BE(-1, 0); // no transactional id
  body.writeInt32BE(timeoutMs, 2);
  return {
    ...{ apiKey: 22, apiVersion: 1, parts: [body] },
    read: (answer) => {
      refuse(answer.readInt16BE(4)); // after the throttle time
      return { id: answer.readBigInt64BE(6), epoch: answer.readInt16BE(14) };
    },
  };
}

/** Has a batch stored by all in-sync replicas; the broker itself gives up after the timeout. */
export function produce(
  topic: string,
  { partition, batch, timeoutMs }: { partition: number; batch: Buffer; timeoutMs: number },
): KafkaRequest<void> {
  const name = Buffer.from(topic);
  const body = Buffer.alloc(26 + name.length);
  body.writeInt16BE(-1, 0); // no transactional id
  body.writeInt16BE(-1, 2); // acks=all
  body.writeInt32BE(timeoutMs, 4);
  body.writeInt32BE(1, 8); // one topic
  body.writeInt16BE(name.length, 12);
  let at = 14 + name.copy(body, 14);
  for (const field of [1, partition, batch.length]) at = body.writeInt32BE(field, at); // one partition
  return {
    ...{ apiKey: 0, apiVersion: 7, parts: [body, batch] },
    // One topic, its name, one partition, its number.
    read: (answer) => refuse(answer.readInt16BE(4 + 2 + name.length + 4 + 4)),
  };
}

function refuse(errorCode: number): void {
  if (errorCode !== 0 && errorCode !== duplicateSequence) throw new KafkaRefusal(errorCode);
}
