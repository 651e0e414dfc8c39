import { readFile } from 'node:fs/promises';
import type { FaultRun } from '../../state-machines/contract.ts';
import { faultKinds } from '../../state-machines/faults/catalog.ts';
import { mergeResults, runTogether } from '../../state-machines/run-together.ts';
import { type FaultLab, openMachines } from '../support/fault-lab.ts';
import { docker, type Measure } from './bench-site.ts';
import { median, type Reading } from './figure.ts';

const cluster = 'bench-holds';
const windowMs = 60_000;
const graceMs = 30_000;
const holdMs = 2_000;

type Name = 'barrier-skew-median' | 'barrier-skew-max' | 'hold-overhead';

/**
 * Three containers on three machines frozen at once, each by a fault of its own, behind the barrier: the last one's effect
 * after the first one's. Beside it three plain `docker pause`, sent at once over the same connections, by the clock that the
 * machines share. And what a hold costs the node that it is on, in CPU time of everything that runs there, beside the
 * same time without one.
 */
export const measureHolds: Measure<Name> = async (site, signal) => {
  const closing: (() => Promise<void>)[] = [];
  const teardown = (work: () => Promise<void>) => void closing.push(work);
  const layout = { cluster, subnet: '10.94.8.0/24', nodes: 3, limitMs: 3_600_000 };
  const lab = await openMachines({ comment: site.progress, teardown }, layout);
  try {
    const n = site.runs ?? 30;
    const tasks = await Promise.all(lab.names.map((name) => lab.startTask(name)));
    const skews: number[] = [];
    const bare: number[] = [];
    for (let run = 0; run < n; run++) {
      const runs = await Promise.all(tasks.map((task, index) => pause(lab, task, `skew-${run}-${index}`)));
      const results = await runTogether(runs, { ...lab.ports, journal: quietJournal }, signal);
      const { outcome, instants, message } = mergeResults(`skew-${run}`, results);
      if (outcome !== 'Healed') throw new Error(`${outcome}: ${message}`);
      skews.push(instants.effMs! - instants.firstEffMs!);
      bare.push(await pauseBare(lab, tasks));
      site.progress(`barrier-skew: ${run + 1} of ${n}: ${skews.at(-1)} ms; bare ${bare.at(-1)} ms`);
    }
    const reading = (of: (values: readonly number[]) => number): Reading => ({
      ...{ value: of(skews), unit: 'ms', n, baseline: of(bare) },
    });
    return {
      'barrier-skew-median': { ...reading(median), target: { of: 'value', sign: '<', limit: 30 } },
      'barrier-skew-max': reading((values) => Math.max(...values)),
      'hold-overhead': await overhead(lab, site.progress),
    };
  } finally {
    for (const work of closing.reverse()) await work();
  }
};

type Task = Awaited<ReturnType<FaultLab['startTask']>>;
const quietJournal = { write: async () => {}, unfinished: async () => [] };

async function pause(lab: FaultLab, task: Task, runId: string): Promise<FaultRun> {
  const kind = faultKinds.find(({ name }) => name === 'pauseContainer')!;
  const named = { runId, cluster, schedule: 'bench', fault: runId, kind: kind.name };
  const { instant, needs } = kind;
  return { ...named, instant, needs, steps: kind.plan({}, await lab.facts([task])), holdMs, graceMs };
}

/** Milliseconds between the first and the last of three that have ended, by the uptime of the kernel that they share. */
async function pauseBare(lab: FaultLab, tasks: readonly Task[]): Promise<number> {
  const timed = 'docker pause "$1" >/dev/null && read -r up _ </proc/uptime && echo "$up"';
  const ends = await Promise.all(tasks.map(({ node, containerId }) => lab.on(node, timed, containerId)));
  await Promise.all(tasks.map(({ node, containerId }) => lab.on(node, 'docker unpause "$1"', containerId)));
  const seconds = ends.map(Number);
  return Math.round(1000 * (Math.max(...seconds) - Math.min(...seconds)));
}

/** Of one kind of each level the dearest. */
async function overhead(lab: FaultLab, progress: (line: string) => void): Promise<Reading> {
  const [name] = lab.names;
  const node = { kind: 'node', node: name! } as const;
  const task = await lab.startTask(name!, '--memory 512m');
  const idle = await cpuPercent(name!, () => lab.ports.clock.sleep(windowMs, lab.signal));
  const held: number[] = [];
  for (const [kind, target] of [
    ['pauseContainer', task],
    ['isolateNode', node],
    ['memoryLimit', task],
  ] as const) {
    let percent = 0;
    await lab.run({
      ...{ kind, targets: [target], holdMs: windowMs + 5_000 },
      ...(kind === 'memoryLimit' && { params: { memory: '256Mi' } }),
      during: async () => {
        percent = await cpuPercent(name!, () => lab.ports.clock.sleep(windowMs, lab.signal));
      },
    });
    held.push(percent - idle);
    progress(
      `hold-overhead: ${kind} ${percent.toFixed(2)} % of a core, ${idle.toFixed(2)} % without a fault`,
    );
  }
  return {
    ...{ value: Math.max(...held), unit: '%', n: held.length, baseline: idle },
    target: { of: 'value', sign: '<', limit: 1 },
  };
}

/** CPU time of all that runs on a machine of the lab, its engine and containers included, as the host accounts it. */
async function cpuPercent(name: string, work: () => Promise<void>): Promise<number> {
  const id = await docker(
    ['inspect', '--format', '{{.Id}}', `sf-${cluster}-${name}`],
    AbortSignal.timeout(10_000),
  );
  const usedMs = async () => {
    const v1 = await readFile(`/sys/fs/cgroup/cpuacct/docker/${id}/cpuacct.usage`, 'utf8').catch(
      () => undefined,
    );
    if (v1 !== undefined) return Number(v1) / 1e6;
    const v2 = await readFile(`/sys/fs/cgroup/system.slice/docker-${id}.scope/cpu.stat`, 'utf8');
    return Number(/^usage_usec (\d+)/m.exec(v2)![1]) / 1e3;
  };
  const [startMs, before] = [performance.now(), await usedMs()];
  await work();
  return (100 * ((await usedMs()) - before)) / (performance.now() - startMs);
}
