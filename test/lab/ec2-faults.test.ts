import { execFile } from 'node:child_process';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import t from 'tap';
import { stringify } from 'yaml';
import type { ScheduleStatus } from '../../crds/status.ts';
import { ec2ConfigSchema } from '../../provisioners/ec2/config.ts';
import { ec2Provisioner } from '../../provisioners/ec2/provisioner.ts';
import {
  controllerJson,
  endController,
  eventually,
  runController,
  startController,
} from '../support/controller-process.ts';
import { openEc2Lab } from '../support/ec2-lab.ts';
import { engineOrSkip } from '../support/lab-engine.ts';

// What only AWS can do to machines, done to real ones: a zone is cut off, and a spot machine is taken back.

t.setTimeout(1_200_000);
await engineOrSkip(t);

const run = promisify(execFile);
const signal = AbortSignal.timeout(1_190_000);
const cluster = 'ec2-faults';
const sleeper = 'debian:trixie-slim';
const layout = { cluster, subnet: '10.94.9.0/24', images: [sleeper] };
const { work, strict, machines } = await openEc2Lab(t, layout, signal);
await strict.reset({ seed: 1 });
const [state, log, manifests] = ['state', 'log', 'manifests'].map((name) => join(work, name)) as [
  string,
  string,
  string,
];
await mkdir(manifests);
t.teardown(async () => {
  if (!t.passing())
    t.comment((await readFile(log, 'utf8').catch(() => '')).split('\n').slice(-120).join('\n'));
});

const [zoneA, zoneB] = ['eu-central-1a', 'eu-central-1b'];
const settings = {
  ...{ region: 'eu-central-1', vpc: '10.94.0.0/16', sshFrom: ['0.0.0.0/0'] },
  zones: { [zoneA]: '10.94.9.0/25', [zoneB]: '10.94.9.128/25' },
  machines: { node2: { zone: zoneB }, node3: { zone: zoneB, spot: true } },
};
const apiVersion = 'spark-failures.io/v1alpha1';
const put = (name: string, resource: object) =>
  writeFile(join(manifests, name), stringify({ apiVersion, ...resource }));
const controller = (verb: string) => [verb, '-f', manifests, '--state', state, '--wait'];
const apply = () => runController(controller('apply'), log);

/** A schedule of one fault that nobody measures; it begins as soon as its manifest is applied. */
const schedule = (name: string, nodes: readonly string[], fault: object) =>
  put('schedule.yaml', {
    ...{ kind: 'FaultSchedule', metadata: { name } },
    spec: {
      ...{ clusterRef: { name: cluster }, seed: 1, when: { now: {} }, preset: 'none' },
      faults: [{ name, target: { nodes: { matchNames: nodes }, pick: 'all' }, ...fault }],
    },
  });
const trialOf = async (name: string) => {
  const [status] = await controllerJson<ScheduleStatus[]>(['get', 'schedules', name, '--state', state], log);
  return status!.trials[0]!;
};

/** As its own provisioner sees it, whatever the operator does. */
const list = () =>
  ec2Provisioner(ec2ConfigSchema.parse(settings), {
    ...{ cluster, stateDir: join(state, 'provisioner', cluster), cacheDir: work },
    ...{ images: { node: '', seed: [] }, progress: () => {} },
  }).list(signal);
const machine = async (name: string) => (await list()).find((each) => each.name === name);

/** Whether one machine hears another's sshd, asked at its console. */
const hears = async (name: string, other: string): Promise<boolean> => {
  const [from, to] = await Promise.all([machine(name), machine(other)]);
  if (!from || !to) throw new Error('they are not both there');
  const knock = 'exec 3<>"/dev/tcp/$0/22"';
  const asked = ['exec', from.incarnation, 'timeout', '2', 'bash', '-c', knock, to.address];
  return run('docker', asked).then(
    () => true,
    () => false,
  );
};

/** Both ways. */
const isCut = async (): Promise<true | undefined> => {
  const heard = await Promise.all([hears('node1', 'node2'), hears('node3', 'node1')]);
  return heard.every((each) => !each) || undefined;
};

await t.test('machines in two zones become a swarm', async (t) => {
  const compose = join(work, 'stack.yaml');
  const service = {
    ...{ image: '${DEBIAN_IMAGE}', command: ['sleep', 'infinity'], stop_grace_period: '1s' },
    deploy: { mode: 'global', endpoint_mode: 'dnsrr' },
  };
  await writeFile(compose, stringify({ services: { sleeper: service } }));
  await put('cluster.yaml', {
    ...{ kind: 'ClusterSpec', metadata: { name: cluster } },
    spec: {
      ...{ provisioner: { ec2: settings }, deletionPolicy: 'destroy' },
      nodes: ['node1', 'node2', 'node3'].map((name, index) => ({
        ...{ name, role: index === 0 ? 'manager' : 'worker' },
      })),
      stacks: [{ name: 'app', compose, env: { DEBIAN_IMAGE: sleeper } }],
    },
  });
  const applied = await apply();
  t.equal(applied.code, 0, applied.stderr);
  t.match(await list(), [
    { name: 'node1', zone: zoneA },
    { name: 'node2', zone: zoneB },
    { name: 'node3', zone: zoneB, spot: true },
  ]);
});

await t.test('a zone that is cut off hears itself and nobody else, and is joined again', async (t) => {
  await schedule('cut', ['node2', 'node3'], { hold: '15s', blackholeZone: {} });
  const applied = apply();
  await eventually('cut off', 60_000, isCut);
  t.ok(await hears('node2', 'node3'), 'within it goes on');
  t.equal((await applied).code, 0);
  t.match(await trialOf('cut'), { outcome: 'Healed', targets: ['node2', 'node3'] });
  t.ok(await hears('node1', 'node2'));
  t.ok(await hears('node3', 'node1'));
});

await t.test('a zone comes back by itself when its operator is killed', async (t) => {
  await schedule('killed', ['node2', 'node3'], { hold: '10s', blackholeZone: {} });
  const killed = startController(controller('apply'), log);
  await eventually('cut off', 60_000, isCut);
  await endController(killed, 'SIGKILL');
  t.ok(await isCut(), 'nobody is there to heal it');
  // Hold, effect and heal: the switch of each node has the same deadline.
  await eventually('joined again', 100_000, async () => (await hears('node1', 'node3')) || undefined);
  t.ok(await hears('node1', 'node2'));
  const applied = await apply();
  t.equal(applied.code, 1, 'what was cut short is told');
  t.match(await trialOf('killed'), { outcome: 'Aborted' });
});

await t.test('the panic button joins it again at once', async (t) => {
  await schedule('panic', ['node2', 'node3'], { hold: '300s', blackholeZone: {} });
  const killed = startController(controller('apply'), log);
  await eventually('cut off', 60_000, isCut);
  await endController(killed, 'SIGKILL');
  const healed = await runController(['heal', '--state', state], log);
  t.equal(healed.code, 0, healed.stderr + healed.stdout);
  t.ok(await hears('node1', 'node2'));
  t.ok(await hears('node3', 'node1'));
});

await t.test('a spot machine is taken back, and another one takes its place', async (t) => {
  const before = (await machine('node3'))!;
  await schedule('taken', ['node3'], { interruptNode: {} });
  const applied = await apply();
  t.equal(applied.code, 0, applied.stderr);
  t.match(await trialOf('taken'), { outcome: 'Healed', targets: ['node3'] });
  const after = await machine('node3');
  t.match(after, { address: before.address, zone: zoneB, spot: true, power: 'on' });
  t.not(after?.incarnation, before.incarnation);
  const again = await runController(['plan', '-f', manifests, '--state', state], log);
  t.match(again.stdout, /ClusterSpec\/ec2-faults: nothing to do/);
});

await t.test('a machine is made anew also when the operator is killed meanwhile', async (t) => {
  const before = (await machine('node3'))!;
  await schedule('halved', ['node3'], { interruptNode: {} });
  const killed = startController(controller('apply'), log);
  const isGone = async () => (await machine('node3'))?.incarnation !== before.incarnation || undefined;
  await eventually('ended', 60_000, isGone);
  await endController(killed, 'SIGKILL');
  const applied = await apply();
  t.equal(applied.code, 1, 'what was cut short is told');
  t.match(await trialOf('halved'), { outcome: 'Aborted' });
  t.match(await list(), [{ name: 'node1' }, { name: 'node2' }, { name: 'node3', power: 'on' }]);
  t.equal((await machines.list()).length, 3);
});

await t.test('nothing is left of it', async (t) => {
  const deleted = await runController(controller('delete'), log);
  t.equal(deleted.code, 0, deleted.stderr);
  t.same(await machines.list(), []);
  t.same(strict.living(), []);
});
