import { copyFile, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import t, { type Test } from 'tap';
import { parse } from 'yaml';
import { IMAGES } from '../compose/images/catalog.ts';
import { DASHBOARDS } from '../compose/monitoring/dashboards/catalog.ts';
import { generatorMetrics } from '../compose/streaming/generator/generator-metrics.ts';
import { observerMetrics } from '../compose/streaming/observer/observer-metrics.ts';
import type { GeneratorFrontier } from '../compose/streaming/records/frontier.ts';
import { createMetrics, type Metrics } from '../controller/metrics/metrics.ts';
import { stackLoader } from '../controller/stack/load-stack.ts';
import {
  errorClasses,
  noFindings,
  recordClasses,
  type Sample,
  windowClasses,
} from '../state-machines/recovery/sample.ts';
import {
  mayBeEmpty,
  metricsIn,
  panelQueries,
  queriesWithAnswer,
  readRules,
  rulesFolder,
} from './support/monitoring-queries.ts';
import { findPromtool, type Promtool } from './support/promtool.ts';

interface ScrapeJob {
  readonly job_name: string;
  readonly metrics_path?: string;
  readonly dns_sd_configs?: readonly { readonly names: readonly string[]; readonly port: number }[];
}

const folder = 'compose/monitoring';
const { scrape_configs } = parse(await readFile(`${folder}/prometheus.yml`, 'utf8')) as {
  scrape_configs: readonly ScrapeJob[];
};
const streaming = parse(await readFile('compose/streaming/stack.yaml', 'utf8'), { merge: true });
const monitoring = parse(await readFile(`${folder}/stack.yaml`, 'utf8'));

/** Everything that DNS is asked for, as `service:port/path`. */
const asked = scrape_configs.flatMap(({ metrics_path = '/metrics', dns_sd_configs = [] }) =>
  dns_sd_configs.flatMap(({ names, port }) => names.map((name) => `${name}:${port}${metrics_path}`)),
);

t.test('every part of the workload that has metrics is scraped, by the tasks of its service', async (t) => {
  t.same([...asked].sort(), [
    'tasks.driver:4040/metrics/executors/prometheus',
    'tasks.driver:4040/metrics/prometheus',
    'tasks.generator:9400/metrics',
    'tasks.kafka:9404/metrics',
    'tasks.node-exporter:9100/metrics',
    'tasks.observer:9401/metrics',
    'tasks.spark-master:8080/metrics/applications/prometheus',
    'tasks.spark-master:8080/metrics/master/prometheus',
    'tasks.spark-worker-1:8081/metrics/prometheus',
    'tasks.spark-worker-2:8081/metrics/prometheus',
    'tasks.spark-worker-3:8081/metrics/prometheus',
  ]);
});

t.test('every service that DNS is asked for exists in one of the stacks', async (t) => {
  const services = { ...streaming.services, ...monitoring.services };
  for (const name of asked) t.ok(services[name.replace(/^tasks\./, '').replace(/:.*/, '')], name);
});

/** A stack as the swarm would get it, with these variables beside those that the controller supplies. */
const load = (name: string, variables: Readonly<Record<string, string>> = {}) =>
  stackLoader()(
    {
      ...{ cluster: 'six-nodes', name, path: `${folder}/${name === 'monitoring' ? 'stack' : name}.yaml` },
      variables: { CONTROLLER_TARGET: '10.0.0.9:9464', ...variables },
    },
    AbortSignal.timeout(10_000),
  );
type Stack = Awaited<ReturnType<typeof load>>;

/** What a service finds at a path, from the configs of its stack. */
function mountedFiles({ services, configs }: Stack, service: string): ReadonlyMap<string, string> {
  const data = new Map(configs.map(({ Name, Data }) => [Name, Buffer.from(Data, 'base64').toString()]));
  const spec = services.find(({ Name }) => Name.endsWith(`_${service}`));
  const mounts = spec?.TaskTemplate.ContainerSpec.Configs ?? [];
  return new Map(mounts.map(({ ConfigName, File }) => [File?.Name ?? '', data.get(ConfigName) ?? '']));
}

const prometheusFiles = mountedFiles(await load('monitoring'), 'prometheus');

t.test('the address of the controller reaches Prometheus as a file of targets', async (t) => {
  const targets = prometheusFiles.get('/etc/prometheus/controller.json');
  t.same(JSON.parse(targets ?? ''), [{ targets: ['10.0.0.9:9464'] }]);
  const [controller] = scrape_configs;
  t.match(controller, { job_name: 'controller', file_sd_configs: [{ files: ['controller.json'] }] });
});

const sample: Sample = {
  ...{ atMs: 10_000, ackedMs: 9_900, committedMs: 8_000, visibleMs: 7_500, intended: 1000, acked: 990 },
  ...{ generatorBehindMs: 40, batchId: 1, batchAtMs: 9_000, views: [] },
  batch: {
    ...{ durationMs: 700, addBatchMs: 500, inputRows: 2000, stateRows: 9000, droppedRows: 0 },
    watermarkMs: null,
  },
  correctness: { ...noFindings, storedTwice: 2, reemitted: 5, shortWindows: 3, shortRecords: 9 },
  sources: { observerStartedMs: 0, generatorStartedMs: 0, generatorSeenMs: 9_900, countedSinceMs: 0 },
};

/** The controller's metrics after one of everything. */
function eventfulMetrics(): Metrics {
  const metrics = createMetrics();
  metrics.loop('ClusterSpec', 1).reconcile.finished('success', 1);
  metrics.workload.sample(sample);
  metrics.workload.clockBound('node2', 0.004);
  metrics.trials.scheduleFaults('s', ['f']);
  metrics.trials.threshold('s', 4.25);
  metrics.trials.faultActive('s', 'f', 'node4', true);
  metrics.trials.phaseEnded('f', 'inject', 0.08);
  const figure = { ms: 1000, errorMs: 1 };
  const figures = { recovery: figure, stall: figure, detection: figure, catchUp: figure, redundancy: figure };
  const verdict = { recovery: 'Recovered', correctness: 'Correct' } as const;
  metrics.trials.trialEnded('s', { fault: 'f', figures, verdict });
  metrics.trials.trialEnded('s', { fault: 'f', figures: {}, verdict });
  metrics.clusters.clusterReady('c', true);
  const nodes = { desired: 6, ready: 6, managers: 1, unreachable: [] };
  metrics.clusters.clusterSeen('c', nodes, [{ service: 'app_web', desired: 1, running: 1 }]);
  return metrics;
}

const frontier: GeneratorFrontier = {
  ...{
    startedMs: 0,
    atMs: 10_000,
    ackedMs: 9_900,
    intended: 1000,
    acked: 990,
    indeterminate: 0,
    unanswered: 1,
  },
  ...{ behindMs: 40, schedule: { baseMs: 0, rate: 100, partitions: 1 }, catalogue: { seed: 1, products: 2 } },
  perPartition: [],
} as GeneratorFrontier;

/** What this package's own programs expose. */
const ownTexts: ReadonlyMap<string, string> = new Map([
  ['controller', (await eventfulMetrics().render()).text],
  ['generator', await generatorMetrics(() => frontier).metrics()],
  [
    'observer',
    await observerMetrics(
      () => sample,
      () => ({ records: 100 }),
    ).metrics(),
  ],
]);

t.test('dashboards and rules', async (t) => {
  const rules = await readRules();
  const asked = [
    ...panelQueries,
    ...rules.map(({ record, alert, expr }) => ({ where: record ?? alert ?? '', expr })),
  ];

  t.test('ask only for metrics that somebody exposes or a rule records', async (t) => {
    const names = (text: string) =>
      text.split('\n').flatMap((line) => /^[a-zA-Z_:][\w:]*/.exec(line)?.[0] ?? []);
    const known = new Set([
      ...['up', 'scrape_duration_seconds'], // Prometheus's own, of every target
      ...names(await readFile('test/support/scraped-metrics.txt', 'utf8')),
      ...[...ownTexts.values()].flatMap(names),
      ...rules.flatMap(({ record }) => record ?? []),
    ]);
    for (const { where, expr } of asked) {
      const metrics = metricsIn(expr);
      t.ok(metrics.length > 0, `${where}: ${expr}`);
      for (const metric of metrics) t.ok(known.has(metric), `${where}: ${metric}`);
    }
  });

  t.test('name only jobs that are scraped', async (t) => {
    const jobs = scrape_configs.map(({ job_name }) => job_name);
    for (const { where, expr } of asked) {
      for (const [, job = ''] of expr.matchAll(/\bjob="([^"]*)"/g))
        t.ok(jobs.includes(job), `${where}: ${job}`);
    }
  });

  t.test('are asked under names of their own, and those that may be empty exist', async (t) => {
    const places = asked.map(({ where }) => where);
    t.same(
      places.filter((where, index) => places.indexOf(where) < index),
      [],
    );
    for (const where of mayBeEmpty.keys()) t.ok(places.includes(where), where);
    t.equal(
      (await queriesWithAnswer()).length,
      asked.length - mayBeEmpty.size - rules.filter((rule) => rule.alert).length,
    );
  });

  t.test('alerts say what is the matter and what to do', async (t) => {
    for (const { alert, labels, annotations } of rules) {
      if (alert === undefined) continue;
      t.match(labels, { severity: /^(warning|critical)$/ }, alert);
      t.match(annotations, { summary: /\w/, description: /\w.*\.$/s }, alert);
    }
  });
});

t.test('the metrics of an expression are told from labels, functions, numbers and words', async (t) => {
  const expr =
    '1 - avg by (nodename) (rate(node_cpu_seconds_total{mode="idle",job=~"a|b"}[15s]) * on (instance) ' +
    'group_left (nodename) node_uname_info) > bool 2e3 unless on () side:age:max offset 5m or vector(0)';
  t.same(metricsIn(expr), ['node_cpu_seconds_total', 'node_uname_info', 'side:age:max']);
});

t.test('every panel says what it shows, and has a place of its own', async (t) => {
  const uids = Object.values(DASHBOARDS).map(({ uid }) => uid);
  t.equal(new Set(uids).size, uids.length);
  for (const { uid, panels } of Object.values(DASHBOARDS)) {
    const cells = new Set<string>();
    t.same(
      panels.map(({ id }) => id),
      panels.map((_, index) => index + 1),
    );
    for (const panel of panels) {
      const { x, y, w, h } = panel.gridPos;
      t.ok(x + w <= 24, `${uid}: ${panel.title} is on the grid`);
      for (let n = 0; n < w * h; n++) cells.add(`${x + (n % w)} ${y + Math.floor(n / w)}`);
      if (panel.type === 'row') continue;
      t.match(panel.description, /\w.*\.$/, `${uid}: ${panel.title}`);
      t.match(panel, { datasource: { type: 'prometheus', uid: 'prometheus' } });
      t.ok(panel.targets.length > 0);
    }
    const area = panels.reduce((sum, { gridPos: { w, h } }) => sum + w * h, 0);
    t.equal(cells.size, area, `${uid}: no panel lies over another`);
    t.equal(area % 24, 0, `${uid}: no row has a gap`);
  }
});

t.test('Grafana', async (t) => {
  const admin = { GRAFANA_NO_ADMIN: 'false', GRAFANA_ADMIN_PASSWORD: 'secret' };

  t.test('finds the data source that dashboards name, and every dashboard', async (t) => {
    const files = mountedFiles(await load('grafana'), 'grafana');
    t.match(parse(files.get('/etc/grafana/provisioning/datasources/prometheus.yaml') ?? ''), {
      apiVersion: 1,
      datasources: [{ type: 'prometheus', uid: 'prometheus', url: 'http://prometheus:9090' }],
    });
    const provided = parse(files.get('/etc/grafana/provisioning/dashboards/spark-failures.yaml') ?? '');
    const { path } = provided.providers[0].options as { readonly path: string };
    for (const [name, dashboard] of Object.entries(DASHBOARDS)) {
      t.same(JSON.parse(files.get(`${path}/${name}.json`) ?? ''), dashboard, name);
    }
    t.equal(files.size, Object.keys(DASHBOARDS).length + 2);
  });

  t.test('shows a dashboard that there is as its home, to whoever comes', async (t) => {
    const stack = await load('grafana');
    const env = stack.services[0]?.TaskTemplate.ContainerSpec.Env ?? [];
    const home = env
      .find((one) => one.startsWith('GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH='))
      ?.split('=')[1];
    t.ok(mountedFiles(stack, 'grafana').has(home ?? ''), String(home));
    for (const setting of ['GF_AUTH_ANONYMOUS_ENABLED=true', 'GF_AUTH_ANONYMOUS_ORG_ROLE=Viewer']) {
      t.ok(env.includes(setting), setting);
    }
  });

  t.test('has no administrator unless one with a password is asked for', async (t) => {
    const settingsOf = async (variables: Readonly<Record<string, string>>) => {
      const { services } = await load('grafana', variables);
      const env = services[0]?.TaskTemplate.ContainerSpec.Env ?? [];
      return env.filter((one) => /^GF_SECURITY_/.test(one)).sort();
    };
    t.same(await settingsOf({}), [
      'GF_SECURITY_ADMIN_PASSWORD=',
      'GF_SECURITY_DISABLE_INITIAL_ADMIN_CREATION=true',
    ]);
    t.same(await settingsOf(admin), [
      'GF_SECURITY_ADMIN_PASSWORD=secret',
      'GF_SECURITY_DISABLE_INITIAL_ADMIN_CREATION=false',
    ]);
    await t.rejects(settingsOf({ GRAFANA_NO_ADMIN: 'false' }), /GRAFANA_ADMIN_PASSWORD must be set/);
  });

  t.test('is a stack of its own, which the demo lacks: no stand-in of its image can be made', async (t) => {
    const images = IMAGES.flatMap(({ standsInFor }) => standsInFor ?? []);
    const { services } = await load('grafana');
    t.match(services[0]?.TaskTemplate.ContainerSpec.Image, /^grafana\/grafana:12\.4\./);
    for (const { TaskTemplate } of (await load('monitoring')).services) {
      t.ok(images.includes(TaskTemplate.ContainerSpec.Image), TaskTemplate.ContainerSpec.Image);
    }
    t.notMatch(await readFile('manifests/six-nodes.yaml', 'utf8'), /grafana/);
    t.match(await readFile('manifests/examples/grafana/cluster.yaml', 'utf8'), /monitoring\/grafana\.yaml/);
  });
});

t.test('no config is larger than a swarm takes', async (t) => {
  for (const name of ['monitoring', 'grafana']) {
    for (const { Name, Data } of (await load(name)).configs) {
      const bytes = Buffer.from(Data, 'base64').length;
      t.ok(bytes > 0 && bytes < 500_000, `${Name}: ${bytes} bytes`);
    }
  }
});

const found = await findPromtool(AbortSignal.timeout(300_000));
t.test('promtool', 'missing' in found ? { skip: found.missing } : {}, async (t) => {
  const promtool = found as Promtool;
  const work = await mkdtemp(join(tmpdir(), 'spark-failures-monitoring-'));
  t.teardown(() => rm(work, { recursive: true, force: true }));
  /** What it prints belongs to the failure. */
  const passes = (t: Test, args: readonly string[], input?: string) => {
    const { status, stdout, stderr } = promtool(args, input);
    t.equal(status, 0, `promtool ${args.slice(0, 2).join(' ')}: ${stdout}${stderr}`);
    return `${stdout}${stderr}`;
  };

  /** One test at steps of 5 s, of these rules. */
  const play = async (t: Test, rules: string, test: object) => {
    const [groups, played] = [join(work, 'groups.yml'), join(work, 'played.yml')];
    await writeFile(groups, rules);
    const tests = [{ interval: '5s', ...test }];
    await writeFile(played, JSON.stringify({ rule_files: [groups], evaluation_interval: '5s', tests }));
    passes(t, ['test', 'rules', played]);
  };

  t.test('has nothing to say about the metrics of any program of ours', async (t) => {
    for (const [name, text] of ownTexts) {
      t.ok(text.includes('sparkfailures_'), name);
      t.equal(passes(t, ['check', 'metrics'], text), '', name);
    }
  });

  t.test('accepts the configuration, with its rules and targets, as the stack mounts it', async (t) => {
    for (const [path, text] of prometheusFiles) {
      await mkdir(join(work, dirname(path)), { recursive: true });
      await writeFile(join(work, path), text);
    }
    const said = passes(t, ['check', 'config', join(work, '/etc/prometheus/prometheus.yml')]);
    t.match(said, /2 rule files found/);
    t.notMatch(said, /WARNING|does not exist/);
  });

  t.test('reads the query of every panel', async (t) => {
    const rules = panelQueries.map(({ expr }, index) => ({ record: `panel:query:${index}`, expr }));
    const file = join(work, 'panels.yml');
    await writeFile(file, JSON.stringify({ groups: [{ name: 'panels', rules }] }));
    t.match(passes(t, ['check', 'rules', file]), new RegExp(`${rules.length} rules found`));
  });

  t.test('hears an alert for every class of error, and for nothing that is harmless', async (t) => {
    const labels = [
      ...Object.entries(recordClasses).map(([label, part]) => ['records', 'state', label, part] as const),
      ...Object.entries(windowClasses).map(([label, part]) => ['windows', 'result', label, part] as const),
    ];
    const alerts = { records: 'RecordsLost', windows: 'ResultsWrong' };
    const errors = labels.filter(([, , , part]) => errorClasses.includes(part));
    await play(t, await readFile(join(rulesFolder, 'alerts.yml'), 'utf8'), {
      input_series: labels.map(([of, name, label]) => ({
        series: `sparkfailures_found_${of}{job="observer",${name}="${label}"}`,
        values: '0x24 1x12',
      })),
      promql_expr_test: [
        {
          expr: 'count by (alertname, state, result) (ALERTS{alertname=~"RecordsLost|ResultsWrong"})',
          eval_time: '150s',
          exp_samples: errors.map(([of, name, label]) => ({
            labels: `{alertname="${alerts[of]}",${name}="${label}"}`,
            value: 1,
          })),
        },
      ],
    });
  });

  t.test('shows of the newest trial what it has, also when the controller is gone', async (t) => {
    const labels = '{schedule="s",fault="f"}';
    const { expr } = panelQueries.find(({ where }) => where === 'sf-recovery: Last figures, recovery')!;
    // In a series promtool knows no NaN.
    const rule = { record: 'sparkfailures_last_recovery_time_seconds', expr: 'figure / (figure > bool 0)' };
    await play(t, JSON.stringify({ groups: [{ name: 'controller', rules: [rule] }] }), {
      input_series: [{ series: `figure${labels}`, values: '31x12 0x12 4x12 stale' }],
      promql_expr_test: [
        { expr, eval_time: '50s', exp_samples: [{ labels, value: 31 }] },
        { expr, eval_time: '110s', exp_samples: [] },
        { expr, eval_time: '300s', exp_samples: [{ labels, value: 4 }] },
      ],
    });
  });

  t.test('plays to the rules what they are for, and they say what they must', async (t) => {
    const rules = join(work, '/etc/prometheus/rules');
    await copyFile('test/support/alert-rules.yml', join(rules, 'test.yml'));
    passes(t, ['test', 'rules', join(rules, 'test.yml')]);
    const played = await readFile('test/support/alert-rules.yml', 'utf8');
    for (const { alert, record } of await readRules()) {
      const name = alert === undefined ? `expr: ${record}` : `alertname: ${alert}`;
      t.ok(played.includes(name), name);
    }
  });
});
