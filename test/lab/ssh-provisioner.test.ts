import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import t from 'tap';
import { stringify } from 'yaml';
import { buildImage } from '../../compose/images/local-engine.ts';
import { runCommand } from '../../provisioners/shared/run-command.ts';
import { sshConfigSchema } from '../../provisioners/ssh/config.ts';
import { sshProvisioner } from '../../provisioners/ssh/provisioner.ts';
import { provisionerContract } from '../contracts/provisioner.ts';
import { endController, eventually, runController, startController } from '../support/controller-process.ts';
import { engineOrSkip } from '../support/lab-engine.ts';
import { inventory, LabHosts, withoutEngine } from '../support/lab-hosts.ts';

// Two machines that exist and have no engine, adopted and released as servers in a rack would be.

t.setTimeout(1_200_000);
await engineOrSkip(t);

const signal = AbortSignal.timeout(1_190_000);
const progress = (line: string) => t.comment(line);
const specs = [
  { name: 'node1', role: 'manager', index: 0 },
  { name: 'node2', role: 'worker', index: 1 },
] as const;
const cluster = 'ssh-test';
const machines = await LabHosts.open(
  { name: cluster, subnet: '10.94.1.0/24', specs, seed: ['debian'], progress },
  signal,
);
t.teardown(() => machines.close());
const { work, hosts, login } = machines;
const debian = machines.images.get('debian')!;
const output = (name: string, script: string, ...args: string[]) => machines.output(name, script, ...args);
/** An engine that somebody uses: of what they hold one image bears the name ($1) of one that will come. */
const engineOfOthers = `
apt-get -q -y install --no-install-recommends docker.io docker-cli iproute2 iptables procps >/dev/null
systemctl start docker.service
tar -c -C /etc hostname | docker import - "$1" >/dev/null
tar -c -C /etc os-release | docker import - theirs:1 >/dev/null
docker volume create theirs >/dev/null
docker network create theirs >/dev/null
docker create --name theirs -v /anonymous theirs:1 true >/dev/null`;
/** What an engine holds. */
const holdings = `
docker image ls -a --no-trunc --format 'image {{.Repository}}:{{.Tag}} {{.ID}}' | sort
docker volume ls -q | sort
docker network ls --format 'network {{.Name}} {{.Driver}} {{.Scope}}' | sort
docker ps -a --no-trunc --format 'container {{.Names}} {{.Image}} {{.Status}}' | sort
docker info --format '{{.Swarm.LocalNodeState}}'`;

await Promise.all(specs.map(({ name }) => output(name, withoutEngine)));
const found = await Promise.all(specs.map(({ name }) => output(name, inventory)));

const bind = (more: object = {}) =>
  sshProvisioner(sshConfigSchema.parse({ ...login, hosts, ...more }), {
    ...{ cluster, stateDir: join(work, 'ssh'), cacheDir: work, progress },
    images: { node: '', seed: [] },
  });

await t.test('adopted machines keep the contract of provisioners', (t) =>
  provisionerContract(t, { bind, specs, signal }),
);

await t.test('machines that are released are as they were found', async (t) => {
  t.same(await Promise.all(specs.map(({ name }) => output(name, inventory))), found);
});

await t.test(
  'an adoption that was cut off is finished by the next one, and undone by a release',
  async (t) => {
    const cut = new AbortController();
    const adopting = bind().create(specs[0], cut.signal);
    adopting.catch(() => undefined);
    const first = await output(
      'node1',
      'until dpkg-query -W runc containerd docker.io >/dev/null 2>&1; do sleep 0.02; done; cat /var/lib/spark-failures/adoption.json',
    );
    cut.abort(new Error('cut off'));
    await t.rejects(adopting, { message: 'cut off' });
    const note = JSON.parse(first);
    t.match(note, { complete: false });
    t.same(
      note.installed.toSorted(),
      ['containerd', 'docker-cli', 'docker.io', 'runc', 'tini'],
      'noted before',
    );
    t.same(await bind().list(signal), [], 'half adopted is not adopted, whoever looks');
    await bind().create(specs[0], signal);
    const [adopted] = await bind().list(signal);
    t.match(adopted, { name: 'node1', power: 'on' });
    await rm(join(work, 'ssh'), { recursive: true });
    t.same(await bind().list(signal), [adopted], 'it knows whose it is, though the state directory is lost');
    await bind().destroy('node1', signal);
    t.equal(await output('node1', inventory), found[0]);
  },
);

await t.test('an adoption that was cut off is undone also while apt is still at work for it', async (t) => {
  const hostsOnly = Object.fromEntries(Object.entries(hosts).map(([name, { host }]) => [name, { host }]));
  const trusting = () => bind({ hosts: hostsOnly, trustOnFirstUse: true });
  const cut = new AbortController();
  const adopting = trusting().create(specs[0], cut.signal);
  adopting.catch(() => undefined);
  await output('node1', 'until [ -s /run/spark-failures-hook ]; do sleep 0.01; done');
  cut.abort(new Error('cut off'));
  await t.rejects(adopting, { message: 'cut off' });
  await trusting().destroy('node1', signal);
  t.equal(await output('node1', inventory), found[0]);
  await rm(join(work, 'ssh'), { recursive: true });
});

await t.test(
  'a cluster is made of them, also by an operator that was killed on the way, and released',
  async (t) => {
    const [manifest, compose, state, log] = ['cluster.yaml', 'stack.yaml', 'state', 'log'].map((name) =>
      join(work, name),
    );
    const service = {
      ...{ image: '${DEBIAN_IMAGE}', command: ['sleep', 'infinity'], stop_grace_period: '1s' },
      deploy: { mode: 'global', endpoint_mode: 'dnsrr' },
    };
    await writeFile(compose!, stringify({ services: { sleeper: service } }));
    const spec = {
      provisioner: { ssh: { ...login, hosts } },
      nodes: specs.map(({ name, role }) => ({ name, role })),
      ...{
        stacks: [{ name: 'app', compose, env: { DEBIAN_IMAGE: debian } }],
        deletionPolicy: 'destroy',
      },
    };
    const resource = {
      apiVersion: 'spark-failures.io/v1alpha1',
      kind: 'ClusterSpec',
      metadata: { name: cluster },
      spec,
    };
    await writeFile(manifest!, stringify(resource));
    const verb = (name: string) => [name, '-f', manifest!, '--state', state!, '--wait'];
    const killed = startController(verb('apply'), log!);
    await eventually(
      'packages are being installed',
      120_000,
      async () => (await readFile(log!, 'utf8')).includes('installing on') || undefined,
    );
    await endController(killed, 'SIGKILL');
    const applied = await runController(verb('apply'), log!);
    t.equal(applied.code, 0, applied.stderr);
    const nodes = await output(
      'node1',
      "docker node ls --format '{{.Hostname}} {{.Status}} {{.ManagerStatus}}'",
    );
    t.same(nodes.split('\n').sort(), ['node1 Ready Leader', 'node2 Ready']);
    for (const { name } of specs)
      t.match(await output(name, 'docker ps -q --filter name=app_sleeper'), /^\w+$/, name);
    const deleted = await runController(verb('delete'), log!);
    t.equal(deleted.code, 0, deleted.stderr);
    t.same(await Promise.all(specs.map(({ name }) => output(name, inventory))), found, 'as they were found');
  },
);

await t.test(
  'from an engine that was there before goes what came with the cluster, and nothing else',
  async (t) => {
    const [moved, kept] = ['sf-ssh-test/moved:1', 'sf-ssh-test/kept:1'];
    t.teardown(() => runCommand('docker', ['image', 'rm', moved, kept], {}, signal));
    const context = await mkdtemp(join(work, 'image-'));
    await writeFile(join(context, 'Dockerfile'), `FROM ${debian}\nVOLUME /scratch\n`);
    for (const tag of [moved, kept])
      await buildImage({ tag, context, buildArgs: [], labels: [`for=${tag}`] }, signal);
    await output('node2', engineOfOthers, moved);
    const before = await output('node2', holdings);

    const [manifest, compose, state, log] = ['one.yaml', 'one-stack.yaml', 'one-state', 'one-log'].map(
      (name) => join(work, name),
    );
    const run = (image: string) => ({
      ...{ image, command: ['sleep', 'infinity'], stop_grace_period: '1s' },
      ...{ volumes: ['data:/data'], deploy: { mode: 'global', endpoint_mode: 'dnsrr' } },
    });
    const services = { a: run('${DEBIAN_IMAGE}'), b: run(moved), c: run(kept) };
    await writeFile(compose!, stringify({ services, volumes: { data: {} } }));
    const resource = {
      ...{ apiVersion: 'spark-failures.io/v1alpha1', kind: 'ClusterSpec', metadata: { name: cluster } },
      spec: {
        provisioner: { ssh: { ...login, hosts } },
        nodes: [{ name: 'node2', role: 'manager' }],
        ...{
          stacks: [{ name: 'app', compose, env: { DEBIAN_IMAGE: debian } }],
          deletionPolicy: 'destroy',
        },
      },
    };
    await writeFile(manifest!, stringify(resource));
    const verb = (name: string) => [name, '-f', manifest!, '--state', state!, '--wait'];
    const applied = await runController(verb('apply'), log!);
    t.equal(applied.code, 0, applied.stderr);
    t.match(await output('node2', 'docker volume ls -q'), /^app_data$/m);
    t.not(await output('node2', holdings), before);
    await output('node2', 'docker create --name theirs-too "$1" true >/dev/null', kept);
    await output('node2', 'docker volume create theirs-too >/dev/null');
    const deleted = await runController(verb('delete'), log!);
    t.equal(deleted.code, 0, deleted.stderr);
    t.match(deleted.stderr + deleted.stdout, /node2: left image sf-ssh-test\/kept:1, which theirs-too needs/);
    await output('node2', 'docker rm -f -v theirs-too >/dev/null; docker volume rm theirs-too >/dev/null');
    await output('node2', 'docker image rm "$1" >/dev/null', kept);
    t.equal(await output('node2', holdings), before);
    t.equal(await output('node2', 'docker version -f {{.Server.Version}} | grep -c .'), '1', 'it runs on');
    await output('node2', withoutEngine);
  },
);

await t.test('a machine that is in a swarm of others is told, and left there', async (t) => {
  await bind().create(specs[1], signal);
  await output(
    'node2',
    'docker swarm init --advertise-addr eth0 >/dev/null; rm /var/lib/spark-failures/adoption.json',
  );
  await rm(join(work, 'ssh'), { recursive: true });
  await t.rejects(bind().create(specs[1], signal), {
    needsHelp: true,
    message: /node2 is in a swarm already/,
  });
  t.equal(await output('node2', "docker info --format '{{.Swarm.LocalNodeState}}'"), 'active');
});

await t.test('a machine that does not answer holds up only itself', async (t) => {
  const dead = { ...hosts, node3: { host: '10.94.1.99', hostKey: hosts.node1!.hostKey } };
  const provisioner = bind({ hosts: dead });
  const adopted = provisioner.create(specs[0], signal);
  const startMs = Date.now();
  await t.rejects(provisioner.create({ name: 'node3', role: 'worker', index: 2 }, signal), {
    code: 'PROVISION_FAILED',
    needsHelp: false,
  });
  t.ok(Date.now() - startMs < 30_000);
  await adopted;
});
