import { existsSync } from 'node:fs';
import type { TrialRecord } from '../../crds/trial-record.ts';
import { runCommand } from '../../provisioners/shared/run-command.ts';
import { type BenchLab, withLab } from './bench-lab.ts';
import { docker, type Measure, until } from './bench-site.ts';
import { median, type Reading } from './figure.ts';
import { saveStack, sleeper } from './tiny-stack.ts';

const cluster = 'bench-fault';

type Name = 'fault-latency-median' | 'fault-latency-max';

/**
 * From the save of a schedule to its fault in effect, as an independent check on the node sees it: journal, switch and
 * check as ever, nothing measured. Beside it a bare `docker kill` on one engine, until the process is gone.
 */
export const measureFaultLatency: Measure<Name> = (site, signal) =>
  withLab(
    site,
    { name: cluster, subnet: '10.94.3.0/24', nodes: [{}, { place: 'target' }] },
    async (lab) => {
      site.progress('fault-latency: two nodes with one service');
      const deploy = { placement: { constraints: ['node.labels.place == target'] } };
      const compose = saveStack(site, cluster, { target: sleeper({ role: 'target' }, deploy) });
      lab.save([{ name: 'tiny', compose }]);
      await lab.apply();
      const operator = await lab.watch();
      const n = site.runs ?? 20;
      const ours: number[] = [];
      const bare: number[] = [];
      for (let run = 1; run <= n; run++) {
        await lab.untilReady();
        const before = await runningOn(lab);
        const { savedMs, trial } = await breakOnce(lab, `kill-${run}`);
        const since = (atMs: number) => `+${atMs - savedMs}`;
        const { cmd, eff } = trial.instants;
        if (!cmd || !eff) throw new Error(`nothing was injected: ${trial.outcome} ${trial.message ?? ''}`);
        ours.push(eff.atMs - savedMs);
        bare.push(await killOnce(site.images.get('generator')!, signal));
        const steps = `begun ${since(Date.parse(trial.startedAt))}, ordered ${since(cmd.atMs)}, in effect ${since(eff.atMs)}`;
        site.progress(`fault-latency: ${run} of ${n}: ${steps} ms; bare ${bare.at(-1)?.toFixed(0)} ms`);
        const isBack = async () => {
          const now = await runningOn(lab);
          return (now !== '' && now !== before) || undefined;
        };
        await until({ what: 'the service runs again', everyMs: 250, deadlineMs: 60_000 }, isBack, signal);
        await lab.untilPasses(2, operator);
      }
      const reading = (of: (values: readonly number[]) => number, limit: number): Reading => ({
        ...{ value: of(ours), unit: 'ms', n, baseline: of(bare) },
        target: { of: 'value', sign: '<', limit },
      });
      const largest = (values: readonly number[]) => Math.max(...values);
      return { 'fault-latency-median': reading(median, 200), 'fault-latency-max': reading(largest, 600) };
    },
    signal,
  );

const runningOn = (lab: BenchLab) => lab.onNode(2, 'docker', 'ps', '-q');

async function breakOnce(lab: BenchLab, name: string): Promise<{ savedMs: number; trial: TrialRecord }> {
  const { savedMs, trials } = await lab.runSchedule(name, {
    ...{ clusterRef: { name: cluster }, seed: 1, when: { now: {} }, preset: 'none' },
    faults: [
      { name: 'kill', target: { services: { matchNames: ['target'] }, pick: 'one' }, killContainer: {} },
    ],
  });
  const [trial] = trials;
  if (!trial) throw new Error(`${name} is Complete without a trial`);
  return { savedMs, trial };
}

/** Milliseconds from the start of `docker kill` to the end of the container's process. */
async function killOnce(image: string, signal: AbortSignal): Promise<number> {
  const options = ['--network', 'none', '--memory', '64m', '--entrypoint', 'sleep'];
  const id = await docker(['run', '-d', ...options, image, 'infinity'], signal);
  try {
    const pid = await docker(['inspect', '--format', '{{.State.Pid}}', id], signal);
    const startMs = performance.now();
    const killed = runCommand('docker', ['kill', id], {}, signal);
    const look = () => (existsSync(`/proc/${pid}`) ? undefined : performance.now());
    const gone = until({ what: 'the container dead', everyMs: 2, deadlineMs: 30_000 }, look, signal);
    const [goneMs] = await Promise.all([gone, killed]);
    return goneMs - startMs;
  } finally {
    await docker(['rm', '-f', id], new AbortController().signal);
  }
}
