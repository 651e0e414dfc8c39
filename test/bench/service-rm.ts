import { setTimeout as sleep } from 'node:timers/promises';
import { seededRandom } from '../../state-machines/seeded-random.ts';
import type { Measure } from './bench-site.ts';
import { median } from './figure.ts';
import { withOwnCluster } from './own-cluster.ts';
import { saveStack, sleepers } from './tiny-stack.ts';

const count = 10;
/** Of the operator's own look at what no event told: removals are to fall anywhere in it. */
const resyncMs = 2_500;

/**
 * A service that somebody removes, from the order to the look that sees another one of its name; beside it one that is made at
 * once, from the order to the look that sees it.
 */
export const measureServiceRm: Measure<'service-rm-median' | 'service-rm-max'> = (site, signal) =>
  withOwnCluster(
    site,
    async (cluster) => {
      const n = site.runs ?? 30;
      cluster.save(saveStack(site, 'service-rm', sleepers(count)));
      cluster.watch();
      await cluster.untilRunning(count);
      const random = seededRandom(n);
      const recreated: number[] = [];
      const made: number[] = [];
      for (let run = 0; run < n; run++) {
        await sleep(500 + random() * resyncMs, undefined, { signal });
        recreated.push(await cluster.msOfLoss(`service-${run % count}`));
        await cluster.untilRunning(count);
        made.push(await cluster.msOfBirth(`service-${run % count}`));
        site.progress(`service-rm: ${recreated.at(-1)} ms, made alone in ${made.at(-1)} ms`);
      }
      const below = (limit: number) => ({ of: 'value', sign: '<', limit }) as const;
      return {
        'service-rm-median': {
          ...{ value: median(recreated), baseline: median(made), unit: 'ms', n, target: below(1_000) },
        },
        'service-rm-max': {
          ...{ value: Math.max(...recreated), baseline: Math.max(...made), unit: 'ms', n },
          target: below(3_000),
        },
      };
    },
    signal,
  );
