import { readdir, readFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { join } from 'node:path';
import { topics } from '../../compose/streaming/kafka/kafka-client.ts';
import { systemClock } from '../../controller/clock.ts';
import { createClaims } from '../../controller/status/claims.ts';
import { observerWorkload } from '../../controller/workload/observer-workload.ts';
import type { NodeHandle } from '../../provisioners/contract.ts';
import { loadScripts } from '../../state-machines/load-scripts.ts';
import { type Baseline, runTrial, type TrialPorts } from '../../state-machines/run-trial.ts';
import { type BenchLab, sixNodes, withLab } from './bench-lab.ts';
import { docker, type Measure } from './bench-site.ts';
import { type Commit, lastViolationEnd, readCommits } from './commit-log.ts';
import { median } from './figure.ts';
import { askFrontier } from './generator-task.ts';

const stallsS = [10, 30, 60, 1] as const;
const triggerMs = 1_000;
const readMs = 5_000;
const sourceNode = 2;

type Name = 'recovery-error' | 'recovery-bound' | 'recovery-outside' | 'recovery-verdicts';

interface Truth {
  readonly measuredMs: number;
  readonly trueMs: number;
  readonly boundMs: number;
  readonly commitGapMs: number;
}

/**
 * The recovery time that a trial tells of a job which stood still for a known time, beside what the job's own commit log
 * says of it: the driver is stopped and continued by signal, 10, 30, 60 and 1 s in turn, and nothing else is done. Of the
 * error the most and beside it the median; of the bound the most without the p99 commit gap; then how often the error
 * was beyond the bound, and the verdict another one than Recovered, or Masked for 1 s.
 */
export const measureRecoveryTruth: Measure<Name> = (site, signal) =>
  withLab(
    site,
    { name: 'bench-truth', subnet: '10.94.8.0/24', nodes: sixNodes },
    async (lab) => {
      const compose = join(site.packageRoot, 'compose', 'streaming', 'stack.yaml');
      lab.save([{ name: 'streaming', compose, env: { RATE: '500', PROFILE: 'defaults' } }]);
      await lab.apply();
      const checkpoint = await findCheckpoint(lab);
      const { schedule } = await askFrontier(lab, sourceNode, 'streaming_generator');
      const ports = await trialPorts(lab, site.packageRoot, signal);
      const truths: Truth[] = [];
      let baseline: Baseline | undefined;
      let wrong = 0;
      const n = site.runs ?? 30;
      for (let run = 1; run <= n; run++) {
        const stallS = stallsS[(run - 1) % stallsS.length]!;
        const commits = new Map<number, Commit>();
        const reading = setInterval(
          () => void readCommits(checkpoint, topics.events, commits).catch(() => undefined),
          readMs,
        );
        const stopped = { atMs: 0 };
        const trial = {
          ...{ runId: `truth-${run}`, owner: 'bench', kind: { death: 'crash' as const } },
          plan: async () => {
            stopped.atMs = await stall(stallS * 1_000);
            return [];
          },
          control: { holdMs: 0 },
          measure: { calibrationMs: 60_000, gateMs: 10_000, maxRecoveryMs: 600_000, triggerMs },
          ...(baseline && { baseline }),
        };
        const result = await runTrial(trial, ports, signal);
        clearInterval(reading);
        await readCommits(checkpoint, topics.events, commits);
        baseline ??= result.baseline;
        const { recovery, problem } = result;
        if (!recovery) throw new Error(`trial ${run} bears nothing: ${problem}`);
        const { verdict, figures, thetaMs } = recovery;
        const wanted = stallS === 1 ? 'Masked' : 'Recovered';
        if (verdict.recovery !== wanted) wrong++;
        const { commitGapMs } = baseline!.calibration;
        const endMs = lastViolationEnd([...commits.values()], schedule, {
          ...{ fromMs: stopped.atMs, thetaMs, gapMs: commitGapMs },
        });
        const trueMs = endMs === undefined ? 0 : endMs - stopped.atMs;
        const told = figures.recovery;
        site.progress(
          `recovery-error: ${run}/${n}, ${stallS} s: ${verdict.recovery}, ${told?.ms} ± ${told?.errorMs} ms, true ${Math.round(trueMs)}`,
        );
        if (told) truths.push({ measuredMs: told.ms, trueMs, boundMs: told.errorMs, commitGapMs });
      }
      const errors = truths.map(({ measuredMs, trueMs }) => Math.abs(measuredMs - trueMs));
      const outside =
        truths.filter(({ boundMs }, index) => errors[index]! > boundMs).length + n - truths.length;
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

/** The lab's shared folder, where the job keeps its state. */
async function findCheckpoint(lab: BenchLab): Promise<string> {
  const entries = await readdir(lab.stateDir, { recursive: true, withFileTypes: true });
  const found = entries.find(
    ({ name, parentPath }) => name === 'commits' && parentPath.endsWith('checkpoint/job'),
  );
  if (!found) throw new Error(`no checkpoint below ${lab.stateDir}`);
  return found.parentPath;
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
