import { type ChildProcess, execFileSync } from 'node:child_process';
import { appendFileSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { appendFile, readFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { list } from 'tar';
import { parse } from 'yaml';
import { awaitResources } from '../controller/cli/await-resources.ts';
import { judge } from '../controller/cli/doctor.ts';
import { formatPreview } from '../controller/cli/plan.ts';
import { generatedFiles } from '../controller/cli/schema.ts';
import { faultKindsByName, resourceKinds } from '../controller/resource-kinds.ts';
import { RUN_AT_ANNOTATION } from '../controller/schedule/schedule-reconciler.ts';
import type { StoredResource } from '../controller/source/resource-store.ts';
import { eventLogPaths } from '../controller/status/event-log.ts';
import { journalPath, openRunJournal } from '../controller/status/run-journal.ts';
import { openStatusStores } from '../controller/status/status-stores.ts';
import type { Manifest } from '../crds/manifest.ts';
import { parseManifests } from '../crds/parse-resource.ts';
import type { ClusterStatus, ScheduleStatus } from '../crds/status.ts';
import {
  controllerJson,
  endController,
  eventually,
  runController,
  startController,
} from './support/controller-process.ts';
import { exampleRun } from './support/example-run.ts';
import { fill as fillDisk, mountSmallDisk, unmount } from './support/small-disk.ts';

// The built command line, as users run it. Nothing here asks for a machine: no manifest of a cluster is ever good.

/** A folder of its own, with the options that keep a process of this test apart from all others. */
async function makePlace(t: Test) {
  const folder = t.testdir({ manifests: {}, log: '' });
  const port = await freePort();
  const state = join(folder, 'state');
  const options = ['--state', state, '--cache', join(folder, 'cache'), '--listen', `127.0.0.1:${port}`];
  const log = join(folder, 'log');
  return {
    ...{ folder, state, port, options, log, manifests: join(folder, 'manifests') },
    run: (...args: string[]) => runController([...args, ...options], log),
    json: <T>(...args: string[]) => controllerJson<T>([...args, ...options], log),
  };
}

function freePort(): Promise<number> {
  return new Promise((resolve) => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const address = server.address();
      server.close(() => resolve(typeof address === 'object' && address ? address.port : 0));
    });
  });
}

const condition = (type: string, status: 'True' | 'False', reason: string, message: string) => ({
  ...{ type, status, reason, message, observedGeneration: 1, lastTransitionTime: '2026-01-01T00:00:00.000Z' },
});

const clusterStatus: ClusterStatus = {
  uid: 'uid-1',
  observedGeneration: 1,
  conditions: [condition('Ready', 'True', 'Converged', 'everything runs')],
  inventory: {
    ...{ nodes: ['node1', 'node2'], services: ['streaming_kafka'], stacks: ['streaming'] },
    ...{ networks: [], configs: [], secrets: [] },
  },
  nodes: { desired: 2, ready: 1, managers: 1, unreachable: ['node2'] },
  rollouts: { streaming_kafka: { revision: 'abc', state: 'Failed', message: 'its update was paused: no' } },
  drift: [
    { target: 'streaming_kafka', field: 'Mode.Replicas', want: '1', have: '3', step: 'update-service' },
    { target: 'node3', step: 'create-machine: it does not exist' },
  ],
  events: [
    {
      ...{ type: 'Normal', reason: 'Created', message: 'create-machine node1', count: 3 },
      ...{ firstTimestamp: '2026-01-01T00:00:00.000Z', lastTimestamp: '2026-01-01T00:01:00.000Z' },
    },
  ],
};

const scheduleStatus: ScheduleStatus = {
  uid: 'uid-2',
  observedGeneration: 1,
  runKey: 'uid-2/1/',
  seed: 42,
  conditions: [condition('Complete', 'True', 'Finished', '1 trials ended')],
  trials: [
    {
      ...{ number: 1, fault: 'crash-one-worker', kind: 'killContainer', runId: 'run-1', seed: 42 },
      ...{ targets: ['node4/streaming_spark-worker-1'], outcome: 'Healed', instants: {} },
      ...{ startedAt: '2026-01-01T00:00:00.000Z', finishedAt: '2026-01-01T00:02:00.000Z' },
      figures: { recovery: { ms: 31_250, errorMs: 500 }, stall: { ms: 18_000, errorMs: 250 } },
      verdict: { recovery: 'Recovered', correctness: 'Correct' },
    },
  ],
};

/** A state directory as an operator would have left it: a cluster, a schedule, a run that was cut off. */
async function fill(state: string): Promise<void> {
  const { clusters, schedules } = openStatusStores(state);
  await clusters.write('six-nodes', clusterStatus);
  await schedules.write('worker-crash', scheduleStatus);
  await (await openRunJournal(state)).write(exampleRun('run-2', { phase: 'holding' }));
}

/** A schedule that is good but for its cluster, which nobody knows. */
const schedule = (seed: string) => `apiVersion: spark-failures.io/v1alpha1
kind: FaultSchedule
metadata: { name: worker-crash }
spec:
  clusterRef: { name: nowhere }
  seed: ${seed}
  when: { now: {} }
  faults:
    - name: crash
      target: { services: { matchNames: [kafka] } }
      killContainer: {}
`;

t.test('arguments that are wrong end with 2, and say what is right', async (t) => {
  const { run } = await makePlace(t);
  const wrong: readonly (readonly [string[], RegExp])[] = [
    [['frobnicate'], /unknown command 'frobnicate'/],
    [[], /Usage: controller/],
    [['get', 'pods'], /'pods' is invalid .*clusters, schedules, trials/],
    [['get', 'clusters', '--all'], /unknown option '--all'/],
    [['get', 'clusters', '-o', 'xml'], /'xml' is invalid.*table, json, yaml/],
    [['get', 'clusters', '--listen', 'here'], /'here' is invalid.*host:port/],
    [['--watch', '.', '--leader-elect', '--renew-deadline', '10s'], /--lease-duration must be longer/],
    [['--watch', '.', '--leader-elect', '--retry-period', '2'], /'2' is invalid.*such as 10s/],
    [['plan'], /required option '-f, --filename <path>'/],
    [['schema', 'Pod'], /'Pod' is invalid.*ClusterSpec, FaultSchedule, faults/],
    [['--watch', '--git', 'https://me:hush@host/x'], /a password belongs into a file: see --git-token/],
    [['--watch', '--git', 'ext::sh -c id'], /expected an ssh, https or file URL/],
    [['--watch', '--git', 'git@host:x'], /--git over ssh needs --git-known-hosts/],
    [['--watch', 'here', '--git', 'file:///x'], /manifests have one source/],
    [['--watch', '--git', 'file:///x', '--path', '../up'], /expected a folder in the repository/],
    [['--watch', '--git', 'file:///x', '--interval', '10ms'], /expected a duration of at least 1s/],
    [['--watch', '--git', 'file:///x', '--ref', 'a', '--git-results', 'a'], /another branch than that/],
    [['plan', '-f', 'no-such-file.yaml'], /no-such-file\.yaml: there is no such file/],
  ];
  await inTwos(wrong, async ([args, expected]) => {
    const { code, stdout, stderr } = await run(...args);
    t.equal(code, 2, args.join(' '));
    t.match(stderr.replaceAll('\n', ' '), expected, args.join(' '));
    t.equal(stdout, '', 'standard output belongs to answers');
  });
  t.match(await run('--help'), { code: 0, stdout: /Usage: controller/ });
  t.match(await run('--version'), { code: 0, stdout: /^\d+\.\d+\.\d+\n$/ });
});

t.test('a bad manifest ends every verb with 2 and all of its problems, and nothing is made', async (t) => {
  const { run, state } = await makePlace(t);
  const problems = [
    'everything-at-once.yaml:11:19: metadata.name: expected a name',
    'everything-at-once.yaml:13:31: spec.provisioner.lab.cpus: expected more than 0',
    'everything-at-once.yaml:15:28: spec.nodes[0].role: expected one of manager, worker',
    'everything-at-once.yaml:17:3: spec.prunes: unknown field (did you mean "prune"?)',
  ];
  await inTwos(['plan', 'apply', 'delete', 'doctor', 'heal'], async (verb) => {
    const place = await makePlace(t);
    const { code, stdout, stderr } = await place.run(
      verb,
      '-f',
      'test/bad-manifests/everything-at-once.yaml',
    );
    t.equal(code, 2, verb);
    t.equal(stdout, '');
    for (const problem of problems) t.ok(stderr.includes(problem), `${verb}: ${problem}`);
  });
  const { stderr } = await run('apply', '-f', 'test/bad-manifests/good-and-bad-document.yaml');
  t.match(stderr, /good-and-bad-document\.yaml:\d+:\d+: /);
  t.throws(() => statSync(join(state, 'status')), 'the good half is not acted upon');
});

t.test('a schema is printed for every topic', async (t) => {
  const { run, json } = await makePlace(t);
  for (const kind of ['ClusterSpec', 'FaultSchedule']) {
    const { code, stdout } = await run('schema', kind);
    t.equal(code, 0);
    t.match(JSON.parse(stdout), { type: 'object', properties: { kind: { const: kind }, spec: {} } });
  }
  const faults = await json<{ kind: string; level: string }[]>('schema', 'faults');
  t.match(faults, [{ kind: 'killContainer', level: 'state', targets: 'tasks', needs: ['systemd'] }]);
  t.match((await run('schema', 'faults')).stdout, /^KIND +LEVEL +TARGETS +NEEDS +DOES\nkillContainer +state/);
});

t.test('the generated files are those that are committed: else run npm run generate', async (t) => {
  const files = await generatedFiles('.');
  t.same([...files.keys()].sort(), [
    'README.md',
    'compose/monitoring/dashboards/cluster.json',
    'compose/monitoring/dashboards/job-and-broker.json',
    'compose/monitoring/dashboards/recovery.json',
    'crds/clusterspecs.schema.json',
    'crds/clusterspecs.spark-failures.io.yaml',
    'crds/faultschedules.schema.json',
    'crds/faultschedules.spark-failures.io.yaml',
  ]);
  let isStale = false;
  for (const [path, text] of files) {
    t.equal(await readFile(path, 'utf8').catch(String), text, path);
    isStale ||= (await readFile(path, 'utf8').catch(String)) !== text;
  }
  if (isStale) return; // a test does not mend the tree that it judges
  const { run } = await makePlace(t);
  const before = [...files.keys()].map((path) => statSync(path).mtimeMs);
  t.match(await run('schema', '--write'), { code: 0, stdout: '', stderr: '' });
  t.same(
    [...files.keys()].map((path) => statSync(path).mtimeMs),
    before,
    'and then nothing is written',
  );
});

t.test('what status says is listed as a table, as JSON and as YAML', async (t) => {
  const { run, json, state } = await makePlace(t);
  await fill(state);
  const clusters = await run('get', 'clusters');
  t.equal(clusters.code, 0);
  t.match(clusters.stdout.split('\n'), [
    /^NAME +READY +REASON +NODES +MESSAGE$/,
    /^six-nodes +True +Converged +1\/2 +everything runs$/,
  ]);
  t.match((await run('get', 'schedules')).stdout, /\nworker-crash +Complete +Finished +1\n/);
  t.match(
    (await run('get', 'trials', 'worker-crash')).stdout,
    /\nworker-crash +1 +crash-one-worker +node4\/streaming_spark-worker-1 +Healed +Recovered, Correct +- +18\.0 s ± 0\.3 s +31\.3 s ± 0\.5 s +-\n/,
  );
  t.same(await json('get', 'clusters'), [{ name: 'six-nodes', ...clusterStatus }]);
  t.same(parse((await run('get', 'trials', '-o', 'yaml')).stdout), [
    { schedule: 'worker-crash', ...scheduleStatus.trials[0] },
  ]);
  t.match(await run('get', 'clusters', 'worker-crash'), {
    code: 1,
    stderr: 'nothing is known of worker-crash\n',
  });
});

t.test('a resource is described with conditions, events, trials and unfinished runs', async (t) => {
  const { run, json, state } = await makePlace(t);
  await fill(state);
  const cluster = (await run('describe', 'six-nodes')).stdout;
  t.match(cluster, /^ClusterSpec six-nodes\nNodes: 1 of 2 ready, 1 managers, unreachable: node2\n/);
  t.match(cluster, /\nReady +True +Converged +2026-01-01T00:00:00\.000Z +everything runs\n/);
  t.match(cluster, /\nNormal +Created +3 +2026-01-01T00:01:00\.000Z +create-machine node1\n/);
  t.match(cluster, /\nRollout of streaming_kafka: Failed, revision abc: its update was paused: no\n/);
  t.match(cluster, /\nLeft as it is:\nTARGET +FIELD +HAVE +WANT +STEP\n/);
  t.match(cluster, /\nstreaming_kafka +Mode\.Replicas +3 +1 +update-service\nnode3 +create-machine: it/);
  t.match(cluster, /\nUnfinished run run-2: holding\n$/);
  t.match((await run('describe', 'worker-crash')).stdout, /\nSeed: 42\n[\s\S]*\nTrials:\nSCHEDULE/);
  t.match(await json('describe', 'worker-crash'), {
    ...{ name: 'worker-crash', schedule: scheduleStatus, unfinishedRuns: [{ runId: 'run-2' }] },
  });
  t.match(parse((await run('describe', 'six-nodes', '-o', 'yaml')).stdout), { cluster: clusterStatus });
  t.match(await run('describe', 'nobody'), { code: 1, stdout: '', stderr: 'nothing is known of nobody\n' });
});

t.test('events are listed once each, and followed line by line', async (t) => {
  const place = await makePlace(t);
  const { clusters, schedules } = openStatusStores(place.state);
  const [created] = clusterStatus.events!;
  const happened = (count: number, reason = 'Created') =>
    clusters.write('six-nodes', { ...clusterStatus, events: [{ ...created!, count, reason }] });
  await happened(1);
  await happened(2);
  await schedules.write('worker-crash', { ...scheduleStatus, events: [{ ...created!, reason: 'Running' }] });
  t.same((await place.run('events', 'six-nodes')).stdout.split('\n').slice(0, -1), [
    'LAST SEEN                  TYPE     REASON    OBJECT                  COUNT   MESSAGE',
    '2026-01-01T00:01:00.000Z   Normal   Created   ClusterSpec/six-nodes   2       create-machine node1',
  ]);
  const lines = (await place.run('events', '-o', 'json')).stdout.split('\n').slice(0, -1);
  t.match(
    lines.map((line) => JSON.parse(line) as object),
    [
      { kind: 'ClusterSpec', name: 'six-nodes', count: 2 },
      { kind: 'FaultSchedule', reason: 'Running' },
    ],
  );
  const following = startController(['events', '-f', '-o', 'json', ...place.options], place.log);
  t.teardown(() => endController(following, 'SIGKILL'));
  const followed = () => readFileSync(place.log, 'utf8').split('events -f')[1] ?? '';
  await eventually('the past', 20_000, () => followed().includes('Running') || undefined);
  await happened(3, 'Later');
  await eventually('what happens next', 20_000, () => followed().includes('"Later"') || undefined);
  const { newest, before } = eventLogPaths(place.state);
  const line = (reason: string) => `${JSON.stringify({ ...created, kind: 'Thing', name: 'a', reason })}\n`;
  appendFileSync(newest, line('LastOfTheOld'));
  renameSync(newest, before);
  writeFileSync(newest, line('FirstOfTheNew'));
  await eventually(
    'both files',
    20_000,
    () => /LastOfTheOld[\s\S]*FirstOfTheNew/.test(followed()) || undefined,
  );
  t.equal(followed().match(/LastOfTheOld/g)?.length, 1);
  await endController(following, 'SIGINT');
  t.equal(following.exitCode, 0);
});

t.test('a status file that cannot be read is named, and counts as a failure', async (t) => {
  const { run, state } = await makePlace(t);
  await fill(state);
  writeFileSync(join(state, 'status/ClusterSpec/torn.json'), '{"schemaVersion": 1, "ki');
  const { code, stdout, stderr } = await run('get', 'clusters');
  t.equal(code, 1);
  t.match(stderr, /torn\.json: /);
  t.match(stdout, /six-nodes/, 'and hides nothing else');
});

t.test('the doctor looks without touching, and fails only for a problem', async (t) => {
  const { run, json, state } = await makePlace(t);
  const fresh = await json<{ check: string; state: string }[]>('doctor');
  t.same(
    fresh.map(({ check }) => check),
    ['node', 'engine', 'state', 'lock', 'journal'],
  );
  t.same(
    fresh.filter((finding) => finding.state === 'problem'),
    [],
  );
  t.throws(() => statSync(state), 'not even the state directory was made');
  await fill(state);
  t.match((await run('doctor')).stdout, /\njournal +note +unfinished: run-2 \(holding\)\n/);
  await appendFile(journalPath(state), '{"schemaVersion": 9, "runId": "run-3"}\n');
  const { code, stdout } = await run('doctor');
  t.equal(code, 1);
  t.match(stdout, /\njournal +problem +line 2: run run-3: schemaVersion 9/);
});

t.test('the doctor writes a bundle also when the manifests are what is wrong', async (t) => {
  const { run, state, folder, manifests, log } = await makePlace(t);
  await fill(state);
  const bad = join(manifests, 'bad.yaml');
  writeFileSync(bad, schedule('seven'));
  t.equal((await run('doctor', '-f', bad)).code, 2, 'without one it is an argument that is wrong');
  const bundle = join(folder, 'bundle.tar.gz');
  const { code, stdout, stderr } = await run('doctor', '-f', bad, '--bundle', bundle, '--log', log);
  t.equal(code, 1);
  t.match(stdout, /\nmanifests +problem +.*bad\.yaml:6:9: spec\.seed/);
  t.match(stderr, `${bundle}: for somebody who helps`);
  const names: string[] = [];
  await list({ file: bundle, onReadEntry: ({ path }) => void names.push(path) });
  for (const name of ['doctor.json', 'manifests/0-bad.yaml', 'operator.log', 'state/journal.ndjson'])
    t.ok(names.includes(name), name);
});

t.test('the doctor names what a node lacks, and the kinds that are impossible there because of it', (t) => {
  const facts = {
    operatingSystem: 'Debian 13',
    kernel: '6.12',
    engineVersion: '29.1',
    cgroupVersion: 2 as const,
  };
  t.same(judge(facts, []), {
    state: 'ok',
    message: 'Debian 13, kernel 6.12, engine 29.1, cgroup v2; every fault kind is possible',
  });
  const { state, message, lacks = [] } = judge(facts, ['iptables', 'systemd']);
  t.equal(state, 'note', 'it matters once a schedule asks for it');
  t.match(message, /; lacks iptables: no isolateNode, .*partition.*; lacks systemd: no killContainer, /);
  t.match(lacks, [{ need: 'iptables' }, { need: 'systemd' }]);
  t.notOk(lacks[0]?.kinds.includes('killContainer'));
  t.same(
    new Set(lacks[1]?.kinds),
    new Set(Object.keys(faultKindsByName)),
    'without a switch nothing is done',
  );
  t.end();
});

t.test('a plan tells every reason for which a fault would be refused', (t) => {
  const reasons = ['node2 lacks iptables', 'node2 runs streaming_kafka, which the measurement depends on'];
  const text = formatPreview({ key: 'FaultSchedule/a', runs: [], refused: [{ fault: 'silence', reasons }] });
  t.same(text.split('\n'), [
    'FaultSchedule/a:',
    'silence would be refused:',
    ...reasons.map((one) => `  ${one}`),
  ]);
  t.end();
});

t.test('a plan tells the order of the trials when there are several', (t) => {
  const order = ['crash', 'control', 'crash'];
  t.same(formatPreview({ key: 'FaultSchedule/a', order, runs: [] }).split('\n'), [
    'FaultSchedule/a:',
    '3 trials, in this order: crash, control, crash',
  ]);
  t.equal(formatPreview({ key: 'FaultSchedule/a', order: ['crash'], runs: [] }), 'FaultSchedule/a:');
  t.end();
});

t.test('a fault that cannot be healed comes before all else that a schedule has to say', async (t) => {
  const { run, state } = await makePlace(t);
  const stalled = condition(
    'Stalled',
    'True',
    'FaultNotHealed',
    'not healed: node4/streaming_spark-worker-1',
  );
  const trials = scheduleStatus.trials.map((trial) => ({ ...trial, outcome: 'Stuck' as const }));
  const status = { ...scheduleStatus, conditions: [...scheduleStatus.conditions, stalled], trials };
  await openStatusStores(state).schedules.write('worker-crash', status);
  t.match((await run('get', 'schedules')).stdout, /\nworker-crash +Stalled +FaultNotHealed +1\n/);
  t.match((await run('get', 'trials')).stdout, / Stuck /);
  t.match(
    (await run('describe', 'worker-crash')).stdout,
    /Stalled +True +FaultNotHealed .*not healed: node4/,
  );
});

t.test('the panic button says so when it knows no cluster', async (t) => {
  const { run } = await makePlace(t);
  t.match(await run('heal'), { code: 0, stderr: /no cluster is known in .*: name its manifest with -f/ });
});

t.test('a schedule is deleted also when its cluster is long gone', async (t) => {
  const { run, json, state, manifests } = await makePlace(t);
  await openStatusStores(state).schedules.write('worker-crash', scheduleStatus);
  writeFileSync(join(manifests, 'a.yaml'), schedule('7'));
  const { code, stdout } = await run('delete', '-f', manifests, '--wait');
  t.equal(code, 0);
  t.match(stdout, /\nFaultSchedule\/worker-crash +done +deleted\n/);
  t.same(await json('get', 'schedules'), []);
});

t.test('the operator', async (t) => {
  const place = await makePlace(t);
  const file = join(place.manifests, 'worker-crash.yaml');
  writeFileSync(file, schedule('seven'));
  const operator = startController(['--watch', place.manifests, ...place.options], place.log);
  t.teardown(() => endController(operator, 'SIGKILL'));
  const { schedules } = openStatusStores(place.state);
  const accepted = (message: RegExp) =>
    eventually(`Accepted says ${message}`, 20_000, async () => {
      const { status } = await schedules.read('worker-crash');
      const found = status?.conditions.find(({ type }) => type === 'Accepted');
      return found && message.test(found.message) ? found : undefined;
    });

  t.test('answers over HTTP', async (t) => {
    const get = (path: string) => fetch(`http://127.0.0.1:${place.port}${path}`);
    await eventually('ready', 20_000, async () => ((await get('/readyz')).ok ? true : undefined));
    for (const [path, checks] of Object.entries({
      healthz: ['clusters', 'schedules', 'event-loop'],
      readyz: ['healed', 'manifests', 'state'],
    })) {
      const lines = [...checks.map((name) => `[+]${name} ok`), `${path} check passed`];
      t.equal(await (await get(`/${path}?verbose`)).text(), `${lines.join('\n')}\n`);
    }
    const metrics = await (await get('/metrics')).text();
    t.match(metrics, /^workqueue_depth\{name="FaultSchedule",controller="FaultSchedule",priority=""\} \d/m);
    t.match(metrics, /^sparkfailures_orphaned_faults 0$/m);
    t.equal((await get('/nothing')).status, 404);
  });

  t.test('tells a problem with its place, in the log and as a condition', async (t) => {
    const problem = /worker-crash\.yaml:6:9: spec\.seed: expected an? (whole )?number/;
    t.match(await accepted(problem), { status: 'False', reason: 'InvalidManifest' });
    const [entry] = logged(place, 'manifests have problems');
    t.match(entry?.problems, [problem]);
  });

  t.test('follows an edit', async (t) => {
    writeFileSync(file, schedule('7'));
    const message = /worker-crash\.yaml:5:23: spec\.clusterRef\.name: there is no ClusterSpec "nowhere"/;
    t.match(await accepted(message), { status: 'False' });
    t.match(logged(place, 'manifests have problems').at(-1)?.problems, [message]);
  });

  t.test('logs at another level as soon as that is asked for', async (t) => {
    const set = (to: string) =>
      eventually(`level ${to}`, 20_000, () =>
        logged(place, 'log level set').find((entry) => entry.to === to),
      );
    await place.run('log-level', 'error');
    t.match(await set('error'), { from: 'info' });
    writeFileSync(file, schedule('eight'));
    await accepted(/seed: expected/);
    writeFileSync(file, schedule('7'));
    await accepted(/there is no ClusterSpec/);
    t.notMatch(logged(place, 'manifests have problems').at(-1)?.problems, [/seed/]);
    await place.run('log-level', 'debug');
    t.match(await set('debug'), { from: 'error' });
    t.match(await place.run('log-level', 'loud'), { code: 2, stderr: /debug, info, warn, error, silent/ });
    const nobody = ['--state', join(place.folder, 'nobody')];
    t.match(await runController(['log-level', 'debug', ...nobody], place.log), { code: 1 });
  });

  t.test('is named to whoever wants to write beside it', async (t) => {
    const refused = await runController(
      ['delete', '-f', file, '--state', place.state, '--listen', '127.0.0.1:0'],
      place.log,
    );
    t.equal(refused.code, 1);
    t.match(refused.stderr, `in use by \`controller watch\`, pid ${operator.pid} on `);
    const findings = await place.json<{ check: string; message: string }[]>('doctor');
    t.match(findings.find(({ check }) => check === 'lock')?.message, `held by "watch", pid ${operator.pid}`);
  });

  t.test('forgets a schedule whose file is gone, and only then', async (t) => {
    rmSync(file);
    await eventually('no schedule', 20_000, async () =>
      (await schedules.list()).found.size === 0 ? true : undefined,
    );
    t.same(await place.json('get', 'schedules'), []);
    t.same(logged(place, 'manifests have problems').at(-1)?.problems, []);
  });

  t.test('ends within two seconds of SIGTERM, with 0, and lets the next one in', async (t) => {
    t.ok((await endedAfterMs(operator, 'SIGTERM')) < 2_000);
    t.same([operator.exitCode, operator.signalCode], [0, null]);
    t.same(logged(place, 'reconcile failed'), []);
    const next = startController(['--watch', place.manifests, ...place.options], place.log);
    t.teardown(() => endController(next, 'SIGKILL'));
    await eventually('ready again', 20_000, async () =>
      (await fetch(`http://127.0.0.1:${place.port}/readyz`)).ok ? true : undefined,
    );
    await endController(next, 'SIGINT');
    t.equal(next.exitCode, 0);
  });
});

const smallDisk = mountSmallDisk();
const noDisk = smallDisk ? {} : { skip: 'no rights to mount a small file system' };

t.test(
  'an operator whose state directory is full says so, lives on, and goes on with space',
  noDisk,
  async (t) => {
    const disk = smallDisk ?? '';
    const place = await makePlace(t);
    const file = join(place.manifests, 'worker-crash.yaml');
    writeFileSync(file, schedule('7'));
    const args = ['--watch', place.manifests, ...place.options, '--state', disk];
    const operator = startController(args, place.log);
    t.teardown(async () => {
      await endController(operator, 'SIGKILL');
      unmount(disk);
    });
    const { schedules } = openStatusStores(disk);
    const told = (reason: string) =>
      eventually(reason, 20_000, async () => {
        const { status } = await schedules.read('worker-crash');
        return status?.conditions.find((each) => each.reason === reason);
      });
    const health = async (path: string) => {
      const response = await fetch(`http://127.0.0.1:${place.port}/${path}`);
      return { status: response.status, text: await response.text() };
    };
    const ready = () =>
      eventually('ready', 20_000, async () => (await health('readyz')).status === 200 || undefined);
    await ready();
    await told('InvalidManifest');
    const filler = fillDisk(disk);
    const full = await eventually('not ready', 20_000, async () => {
      const { status, text } = await health('readyz');
      return status === 503 ? text : undefined;
    });
    t.match(full, /\[-\]state failed: ENOSPC/);
    writeFileSync(file, schedule('eight'));
    t.match(await told('StateDirectoryFull'), { type: 'Stalled', status: 'True' });
    t.equal((await health('healthz')).status, 200, 'a new process would not help');
    rmSync(filler);
    await ready();
    const { status } = await eventually('a status again', 20_000, async () => {
      const read = await schedules.read('worker-crash');
      return read.status?.conditions.some(({ type }) => type === 'Stalled') ? undefined : read;
    });
    t.match(status?.conditions.find(({ type }) => type === 'Accepted')?.message, /seed: expected/);
    await endController(operator, 'SIGTERM');
    t.equal(operator.exitCode, 0);

    execFileSync('mount', ['-o', 'remount,ro', disk]);
    const refused = await runController(args, place.log);
    t.equal(refused.code, 1);
    t.match(refused.stderr, /EROFS|read-only/);
  },
);

t.test('an operator over a folder that is not there waits for it, and ends as any other', async (t) => {
  const place = await makePlace(t);
  const operator = startController(['--watch', join(place.folder, 'later'), ...place.options], place.log);
  t.teardown(() => endController(operator, 'SIGKILL'));
  const [problem] = await eventually('a problem', 20_000, () => {
    const [entry] = logged(place, 'manifests have problems');
    return entry?.problems as string[] | undefined;
  });
  t.match(problem, /later: there is no such folder: all stays as it was/);
  t.ok((await endedAfterMs(operator, 'SIGTERM')) < 2_000);
  t.equal(operator.exitCode, 0);
});

/** What was logged under a message, oldest first. */
function logged(
  { log }: { readonly log: string },
  message: string,
): readonly Readonly<Record<string, unknown>>[] {
  return readFileSync(log, 'utf8')
    .split('\n')
    .filter((line) => line.startsWith('{"level"'))
    .map((line) => JSON.parse(line) as Record<string, unknown>)
    .filter(({ msg }) => msg === message);
}

t.test('what is awaited is done, failed or pending by the run at hand, not by an older one', async (t) => {
  const { documents } = parseManifests<Manifest>(schedule('7'), 'a.yaml', { ...resourceKinds });
  const { resource, key } = documents[0]!;
  const annotated = {
    ...resource,
    metadata: { ...resource.metadata, annotations: { [RUN_AT_ANNOTATION]: '2' } },
  };
  const identity = { key, kind: 'FaultSchedule', name: 'worker-crash', uid: 'uid-2', generation: 1 };
  const stored: StoredResource = { ...identity, resource, deleting: false, problems: [] };
  const complete = condition('Complete', 'True', 'Finished', 'over');
  let leads = false;
  const acting = { leader: () => (leads ? {} : undefined), hindrance: () => 'other, which leads' };
  const end = async (change: Partial<StoredResource>, status: Partial<ScheduleStatus>) => {
    const saved = { ...scheduleStatus, conditions: [complete], ...status };
    const schedules = { read: async () => ({ status: saved }) };
    const operator = { acting, statuses: { schedules }, clusters: {} } as unknown as Parameters<
      typeof awaitResources
    >[1];
    const ends = awaitResources([{ ...stored, ...change }], operator, () => {}, AbortSignal.timeout(100));
    return ends.then(
      ([first]) => first?.state,
      () => 'pending',
    );
  };
  t.equal(await end({}, {}), 'done');
  t.equal(await end({}, { runKey: 'uid-2/1/yesterday' }), 'done', 'an annotation was taken away');
  t.equal(await end({ resource: annotated }, {}), 'pending', 'one was added');
  t.equal(await end({ resource: annotated }, { runKey: 'uid-2/1/2' }), 'done');
  t.equal(await end({ generation: 2 }, {}), 'pending', 'an edit');
  t.equal(await end({}, { conditions: [] }), 'pending');
  t.equal(await end({}, { conditions: [condition('Complete', 'True', 'Refused', 'a guard')] }), 'failed');
  const stalled = condition('Stalled', 'True', 'FaultNotHealed', 'not healed: node4');
  t.equal(await end({}, { conditions: [complete, stalled] }), 'failed');
  const suspended = condition('Ready', 'False', 'Suspended', 'left as it is');
  t.equal(await end({}, { conditions: [suspended] }), 'failed', 'nobody waits for what will not be');
  leads = true;
  t.equal(await end({ generation: 2 }, {}), 'failed', 'nor for what another operator leads');
  t.equal(await end({}, {}), 'done', 'what is done is done');
});

async function endedAfterMs(child: ChildProcess, signal: NodeJS.Signals): Promise<number> {
  const startedMs = performance.now();
  await endController(child, signal);
  return performance.now() - startedMs;
}

/** Two at a time: each is a process of its own. */
async function inTwos<T>(all: readonly T[], work: (one: T) => Promise<void>): Promise<void> {
  const left = [...all];
  const worker = async () => {
    for (let next = left.shift(); next !== undefined; next = left.shift()) await work(next);
  };
  await Promise.all([worker(), worker()]);
}
