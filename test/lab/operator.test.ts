import { readFile } from 'node:fs/promises';
import t from 'tap';
import { stringify } from 'yaml';
import { dockerImageSource, imageDelivery } from '../../controller/stack/deliver-images.ts';
import { engineGateway } from '../../controller/swarm/docker-gateways.ts';
import type { ClusterStatus } from '../../crds/status.ts';
import { dockerOver, localDocker } from '../../provisioners/shared/docker-client.ts';
import { eventually } from '../support/controller-process.ts';
import { engineOrSkip } from '../support/lab-engine.ts';
import { LabHosts } from '../support/lab-hosts.ts';

// The operator on the manager of its own cluster, as README's "On the manager" has it: three servers with an engine, of
// which the first keeps the others and itself.

t.setTimeout(900_000);
await engineOrSkip(t);

const cluster = 'operator-test';
const signal = AbortSignal.timeout(890_000);
const specs = ['node1', 'node2', 'node3'].map((name, index) => ({
  ...{ name, index },
  role: index === 0 ? ('manager' as const) : ('worker' as const),
}));
const machines = await LabHosts.open(
  {
    ...{ name: cluster, subnet: '10.94.3.0/24', specs, memory: '2Gi' },
    images: ['controller'],
    progress: (line) => t.comment(line),
  },
  signal,
);
const { hosts, login, lab } = machines;
const controller = machines.images.get('controller')!;
const output = (script: string, ...args: string[]) => machines.output('node1', script, ...args);
t.teardown(async () => {
  if (!t.passing())
    t.comment(await output('journalctl -u spark-failures -n 80 --no-pager').catch((error: unknown) => error));
  await machines.close();
});

const manifest = (nodes: readonly (typeof specs)[number][]) =>
  stringify({
    apiVersion: 'spark-failures.io/v1alpha1',
    kind: 'ClusterSpec',
    metadata: { name: cluster },
    spec: {
      provisioner: { ssh: { ...login, keyFile: '/etc/spark-failures/id_ed25519', hosts } },
      nodes: nodes.map(({ name, role }) => ({ name, role })),
    },
  });
/** Puts a manifest where the operator reads it, at once and whole. */
const put = (text: string) =>
  output(
    'umask 077; printf %s "$1" >/etc/spark-failures/.next; mv /etc/spark-failures/.next /etc/spark-failures/cluster.yaml',
    text,
  );
const state = '-v /var/lib/spark-failures:/state';
const status = async (): Promise<ClusterStatus> => {
  const told = await output(
    `docker run --rm --network none ${state} "$1" describe --state /state -o json "$2"`,
    ...[controller, cluster],
  );
  return (JSON.parse(told) as { cluster: ClusterStatus }).cluster;
};
const ready = (count: number) =>
  eventually(`${count} nodes are Ready`, 180_000, async () => {
    const { conditions, nodes } = await status();
    const isReady = conditions.some(({ type, status: is }) => type === 'Ready' && is === 'True');
    return (isReady && nodes.ready === count) || undefined;
  });
const pid = () => output('systemctl show -P MainPID spark-failures');

await t.test('is brought as an image, and becomes a unit that keeps its own machine', async (t) => {
  await machines.on('node1', async (handle) => {
    const { docker, close } = await dockerOver(handle, undefined, signal);
    await imageDelivery(dockerImageSource(localDocker())).deliver(
      [controller],
      engineGateway(docker),
      signal,
    );
    close();
  });
  t.match(
    await output('docker run --rm -v /:/host --entrypoint install-operator "$1"', controller),
    'installed',
  );
  await output(
    'umask 077; printf "%s\\n" "$1" >/etc/spark-failures/id_ed25519',
    (await readFile(login.keyFile, 'utf8')).trim(),
  );
  await put(manifest(specs.slice(0, 2)));
  await output('systemctl daemon-reload; systemctl enable --now spark-failures');
  await ready(2);
  t.same((await output("docker node ls --format '{{.Hostname}} {{.ManagerStatus}}'")).split('\n').sort(), [
    'node1 Leader',
    'node2',
  ]);
});

await t.test('lives on while its engine is down, and takes the cluster for what it is after', async (t) => {
  const before = await pid();
  await output('systemctl stop docker.socket docker.service');
  await new Promise((resolve) => setTimeout(resolve, 5_000));
  t.equal(await pid(), before);
  await output('systemctl start docker.service');
  await ready(2);
  t.equal(await pid(), before);
});

await t.test('goes on with what it was doing when its machine comes back', async (t) => {
  // Its engine takes its time, so that the power goes while node3 is half adopted.
  await machines.output(
    'node3',
    `systemctl stop docker.socket docker.service
     mkdir -p /etc/systemd/system/docker.service.d
     printf '[Service]\\nExecStartPre=/bin/sleep 15\\n' >/etc/systemd/system/docker.service.d/slow.conf
     systemctl daemon-reload`,
  );
  await put(manifest(specs));
  const note = () => machines.output('node3', 'cat /var/lib/spark-failures/adoption.json');
  const half = await eventually('node3 is being adopted', 60_000, note);
  t.match(JSON.parse(half), { node: 'node3', complete: false });
  await lab.power!.off('node1', signal);
  t.match(JSON.parse(await note()), { complete: false }, 'nobody has finished it');
  await lab.power!.on('node1', signal);
  await ready(3);
  t.match(JSON.parse(await note()), { complete: true });
  t.match(await output("docker node ls --format '{{.Hostname}} {{.Status}}'"), /node3 Ready/);
  t.equal(await output('docker node ls -q | wc -l'), '3', 'nobody joined twice');
});
