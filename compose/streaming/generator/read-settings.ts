import type { GeneratorShare } from '../records/frontier.ts';
import type { Catalogue } from '../records/record.ts';
import type { Schedule } from '../records/schedule.ts';
import { parseRate } from './parse-rate.ts';

/** What the environment says; each has a default but the ledger. */
export interface Settings {
  readonly catalogue: Catalogue;
  readonly rate: Schedule['rate'];
  readonly share: GeneratorShare;
  readonly brokers: readonly string[];
  /** Absent: nothing is kept, and a restart knows the topic alone. */
  readonly ledgerFile: string | undefined;
}

/** Several must fit into a batch of what a broker takes. */
const maximumRecordBytes = 100_000;

/** Rejects with a RangeError that names the variable; `readFile` gives the text of a trace. */
export async function readSettings(
  env: NodeJS.ProcessEnv,
  readFile: (path: string) => Promise<string>,
): Promise<Settings> {
  const number = (name: string, otherwise: number) => positive(env, name, otherwise);
  const partitions = number('PARTITIONS', 6);
  const products = number('PRODUCTS', 50);
  const count = number('GENERATORS', 1);
  const slot = number('GENERATOR_SLOT', 1);
  if (products < partitions) throw new RangeError('PRODUCTS must not be fewer than PARTITIONS');
  if (count > partitions) throw new RangeError('GENERATORS must not be more than PARTITIONS');
  if (slot > count) throw new RangeError('GENERATOR_SLOT must not be more than GENERATORS');
  // Swarm hands on an empty text where the stack's variable is not set.
  const size = env.RECORD_BYTES ? { recordBytes: number('RECORD_BYTES', 1) } : {};
  if ((size.recordBytes ?? 0) > maximumRecordBytes)
    throw new RangeError(`RECORD_BYTES must not be more than ${maximumRecordBytes}`);
  return {
    catalogue: { seed: number('SEED', 1), partitions, products, ...size },
    rate: await parseRate(env.RATE ?? '2000', readFile),
    share: { index: slot - 1, count },
    brokers: (env.KAFKA_BROKERS ?? 'kafka:9092').split(','),
    ledgerFile: env.LEDGER_FILE,
  };
}

function positive(env: NodeJS.ProcessEnv, name: string, otherwise: number): number {
  const value = Number(env[name] ?? otherwise);
  if (!Number.isInteger(value) || value <= 0) throw new RangeError(`${name} must be a positive integer`);
  return value;
}
