import { type ChildProcess, spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { runCommand } from '../../provisioners/shared/run-command.ts';
import { endController } from '../support/controller-process.ts';
import { sixNodes, withLab } from './bench-lab.ts';
import type { Measure } from './bench-site.ts';
import { saveStack, sleeper } from './tiny-stack.ts';

const cluster = 'bench-quiet';
const windowMs = 60_000;
const lookMs = 1_000;

type Name = 'operator-idle-cpu' | 'operator-idle-rss';

/** What an operator costs whose cluster of six nodes is Ready; beside it, in the same minute, a Node process that does nothing. */
export const measureOperatorIdle: Measure<Name> = (site, signal) =>
  withLab(
    site,
    { name: cluster, subnet: '10.94.4.0/24', nodes: sixNodes },
    async (lab) => {
      site.progress('operator-idle: six nodes, a service on each');
      const services = sixNodes.map((labels, index) => {
        const constraints = [`node.hostname == node${index + 1}`];
        return [`sleeper-${index + 1}`, sleeper(labels, { placement: { constraints } })] as const;
      });
      lab.save([{ name: 'tiny', compose: saveStack(site, cluster, Object.fromEntries(services)) }]);
      await lab.apply();
      const operator = await lab.watch();
      await lab.untilReady();
      // What it did to become ready is compiled, collected and done with.
      await lab.untilPasses(5, operator);
      site.progress(`operator-idle: watching for ${windowMs / 1000} s`);
      const empty = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000)'], { stdio: 'ignore' });
      try {
        const [ours, baseline] = await Promise.all([operator, empty].map((it) => observe(it, signal)));
        if (!ours || !baseline) throw new Error('nothing was observed');
        const below = (limit: number) => ({ of: 'value', sign: '<', limit }) as const;
        return {
          'operator-idle-cpu': {
            ...{ value: ours.cpuPercent, unit: '%', n: 1, baseline: baseline.cpuPercent },
            target: below(2),
          },
          'operator-idle-rss': {
            ...{ value: ours.rssMb, unit: 'MB', n: ours.looks, baseline: baseline.rssMb },
            target: below(150),
          },
        };
      } finally {
        await endController(empty, 'SIGTERM');
      }
    },
    signal,
  );

interface Cost {
  /** Of one core, over the whole window. */
  readonly cpuPercent: number;
  /** The largest that was seen, in 10^6 bytes. */
  readonly rssMb: number;
  readonly looks: number;
}

async function observe({ pid }: ChildProcess, signal: AbortSignal): Promise<Cost> {
  const ticksPerSecond = Number(await runCommand('getconf', ['CLK_TCK'], {}, signal));
  const startMs = performance.now();
  const startTicks = cpuTicks(pid);
  const rss: number[] = [];
  while (performance.now() - startMs < windowMs) {
    await sleep(lookMs, undefined, { signal });
    rss.push(rssMb(pid));
  }
  const seconds = (performance.now() - startMs) / 1000;
  const cpuSeconds = (cpuTicks(pid) - startTicks) / ticksPerSecond;
  return { cpuPercent: (100 * cpuSeconds) / seconds, rssMb: Math.max(...rss), looks: rss.length };
}

/** utime and stime of proc(5): the 14th and 15th field; the second one may hold spaces, in parentheses. */
function cpuTicks(pid: number | undefined): number {
  const [, rest = ''] = /\) (.*)/.exec(readFileSync(`/proc/${pid}/stat`, 'utf8')) ?? [];
  const fields = rest.split(' ').map(Number);
  return fields[11]! + fields[12]!;
}

function rssMb(pid: number | undefined): number {
  const [, kib] = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8')) ?? [];
  return (Number(kib) * 1024) / 1e6;
}
