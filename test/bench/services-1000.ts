import { join } from 'node:path';
import { runCommand } from '../../provisioners/shared/run-command.ts';
import type { Measure } from './bench-site.ts';
import { withOwnCluster } from './own-cluster.ts';
import type { LookAnswer } from './services-1000-child.ts';
import { saveStack, sleepers } from './tiny-stack.ts';

const count = 1_000;
const idlePeak = 'process.resourceUsage().maxRSS * 1024 / 1e6';

type Name = 'services-1000-first' | 'services-1000-look' | 'services-1000-memory';

/**
 * A look at a thousand services, each of which is compared with what is wanted: the slowest one, and the peak of its process's
 * memory; beside it the same questions asked without a thought about the answers, and a Node process that does nothing. The
 * first look is told apart: nothing is compiled yet, and it reads a stack of as many services.
 */
export const measureThousandServices: Measure<Name> = (site, signal) =>
  withOwnCluster(
    site,
    async (cluster) => {
      site.progress(`services-1000: making ${count} services`);
      cluster.save(saveStack(site, 'services-1000', sleepers(count, { replicas: 0 })));
      cluster.watch();
      await cluster.untilListed(count);
      await cluster.unwatch();
      const n = site.runs ?? 30;
      const given = JSON.stringify({ site: cluster.site, manifest: cluster.manifest, n });
      const script = join(import.meta.dirname, 'services-1000-child.js');
      const said = await runCommand(process.execPath, [script, given], {}, signal);
      const { firstMs, ms, readMs, steps, peakMb } = JSON.parse(said) as LookAnswer;
      if (steps > 0) throw new Error(`${steps} steps are planned where nothing differs`);
      const idleMb = Number(await runCommand(process.execPath, ['-p', idlePeak], {}, signal));
      const below = (limit: number) => ({ of: 'value', sign: '<', limit }) as const;
      const baseline = Math.max(...readMs) / 1000;
      return {
        'services-1000-first': { value: firstMs / 1000, baseline, unit: 's', n: 1 },
        'services-1000-look': {
          ...{ value: Math.max(...ms) / 1000, baseline, unit: 's', n },
          target: below(1),
        },
        'services-1000-memory': { value: peakMb, baseline: idleMb, unit: 'MB', n: 1, target: below(300) },
      };
    },
    signal,
  );
