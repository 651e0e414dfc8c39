import { spawnSync } from 'node:child_process';
import { chmod } from 'node:fs/promises';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { ensureImages } from '../../compose/images/ensure-images.ts';
import { resolveImageNames } from '../../compose/images/resolve-images.ts';
import { checkpointStore, checkpointUse, checkpointVariables } from '../../controller/stack/checkpoint.ts';
import { checkpointTryer } from '../../controller/stack/try-checkpoint.ts';
import type { NodeHandle } from '../../provisioners/contract.ts';
import { runCommand } from '../../provisioners/shared/run-command.ts';
import { engineOrSkip } from '../support/lab-engine.ts';
import { startMoto } from '../support/moto.ts';

// What compose files rely on, of an official image and of its stand-in alike.

t.setTimeout(600_000);
await engineOrSkip(t);

const assetsDir = join(import.meta.dirname, '..', '..', '..');
const signal = AbortSignal.timeout(590_000);
const names = await resolveImageNames(assetsDir);
const wanted = [...names]
  .filter(([name]) => name !== 'generator' && name !== 'observer')
  .map(([, tag]) => tag);
const ensure = (progress: (line: string) => void) =>
  ensureImages(wanted, { assetsDir, cacheDir: join(assetsDir, '.cache'), progress }, signal);
await ensure((line) => t.comment(line));

const docker = (...args: string[]): Promise<string> => runCommand('docker', args, {}, signal);
const inside = (name: string, script: string): Promise<string> =>
  docker('run', '--rm', names.get(name)!, 'sh', '-c', script);

t.test('a second look finds every image and makes none', async (t) => {
  const lines: string[] = [];
  const ids = await ensure((line) => lines.push(line));
  t.same(lines, []);
  t.same([...ids.keys()].sort(), [...wanted].sort());
  for (const id of ids.values()) t.match(id, /^sha256:[0-9a-f]{64}$/);
});

/** Three batches with state, on one core and without Kafka. */
const countingJob = `
import json, os, time
from pyspark.sql import SparkSession, functions as f
spark = SparkSession.builder.master("local[1]").config("spark.sql.shuffle.partitions", "1").getOrCreate()
counts = spark.readStream.format("rate").load().groupBy(f.window("timestamp", "5 seconds")).count()
sink = counts.writeStream.outputMode("update").format("noop").trigger(processingTime="1 second")
query = sink.option("checkpointLocation", os.environ["CHECKPOINT_DIR"] + "/job").start()
while len(query.recentProgress) < 3:
    time.sleep(0.2)
    if query.exception():
        raise query.exception()
query.stop()
batches = [progress["batchId"] for progress in query.recentProgress]
print("BATCHES", json.dumps([batches[0], batches[-1]]))
`;

const promises: Readonly<Record<string, readonly [uid: string, checks: readonly string[]]>> = {
  kafka: [
    '1000',
    [
      '-x /etc/kafka/docker/run',
      '-x /opt/kafka/bin/kafka-topics.sh',
      '-w /opt/kafka/config',
      '-w /var/lib/kafka/data',
    ],
  ],
  spark: [
    '185',
    [
      '-x /opt/spark/bin/spark-class',
      '-f /opt/spark/RELEASE',
      '-w /opt/spark',
      '-f /opt/spark/python/lib/pyspark.zip',
    ],
  ],
  hadoop: [
    '1000',
    [
      '-x /opt/starter.sh',
      '-x /opt/hadoop/bin/hdfs',
      '-x /opt/hadoop/bin/hadoop',
      '-w /opt/hadoop/etc/hadoop',
      '$(command -v hdfs) = /opt/hadoop/bin/hdfs',
    ],
  ],
  zookeeper: ['0', ['-f /conf/zoo.cfg', '-f /data/myid', '-x /apache-zookeeper-3.9.5-bin/bin/zkServer.sh']],
};

for (const [name, [uid, checks]] of Object.entries(promises)) {
  t.test(`${name} has the paths and the user that compose files count on`, async (t) => {
    t.equal(await inside(name, 'id -u'), uid);
    t.equal(await inside(name, checks.map((check) => `[ ${check} ] || echo "not: ${check}"`).join('; ')), '');
    t.match(await inside(name, '"$JAVA_HOME/bin/java" -version 2>&1'), /version "(17|21)\./);
  });
}

t.test('spark comes without its Kafka connector, ours with it', async (t) => {
  const connector =
    'ls /opt/spark/jars | grep -c -E "^(spark-sql-kafka|spark-token-provider-kafka|kafka-clients|commons-pool2)" || true';
  t.equal(await inside('spark', connector), '0');
  t.equal(await inside('spark-kafka', connector), '4');
});

/** Where a bucket `sf-test` lets everybody in; undefined, and loud, where there is no moto. */
async function openBucket(t: Test): Promise<string | undefined> {
  const moto = await startMoto(signal);
  if ('missing' in moto) {
    t.comment(`NOT TRIED: no moto: ${moto.missing}`);
    t.notOk(process.env.CI, 'CI is set, and there is no moto');
    return undefined;
  }
  t.teardown(() => moto.stop());
  const endpoint = `http://${moto.host}:${moto.port}`;
  const put = async (what: string, body = '') => {
    const headers = { 'Content-Type': 'application/json' };
    t.ok((await fetch(`${endpoint}/${what}`, { method: 'PUT', headers, body })).ok, what);
  };
  await put('sf-test');
  const everybody = { Effect: 'Allow', Principal: '*', Action: 's3:*', Resource: 'arn:aws:s3:::sf-test/*' };
  await put('sf-test?policy', JSON.stringify({ Version: '2012-10-17', Statement: [everybody] }));
  return endpoint;
}

const objectsBelow = async (endpoint: string, prefix: string) =>
  (await fetch(`${endpoint}/sf-test?list-type=2&prefix=${prefix}`)).text();

t.test('a checkpoint in a bucket is written to, and gone on from by the next life of the job', async (t) => {
  const endpoint = await openBucket(t);
  if (endpoint === undefined) return;
  const { CHECKPOINT_DIR, CHECKPOINT_CONF = '' } = checkpointVariables({
    checkpoint: { s3a: { bucket: 'sf-test', prefix: 'a/b', endpoint } },
  });
  const folder = t.testdir({ 'job.py': countingJob });
  await chmod(folder, 0o755);
  const conf = CHECKPOINT_CONF.split(' ').flatMap((pair) => ['--conf', pair]);
  const mounts = ['-v', `${join(folder, 'job.py')}:/job.py:ro`, '-e', `CHECKPOINT_DIR=${CHECKPOINT_DIR}`];
  const spark = [...mounts, names.get('spark-kafka')!, '/opt/spark/bin/spark-submit', ...conf];
  const life = async () => {
    const said = await docker('run', '--rm', '--network=host', '--user=185', ...spark, '/job.py');
    return JSON.parse(/^BATCHES (.*)$/m.exec(said)![1]!) as readonly [first: number, last: number];
  };
  const [first, last] = await life();
  t.equal(first, 0);
  t.equal((await life())[0], last + 1);
  const listed = await objectsBelow(endpoint, 'a/b/job/');
  for (const part of ['commits/0', 'offsets/0', 'state/0/0/1.delta'])
    t.match(listed, `<Key>a/b/job/${part}</Key>`);
  t.notMatch(listed, '.tmp', 'nothing is renamed');
});

t.test('a node that can use a bucket leaves no file there; one that cannot says why, and soon', async (t) => {
  const endpoint = await openBucket(t);
  if (endpoint === undefined) return;
  const exec: NodeHandle['exec'] = async (script, args, { stdin }) => {
    const ended = spawnSync('sh', ['-c', script, 'sh', ...args], { input: stdin, encoding: 'utf8' });
    return { code: ended.status, signal: null, stdout: ended.stdout, stderr: ended.stderr };
  };
  const node = { name: 'node1', exec } as NodeHandle;
  const tryCheckpoint = await checkpointTryer(assetsDir);
  const use = (s3a: { readonly bucket: string; readonly endpoint: string }) => {
    const Mounts = [{ Type: 'volume', Target: '/var/lib/spark-failures/checkpoint' }] as const;
    const TaskTemplate = {
      ContainerSpec: { Image: names.get('spark-kafka')!, Mounts },
      Networks: [{ Target: 'host' }],
    };
    const store = checkpointStore({ checkpoint: { s3a: { prefix: 'c', ...s3a } } })!;
    const found = checkpointUse(store, {
      ...{ Name: 'job', Labels: {}, TaskTemplate, EndpointSpec: { Mode: 'dnsrr' } },
      Mode: { Replicated: {} },
    });
    return tryCheckpoint(node, found!, signal);
  };
  const startMs = performance.now();
  await use({ bucket: 'sf-test', endpoint });
  t.comment(`used in ${Math.round(performance.now() - startMs)} ms`);
  const keys = [...(await objectsBelow(endpoint, '')).matchAll(/<Key>(.*?)<\/Key>/g)].map(([, key]) => key);
  t.same(keys, ['c/'], 'nothing but the mark of a folder, as the job makes it, too');
  const advice = /; see that the store exists, that this node has the right/;
  const wrongName = use({ bucket: 'sf-tset', endpoint });
  await t.rejects(wrongName, {
    message: /^writing to s3a:\/\/sf-tset\/c over the network host: .*NoSuchBucket/,
  });
  await t.rejects(wrongName, { message: advice });
  const nobody = use({ bucket: 'sf-test', endpoint: 'http://127.0.0.1:9' });
  await t.rejects(nobody, { message: /^writing to .*Connection refused/ });
});

t.test('hadoop writes its configuration from variables, and a NameNode that formats once', async (t) => {
  const hadoop = names.get('hadoop')!;
  const volume = `sf-test-hadoop-${process.pid}`;
  t.teardown(() => docker('volume', 'rm', '--force', volume));
  // As the stack has it; safe mode with no DataNode: it is there, and has nothing to say.
  const variables = [
    'CORE-SITE.XML_fs.defaultFS=hdfs://namenode:8020',
    'HDFS-SITE.XML_dfs.namenode.name.dir=file:///data/name',
    'ENSURE_NAMENODE_DIR=/data/name/current',
    'HADOOP_HEAPSIZE_MAX=128m',
  ].flatMap((variable) => ['-e', variable]);
  const run = (...command: string[]) => {
    const options = ['--rm', '--user=root', '--hostname=namenode', '-v', `${volume}:/data`, ...variables];
    return docker('run', ...options, hadoop, ...command);
  };
  t.match(
    await run('cat', '/opt/hadoop/etc/hadoop/hdfs-site.xml'),
    /<name>dfs\.namenode\.name\.dir<\/name><value>file:\/\/\/data\/name<\/value>/,
  );
  const version = await run('cat', '/data/name/current/VERSION');
  t.match(version, /clusterID=CID-/);
  t.equal(await run('cat', '/data/name/current/VERSION'), version);
  t.match(await run('hdfs', 'version'), /Hadoop 3\.4\.2/);
});

t.test('the monitoring programs take flags as their command, as nobody', async (t) => {
  for (const name of ['prometheus', 'node-exporter']) {
    const version = await docker('run', '--rm', names.get(name)!, '--version');
    t.match(version, new RegExp(`version ${names.get(name)!.split(':v')[1]}`), name);
    t.equal(await docker('run', '--rm', '--entrypoint=id', names.get(name)!, '-u'), '65534');
  }
});
