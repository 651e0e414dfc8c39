import { setImmediate as nextTurn } from 'node:timers/promises';
import { steadyClock } from '../../controller/clock.ts';
import { WorkQueue } from '../../controller/loop/work-queue.ts';
import { createMetrics } from '../../controller/metrics/metrics.ts';
import { seededRandom } from '../../state-machines/seeded-random.ts';
import type { Measure } from './bench-site.ts';
import { median } from './figure.ts';

const adds = 1_000_000;
const keys = 10_000;
const workers = 4;
/** So many in one turn of the event loop: then the workers' turn comes. */
const burst = 1_000;

/**
 * A million adds of ten thousand keys in random order, the same in each run, beside four workers that keep a key for one
 * turn of the event loop, as the shortest pass would, until all is worked through; with the operator's metrics. Beside it
 * the same by a bare Set, which knows neither workers nor metrics.
 */
export const measureQueueAdds: Measure<'queue-adds'> = async (site, signal) => {
  const random = seededRandom(1);
  const order = Array.from({ length: adds }, () => `ClusterSpec/c${Math.floor(random() * keys)}`);
  const ours: number[] = [];
  const plain: number[] = [];
  const runs = site.runs ?? 5;
  for (let run = 1; run <= runs; run++) {
    signal.throwIfAborted();
    site.progress(`queue-adds: run ${run} of ${runs}`);
    ours.push(await timed(() => throughQueue(order)));
    plain.push(await timed(() => throughSet(order)));
  }
  return {
    'queue-adds': {
      ...{ value: median(ours), unit: 's', n: runs, baseline: median(plain) },
      target: { of: 'value', sign: '<', limit: 2 },
    },
  };
};

async function timed(work: () => Promise<void>): Promise<number> {
  const startMs = performance.now();
  await work();
  return (performance.now() - startMs) / 1000;
}

async function throughQueue(order: readonly string[]): Promise<void> {
  const { queue: metrics } = createMetrics().loop('ClusterSpec', workers);
  const queue = new WorkQueue({ clock: steadyClock, metrics });
  const busy = new Set<string>();
  const work = async () => {
    for (let key = await queue.get(); key !== undefined; key = await queue.get()) {
      if (busy.has(key)) throw new Error(`${key} is worked on twice`);
      busy.add(key);
      await nextTurn();
      busy.delete(key);
      queue.done(key);
    }
  };
  const working = Promise.all(Array.from({ length: workers }, work));
  for (const [index, key] of order.entries()) {
    queue.add(key);
    if (index % burst === burst - 1) await nextTurn();
  }
  await Promise.all([queue.shutDown(), working]);
}

async function throughSet(order: readonly string[]): Promise<void> {
  const waiting = new Set<string>();
  const take = () => {
    const [key] = waiting;
    if (key !== undefined) waiting.delete(key);
  };
  for (const [index, key] of order.entries()) {
    waiting.add(key);
    if (index % burst !== burst - 1) continue;
    await nextTurn();
    for (let worker = 0; worker < workers; worker++) take();
  }
  for (; waiting.size > 0; await nextTurn()) for (let worker = 0; worker < workers; worker++) take();
}
