import { join } from 'node:path';
import t from 'tap';
import { ensureImages } from '../../compose/images/ensure-images.ts';
import { resolveImageNames } from '../../compose/images/resolve-images.ts';
import { runCommand } from '../../provisioners/shared/run-command.ts';
import { engineOrSkip } from '../support/lab-engine.ts';

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
