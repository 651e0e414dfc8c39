import {
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  realpath,
  rename,
  rm,
  symlink,
  utimes,
  writeFile,
} from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, relative, resolve } from 'node:path';
import fc from 'fast-check';
import t, { type Test } from 'tap';
import { systemClock } from '../controller/clock.ts';
import { faultKindsByName, resourceKinds } from '../controller/resource-kinds.ts';
import { CONFIRM_MS, followManifests, SETTLE_MS } from '../controller/source/follow-manifests.ts';
import { type LoadedFile, manifestLoader } from '../controller/source/load-manifest.ts';
import { readManifests } from '../controller/source/read-manifests.ts';
import { settledReader } from '../controller/source/read-settled.ts';
import {
  type KnownResource,
  ResourceStore,
  type StoredResource,
  type StoreListing,
} from '../controller/source/resource-store.ts';
import type { OpenHints } from '../controller/source/watch-hints.ts';
import type { Manifest } from '../crds/manifest.ts';
import { parseManifests } from '../crds/parse-resource.ts';
import { formatProblem, type Problem } from '../crds/problem.ts';
import { FakeClock } from './support/fake-clock.ts';

const never = new AbortController().signal;
const hdfsFile = resolve('compose/streaming/hdfs.yaml');

function cluster(name: string, nodes = 1, extra = ''): string {
  const list = Array.from({ length: nodes }, (_, i) => `{ name: node${i + 1}, role: manager }`).join(', ');
  const spec = `spec: { provisioner: { lab: {} }, nodes: [${list}]${extra && `, ${extra}`} }`;
  return `apiVersion: spark-failures.io/v1alpha1\nkind: ClusterSpec\nmetadata: { name: ${name} }\n${spec}\n---\n`;
}

function schedule(name: string, of: string): string {
  const fault = '{ name: f, target: { services: { matchNames: [a] } }, killContainer: {} }';
  const spec = `spec: { clusterRef: { name: ${of} }, when: { now: {} }, faults: [${fault}] }`;
  return `apiVersion: spark-failures.io/v1alpha1\nkind: FaultSchedule\nmetadata: { name: ${name} }\n${spec}\n---\n`;
}

/** A store with a record of what it told, and files that exist only in the test. */
function makeStore(known: ReadonlyMap<string, KnownResource> = new Map()) {
  const told: string[][] = [];
  let uids = 0;
  const store = new ResourceStore({
    known,
    onChanged: (keys) => told.push([...keys].sort()),
    newUid: () => `uid${++uids}`,
    confirmMs: 1000,
  });
  let atMs = 0;
  const look = (files: Readonly<Record<string, string>>, complete = true) => {
    atMs += 1000;
    store.update({
      atMs,
      complete,
      files: Object.entries(files).map(([path, text]) => loaded(path, text)),
      problems: [],
    });
    return told.splice(0).flat();
  };
  return { store, look };
}

/** As the loader does it, but for compose files. */
function loaded(path: string, text: string): LoadedFile {
  const { documents, problems } = parseManifests<Manifest>(text, path, { ...resourceKinds });
  const empty = documents.length + problems.length === 0;
  const nothing = { file: path, line: 0, column: 0, path: '', message: 'holds no resource' };
  return {
    path,
    documents: documents.map((one) => ({ ...one, inputs: [], specHash: JSON.stringify(one.writtenSpec) })),
    problems: empty ? [nothing] : problems,
  };
}

const messages = (resource: StoredResource | undefined) => resource?.problems.map(formatProblem);

t.test('every bad manifest is refused with the problems that its first lines promise', async (t) => {
  const folder = 'test/bad-manifests';
  const names = (await readdir(folder)).filter((name) => name.endsWith('.yaml'));
  t.ok(names.length >= 35);
  const load = manifestLoader(resourceKinds, settledReader(0, systemClock), hdfsFile);
  for (const name of names) {
    const path = join(folder, name);
    const { store } = makeStore();
    store.update(await readManifests([path], { load, recursive: false, clock: systemClock }, never));
    const promised = [...(await readFile(path, 'latin1')).matchAll(/^# {3}(.*)$/gm)].map(([, line = '']) =>
      line.replace('{kinds}', Object.keys(faultKindsByName).join(', ')),
    );
    const found = store.problems().map(formatProblem);
    const relative = found.map((line) => line.replace(/^[^:]*: ?/, '').replaceAll(`${folder}/`, ''));
    t.ok(promised.length > 0, `${name} promises something`);
    t.strictSame(relative, promised, name);
  }
});

t.test('the store', async (t) => {
  const a = 'ClusterSpec/a';

  t.test('counts an edit of the spec, and nothing else, as a generation', async (t) => {
    const { store, look } = makeStore();
    t.strictSame(look({ 'x.yaml': cluster('a') }), [a]);
    t.match(store.get(a), { generation: 1, uid: 'uid1', deleting: false, problems: [] });
    t.strictSame(look({ 'x.yaml': cluster('a') }), [], 'nothing new, nothing told');
    t.strictSame(look({ 'x.yaml': `# a comment\n${cluster('a')}` }), []);
    t.strictSame(look({ 'x.yaml': cluster('a', 2) }), [a]);
    t.match(store.get(a), { generation: 2, uid: 'uid1' });
    const annotated = cluster('a', 2).replace(
      'name: a',
      'name: a, annotations: { spark-failures.io/run-at: "1" }',
    );
    t.strictSame(look({ 'x.yaml': annotated }), [a], 'an annotation is told');
    t.match(store.get(a), { generation: 2 });
  });

  t.test('does not count a restart as an edit', async (t) => {
    const first = makeStore();
    first.look({ 'x.yaml': cluster('a') });
    const { uid, generation, specHash } = first.store.get(a)!;
    const known = new Map([[a, { uid, generation, specHash: specHash! }]]);
    const same = makeStore(known);
    t.strictSame(same.look({ 'x.yaml': cluster('a') }), [a], 'it is told, to be looked at');
    t.match(same.store.get(a), { uid, generation: 1 });
    const edited = makeStore(known);
    edited.look({ 'x.yaml': cluster('a', 2) });
    t.match(edited.store.get(a), { uid, generation: 2 }, 'an edit during the pause counts');
  });

  t.test('keeps the last good spec when the file goes bad, and says why', async (t) => {
    const { store, look } = makeStore();
    look({ 'x.yaml': cluster('a', 3) });
    const bad = [cluster('a').replace('manager', 'boss'), 'a: [', '', '# nothing'];
    for (const text of bad) {
      look({ 'x.yaml': text });
      look({ 'x.yaml': text });
      t.match(store.get(a), { generation: 1, deleting: false }, JSON.stringify(text));
      t.equal(messages(store.get(a))?.length, 1);
      t.match(store.get(a)?.resource?.spec, { nodes: [{}, {}, { name: 'node3' }] });
    }
    t.strictSame(look({ 'x.yaml': cluster('a', 3) }), [a]);
    t.match(store.get(a), { generation: 1, problems: [] });
  });

  t.test('knows a resource whose first text is bad, without a generation', async (t) => {
    const { store, look } = makeStore();
    t.strictSame(look({ 'x.yaml': cluster('a').replace('manager', 'boss') }), [a]);
    t.match(store.get(a), { generation: 0, resource: undefined });
    look({ 'x.yaml': cluster('a') });
    t.match(store.get(a), { generation: 1, problems: [] });
  });

  t.test('deletes only after two complete looks without the resource', async (t) => {
    const { store, look } = makeStore();
    const keep = { 'keep.yaml': cluster('keep') };
    look({ 'x.yaml': cluster('a'), ...keep });
    t.strictSame(look(keep), [], 'once');
    t.ok(store.hasUnconfirmed);
    look(keep, false);
    t.strictSame(look(keep), [], 'an incomplete look starts the count again');
    look({ ...keep, 'other.yaml': 'a: [' });
    t.strictSame(look(keep), [], 'so does a file that cannot be read');
    t.strictSame(look(keep), [a], 'twice');
    t.match(store.get(a), { deleting: true, resource: { metadata: { name: 'a' } } });
    t.strictSame(look(keep), [], 'told once');
    store.finalized(a);
    t.equal(store.get(a), undefined);
    t.strictSame(look(keep), []);
  });

  t.test('gives two looks in a rush no power to delete', async (t) => {
    const { store } = makeStore();
    const at = (atMs: number, files: readonly LoadedFile[]): StoreListing => ({
      atMs,
      complete: true,
      files,
      problems: [],
    });
    store.update(at(0, [loaded('x.yaml', cluster('a'))]));
    for (const atMs of [10, 20, 999]) store.update(at(atMs, []));
    t.equal(store.get(a)?.deleting, false);
    store.update(at(1010, []));
    t.equal(store.get(a)?.deleting, true);
  });

  t.test('deletes what vanished while the process was down', async (t) => {
    const { store, look } = makeStore(new Map([[a, { uid: 'old', generation: 4, specHash: 'h' }]]));
    look({});
    t.match(store.get(a), { deleting: false, resource: undefined });
    t.strictSame(look({}), [a]);
    t.match(store.get(a), { deleting: true, uid: 'old', generation: 4 });
  });

  t.test('takes a document that moved to another file for the same resource', async (t) => {
    const { store, look } = makeStore();
    look({ 'x.yaml': cluster('a') });
    look({});
    look({ 'y.yaml': cluster('a') });
    look({ 'y.yaml': cluster('a') });
    t.match(store.get(a), { uid: 'uid1', generation: 1, deleting: false, file: 'y.yaml' });
  });

  t.test('takes one that comes back during its deletion for a new one', async (t) => {
    const { store, look } = makeStore();
    look({ 'x.yaml': cluster('a') });
    look({});
    look({});
    t.strictSame(look({ 'x.yaml': cluster('a') }), [a]);
    t.match(store.get(a), { uid: 'uid2', generation: 1, deleting: false });
  });

  t.test('refuses one name in two files, naming both, and keeps what was in force', async (t) => {
    const { store, look } = makeStore();
    look({ 'x.yaml': cluster('a') });
    look({ 'x.yaml': cluster('a'), 'y.yaml': cluster('a', 2) });
    t.match(store.get(a), { generation: 1 });
    t.match(messages(store.get(a)), [/x\.yaml.*also in y\.yaml:3/, /y\.yaml.*also in x\.yaml:3/]);
    look({ 'x.yaml': 'a: [', 'y.yaml': cluster('a', 2) });
    t.match(
      store.get(a),
      { generation: 1, file: 'x.yaml' },
      'the other does not win because the first is broken',
    );
    look({ 'y.yaml': cluster('a', 2) });
    t.match(store.get(a), { generation: 2, problems: [] });
  });

  t.test('says that the cluster of a schedule is missing until it is there', async (t) => {
    const s = 'FaultSchedule/s';
    const { store, look } = makeStore();
    look({ 's.yaml': schedule('s', 'a') });
    t.match(messages(store.get(s)), ['s.yaml:4:29: spec.clusterRef.name: there is no ClusterSpec "a"']);
    t.equal(store.get(s)?.generation, 1, 'it is there all the same');
    t.strictSame(look({ 's.yaml': schedule('s', 'a'), 'x.yaml': cluster('a') }), [a, s]);
    t.strictSame(messages(store.get(s)), []);
    look({ 's.yaml': schedule('s', 'a'), 'x.yaml': 'a: [' });
    t.strictSame(messages(store.get(s)), [], 'a cluster whose file went bad is still in force');
  });

  t.test('deletes at once when it is told to', async (t) => {
    const { store, look } = makeStore();
    look({ 'x.yaml': cluster('a') });
    store.delete(a);
    t.equal(store.get(a)?.deleting, true);
  });

  t.test(
    'whatever happens to the files, deletes nothing but what two clean looks in a row lacked',
    async () => {
      const text = fc.oneof(
        fc.subarray(['a', 'b', 'c']).map((names) => names.map((name) => cluster(name)).join('')),
        fc.constantFrom('', '# comment', 'a: [', cluster('a').replace('lab', 'lap')),
      );
      const folder = fc.dictionary(fc.constantFrom('x.yaml', 'y.yaml'), text, { noNullPrototype: true });
      const looks = fc.array(fc.tuple(folder, fc.boolean()), { maxLength: 12 });
      fc.assert(
        fc.property(looks, (steps) => {
          const { store, look } = makeStore();
          const absences = new Map<string, number>();
          const alive = new Set<string>();
          for (const [files, complete] of steps) {
            look(files, complete);
            const all = Object.entries(files).map(([path, content]) => loaded(path, content));
            const clean = complete && all.every((file) => file.problems.length === 0);
            const present = new Set(all.flatMap((file) => file.documents.map((document) => document.key)));
            for (const key of new Set([...alive, ...present]))
              absences.set(key, clean && !present.has(key) ? (absences.get(key) ?? 0) + 1 : 0);
            for (const stored of store.list()) {
              if (stored.deleting && (absences.get(stored.key) ?? 0) < 2 && alive.has(stored.key))
                return false;
              if (stored.deleting) alive.delete(stored.key);
              else alive.add(stored.key);
              if (!stored.deleting && clean && (absences.get(stored.key) ?? 0) >= 2) return false;
            }
          }
          return true;
        }),
        { numRuns: 500 },
      );
    },
  );
});

/** A folder of its own for one test. */
async function scratch(t: Test): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'sf-source-'));
  t.teardown(() => rm(folder, { recursive: true, force: true }));
  return folder;
}

/** Waits for a state, with a deadline that only a hang reaches. */
async function until(what: string, holds: () => boolean): Promise<void> {
  const deadlineMs = Date.now() + 20_000;
  while (!holds()) {
    if (Date.now() > deadlineMs) throw new Error(`waited in vain: ${what}`);
    await systemClock.sleep(5, never);
  }
}

t.test('the loader', async (t) => {
  const load = manifestLoader(resourceKinds, settledReader(0, systemClock), hdfsFile);
  const stacks = 'stacks: [{ name: s, compose: ../compose/stack.yaml, env: { PROFILE: fast } }]';

  /** `<folder>/manifests/a.yaml` with a stack whose config depends on a variable. */
  async function checkout(folder: string): Promise<string> {
    await mkdir(join(folder, 'manifests'), { recursive: true });
    await mkdir(join(folder, 'compose'));
    // biome-ignore-start lint/suspicious/noTemplateCurlyInString: this is how compose files write a variable
    const config =
      'configs: { c: { file: "./${PROFILE:-slow}.conf" }, d: { file: "${UNKNOWN}/x" }, e: { content: hi } }';
    // biome-ignore-end lint/suspicious/noTemplateCurlyInString: as above
    await writeFile(join(folder, 'compose/stack.yaml'), `services: { a: { image: x } }\n${config}\n`);
    await writeFile(join(folder, 'compose/fast.conf'), 'timeout=1');
    await writeFile(join(folder, 'manifests/a.yaml'), cluster('a', 1, stacks));
    return join(folder, 'manifests/a.yaml');
  }
  const hashOf = async (path: string) => (await load(path, never)).documents[0]?.specHash;

  t.test(
    'finds compose files from where the manifest really lies, and what they take configs from',
    async (t) => {
      const folder = await realpath(await scratch(t));
      await checkout(join(folder, 'repo'));
      await symlink(join(folder, 'repo/manifests'), join(folder, 'linked'));
      const { documents, problems } = await load(join(folder, 'linked/a.yaml'), never);
      t.strictSame(problems, []);
      const compose = join(folder, 'repo/compose/stack.yaml');
      t.match(documents[0]?.resource.spec, { stacks: [{ name: 's', compose }] });
      t.strictSame(documents[0]?.inputs, [compose, join(folder, 'repo/compose/fast.conf')]);
    },
  );

  t.test('what is laid over a compose file is an input, and what it takes variables from', async (t) => {
    const folder = await realpath(await scratch(t));
    const path = await checkout(folder);
    const over = 'stacks: [{ name: s, compose: ../compose/stack.yaml, overrides: [over/o.yaml] }]';
    await writeFile(path, cluster('a', 1, over));
    await mkdir(join(folder, 'manifests/over'));
    await writeFile(
      join(folder, 'manifests/over/o.yaml'),
      'services: { a: { env_file: [a.env, { path: b.env }] } }\n',
    );
    await writeFile(join(folder, 'compose/a.env'), 'A=1');
    const { documents, problems } = await load(path, never);
    t.strictSame(problems, []);
    t.strictSame(
      documents[0]?.inputs.map((each) => relative(folder, each)),
      ['compose/stack.yaml', 'manifests/over/o.yaml', 'compose/slow.conf', 'compose/a.env', 'compose/b.env'],
      'all from the folder of the first',
    );
    const before = await hashOf(path);
    await writeFile(join(folder, 'compose/a.env'), 'A=2');
    t.not(await hashOf(path), before, 'an edit of it is an edit of the cluster');
  });

  t.test('writes out the stack of a checkpoint that is a service', async (t) => {
    const folder = await realpath(await scratch(t));
    const path = await checkout(folder);
    const checkpoint = 'checkpoint: { hdfs: { network: s_app } }';
    await writeFile(path, cluster('a', 1, `${stacks}, ${checkpoint}`));
    const served = join(folder, 'hdfs.yaml');
    const loadIt = () => manifestLoader(resourceKinds, settledReader(0, systemClock), served)(path, never);
    t.match((await loadIt()).problems.map(formatProblem), [
      /a\.yaml:4:\d+: spec\.checkpoint: .*hdfs\.yaml: there is no such file$/,
    ]);
    await writeFile(served, 'services: { namenode: { image: x } }\n');
    const [document] = (await loadIt()).documents;
    t.match(document?.resource.spec, {
      stacks: [{ name: 's' }, { name: 'hdfs', compose: served, env: { STREAMING_NETWORK: 's_app' } }],
    });
    t.ok(document?.inputs.includes(served));
    const saved = JSON.parse(JSON.stringify(document?.resource));
    t.same(resourceKinds.ClusterSpec.parse(saved), document?.resource, 'and it is valid as it is kept');
    await writeFile(served, 'services: { namenode: { image: y } }\n');
    t.not((await loadIt()).documents[0]?.specHash, document?.specHash, 'an edit of it is an edit');
  });

  t.test(
    'takes an edit of any of these files for an edit of the cluster, and a move or a comment for none',
    async (t) => {
      const folder = await scratch(t);
      const path = await checkout(join(folder, 'one'));
      const before = await hashOf(path);
      t.equal(await hashOf(await checkout(join(folder, 'two'))), before);
      await writeFile(path, `# a comment\n${cluster('a', 1, stacks)}`);
      t.equal(await hashOf(path), before);
      await writeFile(join(folder, 'one/compose/fast.conf'), 'timeout=2');
      const edited = await hashOf(path);
      t.not(edited, before);
      await rm(join(folder, 'one/compose/fast.conf'));
      t.not(await hashOf(path), edited, 'a file that is gone is an edit too');
    },
  );

  t.test('says why a file cannot be read, and rejects for none of it', async (t) => {
    const folder = await scratch(t);
    await mkdir(join(folder, 'folder.yaml'));
    await writeFile(join(folder, 'large.yaml'), Buffer.alloc((1 << 20) + 1, '#'));
    const problemsOf = async (name: string) =>
      (await load(join(folder, name), never)).problems.map((one) => one.message);
    t.strictSame(await problemsOf('none.yaml'), ['there is no such file']);
    t.match(await problemsOf('folder.yaml'), [/is not a file/]);
    t.match(await problemsOf('large.yaml'), [/more than the 1048576 of a manifest/]);
  });
});

t.test('a file that was just written is read only when it has come to rest', async (t) => {
  const path = join(await scratch(t), 'a.yaml');
  await writeFile(path, 'half');
  const clock = new FakeClock();
  await utimes(path, new Date(clock.now() - 10), new Date(clock.now() - 10));
  const reading = settledReader(40, clock)(path, never);
  await until('it waits', () => clock.sleeping === 1);
  t.equal(clock.nextWakeMs, clock.now() + 30);
  await clock.advance(30);
  t.equal(await reading, 'half');
  const restless = { now: () => clock.now() - 40, sleep: async () => {} };
  await t.rejects(settledReader(1000, restless)(path, never), { message: 'is still being written' });
});

/** A process that follows a folder, with all that it told. */
function follow(
  t: Test,
  root: string,
  options: { clock?: FakeClock; openHints?: OpenHints; recursive?: boolean } = {},
) {
  const clock = options.clock ?? systemClock;
  const told: string[] = [];
  const problems: string[][] = [];
  const store = new ResourceStore({
    known: new Map(),
    onChanged: (keys) => told.push(...keys),
    newUid: () => 'uid',
    confirmMs: CONFIRM_MS,
  });
  const stop = new AbortController();
  const load = manifestLoader(resourceKinds, settledReader(options.clock ? 0 : SETTLE_MS, clock), hdfsFile);
  const onProblems = (all: readonly Problem[]) => problems.push(all.map(formatProblem));
  const errors: unknown[] = [];
  const onWatchError = (error: unknown) => errors.push(error);
  const rest = { root, recursive: options.recursive ?? false, load, store, clock, onProblems, onWatchError };
  const done = followManifests(
    { ...rest, ...(options.openHints && { openHints: options.openHints }) },
    stop.signal,
  );
  t.teardown(async () => {
    stop.abort();
    await done;
  });
  return { store, told, problems, errors, stop: () => stop.abort(), done };
}

const a = 'ClusterSpec/a';

t.test('following a folder', async (t) => {
  t.test('sees files written, replaced, broken and removed', async (t) => {
    const root = await scratch(t);
    const { store, problems } = follow(t, root);
    const generation = (wanted: number) => () => store.get(a)?.generation === wanted;
    await writeFile(join(root, 'a.yaml'), cluster('a'));
    await until('it is seen', generation(1));
    await writeFile(join(root, 'a.yaml'), cluster('a', 2));
    await until('an edit', generation(2));
    await writeFile(join(root, '.a.swp'), cluster('a', 3));
    await rename(join(root, '.a.swp'), join(root, 'a.yaml'));
    await until('a replacement', generation(3));
    await writeFile(join(root, 'a.yaml'), '');
    await until('an empty file', () => store.get(a)?.problems.length === 1);
    t.match(problems.at(-1), [/a\.yaml: holds no resource/]);
    await writeFile(join(root, 'a.yaml'), cluster('a', 3));
    await until('repaired', () => store.get(a)?.problems.length === 0);
    t.strictSame(problems.at(-1), []);
    await rm(join(root, 'a.yaml'));
    await until('gone', () => store.get(a)?.deleting === true);
  });

  t.test('sees an edit of a stack file outside the folder', async (t) => {
    const folder = await scratch(t);
    const root = join(folder, 'manifests');
    await mkdir(root);
    await writeFile(join(folder, 'stack.yaml'), 'services: { a: { image: x } }\n');
    await writeFile(join(root, 'a.yaml'), cluster('a', 1, 'stacks: [{ name: s, compose: ../stack.yaml }]'));
    const { store } = follow(t, root);
    await until('it is seen', () => store.get(a)?.generation === 1);
    await writeFile(join(folder, 'stack.yaml'), 'services: { a: { image: y } }\n');
    await until('the edit', () => store.get(a)?.generation === 2);
  });

  t.test('reads only the folder itself, unless told otherwise, and no hidden files', async (t) => {
    const root = await scratch(t);
    for (const [path, name] of [
      ['a.yaml', 'a'],
      ['sub/b.yml', 'b'],
      ['.hidden/c.yaml', 'c'],
      ['.d.yaml', 'd'],
      ['e.txt', 'e'],
    ]) {
      await mkdir(join(root, path!, '..'), { recursive: true });
      await writeFile(join(root, path!), cluster(name!));
    }
    const flat = follow(t, root);
    await until('the flat look', () => flat.told.length > 0);
    t.strictSame(flat.told, [a]);
    const deep = follow(t, root, { recursive: true });
    await until('the deep look', () => deep.told.length > 0);
    t.strictSame(deep.told.sort(), [a, 'ClusterSpec/b']);
  });

  t.test('keeps everything while the folder is not there, and goes on when it is back', async (t) => {
    const folder = await scratch(t);
    const root = join(folder, 'manifests');
    const { store, problems } = follow(t, root);
    await until('it says so', () => problems.length > 0);
    t.match(problems[0], [/manifests: there is no such folder: all stays as it was/]);
    await mkdir(root);
    await writeFile(join(root, 'a.yaml'), cluster('a'));
    await until('it is seen', () => store.get(a)?.generation === 1);
    await rename(root, `${root}.away`);
    await until('it says so again', () => problems.at(-1)?.length === 1);
    t.equal(store.get(a)?.deleting, false);
    await rename(`${root}.away`, root);
    await until('all is well', () => problems.at(-1)?.length === 0);
  });

  t.test('follows a linked folder to where its link is turned', async (t) => {
    const folder = await scratch(t);
    for (const [name, nodes] of [
      ['one', 1],
      ['two', 2],
    ] as const) {
      await mkdir(join(folder, name));
      await writeFile(join(folder, name, 'a.yaml'), cluster('a', nodes));
    }
    await symlink('one', join(folder, 'current'));
    const { store } = follow(t, join(folder, 'current'));
    await until('the first', () => store.get(a)?.generation === 1);
    await symlink('two', join(folder, 'next'));
    await rename(join(folder, 'next'), join(folder, 'current'));
    await until('the second', () => store.get(a)?.generation === 2);
    await writeFile(join(folder, 'two/a.yaml'), cluster('a', 3));
    await until('an edit there', () => store.get(a)?.generation === 3);
  });

  t.test('needs no hints to be right, and takes a burst of them for one', async (t) => {
    const root = await scratch(t);
    const clock = new FakeClock();
    let hint = () => {};
    let fail = (_error: unknown) => {};
    let looks = 0;
    const openHints: OpenHints = ({ onHint, onError }) => {
      hint = onHint;
      fail = onError;
      return { alsoWatch: () => void looks++, close: async () => {} };
    };
    const { store, stop, done, errors } = follow(t, root, { clock, openHints });
    const resting = (count: number) => until('it rests', () => looks === count && clock.sleeping === 1);
    await resting(1);
    fail(new Error('no inotify watches left'));
    t.equal(errors.length, 1);
    await writeFile(join(root, 'a.yaml'), cluster('a'));
    await clock.advance(5100);
    await resting(2);
    t.equal(store.get(a)?.generation, 1, 'by time');
    await writeFile(join(root, 'a.yaml'), cluster('a', 2));
    for (let turn = 0; turn < 5; turn++) {
      hint();
      await clock.advance(20);
    }
    t.equal(looks, 2, 'not in the midst of a burst');
    await clock.advance(50);
    await resting(3);
    t.equal(store.get(a)?.generation, 2);
    stop();
    await done;
    t.equal(clock.sleeping, 0);
  });
});
