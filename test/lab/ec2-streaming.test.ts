import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { parse, stringify } from 'yaml';
import type { ScheduleStatus } from '../../crds/status.ts';
import { AwsInventory, nothing } from '../support/aws-inventory.ts';
import { controllerJson, runController } from '../support/controller-process.ts';
import { openEc2Lab } from '../support/ec2-lab.ts';
import { packageRoot } from '../support/examples.ts';
import { engineOrSkip } from '../support/lab-engine.ts';

// The whole way on AWS as README tells it: the example's six instances, the job with its checkpoint in their bucket, one of
// them without power and one taken back while the job is measured, and nothing left of it all.

t.setTimeout(1_800_000);
await engineOrSkip(t);

const signal = AbortSignal.timeout(1_790_000);
const cluster = 'ec2-streaming';
const bucket = 'sf-ec2-streaming-test';
const region = 'eu-central-1';
const subnet = '10.94.5.0/24';
const lab = await openEc2Lab(t, { cluster, subnet, images: [], memory: '3Gi' }, signal);
const { work, strict, endpoint, moto, machines } = lab;
const [state, log] = [join(work, 'state'), join(work, 'log')];
t.teardown(async () => {
  if (!t.passing())
    t.comment((await readFile(log, 'utf8').catch(() => '')).split('\n').slice(-80).join('\n'));
});
await strict.reset({ seed: 1, hiddenLooks: 1 });

const example = parse(
  await readFile(join(packageRoot, 'manifests', 'examples', 'aws', 'cluster.yaml'), 'utf8'),
) as { readonly spec: { readonly provisioner: { readonly ec2: object } } };
const clusterSpec = {
  ...example,
  metadata: { name: cluster },
  spec: {
    ...example.spec,
    provisioner: {
      ec2: {
        ...example.spec.provisioner.ec2,
        ...{ region, vpc: '10.94.0.0/16', subnet, sshFrom: ['0.0.0.0/0'] },
        bucket: { name: bucket, purgeData: true },
        machines: { node6: { spot: true } },
      },
    },
    checkpoint: { s3a: { bucket, region, endpoint, credentials: 'role' } },
    stacks: [
      {
        ...{ name: 'streaming', compose: join(packageRoot, 'compose', 'streaming', 'stack.yaml') },
        env: { RATE: '500', PROFILE: 'fast' },
      },
    ],
  },
};
/** One measured trial of a fault. */
const schedule = (name: string, fault: object) => ({
  ...{ apiVersion: 'spark-failures.io/v1alpha1', kind: 'FaultSchedule', metadata: { name } },
  spec: {
    ...{ clusterRef: { name: cluster }, seed: 1, when: { now: {} }, preset: 'smoke' },
    faults: [{ name, ...fault }],
  },
});
const manifests = join(work, 'manifests');
await mkdir(manifests);
const put = (name: string, resource: object) => writeFile(join(manifests, name), stringify(resource));
const controller = (verb: string) => runController([verb, '-f', manifests, '--state', state, '--wait'], log);

await t.test('six instances become the cluster of the example, with its job', async (t) => {
  await put('cluster.yaml', clusterSpec);
  const applied = await controller('apply');
  t.equal(applied.code, 0, applied.stderr);
  t.equal((await machines.list()).length, 6);
});

/** Applies a schedule, and resolves with its trial and the calls that were made meanwhile. */
const measure = async (t: Test, name: string, fault: object) => {
  await put(`${name}.yaml`, schedule(name, fault));
  const calls = strict.calls.length;
  const applied = await controller('apply');
  t.equal(applied.code, 0, applied.stderr);
  const [status] = await controllerJson<ScheduleStatus[]>(['get', 'schedules', name, '--state', state], log);
  const trial = status!.trials[0]!;
  t.comment(
    Object.entries(trial.figures)
      .map(([figure, { ms }]) => `${figure} ${ms / 1000} s`)
      .join(', '),
  );
  t.match(trial, { outcome: 'Healed', verdict: { correctness: 'Correct' }, settings: { checkpoint: /s3a/ } });
  return { trial, calls: strict.calls.slice(calls) };
};

await t.test('the job is measured while an instance has no power', async (t) => {
  const target = { nodes: { matchNames: ['node5'] } };
  const { trial, calls } = await measure(t, 'power', { target, hold: '45s', powerOffNode: {} });
  t.match(trial.verdict?.recovery, /^Recovered/);
  t.ok(trial.figures.stall!.ms > 5_000, `a stall of ${trial.figures.stall!.ms} ms`);
  for (const call of ['StopInstances', 'StartInstances']) t.ok(calls.includes(`ec2 ${call}`), call);
});

await t.test(
  'the job is measured while AWS takes a spot machine back, and another one is made',
  async (t) => {
    const target = { nodes: { matchNames: ['node6'] } };
    const before = await machines.list();
    const { trial, calls } = await measure(t, 'interruption', { target, interruptNode: {} });
    t.match(trial.verdict?.recovery, /^(Recovered|Masked)/);
    for (const call of ['TerminateInstances', 'RunInstances']) t.ok(calls.includes(`ec2 ${call}`), call);
    const after = await machines.list();
    t.equal(after.length, 6);
    t.equal(after.filter((id) => !before.includes(id)).length, 1);
  },
);

await t.test('its checkpoint is in the bucket, written with the role of the instances', async (t) => {
  const ofRole = [...strict.everCalled].filter((call) => call.startsWith(`sf-${cluster}-${region}: s3 `));
  t.ok(ofRole.includes(`sf-${cluster}-${region}: s3 PUT object`), ofRole.join(', '));
});

await t.test('nothing is left of it', async (t) => {
  const deleted = await controller('delete');
  t.equal(deleted.code, 0, deleted.stderr);
  t.same(await machines.list(), []);
  t.same(strict.living(), []);
  t.same(await new AwsInventory(moto, region, cluster).present(), nothing);
});
