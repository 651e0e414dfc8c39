import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { LeaseTimes } from '../../controller/lease/lease-elector.ts';
import { startOwnEngine } from '../support/own-engine.ts';
import type { Measure } from './bench-site.ts';
import { median } from './figure.ts';

type Name = 'lease-takeover-median' | 'lease-takeover-max';

/** The defaults of the command line. */
const times: LeaseTimes = { leaseMs: 10_000, renewMs: 6_000, retryMs: 2_000 };

/**
 * From `kill -9` of the process that holds the lease until the other one may take over, at another moment of the renewals each
 * time; what was left is healed after that, and is not in it. Beside it, what the lease itself says: it stands still so long.
 */
export const measureLeaseTakeover: Measure<Name> = async (site, signal) => {
  const n = site.runs ?? 10;
  const engine = await startOwnEngine(signal);
  const ms: number[] = [];
  const start = (identity: string) => new Candidate(engine.host.replace('unix://', ''), identity);
  let leader = start('first');
  let next = leader;
  try {
    await leader.leads();
    for (let run = 1; run <= n; run++) {
      next = start(`next-${run}`);
      // Long enough to have seen the lease, and each time at another moment between two renewals.
      await sleep(2 * times.retryMs + (times.retryMs * run) / n, undefined, { signal });
      const startMs = performance.now();
      await leader.kill();
      await next.leads();
      ms.push(performance.now() - startMs);
      site.progress(`lease-takeover: ${run} of ${n}, ${Math.round(ms.at(-1)!)} ms`);
      leader = next;
    }
  } finally {
    await Promise.all([leader.kill(), next.kill()]);
    await engine.stop();
  }
  const target = { of: 'value', sign: '<', limit: 15 } as const;
  const reading = (value: number) => ({
    ...{ value: value / 1000, unit: 's' as const, n, baseline: times.leaseMs / 1000, target },
  });
  return { 'lease-takeover-median': reading(median(ms)), 'lease-takeover-max': reading(Math.max(...ms)) };
};

/** A process that stands for the lease. */
class Candidate {
  readonly #child: ChildProcess;
  readonly #led: Promise<unknown>;

  constructor(socket: string, identity: string) {
    const child = join(import.meta.dirname, 'lease-child.js');
    const args = JSON.stringify([socket, identity, times]);
    this.#child = spawn(process.execPath, [child, args], { stdio: ['ignore', 'pipe', 'inherit'] });
    this.#led = once(this.#child.stdout!, 'data');
  }

  async leads(): Promise<void> {
    await Promise.race([
      this.#led,
      once(this.#child, 'exit').then(() => Promise.reject(new Error('it ended'))),
    ]);
  }

  async kill(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const ended = once(this.#child, 'exit');
    this.#child.kill('SIGKILL');
    await ended;
  }
}
