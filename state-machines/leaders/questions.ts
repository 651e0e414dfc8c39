import type { Leads } from '../../crds/fault-schedule.ts';

/** What is said to a task to learn whether it leads; bytes, so that any protocol will do. */
export interface Question {
  /** For people: what it is that somebody leads. */
  readonly of: string;
  readonly port: number;
  readonly said: Buffer;
  /** How the end of the answer is known: the other side closes, or four bytes before it give its size. */
  readonly endsBy: 'close' | 'size';
  /** True when the answer means that the task leads; throws for an answer that does not tell. */
  leads(answer: Buffer): boolean;
}

/** The question for what a manifest names. */
export function questionOf({ sparkMaster, zookeeper, kafkaController, kafkaPartition }: Leads): Question {
  if (sparkMaster) return askMaster(sparkMaster.port);
  if (zookeeper) return askZooKeeper(zookeeper.port);
  if (kafkaController) return askController(kafkaController.port);
  if (kafkaPartition) return askPartition(kafkaPartition);
  throw new Error('no leader is asked for');
}

/** https://spark.apache.org/docs/latest/spark-standalone.html: of several masters one is ALIVE, the others STANDBY. */
function askMaster(port: number): Question {
  return {
    ...{ of: "Spark's masters", port, endsBy: 'close' },
    said: Buffer.from('GET /json/ HTTP/1.0\r\n\r\n'),
    leads(answer) {
      const status = /"status"\s*:\s*"(\w+)"/.exec(answer.toString())?.[1];
      if (status === undefined) throw new Error('what answers is no Spark master');
      return status === 'ALIVE';
    },
  };
}

/** The four letters that every server answers without being told to: a follower says so, a single server `standalone`. */
function askZooKeeper(port: number): Question {
  return {
    ...{ of: 'the ZooKeeper ensemble', port, endsBy: 'close' },
    said: Buffer.from('srvr'),
    leads(answer) {
      const text = answer.toString();
      const mode = /^Mode: (\w+)/m.exec(text)?.[1];
      if (mode === undefined) throw new Error(text.trim().slice(0, 100) || 'it says nothing');
      return mode === 'leader' || mode === 'standalone';
    },
  };
}

const metadataTopic = '__cluster_metadata';
const notLeader = 6;
const unknownPartition = 3;

/** DescribeQuorum, version 0, at the controller's own listener: only the leader of the quorum answers it. */
function askController(port: number): Question {
  return {
    ...{ of: "Kafka's metadata quorum", port, endsBy: 'size' },
    said: sized(
      requestHeader(55, 0),
      noTags,
      ...[compactCount(1), compactText(metadataTopic), compactCount(1), int32(0), noTags, noTags, noTags],
    ),
    leads(answer) {
      const fields = new Fields(answer);
      fields.skip(4 + 1); // correlation id, tags
      const error = fields.int16();
      if (error !== 0) throw new Error(`Kafka's error ${error}`);
      fields.skip(1); // one topic
      fields.skip(fields.compactLength()); // its name
      fields.skip(1 + 4); // one partition, its number
      return isLeader(fields.int16());
    },
  };
}

/** ListOffsets, version 1: only the leader of a partition answers it, whoever else knows of it. */
function askPartition({ topic, partition, port }: NonNullable<Leads['kafkaPartition']>): Question {
  const name = Buffer.from(topic);
  const latest = Buffer.alloc(8, 0xff);
  return {
    ...{ of: `partition ${partition} of ${topic}`, port, endsBy: 'size' },
    said: sized(
      requestHeader(2, 1),
      int32(-1), // a client, no replica
      ...[int32(1), int16(name.length), name, int32(1), int32(partition), latest],
    ),
    leads(answer) {
      const fields = new Fields(answer);
      fields.skip(4 + 4); // correlation id, one topic
      fields.skip(fields.int16()); // its name
      fields.skip(4 + 4); // one partition, its number
      return isLeader(fields.int16());
    },
  };
}

function isLeader(error: number): boolean {
  if (error === 0) return true;
  if (error === notLeader) return false;
  throw new Error(error === unknownPartition ? 'it knows of none' : `Kafka's error ${error}`);
}

// https://kafka.apache.org/protocol: as much of it as these two questions need.

const noTags = Buffer.from([0]);

function requestHeader(api: number, version: number): Buffer {
  const client = Buffer.from('spark-failures');
  return Buffer.concat([int16(api), int16(version), int32(1), int16(client.length), client]);
}

function sized(...parts: readonly Buffer[]): Buffer {
  const body = Buffer.concat(parts);
  return Buffer.concat([int32(body.length), body]);
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

/** Counts and lengths below 127, one byte: one more than they are, as zero means that there is none. */
function compactCount(count: number): Buffer {
  return Buffer.from([count + 1]);
}

function compactText(text: string): Buffer {
  return Buffer.concat([compactCount(text.length), Buffer.from(text)]);
}

/** Reads one answer from its beginning; throws when it ends too early. */
class Fields {
  readonly #answer: Buffer;
  #at = 0;

  constructor(answer: Buffer) {
    this.#answer = answer;
  }

  skip(bytes: number): void {
    this.#at += bytes;
  }

  int16(): number {
    if (this.#at + 2 > this.#answer.length) throw new Error('what answers is no Kafka');
    this.#at += 2;
    return this.#answer.readInt16BE(this.#at - 2);
  }

  compactLength(): number {
    this.#at += 1;
    return (this.#answer[this.#at - 1] ?? 1) - 1;
  }
}
