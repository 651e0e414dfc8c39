import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { type AddressInfo, createServer } from 'node:net';
import { join } from 'node:path';
import t from 'tap';
import { stringify } from 'yaml';
import { sshConfigSchema } from '../../provisioners/ssh/config.ts';
import { sshProvisioner } from '../../provisioners/ssh/provisioner.ts';
import { runController } from '../support/controller-process.ts';
import { makeEngineRepository, newer, older } from '../support/engine-repository.ts';
import { engineOrSkip } from '../support/lab-engine.ts';
import { inventory, LabHosts, withoutEngine } from '../support/lab-hosts.ts';

// What differs between servers that are adopted: their distribution, and where their engine comes from.

t.setTimeout(1_200_000);
await engineOrSkip(t);

const signal = AbortSignal.timeout(1_190_000);
const progress = (line: string) => t.comment(line);
const specs = [
  { name: 'node1', role: 'manager', index: 0 },
  { name: 'node2', role: 'worker', index: 1 },
] as const;
const cluster = 'ssh-distributions';
const machines = await LabHosts.open(
  {
    ...{ name: cluster, subnet: '10.94.10.0/24', specs, ubuntu: ['node2'] },
    ...{ images: ['debian'], progress },
  },
  signal,
);
t.teardown(() => machines.close());
const { work, hosts, login } = machines;
const output = (name: string, script: string) => machines.output(name, script);

/** As upgrades do that nobody attends. */
const othersInstall = `
systemd-run --quiet --collect apt-get -q -y -o DPkg::Pre-Invoke::='sleep 15' --reinstall install iputils-ping
until pgrep -xf 'sleep 15' >/dev/null; do sleep 0.1; done`;

await Promise.all(specs.map(({ name }) => output(name, withoutEngine)));
// As an engine is by itself: since version 29 it keeps images in containerd's store, which cannot lie on an overlay.
await output(
  'node2',
  'rm -r /etc/docker; mkdir -p /var/lib/containerd; mount -t tmpfs none /var/lib/containerd',
);
const found = await Promise.all(specs.map(({ name }) => output(name, inventory)));

await t.test('a swarm of Debian and Ubuntu is made, and released as it was found', async (t) => {
  t.match(await output('node1', 'cat /etc/os-release'), /^ID=debian$/m);
  t.match(await output('node2', 'cat /etc/os-release'), /^ID=ubuntu$/m);
  const [manifest, compose, state, log] = ['cluster.yaml', 'stack.yaml', 'state', 'log'].map((name) =>
    join(work, name),
  );
  const service = {
    ...{ image: machines.images.get('debian'), command: ['sleep', 'infinity'], stop_grace_period: '1s' },
    deploy: { mode: 'global', endpoint_mode: 'dnsrr' },
  };
  await writeFile(compose!, stringify({ services: { sleeper: service } }));
  const resource = {
    ...{ apiVersion: 'spark-failures.io/v1alpha1', kind: 'ClusterSpec', metadata: { name: cluster } },
    spec: {
      provisioner: { ssh: { ...login, hosts } },
      nodes: specs.map(({ name, role }) => ({ name, role })),
      ...{ stacks: [{ name: 'app', compose }], deletionPolicy: 'destroy' },
    },
  };
  await writeFile(manifest!, stringify(resource));
  const verb = (name: string) => [name, '-f', manifest!, '--state', state!, '--wait'];
  await output('node2', othersInstall);
  const applied = await runController(verb('apply'), log!);
  t.equal(applied.code, 0, applied.stderr);
  t.notMatch(applied.stderr, /lock/, 'who else installs is waited for');
  const nodes = await output('node1', "docker node ls --format '{{.Hostname}} {{.Status}}'");
  t.same(nodes.split('\n').sort(), ['node1 Ready', 'node2 Ready']);
  const held = (name: string) => output(name, 'apt-mark showhold');
  t.equal(await held('node1'), 'docker-cli\ndocker.io');
  t.equal(await held('node2'), 'docker.io', 'which has the client in it');
  t.equal(await output('node1', "docker info -f '{{.Driver}}'"), 'overlay2');
  t.equal(await output('node2', "docker info -f '{{.Driver}}'"), 'overlayfs', 'another kind of store');
  for (const { name } of specs)
    t.match(await output(name, 'docker ps -q --filter name=app_sleeper'), /^\w+$/, name);
  const deleted = await runController(verb('delete'), log!);
  t.equal(deleted.code, 0, deleted.stderr);
  t.same(await Promise.all(specs.map(({ name }) => output(name, inventory))), found);
});

await t.test('an engine from a configured repository', async (t) => {
  const repository = await makeEngineRepository(machines, 'node1', signal);
  const bind = (engine: object) =>
    sshProvisioner(sshConfigSchema.parse({ ...login, hosts, engine: { package: 'docker-ce', ...engine } }), {
      ...{ cluster, stateDir: join(work, 'repository'), cacheDir: work, progress },
      images: { node: '', seed: [] },
    });
  const refusal = async (engine: object): Promise<string> => {
    const error = await bind(engine)
      .create(specs[0], signal)
      .catch((thrown: Error) => thrown);
    t.same(await bind(engine).list(signal), [], 'it is not adopted');
    t.equal(await output('node1', inventory), found[0], 'and nothing is left of the attempt');
    return error instanceof Error ? error.message : 'adopted';
  };

  await t.test('is told when it has another key, no such version, or no server', async (t) => {
    t.match(
      await refusal({ repository: repository.stanzaOfOthers }),
      /^node1: reading the lists of packages: .*Missing key.*; mend engine\.repository in the manifest/,
    );
    t.match(
      await refusal({ repository: repository.stanza, version: '5:1.0' }),
      `node1: reading the lists of packages: choose another engine.version in the manifest: of docker-ce there is ${newer} ${older}, and no 5:1.0`,
    );
    const silent = createServer(() => {}).listen(0, '0.0.0.0');
    await once(silent, 'listening');
    const { port } = silent.address() as AddressInfo;
    const startMs = Date.now();
    t.match(
      await refusal({ repository: repository.at(`http://10.94.10.1:${port}`) }),
      /^node1: reading the lists of packages: .*10\.94\.10\.1.*mend engine\.repository in the manifest, its key or its server$/,
    );
    t.comment(`a server without an answer is given up after ${Math.round((Date.now() - startMs) / 1_000)} s`);
    silent.close();
  });

  await t.test('comes in the version that was asked for, is held, and goes again', async (t) => {
    const provisioner = bind({ repository: repository.stanza, version: older });
    await provisioner.create(specs[0], signal);
    const versions = "dpkg-query -W -f '${Package} ${Version}\\n' docker-ce docker-ce-cli containerd.io";
    t.same((await output('node1', versions)).split('\n'), [
      'containerd.io 1.7.27-1',
      `docker-ce ${older}`,
      `docker-ce-cli ${newer}`,
    ]);
    t.equal(await output('node1', 'apt-mark showhold'), 'docker-ce\ndocker-ce-cli');
    t.notMatch(await output('node1', 'apt-get -s dist-upgrade'), /^Inst docker/m);
    t.match(await output('node1', 'docker version -f {{.Server.Version}}'), /^\d/);
    await provisioner.destroy('node1', signal);
    await output('node1', 'rm -r /srv/engines');
    t.equal(await output('node1', inventory), found[0]);
  });
});
