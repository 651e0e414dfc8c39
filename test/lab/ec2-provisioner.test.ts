import { existsSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import t from 'tap';
import { stringify } from 'yaml';
import type { NodeHandle } from '../../provisioners/contract.ts';
import { ec2ConfigSchema } from '../../provisioners/ec2/config.ts';
import { ec2Provisioner } from '../../provisioners/ec2/provisioner.ts';
import { provisionerContract } from '../contracts/provisioner.ts';
import { runController } from '../support/controller-process.ts';
import { openEc2Lab } from '../support/ec2-lab.ts';
import { engineOrSkip } from '../support/lab-engine.ts';

// Instances with machines behind them: from RunInstances over cloud-init and ssh to an engine, and back to nothing.

t.setTimeout(1_200_000);
await engineOrSkip(t);

const signal = AbortSignal.timeout(1_190_000);
const region = 'eu-central-1';
const subnet = '10.94.2.0/24';
const cluster = 'ec2-test';
const sleeper = 'debian:trixie-slim';
const { work, strict, machines } = await openEc2Lab(t, { cluster, subnet, images: [sleeper] }, signal);

const settings = { region, vpc: '10.94.0.0/16', subnet, sshFrom: ['0.0.0.0/0'] };
const bind = () =>
  ec2Provisioner(ec2ConfigSchema.parse(settings), {
    ...{ cluster, stateDir: join(work, 'state'), cacheDir: work, images: { node: '', seed: [] } },
    progress: (line) => t.comment(line),
  });
const specs = [
  { name: 'node1', role: 'manager', index: 0 },
  { name: 'node2', role: 'worker', index: 1 },
] as const;

await t.test('instances keep the contract of provisioners', async (t) => {
  await strict.reset({ seed: 1, hiddenLooks: 1 });
  await provisionerContract(t, { bind, specs, signal });
  t.same(await machines.list(), []);
});

await t.test('the host key of the user data is good for one contact', async (t) => {
  await strict.reset({ seed: 2 });
  const dir = join(work, 'state', 'boot-keys', 'node1');
  await bind().create(specs[0], signal);
  const [machine] = await bind().list(signal);
  const onMachine = async (use: (node: NodeHandle) => Promise<unknown>) => {
    const node = await bind().connect(machine!, signal);
    try {
      return await use(node);
    } finally {
      node.close();
    }
  };
  const said = await onMachine((node) =>
    node.exec(
      'cat /etc/ssh/ssh_host_ed25519_key; grep -A3 ed25519_private: /var/lib/cloud/instance/user-data.txt; cloud-init status --wait',
      [],
      {},
      signal,
    ),
  );
  t.match(said, { stdout: /status: done/ });
  const [shown = '', ordered = ''] = (said as { stdout: string }).stdout.split('ed25519_private');
  t.notOk(ordered.includes(shown.split('\n')[2]!), 'it shows another one now');
  t.notOk(existsSync(dir), 'and the first is forgotten');
  await bind().destroy('node1', signal);
  await bind().destroyShared(signal);
});

await t.test('a cluster is made of them, and nothing is left of it', async (t) => {
  await strict.reset({ seed: 3, hiddenLooks: 1, throttled: 0.01 });
  const [manifest, compose, state, log] = ['cluster.yaml', 'stack.yaml', 'cluster-state', 'log'].map((name) =>
    join(work, name),
  ) as [string, string, string, string];
  const service = {
    ...{ image: '${DEBIAN_IMAGE}', command: ['sleep', 'infinity'], stop_grace_period: '1s' },
    deploy: { mode: 'global', endpoint_mode: 'dnsrr' },
  };
  await writeFile(compose, stringify({ services: { sleeper: service } }));
  const spec = {
    ...{ provisioner: { ec2: settings }, deletionPolicy: 'destroy' },
    nodes: specs.map(({ name, role }) => ({ name, role })),
    stacks: [{ name: 'app', compose, env: { DEBIAN_IMAGE: sleeper } }],
  };
  const resource = {
    ...{ apiVersion: 'spark-failures.io/v1alpha1', kind: 'ClusterSpec', metadata: { name: cluster } },
    spec,
  };
  await writeFile(manifest, stringify(resource));
  const applied = await runController(['apply', '-f', manifest, '--state', state, '--wait'], log);
  t.equal(applied.code, 0, applied.stderr);
  t.equal((await machines.list()).length, 2);
  const again = await runController(['plan', '-f', manifest, '--state', state], log);
  t.match(again.stdout, /ClusterSpec\/ec2-test: nothing to do/);
  const deleted = await runController(['delete', '-f', manifest, '--state', state, '--wait'], log);
  t.equal(deleted.code, 0, deleted.stderr);
  t.same(await machines.list(), []);
  t.same(strict.living(), []);
});
