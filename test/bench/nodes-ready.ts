import { join } from 'node:path';
import { runCommand } from '../../provisioners/shared/run-command.ts';
import { type BenchLab, sixNodes, withLab } from './bench-lab.ts';
import type { Measure } from './bench-site.ts';
import { median } from './figure.ts';

/** Six machines and a swarm of them, by `controller apply` and by a shell script: whole processes, in turn. */
export const measureNodesReady: Measure<'nodes-ready'> = async (site, signal) => {
  const n = site.runs ?? 3;
  const layout = { name: 'bench-nodes', subnet: '10.94.0.0/24', nodes: sixNodes };
  const ours: number[] = [];
  const shell: number[] = [];
  for (let run = 1; run <= n; run++) {
    site.progress(`nodes-ready: run ${run} of ${n}`);
    ours.push(await withLab(site, layout, byController, signal));
    shell.push(await byShell(site.packageRoot, site.images.get('node')!, signal));
    site.progress(`nodes-ready: ${ours.at(-1)?.toFixed(1)} s, by shell ${shell.at(-1)?.toFixed(1)} s`);
  }
  const target = { of: 'ratio', sign: '<=', limit: 1.3 } as const;
  return { 'nodes-ready': { value: median(ours), unit: 's', n, baseline: median(shell), target } };
};

async function byController(lab: BenchLab): Promise<number> {
  const seconds = await secondsOf(() => lab.apply());
  const states = (await lab.onNode(1, 'docker', 'node', 'ls', '--format', '{{.Status}}')).split('\n');
  if (states.length !== sixNodes.length || states.some((state) => state !== 'Ready'))
    throw new Error(`apply has ended, and the swarm's nodes are ${states.join(', ')}`);
  return seconds;
}

async function byShell(packageRoot: string, image: string, signal: AbortSignal): Promise<number> {
  const script = join(packageRoot, 'test', 'bench', 'up.sh');
  const down = () => runCommand('bash', [script, '--down'], {}, new AbortController().signal);
  await down();
  try {
    return await secondsOf(() => runCommand('bash', [script, image], {}, signal));
  } finally {
    await down();
  }
}

async function secondsOf(work: () => Promise<unknown>): Promise<number> {
  const startMs = performance.now();
  await work();
  return (performance.now() - startMs) / 1000;
}
