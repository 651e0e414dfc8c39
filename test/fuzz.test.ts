// What a file holds must never be the reason for a crash, a hang, or for something to be removed. Every number is a file that
// was mutated in its own way: FUZZ_SEED=4711 FUZZ_RUNS=1 does one of them again.

import { cp, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { resolveImageNames } from '../compose/images/resolve-images.ts';
import { systemClock } from '../controller/clock.ts';
import { imageVariables } from '../controller/cluster-images.ts';
import { resourceKinds } from '../controller/resource-kinds.ts';
import { type LoadedFile, manifestLoader } from '../controller/source/load-manifest.ts';
import { settledReader } from '../controller/source/read-settled.ts';
import { ResourceStore, type StoredResource } from '../controller/source/resource-store.ts';
import { stackLoader } from '../controller/stack/load-stack.ts';
import { ManifestError } from '../crds/problem.ts';
import { seededRandom } from '../state-machines/seeded-random.ts';
import { World } from './support/cluster-world.ts';
import { packageRoot } from './support/examples.ts';
import { mutateYaml, treesOf } from './support/mutate-yaml.ts';

const runs = Number(process.env.FUZZ_RUNS ?? 100);
const firstSeed = Number(process.env.FUZZ_SEED ?? 1);
const never = new AbortController().signal;
/** Of processor time: others may use the machine, too. */
const limitMs = 2_000;

/** What Node would write to standard error for us. */
const warnings: unknown[] = [];
process.on('warning', (warning) => warnings.push(warning.message));

/** The files that the mutants are made from, where they may be changed. */
async function copyOfFiles(): Promise<string> {
  const root = await mkdtemp(join(tmpdir(), 'spark-failures-fuzz-'));
  t.teardown(() => rm(root, { recursive: true, force: true }));
  const isText = (path: string) => !path.endsWith('.html');
  for (const folder of ['manifests', 'compose/streaming', 'compose/monitoring', 'test/stacks'])
    await cp(join(packageRoot, folder), join(root, folder), { recursive: true, filter: isText });
  return root;
}

async function yamlBelow(root: string, folder: string): Promise<readonly string[]> {
  const names = await readdir(join(root, folder), { recursive: true });
  return names.filter((name) => name.endsWith('.yaml')).map((name) => join(root, folder, name));
}

/** Does the work, and says so when that took too long. */
async function bounded(work: () => Promise<void>): Promise<void> {
  const before = process.cpuUsage();
  await work();
  const { user, system } = process.cpuUsage(before);
  if ((user + system) / 1_000 > limitMs) throw new Error(`took ${Math.round((user + system) / 1_000)} ms`);
}

/** For each seed a file, mutated while `work` goes on; what it throws is told with the seed. */
async function forMutants(
  files: readonly string[],
  work: (path: string, text: string) => Promise<void>,
): Promise<readonly string[]> {
  const failures: string[] = [];
  for (let seed = firstSeed; seed < firstSeed + runs; seed++) {
    const random = seededRandom(seed);
    const path = files[Math.floor(random() * files.length)]!;
    const original = await readFile(path, 'utf8');
    const text = mutateYaml(original, random);
    await writeFile(path, text);
    try {
      await bounded(() => work(path, text));
    } catch (error) {
      failures.push(`seed ${seed}, ${path}: ${(error as Error).stack}`);
    }
    await writeFile(path, original);
    failures.push(...warnings.splice(0).map((warning) => `seed ${seed}, ${path}: ${String(warning)}`));
  }
  return failures;
}

const reader = (root: string) =>
  manifestLoader(resourceKinds, settledReader(0, systemClock), join(root, 'compose/streaming/hdfs.yaml'));

t.test(`${runs} mutated manifests and compose files are read, or refused with what is wrong`, async (t) => {
  const root = await copyOfFiles();
  const manifests = await yamlBelow(root, 'manifests');
  const stacks = [...(await yamlBelow(root, 'compose')), ...(await yamlBelow(root, 'test/stacks'))];
  const variables = imageVariables(await resolveImageNames(packageRoot));
  const load = reader(root);
  let refused = 0;
  const failures = await forMutants([...manifests, ...manifests, ...stacks], async (path) => {
    if (path.startsWith(join(root, 'manifests'))) {
      const { documents, problems } = await load(path, never);
      if (documents.length + problems.length === 0) throw new Error('neither resources nor problems');
      if (problems.length > 0) refused++;
      return;
    }
    const source = { cluster: 'fuzz', name: 'app', path, variables: { ...variables, CLUSTER: 'fuzz' } };
    await stackLoader()(source, never).catch((error: unknown) => {
      if (!(error instanceof ManifestError) || error.problems.length === 0) throw error;
      refused++;
    });
  });
  t.same(failures, []);
  if (runs >= 100) t.ok(refused > runs / 4 && refused < runs, `${refused} refused: neither all nor none`);
});

/** The demo's cluster as it runs, and the store that follows its files. */
async function runningCluster(root: string) {
  const load = reader(root);
  const files = ['manifests/six-nodes.yaml', 'manifests/worker-crash.yaml'].map((name) => join(root, name));
  const good = await Promise.all(files.map((path) => load(path, never)));
  const known = new Map(
    good.flatMap(({ documents }) =>
      documents.map(
        ({ key, specHash, resource }) => [key, { uid: key, generation: 1, specHash, resource }] as const,
      ),
    ),
  );
  const makeStore = () =>
    new ResourceStore({ known, onChanged: () => {}, newUid: () => 'new', confirmMs: 1_000 });
  const world = new World();
  world.loadStack = stackLoader();
  world.variables = imageVariables(await resolveImageNames(packageRoot));
  world.restart();
  const store = makeStore();
  store.update({ atMs: 0, complete: true, files: good, problems: [] });
  const running = store.get('ClusterSpec/six-nodes')!;
  for (let pass = 0; pass < 30; pass++) {
    const { requeueAfterMs = 0 } = await world.reconciler
      .reconcile(running, never)
      .catch(() => ({ requeueAfterMs: 100 }));
    await world.clock.advance(requeueAfterMs);
  }
  return { world, makeStore, load, files, good };
}

t.test(
  `nothing is removed because of ${runs} mutants that are broken, nor what a good one still names`,
  async (t) => {
    const root = await copyOfFiles();
    const { world, makeStore, load, files, good } = await runningCluster(root);
    const owned = world.swarm.services.size;
    t.equal(owned, 11, 'all of the demo runs');
    const composeFiles = ['streaming', 'monitoring'].map((name) => join(root, 'compose', name, 'stack.yaml'));
    let removals = 0;
    let planned = 0;
    const failures = await forMutants([...files, ...composeFiles], async (path, text) => {
      const store = makeStore();
      const listed: LoadedFile[] = await Promise.all(files.map((file) => load(file, never)));
      for (const atMs of [0, 2_000, 4_000])
        store.update({ atMs, complete: true, files: listed, problems: [] });
      const bad = listed.flatMap(({ problems }) => problems);
      const gone = store.list().filter(({ deleting }) => deleting);
      if (bad.length > 0 && gone.length > 0) throw new Error(`removed ${gone.map(({ key }) => key).join()}`);
      const stored = store.get('ClusterSpec/six-nodes');
      if (stored?.resource?.kind !== 'ClusterSpec') throw new Error('the cluster is not known any more');
      if (listed[0]!.problems.length > 0) isAsBefore(stored, good[0]!);
      if (stored.deleting) return;
      planned++;
      const { steps, problems } = await world.reconciler.plan(stored, never);
      const removed = steps.filter(({ kind }) => kind === 'remove-service').map(({ target }) => target);
      const destroyed = steps.filter(({ kind }) => kind === 'destroy-machine').map(({ target }) => target);
      if (removed.length + destroyed.length === 0) return;
      removals++;
      if (bad.length > 0) throw new Error('removes beside a broken manifest');
      if (problems.some(({ reason }) => reason === 'StackRefused'))
        throw new Error('removes beside a broken stack');
      for (const { name, compose } of stored.resource.spec.stacks) {
        const [tree] = treesOf(compose === path ? text : await readFile(compose, 'utf8'));
        for (const service of Object.keys((tree as { services?: object } | null)?.services ?? {}))
          if (removed.includes(`${name}_${service}`)) throw new Error(`removes ${service}, which is named`);
      }
      for (const { name } of stored.resource.spec.nodes)
        if (destroyed.includes(name)) throw new Error(`destroys ${name}, which is named`);
      const isAllowed = stored.resource.metadata.annotations?.['spark-failures.io/allow-prune'] === 'true';
      if (removed.length * 2 > owned && !isAllowed) throw new Error(`removes ${removed.length} of ${owned}`);
    });
    t.same(failures, []);
    t.ok(planned > runs / 2, `${planned} were planned with`);
    if (runs >= 1_000) t.ok(removals > 0, `${removals} removed what they do not name any more`);
    world.reconciler.close();
  },
);

function isAsBefore({ resource, generation }: StoredResource, { documents }: LoadedFile): void {
  if (generation !== 1 || JSON.stringify(resource) !== JSON.stringify(documents[0]!.resource))
    throw new Error('a broken file is in force');
}
