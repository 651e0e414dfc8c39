import { join } from 'node:path';
import { runCommand } from '../../provisioners/shared/run-command.ts';
import type { Measure } from './bench-site.ts';
import { median } from './figure.ts';

/** What verifying, or only reading, has cost one process. */
export interface OracleCost {
  readonly events: number;
  /** Of all its threads. */
  readonly cpuMs: number;
  /** The largest that was seen, in 10^6 bytes. */
  readonly rssMb: number;
  /** Records that it held in the end. */
  readonly held: number;
}

const seconds = 30;
const longer = 4;

type Name = 'oracle-rate' | 'oracle-rss';

/**
 * How many events per second of processor time one process verifies, from their bytes; beside it, how many it reads without
 * judging them. And the memory that this takes in a run of 30 s and in one four times as long: the ratio says whether it
 * grows.
 */
export const measureOracleSpeed: Measure<Name> = async (site, signal) => {
  const runs = site.runs ?? 5;
  const cost = async (mode: 'check' | 'read', forSeconds: number): Promise<OracleCost> => {
    const program = join(site.packageRoot, 'dist', 'test', 'bench', 'oracle-load.js');
    const args = ['--expose-gc', program, mode, String(forSeconds)];
    return JSON.parse(await runCommand(process.execPath, args, {}, signal)) as OracleCost;
  };
  const rates: Record<'check' | 'read', number[]> = { check: [], read: [] };
  const rssMb: number[] = [];
  for (let run = 1; run <= runs; run++) {
    site.progress(`oracle: run ${run} of ${runs}`);
    for (const mode of ['read', 'check'] as const) {
      const { events, cpuMs, rssMb: most } = await cost(mode, seconds);
      rates[mode].push((events * 1000) / cpuMs);
      if (mode === 'check') rssMb.push(most);
    }
  }
  site.progress(`oracle: ${longer} times as long`);
  const long = await cost('check', longer * seconds);
  return {
    'oracle-rate': {
      ...{ value: median(rates.check), unit: 'events/s', n: runs, baseline: median(rates.read) },
      target: { of: 'value', sign: '>=', limit: 300_000 },
    },
    'oracle-rss': {
      ...{ value: long.rssMb, unit: 'MB', n: 1, baseline: median(rssMb) },
      target: { of: 'ratio', sign: '<=', limit: 1.1 },
    },
  };
};
