import { readdir, readFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { join } from 'node:path';
import { topics } from '../../compose/streaming/kafka/kafka-client.ts';
import type { Schedule } from '../../compose/streaming/records/schedule.ts';
import { systemClock } from '../../controller/clock.ts';
import { createClaims } from '../../controller/status/claims.ts';
import { observerWorkload } from '../../controller/workload/observer-workload.ts';
import type { NodeHandle } from '../../provisioners/contract.ts';
import { loadScripts } from '../../state-machines/load-scripts.ts';
import { type Baseline, runTrial, type TrialPorts } from '../../state-machines/run-trial.ts';
import { type BenchLab, sixNodes, withLab } from './bench-lab.ts';
import { docker, type Measure, until } from './bench-site.ts';
import { type Commit, lastViolationEnd, readCommits } from './commit-log.ts';
import { median } from './figure.ts';
import { askFrontier } from './generator-task.ts';

const stallsS = [10, 30, 60, 1] as const;
const triggerMs = 1_000;
const readMs = 5_000;
const sourceNode = 2;
/** A run may bear nothing, as any trial: the gate was not passed. */
const mostInvalid = 5;

type Name = 'recovery-error' | 'recovery-bound' | 'recovery-outside' | 'recovery-verdicts';

interface Truth {
  readonly verdict: string;
  readonly wanted: string;
  readonly measuredMs: number;
  readonly trueMs: number;
  readonly boundMs: number;
  readonly commitGapMs: number;
}

/**
 * The recovery time that a trial tells of a job which stood still for a known time, beside what the job's own commit log
 * says of it: the driver is stopped and continued by signal, 10, 30, 60 and 1 s in turn, and nothing else is done. Of the
 * error the most and beside it the median; of the bound the most without the p99 commit gap; then how often the error
 * was beyond the bound, and the verdict another one than Recovered, or Masked for 1 s. A run that bears nothing is done again.
 */
export const measureRecoveryTruth: Measure<Name> = (site, signal) =>
  withLab(
    site,
    { name: 'bench-truth', subnet: '10.94.8.0/24', nodes: sixNodes },
    async (lab) => {
      const compose = join(site.packageRoot, 'compose', 'streaming', 'stack.yaml');
      lab.save([{ name: 'streaming', compose, env: { RATE: '500', PROFILE: 'defaults' } }]);
      await lab.apply();
      const bench = {
        checkpoint: await until(
          { what: 'the first batch is committed', everyMs: 500, deadlineMs: 180_000 },
          () => findCheckpoint(lab),
          signal,
        ),
        ports: await trialPorts(lab, site.packageRoot, signal),
        schedule: (await askFrontier(lab, sourceNode, 'streaming_generator')).schedule,
      };
      const truths: Truth[] = [];
      let baseline: Baseline | undefined;
      let invalid = 0;
      const n = site.runs ?? 30;
      while (truths.length < n) {
        const run = truths.length + 1;
        const stallS = stallsS[truths.length % stallsS.length]!;
        const tell = (line: string) => site.progress(`recovery-error: ${run}/${n}, ${stallS} s: ${line}`);
        const measured = await measureStall(
          `truth-${run}-${invalid}`,
          stallS,
          { ...bench, baseline },
          signal,
        );
        baseline = measured.baseline;
        const { truth, why } = measured;
        if (!truth) {
          tell(`bears nothing, and is done again: ${why}`);
          if (++invalid > mostInvalid) throw new Error(`${invalid} runs bear nothing, the last: ${why}`);
          continue;
        }
        tell(`${truth.verdict}, ${truth.measuredMs} ± ${truth.boundMs} ms, true ${Math.round(truth.trueMs)}`);
        truths.push(truth);
      }
      const errors = truths.map(({ measuredMs, trueMs }) => Math.abs(measuredMs - trueMs));
      const outside = truths.filter(({ boundMs }, index) => errors[index]! > boundMs).length;
      const wrong = truths.filter(({ verdict, wanted }) => verdict !== wanted).length;
      const bounds = truths.map(({ boundMs, commitGapMs }) => boundMs - commitGapMs);
      const none = { unit: 'runs', n, baseline: 0, target: { of: 'value', sign: '<=', limit: 0 } } as const;
      return {
        'recovery-error': { value: Math.max(...errors), unit: 'ms', n, baseline: median(errors) },
        'recovery-bound': {
          ...{ value: Math.max(...bounds), unit: 'ms', n, baseline: median(bounds) },
          target: { of: 'value', sign: '<=', limit: 500 },
        },
        'recovery-outside': { value: outside, ...none },
        'recovery-verdicts': { value: wrong, ...none },
      };
    },
    signal,
  );

interface TruthBench {
  readonly checkpoint: string;
  readonly schedule: Schedule;
  readonly ports: TrialPorts;
  readonly baseline: Baseline | undefined;
}

/** One stall: what the trial told and what the commit log says, or why the trial tells nothing. */
async function measureStall(
  runId: string,
  stallS: number,
  { checkpoint, schedule, ports, baseline: known }: TruthBench,
  signal: AbortSignal,
): Promise<{ readonly baseline: Baseline | undefined; readonly truth?: Truth; readonly why?: string }> {
  const commits = new Map<number, Commit>();
  const read = () => readCommits(checkpoint, topics.events, commits);
  const reading = setInterval(() => void read().catch(() => undefined), readMs);
  let stoppedMs = 0;
  const trial = {
    ...{ runId, owner: 'bench', kind: { death: 'crash' as const } },
    plan: async () => {
      stoppedMs = await stall(stallS * 1_000);
      return [];
    },
    control: { holdMs: 0 },
    measure: { calibrationMs: 60_000, gateMs: 10_000, maxRecoveryMs: 600_000, triggerMs },
    ...(known && { baseline: known }),
  };
  const { recovery, problem, baseline = known } = await runTrial(trial, ports, signal);
  clearInterval(reading);
  const told = recovery?.figures.recovery;
  if (!recovery || !baseline || recovery.verdict.recovery === 'Invalid')
    return { baseline, why: problem ?? recovery?.message ?? 'it was not calibrated' };
  await read();
  const { commitGapMs } = baseline.calibration;
  const limits = { fromMs: stoppedMs, thetaMs: recovery.thetaMs, gapMs: commitGapMs };
  const endMs = lastViolationEnd([...commits.values()], schedule, limits);
  const truth = {
    ...{ verdict: recovery.verdict.recovery, wanted: stallS === 1 ? 'Masked' : 'Recovered' },
    // What never recovered is wrong by any length.
    ...{ measuredMs: told?.ms ?? Number.POSITIVE_INFINITY, boundMs: told?.errorMs ?? 0, commitGapMs },
    trueMs: endMs === undefined ? 0 : endMs - stoppedMs,
  };
  return { baseline, truth };
}

/** Stops the driver for so long; resolves as soon as it stands still, with that instant. Its pids are this machine's, too. */
async function stall(ms: number): Promise<number> {
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name));
  const commands = await Promise.all(
    pids.map(async (pid) => [pid, await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')] as const),
  );
  const drivers = commands.filter(([, command]) => command.includes('org.apache.spark.deploy.SparkSubmit'));
  if (drivers.length !== 1) throw new Error(`${drivers.length} drivers run on this machine`);
  const pid = Number(drivers[0]![0]);
  process.kill(pid, 'SIGSTOP');
  const atMs = Date.now();
  setTimeout(() => process.kill(pid, 'SIGCONT'), ms);
  return atMs;
}

/** The lab's shared folder, where the job keeps its state as soon as it has committed a batch. */
async function findCheckpoint(lab: BenchLab): Promise<string | undefined> {
  const entries = await readdir(lab.stateDir, { recursive: true, withFileTypes: true });
  const found = entries.find(
    ({ name, parentPath }) => name === 'commits' && parentPath.endsWith('checkpoint/job'),
  );
  return found?.parentPath;
}

/** The observer, asked where its node publishes it; nothing is injected, so nothing else is needed. */
async function trialPorts(lab: BenchLab, packageRoot: string, signal: AbortSignal): Promise<TrialPorts> {
  const format = '{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}';
  const host = await docker(['inspect', '--format', format, lab.container(sourceNode)], signal);
  const node: Pick<NodeHandle, 'name' | 'dial'> = {
    name: `node${sourceNode}`,
    dial: async (target) => connect({ host, port: 'port' in target ? target.port : 0 }),
  };
  return {
    workload: observerWorkload({ node: async () => node as NodeHandle, clock: systemClock }),
    ...{ clock: systemClock, claims: createClaims() },
    scripts: await loadScripts(join(packageRoot, 'state-machines')),
    journal: { write: async () => {}, unfinished: async () => [] },
    nodes: () => Promise.reject(new Error('no node is touched')),
  };
}
