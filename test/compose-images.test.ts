import { appendFile, chmod, cp, mkdir, readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import t from 'tap';
import { IMAGES } from '../compose/images/catalog.ts';
import { downloadFileName, readDownloadLock } from '../compose/images/download-lock.ts';
import { ensureImages, mayUse } from '../compose/images/ensure-images.ts';
import { fetchDownloads } from '../compose/images/fetch-downloads.ts';
import {
  hashImage,
  type RecipeFile,
  resolveImageNames,
  resolveImages,
} from '../compose/images/resolve-images.ts';
import { stackImages } from '../controller/cluster-images.ts';
import type { ClusterSpec } from '../crds/cluster-spec.ts';
import { type EngineFacts, planEngineInstall } from '../provisioners/shared/install-engine.ts';
import {
  gatherPackageFacts,
  installPackages,
  whyNoPackages,
} from '../provisioners/shared/install-packages.ts';
import { CommandError, runCommand } from '../provisioners/shared/run-command.ts';
import { shellcheck } from './contracts/fault-kind.ts';

const root = join(import.meta.dirname, '..', '..');
const compose = join(root, 'compose');
const recipes = join(compose, 'images');
const live = new AbortController().signal;

t.test('the catalogue names every image once, each after the one it is built from', async (t) => {
  const seen = new Set<string>();
  for (const { name, parent } of IMAGES) {
    t.notOk(seen.has(name), `${name} is named once`);
    t.ok(parent === null || seen.has(parent), `${name} follows ${parent}`);
    seen.add(name);
  }
  const below = await readdir(compose, { recursive: true });
  t.same(
    [...new Set(IMAGES.map(({ folder }) => `${folder}/Dockerfile`))].sort(),
    below.filter((path) => path.endsWith('Dockerfile')).sort(),
    'and every recipe is used',
  );
});

t.test('every recipe is a Dockerfile from its parent, and its scripts can be run', async (t) => {
  for (const { folder, parent } of IMAGES) {
    const dockerfile = await readFile(join(compose, folder, 'Dockerfile'), 'utf8');
    t.match(dockerfile, parent === null ? /^FROM scratch$/m : /^ARG PARENT\nFROM \$\{PARENT\}$/m, folder);
    for (const file of await readdir(join(compose, folder), { recursive: true })) {
      const path = join(compose, folder, file);
      if (!(await stat(path)).isFile() || !(await readFile(path, 'utf8')).startsWith('#!')) continue;
      t.ok((await stat(path)).mode & 0o100, `${folder}/${file} is executable`);
    }
  }
});

t.test('recipes name no host: clients read their own configuration for where from', async (t) => {
  for (const file of await readdir(recipes, { recursive: true })) {
    const path = join(recipes, file);
    if ((await stat(path)).isFile())
      t.notMatch(await readFile(path, 'utf8'), /https?:\/\/(?!localhost)/, file);
  }
});

t.test('the lock holds just the downloads that recipes need, no two under one file name', async (t) => {
  const lock = await readDownloadLock(root);
  const used = IMAGES.flatMap(({ downloads }) => downloads ?? []);
  t.same(Object.keys(lock).sort(), [...used].sort());
  for (const [name, { client, sha256 }] of Object.entries(lock)) {
    const files = Object.keys(sha256).map((coordinates) => downloadFileName(client, coordinates));
    t.equal(new Set(files).size, files.length, name);
  }
  t.equal(downloadFileName('maven', 'org.example:part:1.2'), 'part-1.2.jar');
  t.equal(downloadFileName('maven', 'org.example:part:1.2:linux-x86_64'), 'part-1.2-linux-x86_64.jar');
  t.equal(downloadFileName('pip', 'thing==4.1.1'), 'thing-4.1.1.tar.gz');
});

t.test('a content hash depends on what is in the image and on nothing else', async (t) => {
  const file = (path: string, text: string, executable = false): RecipeFile => ({
    path,
    executable,
    content: Buffer.from(text),
  });
  const downloadSet = { client: 'maven', sha256: { 'a:b:1': '0'.repeat(64) } } as const;
  const made = { parent: 'p', downloadSet, files: [file('a', '1'), file('b', '2')] };
  const hash = hashImage(made);
  t.equal(hashImage({ ...made, files: [file('b', '2'), file('a', '1')] }), hash, 'not on the order of files');
  const different = {
    content: { ...made, files: [file('a', '1'), file('b', '3')] },
    name: { ...made, files: [file('a', '1'), file('c', '2')] },
    mode: { ...made, files: [file('a', '1'), file('b', '2', true)] },
    boundary: { ...made, files: [file('a', '1file b false 1\n2')] },
    parent: { ...made, parent: 'q' },
    checksum: { ...made, downloadSet: { client: 'maven', sha256: { 'a:b:1': '1'.repeat(64) } } as const },
    version: { ...made, downloadSet: { client: 'maven', sha256: { 'a:b:2': '0'.repeat(64) } } as const },
  };
  for (const [what, other] of Object.entries(different)) t.not(hashImage(other), hash, `but on the ${what}`);
});

t.test(
  'names: official ones as they are, ours by hash; an edit renames the image and what is built from it',
  async (t) => {
    const copy = t.testdir();
    await cp(compose, join(copy, 'compose'), { recursive: true });
    const before = await resolveImageNames(copy);
    t.same(await resolveImageNames(copy), before, 'the same each time');
    t.equal(before.get('kafka'), 'apache/kafka:4.1.1');
    t.match(before.get('node'), /^spark-failures\/node:[0-9a-f]{8}$/);

    await appendFile(join(copy, 'compose/images/kafka/run'), '# edited\n');
    const after = await resolveImageNames(copy);
    t.same(
      [...before].filter(([name, tag]) => after.get(name) !== tag).map(([name]) => name),
      ['kafka-jmx', 'controller'],
      'kafka keeps its official name, its child has another, and so has what holds the recipes',
    );

    t.match(before.get('generator'), /^spark-failures\/generator:/, 'named before it is bundled');
    await mkdir(join(copy, 'dist/compose/streaming'), { recursive: true });
    await writeFile(join(copy, 'dist/compose/streaming/generator.cjs'), 'void 0;');
    t.not(
      (await resolveImageNames(copy)).get('generator'),
      after.get('generator'),
      'a new bundle is a new image',
    );
  },
);

t.test('an image that is here is used while it is what its name promises', async (t) => {
  const images = new Map((await resolveImages(root)).map((image) => [image.name, image]));
  const kafka = images.get('kafka')!;
  const node = images.get('node')!;
  t.ok(mayUse({ id: '', recipe: null }, kafka), 'the official image');
  t.ok(mayUse({ id: '', recipe: kafka.hash }, kafka), 'its stand-in');
  t.notOk(mayUse({ id: '', recipe: 'older' }, kafka), 'a stand-in of another recipe');
  t.ok(mayUse({ id: '', recipe: node.hash }, node), 'our own');
  t.notOk(mayUse({ id: '', recipe: null }, node), 'something else under our name');
});

t.test('the stand-in of Hadoop is configured by variables, and formats once', async (t) => {
  await shellcheck(
    t,
    ['starter.sh', 'bin/hdfs'].map((file) => join(recipes, 'hadoop', file)),
    'bash',
  );
  const folder = t.testdir({ bin: {}, conf: {} });
  const hdfs = '#!/bin/sh\necho "$*" >>"$OUT/called"\nmkdir -p "$ENSURE_NAMENODE_DIR"\n';
  await writeFile(join(folder, 'bin/hdfs'), hdfs, { mode: 0o755 });
  const variables = [
    `PATH=${join(folder, 'bin')}:${process.env.PATH}`,
    `OUT=${folder}`,
    `HADOOP_CONF_DIR=${join(folder, 'conf')}`,
    `ENSURE_NAMENODE_DIR=${join(folder, 'name/current')}`,
    'HDFS-SITE.XML_dfs.replication=1',
    'HDFS-SITE.XML_dfs.namenode.name.dir=file:///data/a=b',
    'CORE-SITE.XML_fs.defaultFS=hdfs://namenode:8020',
  ];
  const start = () =>
    runCommand('env', [...variables, join(recipes, 'hadoop/starter.sh'), 'echo', 'a  b', '*'], {}, live);
  t.equal(await start(), 'a  b *', 'the command runs with its arguments as they are');
  await start();
  t.equal(await readFile(join(folder, 'called'), 'utf8'), 'namenode -format -force\n');
  t.same(await readdir(join(folder, 'conf')), ['core-site.xml', 'hdfs-site.xml']);
  const properties = async (file: string) =>
    [
      ...(await readFile(join(folder, 'conf', file), 'utf8')).matchAll(
        /<name>([^<]*)<\/name><value>([^<]*)</g,
      ),
    ].map(([, name, value]) => `${name}=${value}`);
  t.same(await properties('hdfs-site.xml'), ['dfs.replication=1', 'dfs.namenode.name.dir=file:///data/a=b']);
  t.same(await properties('core-site.xml'), ['fs.defaultFS=hdfs://namenode:8020']);
});

t.test('what a cluster needs is what its compose files ask for', async (t) => {
  const names = await resolveImageNames(root);
  const cluster = (stacks: readonly object[]) => ({ spec: { stacks } }) as unknown as ClusterSpec;
  const stack = (path: string, env = {}) => ({ compose: join(compose, path), env });
  const streaming = [stack('streaming/stack.yaml'), stack('monitoring/stack.yaml')];
  const workload = ['generator', 'kafka-jmx', 'node-exporter', 'observer', 'prometheus', 'spark-kafka'];
  t.same([...stackImages(cluster(streaming), names)].sort(), [...workload, 'zookeeper']);
  t.same(stackImages(cluster([stack('streaming/hdfs.yaml')]), names), ['hadoop']);
  const own = stack('streaming/stack.yaml', { SPARK_KAFKA_IMAGE: 'mine:1' });
  t.notOk(stackImages(cluster([own]), names).includes('spark-kafka'), 'an image of their own is not built');
  const named = stack('streaming/hdfs.yaml', { IMAGE: names.get('zookeeper')! });
  t.same(stackImages(cluster([named]), names), ['zookeeper', 'hadoop']);
  t.same(stackImages(cluster([stack('no-such-file.yaml')]), names), []);
  t.same(stackImages(cluster([]), names), []);
});

t.test("the operator's unit finds what its image holds, where the installer lays it out", async (t) => {
  const folder = join(compose, 'controller');
  const [unit, dockerfile, installer] = await Promise.all(
    ['spark-failures.service', 'Dockerfile', 'install.sh'].map((file) =>
      readFile(join(folder, file), 'utf8'),
    ),
  );
  const [, root] = /^RootDirectory=(.+)$/m.exec(unit!) ?? [];
  t.match(installer, `root=${root} `);
  t.match(installer, 'unit=/usr/local/lib/systemd/system/spark-failures.service');
  const [, main] = /^ExecStart=\S+ --enable-source-maps (\S+)/m.exec(unit!) ?? [];
  t.match(dockerfile, `COPY package/ ${main!.slice(0, main!.indexOf('/dist/'))}/\n`);
  t.match(dockerfile, `"${main}"]`, 'a container runs the same');
  await shellcheck(
    t,
    ['install.sh', 'prepare.sh'].map((file) => join(folder, file)),
  );
});

t.test('a download is verified, and what is corrupt in the cache is not used', async (t) => {
  const cacheDir = t.testdir({ '03ac674216f3e15c-thing-1.tar.gz': '1234' });
  const set = {
    client: 'pip',
    sha256: { 'thing==1': '03ac674216f3e15c761ee1a5e255f067953623c8b388b4459e13f978d7c846f4' },
  } as const;
  const asked = new Error('the client was asked');
  const options = { cacheDir, progress: () => {}, ensureTool: () => Promise.reject(asked) };
  const [file] = await fetchDownloads(set, options, live);
  t.match(file, { fileName: 'thing-1.tar.gz', cachePath: join(cacheDir, '03ac674216f3e15c-thing-1.tar.gz') });

  await writeFile(join(cacheDir, '03ac674216f3e15c-thing-1.tar.gz'), '1235');
  await t.rejects(fetchDownloads(set, options, live), asked);
  t.same((await readdir(cacheDir)).length, 1, 'and nothing is left behind');
});

t.test('the next step to a running engine follows from what the machine shows', async (t) => {
  const bare: EngineFacts = {
    engine: 'silent',
    daemon: null,
    client: null,
    root: true,
    apt: true,
    systemd: false,
  };
  const installed: EngineFacts = { ...bare, daemon: '/usr/sbin/dockerd', client: '/usr/bin/docker' };
  const running: EngineFacts = { ...installed, engine: { version: '26.1.5' } };
  t.same(planEngineInstall(bare), { do: 'install', package: 'docker.io' });
  t.same(planEngineInstall({ ...installed, client: null }), { do: 'install', package: 'docker-cli' });
  t.same(planEngineInstall(installed), { do: 'start', by: 'dockerd' });
  t.same(planEngineInstall({ ...installed, systemd: true }), { do: 'start', by: 'systemctl' });
  t.same(planEngineInstall(running), { do: 'nothing', version: '26.1.5' });
  t.same(planEngineInstall({ ...running, root: false, apt: false, daemon: null }), {
    do: 'nothing',
    version: '26.1.5',
  });
  t.match(planEngineInstall({ ...running, engine: 'forbidden' }), { do: 'give up', problem: /group docker/ });
  t.match(planEngineInstall({ ...installed, root: false }), {
    do: 'give up',
    problem: /only root may start/,
  });
  t.match(planEngineInstall({ ...bare, root: false }), {
    do: 'give up',
    problem: 'docker.io missing, and only root',
  });
  t.match(planEngineInstall({ ...bare, apt: false }), { do: 'give up', problem: 'no Debian or Ubuntu' });
});

t.test('packages are refused with the command that would install them', async (t) => {
  t.equal(whyNoPackages(['maven'], { root: true, apt: true }), null);
  t.match(whyNoPackages(['a', 'b'], { root: false, apt: true }), /a, b missing.*apt-get install a b$/);
});

t.test('two who install packages at once wait for each other', async (t) => {
  if (whyNoPackages([], await gatherPackageFacts()) !== null) return t.comment('only root can');
  // As apt-get is while it reads lists: who comes second fails at once.
  const bin = t.testdir({
    'apt-get': `#!/bin/sh\nset -e\nmkdir "\${0%/*}/busy"\nsleep 0.2\nrmdir "\${0%/*}/busy"\n`,
  });
  await chmod(join(bin, 'apt-get'), 0o755);
  const path = process.env.PATH;
  process.env.PATH = `${bin}:${path}`;
  t.teardown(() => {
    process.env.PATH = path;
  });
  const said: string[] = [];
  const install = () => installPackages(['any'], (line) => said.push(line), live);
  await Promise.all([install(), install()]);
  t.same(said, Array(2).fill('installing Debian packages: any'));
});

t.test('a command is run with its arguments as they are', async (t) => {
  t.equal(await runCommand('printf', ['%s|', 'a b', '$HOME', '"'], {}, live), 'a b|$HOME|"|');
  const lines: string[] = [];
  await runCommand('sh', ['-c', 'echo one; echo two >&2'], { onLine: (line) => lines.push(line) }, live);
  t.same(lines.sort(), ['one', 'two']);
});

t.test('a command that fails says why, and one that cannot be found says so', async (t) => {
  const failure = runCommand('sh', ['-c', 'echo reason >&2; exit 3'], {}, live);
  await t.rejects(failure, { code: 'COMMAND_FAILED', message: /ended with exit status 3:\nreason$/ });
  await t.rejects(
    runCommand('no-such-program', [], {}, live),
    new CommandError('no-such-program cannot be run'),
  );
});

t.test('a command ends with its signal', async (t) => {
  const stop = new AbortController();
  const reason = new Error('no longer wanted');
  const sleeping = runCommand('sleep', ['60'], {}, stop.signal);
  stop.abort(reason);
  await t.rejects(sleeping, reason);
  await t.rejects(
    ensureImages([], { assetsDir: root, cacheDir: '', progress: () => {} }, stop.signal),
    reason,
  );
});
