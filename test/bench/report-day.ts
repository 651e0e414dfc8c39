import { execFile } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { seededRandom } from '../../state-machines/seeded-random.ts';
import { saveCampaign } from '../support/saved-campaign.ts';
import { exampleFaults, syntheticCampaign, syntheticRows } from '../support/synthetic-campaign.ts';
import type { Measure } from './bench-site.ts';

type Name = 'report-day-time' | 'report-day-rss';

const dayMs = 24 * 3_600_000;

/**
 * Prints what the process came to as its last line on standard error. Its peak of memory is the kernel's own of it: that of
 * `resourceUsage` begins with what the process that started it had.
 */
const meter = `data:text/javascript,${encodeURIComponent(`
  import { readFileSync } from 'node:fs';
  const start = performance.now();
  process.on('exit', () => {
    const kb = Number(/^VmHWM:\\s+(\\d+) kB$/m.exec(readFileSync('/proc/self/status', 'utf8'))[1]);
    process.stderr.write('\\n' + JSON.stringify({ ms: performance.now() - start, kb }));
  });`)}`;

/** What reads the rows must do at least: each as JSON. */
const plainReader = `
  import { createReadStream } from 'node:fs';
  import { createInterface } from 'node:readline';
  let last = 0;
  for await (const line of createInterface({ input: createReadStream(process.argv[1]) })) last = JSON.parse(line).atMs;`;

/**
 * The page of one trial with a day of rows, 345,600 of them, written by the command line in a process of its own; beside it
 * a process that does no more than to read them.
 */
export const measureReportDay: Measure<Name> = async ({ packageRoot, workDir, progress }, signal) => {
  progress('report-day: a day of rows');
  const [crash] = exampleFaults;
  const day = syntheticCampaign('day', [{ ...crash!, shapes: [crash!.shapes[0]!] }]);
  const [trial] = day.status.trials;
  const effMs = trial!.instants.eff!.atMs;
  const rows = [...syntheticRows(crash!.shapes[0]!, seededRandom(1), [-60_000, dayMs - 60_250], effMs)];
  const state = join(workDir, 'report-day');
  mkdirSync(state, { recursive: true });
  const manifest = await saveCampaign({ ...day, rows: new Map([[trial!.runId, rows]]) }, state);
  const main = join(packageRoot, 'dist', 'controller', 'main.js');
  const ours = await metered(
    [main, 'report', '-f', manifest, '--state', state, '--out', join(state, 'r.html')],
    signal,
  );
  const plain = await metered(
    ['--input-type=module', '-e', plainReader, join(state, trial!.samples!)],
    signal,
  );
  const below = (limit: number) => ({ of: 'value', sign: '<', limit }) as const;
  return {
    'report-day-time': {
      value: ours.ms / 1_000,
      unit: 's',
      n: 1,
      baseline: plain.ms / 1_000,
      target: below(10),
    },
    'report-day-rss': {
      value: ours.kb / 976.5625,
      unit: 'MB',
      n: 1,
      baseline: plain.kb / 976.5625,
      target: below(300),
    },
  };
};

async function metered(
  args: readonly string[],
  signal: AbortSignal,
): Promise<{ readonly ms: number; readonly kb: number }> {
  const { stderr } = await promisify(execFile)(process.execPath, ['--import', meter, ...args], { signal });
  return JSON.parse(stderr.trim().split('\n').at(-1)!) as { ms: number; kb: number };
}
