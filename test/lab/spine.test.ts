import { type ChildProcess, execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import type { ClusterStatus, ScheduleStatus } from '../../crds/status.ts';
import type { TrialRecord } from '../../crds/trial-record.ts';
import type { RunRecord } from '../../state-machines/contract.ts';
import { controlPlanes } from '../../state-machines/recovery/control-planes.ts';
import type { Sample } from '../../state-machines/recovery/sample.ts';
import {
  controllerJson,
  endController,
  eventually,
  runController,
  startController,
} from '../support/controller-process.ts';
import { packageRoot } from '../support/examples.ts';
import { engineOrSkip } from '../support/lab-engine.ts';
import { queriesWithAnswer, readRules } from '../support/monitoring-queries.ts';

// One real lab for the whole file, driven as users drive it: through the built command line and the files it watches.
// The order of the tests is the life of a cluster; each leaves it Ready for the next.

const cluster = 'spine-test';
const work = mkdtempSync(join(tmpdir(), 'spark-failures-spine-'));
const state = join(work, 'state');
const manifests = join(work, 'manifests');
const log = join(work, 'controller.log');
const metricsPort = 19464;
const common = ['--state', state, '--listen', `0.0.0.0:${metricsPort}`];

const clusterManifest = (nodes = 6) => `
apiVersion: spark-failures.io/v1alpha1
kind: ClusterSpec
metadata: { name: ${cluster} }
spec:
  provisioner: { lab: { subnet: 10.95.0.0/24 } }
  nodes:
    - { name: node1, role: manager, labels: { place: control } }
    - { name: node2, role: worker, labels: { place: source } }
    - { name: node3, role: worker, labels: { place: master } }
    - { name: node4, role: worker, labels: { place: compute, slot: "1" } }
    - { name: node5, role: worker, labels: { place: compute, slot: "2" } }
    - { name: node6, role: worker, labels: { place: compute, slot: "3" } }
${nodes > 6 ? '    - { name: node7, role: worker, labels: { place: spare } }\n' : ''}  checkpoint: { path: {} }
  stacks:
    - { name: streaming, compose: ${packageRoot}/compose/streaming/stack.yaml, env: { RATE: "500", PROFILE: fast } }
    - { name: monitoring, compose: ${packageRoot}/compose/monitoring/stack.yaml }
`;

const scheduleManifest = (name: string, preset: string, fault: string) => `
apiVersion: spark-failures.io/v1alpha1
kind: FaultSchedule
metadata: { name: ${name} }
spec:
  clusterRef: { name: ${cluster} }
  seed: 7
  when: { now: {} }
  preset: ${preset}
  faults:
${fault}
`;

const crash = `    - name: crash
      target: { services: { matchLabels: { role: spark-worker } }, pick: one }
      killContainer: {}`;
const isolate = (hold: string) => `    - name: silence
      target: { nodes: { matchNames: [node5] } }
      hold: ${hold}
      isolateNode: {}`;

/** Asks an engine in the lab from outside, past everything of ours. */
const onNode = (node: string, ...command: string[]) =>
  execFileSync('docker', ['exec', `sf-${cluster}-${node}`, ...command], {
    ...{ encoding: 'utf8', maxBuffer: 16 * 1024 * 1024 },
  }).trim();

const clusterIs = (status: 'True' | 'False', deadlineMs: number) =>
  eventually(`cluster Ready=${status}`, deadlineMs, async () => {
    const [seen] = await controllerJson<ClusterStatus[]>(['get', 'clusters', cluster, '--state', state], log);
    return seen?.conditions.some((one) => one.type === 'Ready' && one.status === status) ? seen : undefined;
  });

const scheduleIs = (name: string, type: string, deadlineMs: number) =>
  eventually(`schedule ${name} is ${type}`, deadlineMs, async () => {
    const [seen] = await controllerJson<ScheduleStatus[]>(['get', 'schedules', name, '--state', state], log);
    return seen?.conditions.some((one) => one.type === type && one.status === 'True') ? seen : undefined;
  });

const prometheusUrl = 'http://127.0.0.1:9090/api/v1';

/** What Prometheus answers to each of the queries now, all of them in one go. */
const askPrometheus = (queries: readonly string[]) => {
  const requests = queries.map((query) => [
    ...['--silent', '--write-out', '\\n', '--get', `${prometheusUrl}/query`],
    ...['--data-urlencode', `query=${query}`],
  ]);
  const options = requests.flatMap((request, index) => (index === 0 ? request : ['--next', ...request]));
  return onNode('node1', 'curl', ...options)
    .split('\n')
    .map((line) => JSON.parse(line) as QueryAnswer);
};

interface QueryAnswer {
  readonly error?: string;
  readonly data?: { readonly result: readonly { readonly value: readonly [number, string] }[] };
}

/** What a fault of ours could have left, as the node itself sees it: rules, timers, runs. */
const leftovers = (node: string) =>
  onNode(
    node,
    'sh',
    '-c',
    "iptables-save | grep -iE 'sf-|spark' ; systemctl list-timers --all --no-legend | grep -iE 'sf-|spark' ; true",
  );

/** The phases that a schedule's runs have entered, in order. */
const journalOf = (schedule: string) =>
  readFileSync(join(state, 'journal.ndjson'), 'utf8')
    .split('\n')
    .filter((line) => line.includes(`"schedule":"${schedule}"`))
    .map((line) => (JSON.parse(line) as RunRecord).phase);

let controller: ChildProcess | undefined;

t.before(() => mkdirSync(manifests, { recursive: true }));
t.teardown(async () => {
  if (controller) await endController(controller, 'SIGTERM');
  if (!t.passing()) {
    t.comment(`the controllers' log:\\n${readFileSync(log, 'utf8').split('\\n').slice(-150).join('\\n')}`);
  }
  await runController(['delete', '-f', manifests, '--wait', '--state', state], log);
  rmSync(work, { recursive: true, force: true });
});

t.test('the lab can run here', async (t) => {
  await engineOrSkip(t);
});

t.test('one manifest becomes a six-machine swarm that runs the job', { timeout: 600_000 }, async (t) => {
  writeFileSync(join(manifests, 'cluster.yaml'), clusterManifest());
  controller = startController(['--watch', manifests, ...common], log);
  const { nodes } = await clusterIs('True', 500_000);
  t.same([nodes.desired, nodes.ready, nodes.managers], [6, 6, 1]);
  t.match(onNode('node1', 'docker', 'node', 'ls', '--format', '{{.Hostname}} {{.Status}}'), /node6 Ready/);
});

t.test('a plan of what is already so has no step', async (t) => {
  const { code, stdout } = await runController(
    ['plan', '-f', join(manifests, 'cluster.yaml'), ...common],
    log,
  );
  t.equal(code, 0);
  t.match(stdout, /nothing to do/);
});

t.test('what others change is put right within 5 s', { timeout: 120_000 }, async (t) => {
  onNode('node1', 'docker', 'service', 'rm', 'monitoring_node-exporter');
  onNode(
    'node1',
    'docker',
    'node',
    'update',
    '--label-rm',
    'slot',
    onNode('node1', 'docker', 'node', 'ls', '-q', '--filter', 'name=node6'),
  );
  const started = Date.now();
  await eventually(
    'the service is back',
    15_000,
    () =>
      onNode('node1', 'docker', 'service', 'ls', '--format', '{{.Name}}').includes(
        'monitoring_node-exporter',
      ) || undefined,
  );
  await eventually(
    'the label is back',
    15_000,
    () =>
      onNode('node1', 'docker', 'node', 'inspect', 'node6', '--format', '{{.Spec.Labels.slot}}') === '3' ||
      undefined,
  );
  t.ok(Date.now() - started < 7_000, `repaired after ${Date.now() - started} ms, looking included`);
  await clusterIs('True', 120_000);
});

t.test('a broken manifest and an empty one change nothing', { timeout: 60_000 }, async (t) => {
  const file = join(manifests, 'cluster.yaml');
  const good = readFileSync(file, 'utf8');
  const before = onNode('node1', 'docker', 'service', 'ls', '-q');
  writeFileSync(file, good.replace('role: manager', 'rôle: manager'));
  await eventually('the problem is in the condition', 20_000, async () => {
    const [seen] = await controllerJson<ClusterStatus[]>(['get', 'clusters', cluster, '--state', state], log);
    return (
      seen?.conditions.some(({ type, status }) => type === 'Accepted' && status === 'False') || undefined
    );
  });
  writeFileSync(file, '');
  await new Promise((resolve) => setTimeout(resolve, 3_000));
  t.equal(onNode('node1', 'docker', 'service', 'ls', '-q'), before);
  writeFileSync(file, good);
  await clusterIs('True', 30_000);
});

t.test('Prometheus finds every target, and every target is up', { timeout: 120_000 }, async (t) => {
  interface Targets {
    readonly data: {
      readonly activeTargets: readonly {
        readonly health: string;
        readonly scrapePool: string;
        readonly lastError: string;
      }[];
    };
  }
  // Engines tell each other at once who has started, and again every 30 s: what was lost at first is found then.
  const pools = ['controller', 'generator', 'observer', 'kafka', 'node'];
  const up = await eventually('all targets up', 100_000, async () => {
    const text = onNode('node1', 'curl', '-s', `${prometheusUrl}/targets?state=active`);
    const { activeTargets } = (JSON.parse(text) as Targets).data;
    const isWhole = pools.every((pool) => activeTargets.some(({ scrapePool }) => scrapePool === pool));
    return isWhole && activeTargets.every(({ health }) => health === 'up') ? activeTargets : undefined;
  });
  t.ok(up.length >= 12, `${up.length} targets`);
});

t.test('a crash is injected, verified and measured', { timeout: 400_000 }, async (t) => {
  writeFileSync(join(manifests, 'crash.yaml'), scheduleManifest('crash', 'smoke', crash));
  const { trials } = await scheduleIs('crash', 'Complete', 380_000);
  const [trial] = trials as [TrialRecord];
  t.equal(trial.outcome, 'Healed');
  t.match(trial.targets, [/^node[456]\/streaming_spark-worker-\d$/]);
  t.equal(trial.verdict?.correctness, 'Correct');
  // A stall that stays below the threshold is Masked: also an answer, and on a loaded machine a near one.
  t.match(trial.verdict?.recovery, /^(Recovered|Masked)$/);
  t.ok((trial.figures.stall?.ms ?? 0) > 1_000, `stalled ${trial.figures.stall?.ms} ms`);
  t.ok(trial.figures.detection, 'noticed by the system itself');
  const noticed = trial.noticed!.map(({ source }) => source);
  for (const plane of ['spark-master', 'spark-driver', 'swarm']) t.ok(noticed.includes(plane), plane);
  t.match(trial.settings, { TRIGGER: '1 second', 'streaming.PROFILE': 'fast' });
  t.equal(trial.settings?.['streaming_driver restart delay'], '5s', 'other stacks have another');
  t.match(
    trial.settings?.['spark.network.timeout'],
    /^\d+s$/,
    "what governs detection, also by the profile's files",
  );
  t.match(trial.instants, { det: { source: noticed[0] }, red: {} });
  t.match(
    trial.clocks!.map(({ node }) => node).sort(),
    [1, 2, 3, 4, 5, 6].map((n) => `node${n}`),
  );
  if (trial.verdict?.recovery === 'Recovered') {
    t.ok(trial.figures.recovery!.ms >= trial.figures.detection!.ms, 'noticed before recovered');
  }
  for (const metric of [
    'sparkfailures_stall_seconds_count{schedule="crash"}',
    'sparkfailures_detection_time_seconds_count{schedule="crash"}',
    'sparkfailures_fault_runs_total{outcome="Healed"}',
    'sparkfailures_clock_error_bound_seconds{node="node2"}',
  ]) {
    await eventually(
      `${metric} is seen by Prometheus`,
      15_000,
      () => Number(askPrometheus([metric])[0]?.data?.result[0]?.value[1]) > 0 || undefined,
    );
  }
  const rows = readFileSync(join(state, trial.samples ?? ''), 'utf8')
    .trim()
    .split('\n');
  t.ok(rows.length > 100, 'raw rows are kept');
  const { views } = JSON.parse(rows.at(-1)!) as Sample;
  t.same(views.map(({ source }) => source).sort(), [...controlPlanes].sort(), 'every control plane answers');
  await clusterIs('True', 60_000);
});

t.test(
  'killed with -9 during the hold, the controller is not needed: the node heals itself by the deadline',
  { timeout: 180_000 },
  async (t) => {
    writeFileSync(join(manifests, 'silence.yaml'), scheduleManifest('silence', 'none', isolate('20s')));
    await eventually(
      'the node is cut off',
      60_000,
      () => /sf-|spark/i.test(onNode('node5', 'iptables-save')) || undefined,
    );
    await eventually(
      'the hold is in the journal',
      20_000,
      () => journalOf('silence').includes('holding') || undefined,
    );
    await endController(controller!, 'SIGKILL');
    t.match(leftovers('node5'), /SF-/, 'the fault outlives its controller');
    await eventually('the node healed itself', 20_000 + 30_000 + 5_000, () =>
      leftovers('node5') === '' ? true : undefined,
    );
    controller = startController(['--watch', manifests, ...common], log);
    const { trials } = await scheduleIs('silence', 'Complete', 60_000);
    t.match(trials, [{ outcome: 'Aborted' }]);
    await clusterIs('True', 120_000);
  },
);

t.test(
  'stopped past the deadline and continued, the controller does not inject late',
  { timeout: 180_000 },
  async (t) => {
    writeFileSync(join(manifests, 'late.yaml'), scheduleManifest('late', 'none', isolate('8s')));
    // Its record is written just before the switch is armed, which takes longer than this stop.
    await eventually(
      'the run is being prepared',
      60_000,
      () => journalOf('late').includes('prepared') || undefined,
    );
    controller!.kill('SIGSTOP');
    t.comment(`stopped with ${leftovers('node5') || 'nothing'} on the node`);
    const deadlineMs = Date.now() + 8_000 + 30_000 + 5_000;
    await eventually('the deadline has passed', 60_000, () => Date.now() > deadlineMs || undefined);
    t.equal(leftovers('node5'), '', 'the node has healed itself, if there was anything to heal');
    controller!.kill('SIGCONT');
    await scheduleIs('late', 'Complete', 60_000);
    t.equal(leftovers('node5'), '', 'nothing was injected after the heal');
    await clusterIs('True', 120_000);
  },
);

t.test('a fault that is held, and SIGTERM during it', { timeout: 240_000 }, async (t) => {
  // As long as the questions may take; SIGTERM ends it.
  writeFileSync(join(manifests, 'term.yaml'), scheduleManifest('term', 'none', isolate('120s')));
  await eventually(
    'the node is cut off',
    60_000,
    () => /sf-|spark/i.test(onNode('node5', 'iptables-save')) || undefined,
  );

  await t.test('Prometheus answers every panel and every rule while it is held', async (t) => {
    const questions = await queriesWithAnswer();
    /** Each until it has an answer: a target may just have come back, or rates need a second value. */
    let open = [...questions];
    let said = '';
    const ask = () => {
      const answers = askPrometheus(open.map(({ expr }) => expr));
      said = answers.map(({ error }) => error ?? '').join(' ');
      const numbers = answers.map(({ data }) => data?.result.filter(({ value }) => value[1] !== 'NaN'));
      open = open.filter((_, index) => !numbers[index]?.length);
      return open.length === 0 || undefined;
    };
    await eventually('an answer to each', 40_000, ask).catch(() => undefined);
    t.same(open, [], `of ${questions.length} queries, these have no answer: ${said}`);
  });

  await t.test('its rules are healthy, and the alert of a fault in force is on', async (t) => {
    interface Rules {
      readonly data: {
        readonly groups: readonly {
          readonly rules: readonly {
            readonly name: string;
            readonly health: string;
            readonly lastError?: string;
            readonly alerts?: readonly {
              readonly state: string;
              readonly labels: { readonly fault: string };
            }[];
          }[];
        }[];
      };
    }
    const wanted = (await readRules()).map(({ record, alert }) => record ?? alert).sort();
    const told = await eventually('the alert is pending', 30_000, () => {
      const { data } = JSON.parse(onNode('node1', 'curl', '-s', `${prometheusUrl}/rules`)) as Rules;
      const rules = data.groups.flatMap((group) => group.rules);
      const { alerts = [] } = rules.find(({ name }) => name === 'FaultActiveTooLong') ?? {};
      return alerts.some(({ state, labels }) => state === 'pending' && labels.fault === 'silence')
        ? rules
        : undefined;
    });
    t.same(told.map(({ name }) => name).sort(), wanted);
    t.same(
      told.filter(({ health }) => health !== 'ok'),
      [],
    );
  });

  t.notOk(journalOf('term').includes('healing'), 'the fault is still held');
  await endController(controller!, 'SIGTERM');
  t.equal(leftovers('node5'), '');
  rmSync(join(manifests, 'term.yaml'));
  controller = startController(['--watch', manifests, ...common], log);
  await clusterIs('True', 120_000);
});

t.test('a node added to the manifest joins, a node taken out leaves', { timeout: 180_000 }, async (t) => {
  const members = () =>
    onNode('node1', 'docker', 'node', 'ls', '--format', '{{.Hostname}} {{.Status}} {{.ID}}')
      .split('\n')
      .filter((line) => line.startsWith('node7'));
  /** The only member of that name, when it is Ready. */
  const member = () => {
    const [line, ...twins] = members();
    return twins.length === 0 && line?.startsWith('node7 Ready') ? line : undefined;
  };
  writeFileSync(join(manifests, 'cluster.yaml'), clusterManifest(7));
  const first = await eventually('node7 is in the swarm', 90_000, member);
  await clusterIs('True', 90_000);

  // By hand, as somebody might: after some ten seconds the swarm shows the old member as down; the machine comes back
  // as another one.
  onNode('node7', 'docker', 'swarm', 'leave', '--force');
  const isAnother = () => (member() ?? first) !== first || undefined;
  const isShown = () => members().some((line) => line.startsWith('node7 Down')) || isAnother();
  await eventually('the manager shows that node7 left', 60_000, isShown);
  const shownMs = Date.now();
  await eventually('node7 is back as another member, without a twin', 30_000, isAnother);
  t.ok(Date.now() - shownMs < 5_000, `repaired after ${Date.now() - shownMs} ms`);

  writeFileSync(join(manifests, 'cluster.yaml'), clusterManifest());
  await eventually(
    'node7 is gone',
    90_000,
    () => !/node7/.test(onNode('node1', 'docker', 'node', 'ls', '--format', '{{.Hostname}}')) || undefined,
  );
  const containers = () =>
    execFileSync('docker', ['ps', '-a', '--format', '{{.Names}}'], { encoding: 'utf8' });
  await eventually('its machine is gone', 60_000, () => !/spine-test-node7/.test(containers()) || undefined);
});

t.test('a second writer on the state directory is refused by name', async (t) => {
  const { code, stderr } = await runController(['apply', '-f', manifests, '--state', state], log);
  t.equal(code, 1);
  t.match(stderr, new RegExp(`${controller!.pid}`));
});

t.test('delete leaves no container, network, volume or file', { timeout: 120_000 }, async (t) => {
  await endController(controller!, 'SIGTERM');
  controller = undefined;
  const { code } = await runController(['delete', '-f', manifests, '--wait', '--state', state], log);
  t.equal(code, 0);
  const docker = (...args: string[]) => execFileSync('docker', args, { encoding: 'utf8' }).trim();
  const label = `label=spark-failures.io/cluster=${cluster}`;
  t.equal(docker('ps', '-aq', '--filter', label), '');
  t.equal(docker('network', 'ls', '-q', '--filter', label), '');
  t.equal(docker('volume', 'ls', '-q', '--filter', label), '');
});
