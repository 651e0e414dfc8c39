import { mkdir, mkdtemp, readdir, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import fc from 'fast-check';
import t, { type Test } from 'tap';
import { parse, stringify } from 'yaml';
import type { Difference } from '../../controller/swarm/diff-trees.ts';
import { composeKeys } from '../support/compose-keys.ts';
import { packageRoot } from '../support/examples.ts';
import { differences, type Tree } from '../support/normal-objects.ts';
import { type Deployed, openStackSides } from '../support/stack-sides.ts';

// What `docker stack deploy` makes of a stack file, and what we make of it, in a swarm of one node in which nothing runs.

const signal = AbortSignal.timeout(900_000);
const sides = await openStackSides(t, signal);

/** All that stack files see of the world: those of the tests, and the demo's own. */
const variables = {
  HOME: '/home/operator',
  ...{ IMAGE: 'web:2', EMPTY: '', PORT: '8080', REPLICAS: '3', RATIO: '0.25', READ_ONLY: 'true' },
  ...{
    SPARK_KAFKA_IMAGE: 'spark:4',
    KAFKA_JMX_IMAGE: 'kafka:4',
    OBSERVER_IMAGE: 'observer',
    GENERATOR_IMAGE: 'generator',
  },
  ...{
    CLUSTER: 'six',
    CHECKPOINT_DIR: '/checkpoint',
    CHECKPOINT_MOUNT: '/checkpoint:/checkpoint',
    STREAMING_NETWORK: 'shared',
  },
};

interface Stack {
  readonly name: string;
  /** Of which it is merged. */
  readonly files: readonly string[];
  readonly texts: readonly string[];
}

/** A file, or a folder of files that are merged. */
async function readStack(path: string): Promise<Stack> {
  const parts = (await stat(path)).isFile() ? [''] : (await readdir(path)).sort();
  const files = parts.map((part) => join(path, part));
  return {
    name: basename(path),
    files,
    texts: await Promise.all(files.map((file) => readFile(file, 'utf8'))),
  };
}

async function stacksIn(folder: string): Promise<readonly Stack[]> {
  const root = join(packageRoot, 'test/stacks', folder);
  return Promise.all((await readdir(root)).sort().map((name) => readStack(join(root, name))));
}

/** The project's own that have nothing in them that the CLI refuses. */
const demo = ['stack', 'hdfs'].map((name) => readStack(join(packageRoot, `compose/streaming/${name}.yaml`)));
const equal = [...(await stacksIn('equal')), ...(await Promise.all(demo))];

type Judge = (t: Test, theirs: Deployed, ours: Deployed, stack: Stack) => void;

/** One after the other: they take turns in one swarm. */
async function eachOf(t: Test, stacks: readonly Stack[], judge: Judge): Promise<void> {
  for (const stack of stacks)
    await t.test(stack.name, async (t) => {
      const theirs = await sides.byCli(stack.files, variables);
      const ours = await sides.byUs(stack.files, variables);
      judge(t, theirs, ours, stack);
    });
}

const place = /\.yaml:\d+:\d+: /;
const taken = (t: Test, { refused }: Deployed, who: string) => t.equal(refused, undefined, `${who} it`);

t.test('what comes of a stack is what docker stack deploy makes of it', async (t) => {
  await eachOf(t, equal, (t, theirs, ours) => {
    taken(t, theirs, 'the CLI takes');
    taken(t, ours, 'we take');
    t.strictSame(ours.objects, theirs.objects);
    t.strictSame(ours.left?.filter(isKept(ours)), [], 'and nothing is left to do');
    warnsToo(t, theirs, ours);
  });
});

/** An engine that is too old for a field keeps nothing of it, and so it goes on to be missing. */
const isKept = ({ objects }: Deployed) => {
  const services = Object.values(objects.services as Tree) as { readonly unkept?: Tree }[];
  const lost = JSON.stringify(services.map(({ unkept }) => unkept));
  return ({ path }: Difference) => !lost.includes(`"${path.split('.').at(-1)}":`);
};

/** Whatever it tells people of, we tell them of, and where it stands. */
function warnsToo(t: Test, theirs: Deployed, ours: Deployed): void {
  for (const key of warnedOf(theirs.warned))
    t.match(ours.warned, new RegExp(`\\.yaml:\\d+:\\d+: .*\\b${key}\\b`), `of ${key}`);
}

function warnedOf(said: string): readonly string[] {
  const ignored = /Ignoring unsupported options: (.*)/.exec(said)?.[1]?.split(', ') ?? [];
  const deprecated = [...said.matchAll(/^(\w+): [A-Z].*\.$/gm)].map(([, key = '']) => key);
  const logged = [...said.matchAll(/msg="(.*)"$/gm)].map(([, line = '']) => {
    const external = /^(\w+) (\w+): \w+\.external\.name is deprecated/.exec(line);
    if (external) return `${external[1]}s.${external[2]}.external`;
    if (line.startsWith('ignoring IP-address')) return 'ports';
    throw new Error(`a warning that nobody has thought of: ${line}`);
  });
  return [...ignored, ...deprecated, ...logged];
}

t.test('any two of these services are merged as the CLI merges them', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'sf-stacks-'));
  t.teardown(() => rm(folder, { recursive: true }));
  await symlink(join(packageRoot, 'test/stacks/files'), join(folder, 'files'));
  await mkdir(join(folder, 'merged'));
  const one = fc.constantFrom(...equal.flatMap(loneServices));
  for (const pair of fc.sample(fc.tuple(one, one), { seed: 20, numRuns: 60 })) {
    const files = pair.map((_, n) => join(folder, 'merged', `${n}.yaml`));
    await Promise.all(pair.map(({ text }, n) => writeFile(files[n]!, text)));
    const [theirs, ours] = [await sides.byCli(files, variables), await sides.byUs(files, variables)];
    const who = pair.map(({ name }) => name).join(' + ');
    t.equal(ours.refused === undefined, theirs.refused === undefined, `${who}: both take it, or none`);
    if (ours.refused === undefined) t.strictSame(ours.objects, theirs.objects, who);
  }
});

/** Each service of a stack as the only one of a file, under a name that all of them have. */
function loneServices({ name, texts }: Stack): readonly { readonly name: string; readonly text: string }[] {
  const { services, version, ...sections } = parse(texts[0]!, { merge: true }) as Tree;
  // What names other services, or is of another version of the schema, or lies elsewhere, is no file by itself.
  if (version !== undefined || texts.length > 1 || /depends_on|trace/.test(texts[0]!)) return [];
  const objects = Object.entries(sections).filter(([section]) => !section.startsWith('x-'));
  return Object.entries(services as Tree).map(([service, web]) => ({
    name: `${name} ${service}`,
    text: stringify({ services: { web }, ...Object.fromEntries(objects) }),
  }));
}

t.test('what docker stack deploy refuses, we refuse, and say where it stands', async (t) => {
  await eachOf(t, await stacksIn('refused'), (t, theirs, ours) => {
    t.match(theirs.refused, /\S/, 'the CLI refuses it');
    t.match(ours.refused, place, 'so do we');
  });
});

t.test('we are otherwise where we want to be', async (t) => {
  await t.test('taking what the CLI refuses', async (t) =>
    eachOf(t, await stacksIn('wider'), (t, theirs, ours, stack) => {
      t.match(theirs.refused, /\S/, 'the CLI refuses it');
      taken(t, ours, 'we take');
      saysWhy(t, stack);
    }),
  );
  await t.test('refusing what it takes', async (t) =>
    eachOf(t, await stacksIn('stricter'), (t, theirs, ours, stack) => {
      taken(t, theirs, 'the CLI takes');
      t.match(ours.refused, place, 'we refuse it');
      saysWhy(t, stack);
    }),
  );
  await t.test('making something else of it', async (t) =>
    eachOf(t, await stacksIn('otherwise'), (t, theirs, ours, stack) => {
      taken(t, theirs, 'the CLI takes');
      taken(t, ours, 'we take');
      const { 'x-otherwise': said } = parse(stack.texts[0]!) as Tree;
      t.strictSame(differences(theirs.objects, ours.objects), said);
      saysWhy(t, stack);
    }),
  );
});

const saysWhy = (t: Test, { texts }: Stack) => t.match(texts[0], /^# \S/, 'the file says why');

t.test('every key that the CLI knows is in some stack', async (t) => {
  const keys = await composeKeys(sides.cli);
  const texts = [...equal, ...(await stacksIn('otherwise'))].flatMap((stack) => stack.texts);
  const used = new Set(texts.flatMap((text) => [...keys.in(text)]));
  const missing = [...keys.all].filter((key) => !used.has(key));
  t.strictSame(missing, []);
  t.ok(keys.all.size > 150, `there are ${keys.all.size} of them`);
});
