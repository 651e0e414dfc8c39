import { createReadStream, readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { analyzeRecovery } from '../../state-machines/recovery/analyze-recovery.ts';
import { calibrate } from '../../state-machines/recovery/calibrate.ts';
import { gateProblems } from '../../state-machines/recovery/gate.ts';
import { KeptRows } from '../../state-machines/recovery/kept-rows.ts';
import type { Sample } from '../../state-machines/recovery/sample.ts';
import type { Observation } from '../../state-machines/recovery/timeline.ts';

// A process of its own, so that its peak of memory is nobody else's: FILE [INSTANTS]; without, rows are only read. One JSON line on standard output.

/** What became of the day, and what it cost. */
export interface DayAnswer {
  readonly rows: number;
  readonly seconds: number;
  readonly peakMb: number;
  readonly recovery?: string;
  readonly stallMs?: number;
}

const [file = '', instants] = process.argv.slice(2);
const startMs = performance.now();
const kept = new KeptRows();
const { rows } = kept;
for await (const line of createInterface({ input: createReadStream(file) }))
  kept.push(JSON.parse(line) as Sample);
const judged = instants ? judge(JSON.parse(instants) as Observation['instants']) : {};
const answer: DayAnswer = {
  rows: rows.length,
  ...judged,
  seconds: (performance.now() - startMs) / 1_000,
  // Not `maxRSS`, which begins with what the process that started this one had.
  peakMb: Number(/^VmHWM:\s+(\d+) kB$/m.exec(readFileSync('/proc/self/status', 'utf8'))![1]) / 1_024,
};
process.stdout.write(`${JSON.stringify(answer)}\n`);

function judge(instants: Observation['instants']): Pick<DayAnswer, 'recovery' | 'stallMs'> {
  const quiet = rows.filter(({ atMs }) => atMs < instants.effMs);
  const calibration = calibrate(quiet);
  if ('problem' in calibration) throw new Error(calibration.problem);
  const problems = gateProblems(quiet, calibration);
  if (problems.length > 0) throw new Error(problems.join('; '));
  const { verdict, figures } = analyzeRecovery({
    ...{ rows, calibration, death: 'crash', triggerMs: 1_000, maxRecoveryMs: 600_000 },
    instants,
    clock: { offsetMs: 0, boundMs: 5 },
  });
  return { recovery: verdict.recovery, ...(figures.stall && { stallMs: figures.stall.ms }) };
}
