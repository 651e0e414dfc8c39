import { seededRandom } from '../../state-machines/seeded-random.ts';
import { exampleOf } from '../support/examples.ts';
import { tracesScript } from '../support/traces.ts';
import { type BenchLab, withLab } from './bench-lab.ts';
import { type Measure, until } from './bench-site.ts';
import { saveStack, sleeper } from './tiny-stack.ts';

const cluster = 'bench-soak';
const compute = [2, 3, 4] as const;
const seed = 20_261_126;

type Name = 'soak-leftovers' | 'soak-services-lost' | 'soak-not-healed';

/**
 * Schedules one after another, each with one fault of a kind that the seed draws among all that these nodes can do, aimed
 * as its example aims; one that is refused has hurt nothing, and does not count. Then the nodes are compared with what they were, by a look that knows no mark of ours.
 */
export const measureSoak: Measure<Name> = (site, signal) =>
  withLab(
    site,
    {
      ...{ name: cluster, subnet: '10.94.6.0/24' },
      nodes: [{ place: 'control' }, ...compute.map((_, i) => ({ place: 'compute', slot: String(i + 1) }))],
    },
    async (lab) => {
      const services = compute.map((node) => [`spark-worker-${node - 1}`, worker(node)] as const);
      lab.save([{ name: 'tiny', compose: saveStack(site, cluster, Object.fromEntries(services)) }]);
      await lab.apply();
      await lab.watch();
      await lab.untilReady();
      const kinds = [...(await lab.possibleKinds())];
      site.progress(`soak: ${kinds.length} kinds: ${kinds.map(({ name }) => name).join(', ')}`);
      const before = await look(lab);
      const random = seededRandom(seed);
      const n = site.runs ?? 50;
      let unhealed = 0;
      for (let run = 1, drawn = 1; run <= n; drawn++) {
        const kind = kinds[Math.floor(random() * kinds.length)]!;
        const [entry] = (await exampleOf(kind)).spec.faults;
        const hold = kind.instant ? '0s' : '2s';
        const spec = {
          ...{ clusterRef: { name: cluster }, seed: seed + drawn, when: { now: {} }, preset: 'none' },
          faults: [{ ...entry, hold }],
        };
        const { trials } = await lab.runSchedule(`soak-${drawn}`, spec);
        const [trial] = trials;
        if (trial?.outcome === 'Refused') {
          site.progress(`soak: ${kind.name} is not drawn again: ${trial.message}`);
          kinds.splice(kinds.indexOf(kind), 1);
          continue;
        }
        if (trial?.outcome !== 'Healed') unhealed++;
        const about = `${kind.name} on ${trial?.targets.join(', ')}: ${trial?.outcome} ${trial?.message ?? ''}`;
        site.progress(`soak: ${run} of ${n}: ${about}`);
        await lab.untilReady();
        const isWhole = async () => (await running(lab)) === compute.length || undefined;
        await until({ what: 'all services run', everyMs: 500, deadlineMs: 120_000 }, isWhole, signal);
        run++;
      }
      const after = await look(lab);
      const left = after.traces.filter((line) => !before.traces.includes(line));
      for (const line of left) site.progress(`soak: left: ${line}`);
      const none = { of: 'value', sign: '<=', limit: 0 } as const;
      const count = (value: number, unit: 'lines' | 'services' | 'runs') => ({
        ...{ value, unit, n, baseline: 0, target: none },
      });
      return {
        'soak-leftovers': count(left.length, 'lines'),
        'soak-services-lost': count(before.services - after.services, 'services'),
        'soak-not-healed': count(unhealed, 'runs'),
      };
    },
    signal,
  );

/** Something for every kind to hurt: a memory limit, and a process that the examples' text matches and that comes back. */
function worker(node: number): object {
  const command = 'while :; do (exec -a CoarseGrainedExecutorBackend sleep 3600); sleep 0.2; done';
  const service = sleeper(
    { role: 'spark-worker' },
    {
      placement: { constraints: [`node.hostname == node${node}`] },
      resources: { limits: { memory: '1536M' } },
    },
  );
  return { ...service, entrypoint: ['bash', '-c', command] };
}

async function look(
  lab: BenchLab,
): Promise<{ readonly traces: readonly string[]; readonly services: number }> {
  const nodes = [1, ...compute];
  const texts = await Promise.all(
    nodes.map(async (node) => {
      const text = await lab.onNode(node, 'sh', '-c', tracesScript);
      return text.split('\n').map((line) => `node${node}: ${line}`);
    }),
  );
  return { traces: texts.flat(), services: await running(lab) };
}

async function running(lab: BenchLab): Promise<number> {
  const replicas = await lab.onNode(1, 'docker', 'service', 'ls', '--format', '{{.Replicas}}');
  return replicas.split('\n').filter((line) => line.startsWith('1/1')).length;
}
