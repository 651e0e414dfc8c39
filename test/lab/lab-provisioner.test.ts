import { once } from 'node:events';
import { access, lstat, mkdtemp, readdir, rm } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import t from 'tap';
import { ensureImages } from '../../compose/images/ensure-images.ts';
import { resolveImageNames } from '../../compose/images/resolve-images.ts';
import { type Machine, type NodeHandle, ProvisionError } from '../../provisioners/contract.ts';
import { labConfigSchema } from '../../provisioners/lab/config.ts';
import { labProvisioner } from '../../provisioners/lab/provisioner.ts';
import { dockerOver, localDocker } from '../../provisioners/shared/docker-client.ts';
import { readMachineFacts } from '../../provisioners/shared/node-facts.ts';
import { provisionerContract } from '../contracts/provisioner.ts';
import { engineOrSkip } from '../support/lab-engine.ts';

// Two real machines, reached as the product reaches them.

t.setTimeout(600_000);
await engineOrSkip(t);

const cluster = 'lab-test';
const signal = AbortSignal.timeout(590_000);
const work = await mkdtemp(join(tmpdir(), 'sf-lab-test-'));
const stateDir = join(work, 'state');
const cacheDir = join(work, 'cache');
const assetsDir = join(import.meta.dirname, '..', '..', '..');
const names = await resolveImageNames(assetsDir);
const images = { node: names.get('node') ?? '', seed: ['debian:trixie-slim'] };
const downloads = join(assetsDir, '.cache');
await ensureImages(
  [images.node, ...images.seed],
  { assetsDir, cacheDir: downloads, progress: () => {} },
  signal,
);

const config = { subnet: '10.94.0.0/24', memory: '1Gi', cpus: 1 };
const bind = (changed: object = {}) =>
  labProvisioner(labConfigSchema.parse({ ...config, ...changed }), {
    ...{ cluster, stateDir, cacheDir, images },
    progress: (line) => t.comment(line),
  });
const specs = [
  { name: 'node1', role: 'manager', index: 0 },
  { name: 'node2', role: 'worker', index: 1 },
] as const;
const docker = localDocker();
const ours = { filters: { label: [`spark-failures.io/cluster=${cluster}`] } };

const takeDown = async () => {
  await Promise.all((await bind().list(signal)).map(({ name }) => bind().destroy(name, signal)));
  await bind().destroyShared(signal);
};
t.teardown(async () => {
  await takeDown();
  await rm(work, { recursive: true, force: true });
});
await takeDown();

const withNodes = async <T>(
  use: (nodes: NodeHandle[], machines: readonly Machine[]) => Promise<T>,
): Promise<T> => {
  const machines = await bind().list(signal);
  const nodes = await Promise.all(machines.map((machine) => bind().connect(machine, signal)));
  try {
    return await use(nodes, machines);
  } finally {
    for (const node of nodes) node.close();
  }
};
const output = async (node: NodeHandle, script: string, ...args: string[]) => {
  const { code, stdout, stderr } = await node.exec(script, args, {}, signal);
  if (code !== 0) throw new Error(`${script} ended with ${code}: ${stderr}`);
  return stdout.trim();
};
const exists = (path: string) =>
  access(path).then(
    () => true,
    () => false,
  );

await t.test('the lab keeps the contract of provisioners', (t) =>
  provisionerContract(t, { bind, specs, signal }),
);

await t.test('two machines differ in all that tells machines apart', async (t) => {
  const provisioner = bind();
  await Promise.all(specs.map((spec) => provisioner.create(spec, signal)));
  await withNodes(async (nodes, machines) => {
    t.same(
      machines.map(({ address }) => address),
      ['10.94.0.11', '10.94.0.12'],
    );
    for (const script of [
      'cat /etc/machine-id',
      'cat /etc/ssh/ssh_host_ed25519_key.pub',
      'docker info -f "{{.ID}}"',
    ]) {
      const [one, two] = await Promise.all(nodes.map((node) => output(node, script)));
      t.not(one, two, script);
    }
    t.match(await readMachineFacts(nodes[0]!, signal), {
      operatingSystem: /Debian/,
      engineVersion: /^\d+\./,
    });
    t.equal(await nodes[0]!.controllerAddress(signal), '10.94.0.1');
    t.notOk(
      (await nodes[0]!.exec('date -s @0', [], {}, signal)).code === 0,
      'no machine may move the clock of the host',
    );
  });
});

await t.test('the engine of each machine is reached through ssh, and no other is taken for it', async (t) => {
  await withNodes(async (nodes) => {
    const [one, two] = await Promise.all(nodes.map((node) => dockerOver(node, undefined, signal)));
    t.not(one!.engineId, two!.engineId);
    await t.rejects(dockerOver(nodes[0]!, two!.engineId, signal), ProvisionError);
    const startedAtMs = performance.now();
    for (let call = 0; call < 20; call += 1) await one!.docker.listContainers();
    t.comment(`an engine call takes ${((performance.now() - startedAtMs) / 20).toFixed(1)} ms`);
    for (const client of [one!, two!]) client.close();
  });
});

await t.test('every machine is born with the images, and no layer was copied', async (t) => {
  await withNodes(async (nodes) => {
    for (const node of nodes) {
      t.equal(await output(node, 'docker images --format "{{.Repository}}:{{.Tag}}"'), images.seed[0]);
      t.equal(await output(node, 'docker run --rm --network none "$1" echo works', images.seed[0]!), 'works');
    }
  });
  const stores = join(cacheDir, 'lab', 'stores', cluster);
  const layers = (await readdir(join(stores, 'node1', 'overlay2'), { withFileTypes: true })).filter(
    ({ name }) => name !== 'l',
  );
  const links = await Promise.all(
    layers.map(({ parentPath, name }) => lstat(join(parentPath, name, 'diff'))),
  );
  t.ok(links.length > 0 && links.every((link) => link.isSymbolicLink()), 'layers are links into the seed');
});

await t.test('limits are those of the settings, and other settings are told from them', async (t) => {
  const [container] = await docker.listContainers(ours);
  const { HostConfig, Mounts } = await docker.getContainer(container!.Id).inspect();
  t.match(HostConfig, {
    Memory: 1024 ** 3,
    MemorySwap: 1024 ** 3,
    NanoCpus: 1e9,
    PidsLimit: 8192,
    Privileged: false,
  });
  t.notOk(
    Mounts.some(({ Type }) => Type === 'volume'),
    'no volume that could be left behind',
  );
  t.not(bind({ memory: '2Gi' }).settingsHash(specs[0]), bind().settingsHash(specs[0]));
  t.equal((await bind({ memory: '2Gi' }).list(signal))[0]?.settingsHash, bind().settingsHash(specs[0]));
});

await t.test('all machines share one checkpoint folder, in which user 185 may write', async (t) => {
  await withNodes(async ([one, two]) => {
    const path = '/var/lib/spark-failures/checkpoint';
    await output(one!, `setpriv --reuid 185 --clear-groups sh -c 'echo "$1" > ${path}/offsets' sh 42`);
    t.equal(await output(two!, `cat ${path}/offsets`), '42');
  });
});

await t.test('a machine that loses power comes back as itself, with its images', async (t) => {
  const [before] = await bind().list(signal);
  const identity = 'cat /etc/machine-id; docker info -f "{{.ID}}"; docker images -q';
  const was = await withNodes(([one]) => output(one!, identity));
  await bind().power?.off('node1', signal);
  await bind().create(specs[0], signal);
  t.same((await bind().list(signal))[0], before);
  t.equal(await withNodes(([one]) => output(one!, identity)), was);
});

await t.test('a machine that loses power says goodbye to nobody', async (t) => {
  const [machine] = await bind().list(signal);
  const socket = connect(22, machine!.address);
  t.teardown(() => socket.destroy());
  let isOver = false;
  for (const event of ['end', 'close', 'error'])
    socket.on(event, () => {
      isOver = true;
    });
  await once(socket, 'data');
  await bind().power?.offUntil('node1', Date.now() + 600_000, signal);
  const isOff = async () => (await bind().list(signal))[0]?.power === 'off';
  while (!(await isOff())) await sleep(100);
  await sleep(2_000);
  t.notOk(isOver, 'its peers have to find out');
  await bind().power?.on('node1', signal);
  await bind().create(specs[0], signal);
});

await t.test('an image can be removed and made on a machine without touching its peer', async (t) => {
  await withNodes(async ([one, two]) => {
    const [image = ''] = images.seed;
    await output(
      one!,
      'docker run --network none --name made "$1" sh -c "echo new > /new && rm /etc/debian_version"',
      image,
    );
    await output(
      one!,
      'docker commit made made && docker rm made && docker run --rm --network none made cat /new',
    );
    await output(one!, 'docker rmi made "$1"', image);
    t.equal(await output(one!, 'docker images -q'), '');
    t.equal(
      await output(
        two!,
        'docker run --rm --network none "$1" sh -c "cat /etc/debian_version | wc -l"',
        image,
      ),
      '1',
    );
  });
});

await t.test('a machine that somebody has paused counts as off, and is brought back', async (t) => {
  const [machine] = await bind().list(signal);
  await docker.getContainer(machine!.incarnation).pause();
  t.equal((await bind().list(signal))[0]?.power, 'off');
  await bind().create(specs[0], signal);
  t.same((await bind().list(signal))[0], machine);
});

await t.test('a lost key is replaced through the engine, also after a boot', async (t) => {
  await rm(join(stateDir, 'id_ed25519'));
  t.equal(await withNodes(([one]) => output(one!, 'hostname')), 'node1');
  await bind().power?.off('node1', signal);
  await bind().create(specs[0], signal);
  t.equal(await withNodes(([one]) => output(one!, 'hostname')), 'node1');
});

await t.test('a machine whose place in the manifest is taken gets another address', async (t) => {
  await bind().create({ name: 'node3', role: 'worker', index: 0 }, signal);
  const machines = await bind().list(signal);
  t.same(
    machines.map(({ address }) => address),
    ['10.94.0.11', '10.94.0.12', '10.94.0.75'],
  );
});

await t.test('a subnet or an image that cannot be had is told before anything is made', async (t) => {
  const other = labProvisioner(labConfigSchema.parse(config), {
    ...{ cluster: 'lab-test-2', stateDir: join(work, 'state-2'), cacheDir, progress: () => {} },
    images: { ...images, seed: ['no/such:image', 'no/other:image'] },
  });
  await t.rejects(other.create(specs[0], signal), {
    code: 'PROVISION_FAILED',
    message: /10\.94\.0|no\/such/,
  });
  t.same(await other.list(signal), []);
  await other.destroyShared(signal);
});

/** A process that stands still in a cgroup of its own, as `pauseContainer` leaves it when whoever would undo it is gone. */
const freezeOne = `
if [ -d /sys/fs/cgroup/freezer ]; then cgroup=/sys/fs/cgroup/freezer/still; word=FROZEN; file=freezer.state
else cgroup=/sys/fs/cgroup/still; word=1; file=cgroup.freeze; fi
mkdir -p "$cgroup"
setsid sleep 600 >/dev/null 2>&1 &
echo $! >"$cgroup/cgroup.procs"
echo $word >"$cgroup/$file"
cat "$cgroup/$file"`;

await t.test('a machine in which something is frozen loses power, and is removed', async (t) => {
  const freeze = () => withNodes(([one]) => output(one!, freezeOne));
  const isOff = async () => (await bind().list(signal))[0]?.power === 'off';
  t.match(await freeze(), /FROZEN|1/);
  await bind().power?.off('node1', signal);
  t.ok(await isOff());
  await bind().create(specs[0], signal);
  await freeze();
  await bind().power?.offUntil('node1', Date.now() + 600_000, signal);
  while (!(await isOff())) await sleep(100);
  await bind().power?.on('node1', signal);
  await bind().create(specs[0], signal);
  await freeze();
  await bind().destroy('node1', signal);
  t.notOk((await bind().list(signal)).some(({ name }) => name === 'node1'));
});

await t.test('nothing is left', async (t) => {
  await takeDown();
  t.same(await docker.listContainers({ all: true, ...ours }), []);
  t.same(await docker.listNetworks(ours), []);
  t.notOk(await exists(stateDir));
  t.notOk(await exists(join(cacheDir, 'lab', 'stores', cluster)));
  t.equal((await readdir(join(cacheDir, 'lab', 'seeds'))).length, 1, 'but the cache');
});
