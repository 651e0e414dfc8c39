import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { parse, stringify } from 'yaml';
import { ensureImages } from '../../compose/images/ensure-images.ts';
import { resolveImageNames } from '../../compose/images/resolve-images.ts';
import type { ScheduleStatus } from '../../crds/status.ts';
import { localDocker } from '../../provisioners/shared/docker-client.ts';
import { AwsInventory, nothing } from '../support/aws-inventory.ts';
import { controllerJson, runController } from '../support/controller-process.ts';
import { packageRoot } from '../support/examples.ts';
import { engineOrSkip } from '../support/lab-engine.ts';
import { LabInstances } from '../support/lab-instances.ts';
import { startMoto } from '../support/moto.ts';
import { StrictAws } from '../support/strict-aws.ts';

// The whole way on AWS as README tells it: the example's six instances, the job with its checkpoint in their bucket, one of
// them without power while the job is measured, and nothing left of it all.

t.setTimeout(1_800_000);
await engineOrSkip(t);

const signal = AbortSignal.timeout(1_790_000);
const cluster = 'ec2-streaming';
const bucket = 'sf-ec2-streaming-test';
const region = 'eu-central-1';
const subnet = '10.94.5.0/24';
const work = await mkdtemp(join(tmpdir(), 'sf-ec2-streaming-'));
const [state, log] = [join(work, 'state'), join(work, 'log')];
const names = await resolveImageNames(packageRoot);
const nodeImage = names.get('node')!;
await ensureImages(
  [nodeImage],
  { assetsDir: packageRoot, cacheDir: join(packageRoot, '.cache'), progress: () => {} },
  signal,
);
const moto = await startMoto(signal);
if ('missing' in moto) throw new Error(moto.missing);
const machines = new LabInstances({
  ...{ docker: localDocker(), nodeImage, name: cluster, subnet, folder: join(work, 'machines') },
  memory: '3Gi',
});
await machines.prepare(signal);
const strict = new StrictAws(moto, machines);
await strict.reset({ seed: 1, hiddenLooks: 1 });
// Where the machines reach it, too: it is their store.
const endpoint = await strict.listen(machines.gateway);
Object.assign(process.env, {
  ...{ AWS_ACCESS_KEY_ID: 'test', AWS_SECRET_ACCESS_KEY: 'test', AWS_ENDPOINT_URL: endpoint },
  AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED: 'true',
});
t.teardown(async () => {
  if (!t.passing())
    t.comment((await readFile(log, 'utf8').catch(() => '')).split('\n').slice(-80).join('\n'));
  await machines.removeAll();
  await strict.close();
  await moto.stop();
  await rm(work, { recursive: true, force: true });
});

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
const schedule = {
  ...{ apiVersion: 'spark-failures.io/v1alpha1', kind: 'FaultSchedule', metadata: { name: 'power' } },
  spec: {
    ...{ clusterRef: { name: cluster }, seed: 1, when: { now: {} }, preset: 'smoke' },
    faults: [
      {
        name: 'without-power',
        target: { nodes: { matchNames: ['node5'] } },
        ...{ hold: '45s', powerOffNode: {} },
      },
    ],
  },
};
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

await t.test('the job is measured while an instance has no power', async (t) => {
  await put('schedule.yaml', schedule);
  const calls = strict.calls.length;
  const applied = await controller('apply');
  t.equal(applied.code, 0, applied.stderr);
  const status = await controllerJson<ScheduleStatus[]>(['get', 'schedules', 'power', '--state', state], log);
  const [trial] = status[0]!.trials;
  t.match(trial, {
    outcome: 'Healed',
    verdict: { recovery: /^Recovered/, correctness: 'Correct' },
    settings: { checkpoint: /s3a/ },
  });
  t.ok(trial!.figures.stall!.ms > 5_000, `a stall of ${trial!.figures.stall!.ms} ms`);
  const told = Object.entries(trial!.figures).map(([name, { ms }]) => `${name} ${ms / 1000} s`);
  t.comment(told.join(', '));
  const since = strict.calls.slice(calls);
  for (const call of ['StopInstances', 'StartInstances']) t.ok(since.includes(`ec2 ${call}`), call);
});

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
