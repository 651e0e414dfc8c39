import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { homedir, tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { BenchLab } from '../bench/bench-lab.ts';
import { eventually } from '../support/controller-process.ts';
import { engineOrSkip } from '../support/lab-engine.ts';

// Two nodes on which a job may run, and one task of it: HDFS has to be within reach of both.

t.setTimeout(580_000);
await engineOrSkip(t);
const limit = AbortSignal.timeout(570_000);
const workDir = mkdtempSync(join(tmpdir(), 'spark-failures-checkpoint-'));
const nodes = [{ place: 'master' }, { place: 'compute' }, { place: 'compute' }];
const layout = {
  ...{ name: 'checkpoint-test', subnet: '10.93.0.0/24', nodes },
  checkpoint: { hdfs: { network: 'job_app' } },
};
const lab = new BenchLab({ workDir, cacheDir: join(homedir(), '.cache', 'spark-failures') }, layout, limit);
await lab.removeLeftovers();
t.teardown(async () => {
  if (!t.passing()) t.comment(readFileSync(lab.log, 'utf8').split('\n').slice(-100).join('\n'));
  await lab.down();
  rmSync(workDir, { recursive: true, force: true });
});

const compose = join(workDir, 'job.yaml');
writeFileSync(
  compose,
  `
version: "3.13"
services:
  job:
    image: \${SPARK_KAFKA_IMAGE}
    command: [sleep, infinity]
    networks: [app]
    stop_grace_period: 1s
    volumes: ["\${CHECKPOINT_MOUNT}"]
    deploy: { placement: { constraints: ["node.labels.place == compute"] } }
networks: { app: { driver: overlay, attachable: true } }
volumes: { no-checkpoint: }
`,
);

/** Between node3 and all others: what containers say to each other. */
const firewall = async (how: '-I' | '-D') => {
  for (const chain of ['INPUT', 'OUTPUT'])
    await lab.onNode(3, 'iptables', how, chain, '-p', 'udp', '--dport', '4789', '-j', 'DROP');
};
const ready = async () => {
  const { status } = await lab.statuses.clusters.read(layout.name);
  return status?.conditions.find(({ type }) => type === 'Ready');
};
const labelled = () =>
  lab.onNode(1, 'sh', '-c', 'docker node inspect $(docker node ls -q) | grep -c tried-checkpoint || true');

t.test('a node that cannot reach the checkpoint keeps the cluster from being Ready', async (t) => {
  const operator = await lab.watch();
  const machines = 'docker node ls --format "{{.Status}}" | grep -c Ready || true';
  await eventually('three nodes', 120_000, async () => {
    return (await lab.onNode(1, 'sh', '-c', machines).catch(() => '')) === '3' || undefined;
  });
  await firewall('-I');
  lab.save([{ name: 'job', compose }]);
  const told = await eventually('a node that fails', 240_000, async () => {
    const condition = await ready();
    return condition?.reason === 'CheckpointUnreachable' ? condition : undefined;
  });
  t.equal(told.status, 'False');
  t.match(
    told.message,
    /^try-checkpoint\/node3: .*hdfs:\/\/namenode:8020\/checkpoint over the network job_app: /,
  );
  t.match(told.message, 'see that the store exists');
  t.equal(await labelled(), '1', 'the other one has passed');
  t.equal(operator.exitCode, null);
});

t.test('and does so no longer when it can', async (t) => {
  await firewall('-D');
  await lab.untilReady();
  t.equal(await labelled(), '2');
  const left = ['docker', 'ps', '-aq', '--filter', 'status=exited'];
  t.equal(await lab.onNode(3, ...left), '', 'nothing is left on the node');
  const count = ['hdfs', 'dfs', '-count', '/checkpoint'];
  const counted = await lab.onTask(1, 'hdfs_namenode', ['exec'], count);
  // Hadoop's warnings come on the same output.
  t.match(counted, /^\s*1\s+0\s+0 \/checkpoint$/m, 'nor there: one folder, no file');
});
