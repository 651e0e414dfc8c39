import { mkdir, readdir, rmdir } from 'node:fs/promises';
import { connect } from 'node:net';
import { join } from 'node:path';
import t from 'tap';
import { steadyClock, systemClock } from '../controller/clock.ts';
import { eventLoopCheck, reportHealth, stateCheck } from '../controller/health.ts';
import { type JsonRoute, startHttpServer } from '../controller/http-server.ts';
import { createLog, type LogOptions } from '../controller/log.ts';
import { ControlLoop } from '../controller/loop/control-loop.ts';
import { createMetrics } from '../controller/metrics/metrics.ts';
import { noFindings, type Sample } from '../state-machines/recovery/sample.ts';
import { FakeClock } from './support/fake-clock.ts';
import { scrapeMetrics as scrape } from './support/scrape-metrics.ts';

function sample(more: Partial<Sample> = {}): Sample {
  return {
    atMs: 10_000,
    ackedMs: 9_900,
    committedMs: 8_000,
    visibleMs: 7_500,
    intended: 1000,
    acked: 990,
    generatorBehindMs: 40,
    batchId: 1,
    batchAtMs: 9_000,
    views: [],
    batch: null,
    correctness: { ...noFindings, storedTwice: 2, reemitted: 5, shortWindows: 3, shortRecords: 9 },
    sources: { observerStartedMs: 1, generatorStartedMs: 1, generatorSeenMs: 10_000, countedSinceMs: 0 },
    ...more,
  };
}

/** controller-runtime's and client-go's series of one loop, as these name, label and divide them. */
const reconciler = 'controller="ClusterSpec"';
const queue = `name="ClusterSpec",${reconciler}`;
const passBuckets = [
  ...[0.005, 0.01, 0.025, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.6, 0.7, 0.8, 0.9, 1],
  ...[1.25, 1.5, 1.75, 2, 2.5, 3, 3.5, 4, 4.5, 5, 6, 7, 8, 9, 10, 15, 20, 25, 30, 40, 50, 60],
].map(String);
const queueBuckets = [
  // By multiplying, as in Go, where these look as odd.
  ...['1e-8', '1e-7', '0.000001', '0.000009999999999999999', '0.00009999999999999999'],
  ...['0.001', '0.01', '0.1', '1', '10', '100', '1000'],
];
const loopSeries: readonly { name: string; labels: string; buckets?: readonly string[] }[] = [
  ...['success', 'error', 'requeue', 'requeue_after'].map((result) => ({
    name: 'controller_runtime_reconcile_total',
    labels: `${reconciler},result="${result}"`,
  })),
  { name: 'controller_runtime_reconcile_errors_total', labels: reconciler },
  { name: 'controller_runtime_terminal_reconcile_errors_total', labels: reconciler },
  { name: 'controller_runtime_reconcile_panics_total', labels: reconciler },
  { name: 'controller_runtime_reconcile_timeouts_total', labels: reconciler },
  { name: 'controller_runtime_reconcile_time_seconds', labels: reconciler, buckets: passBuckets },
  { name: 'controller_runtime_max_concurrent_reconciles', labels: reconciler },
  { name: 'controller_runtime_active_workers', labels: reconciler },
  { name: 'workqueue_depth', labels: `${queue},priority=""` },
  { name: 'workqueue_adds_total', labels: queue },
  { name: 'workqueue_queue_duration_seconds', labels: queue, buckets: queueBuckets },
  { name: 'workqueue_work_duration_seconds', labels: queue, buckets: queueBuckets },
  { name: 'workqueue_unfinished_work_seconds', labels: queue },
  { name: 'workqueue_longest_running_processor_seconds', labels: queue },
  { name: 'workqueue_retries_total', labels: queue },
];

t.test('metrics', async (t) => {
  t.test('counters with known labels exist at zero before anything happens', async (t) => {
    const metrics = createMetrics();
    metrics.loop('ClusterSpec', 2);
    metrics.trials.scheduleFaults('worker-crash', ['crash']);
    const seen = await scrape(metrics);
    const labels = 'schedule="worker-crash",fault="crash"';
    for (const name of ['recovery_time', 'detection_time', 'stall', 'catch_up', 'redundancy_restored']) {
      t.equal(seen.get(`sparkfailures_${name}_seconds_count{${labels}}`), 0, name);
    }
    t.equal(seen.get(`sparkfailures_trials_total{${labels},verdict="Recovered"}`), 0);
    t.equal(seen.get('sparkfailures_fault_runs_total{fault="crash",outcome="Stuck"}'), 0);
    t.equal(seen.get('sparkfailures_orphaned_faults'), 0);
    t.equal(seen.get('sparkfailures_records_total{state="acked"}'), 0);
  });

  t.test(
    'the loops speak the language of controller-runtime and client-go, from the beginning',
    async (t) => {
      const metrics = createMetrics();
      metrics.loop('ClusterSpec', 2);
      const seen = await scrape(metrics);
      const own = [...seen.keys()].filter((name) => /^(controller_runtime|workqueue)_/.test(name));
      const expected = loopSeries.flatMap(({ name, labels, buckets }) =>
        buckets
          ? [
              ...[...buckets, '+Inf'].map((le) => `${name}_bucket{le="${le}",${labels}}`),
              ...['sum', 'count'].map((part) => `${name}_${part}{${labels}}`),
            ]
          : [`${name}{${labels}}`],
      );
      t.same(own.toSorted(), expected.toSorted());
      for (const name of own)
        t.equal(seen.get(name), name.startsWith('controller_runtime_max_concurrent') ? 2 : 0, name);
    },
  );

  t.test('tells how old the work in progress is, when it is asked', async (t) => {
    const metrics = createMetrics();
    let ageSeconds: readonly number[] = [2, 40];
    metrics.loop('ClusterSpec', 2).queue.state(() => ({ depth: 0, ageSeconds }));
    metrics.loop('FaultSchedule', 2).queue.state(() => ({ depth: 7, ageSeconds: [] }));
    const read = async (name: string, kind: string) =>
      (await scrape(metrics)).get(`workqueue_${name}_seconds{name="${kind}",controller="${kind}"}`);
    t.equal(await read('unfinished_work', 'ClusterSpec'), 42);
    t.equal(await read('longest_running_processor', 'ClusterSpec'), 40);
    t.equal(await read('longest_running_processor', 'FaultSchedule'), 0);
    ageSeconds = [];
    t.equal(await read('unfinished_work', 'ClusterSpec'), 0);
  });

  t.test('what was not measured is absent, not zero', async (t) => {
    const metrics = createMetrics();
    metrics.trials.scheduleFaults('worker-crash', ['crash']);
    const names = [...(await scrape(metrics)).keys()];
    t.same(
      names.filter((name) =>
        /^sparkfailures_(last_|found_|frontier_age|generator_behind|clock_error|fault_active)/.test(name),
      ),
      [],
    );
  });

  t.test('counts passes under the names and words of controller-runtime', async (t) => {
    const metrics = createMetrics();
    const { queue, reconcile } = metrics.loop('ClusterSpec', 1);
    for (const outcome of ['success', 'error', 'terminal_error', 'panic', 'timeout', 'superseded'] as const) {
      reconcile.started();
      reconcile.finished(outcome, 0.2);
    }
    reconcile.started();
    queue.added();
    queue.state(() => ({ depth: 3, ageSeconds: [] }));
    queue.queued(0.01);
    queue.worked(0.2);
    const seen = await scrape(metrics);
    const total = (result: string) =>
      seen.get(`controller_runtime_reconcile_total{controller="ClusterSpec",result="${result}"}`);
    t.same([total('success'), total('error'), total('requeue')], [1, 4, 1]);
    t.equal(seen.get('controller_runtime_reconcile_errors_total{controller="ClusterSpec"}'), 4);
    for (const what of ['terminal_reconcile_errors', 'reconcile_panics', 'reconcile_timeouts'])
      t.equal(seen.get(`controller_runtime_${what}_total{controller="ClusterSpec"}`), 1, what);
    t.equal(seen.get('controller_runtime_active_workers{controller="ClusterSpec"}'), 1);
    t.equal(seen.get('controller_runtime_reconcile_time_seconds_count{controller="ClusterSpec"}'), 6);
    t.equal(seen.get('workqueue_depth{name="ClusterSpec",controller="ClusterSpec",priority=""}'), 3);
  });

  t.test('a trial counts its verdict, and only the figures that it has', async (t) => {
    const metrics = createMetrics();
    metrics.trials.scheduleFaults('s', ['f']);
    const figures = { recovery: { ms: 31_000, errorMs: 500 }, stall: { ms: 18_000, errorMs: 500 } };
    metrics.trials.trialEnded('s', {
      fault: 'f',
      figures,
      verdict: { recovery: 'Recovered', correctness: 'Correct' },
    });
    metrics.trials.trialEnded('s', {
      fault: 'f',
      figures: { stall: { ms: 590_000, errorMs: 1_000 } },
      verdict: { recovery: 'NotRecovered', correctness: 'Unknown' },
    });
    metrics.trials.trialEnded('s', { fault: 'f', figures: {} });
    metrics.trials.runEnded('f', 'Healed');
    metrics.trials.phaseEnded('f', 'inject', 0.08);
    const seen = await scrape(metrics);
    const labels = 'schedule="s",fault="f"';
    t.equal(seen.get(`sparkfailures_recovery_time_seconds_sum{${labels}}`), 31);
    t.equal(seen.get(`sparkfailures_recovery_time_seconds_count{${labels}}`), 1);
    t.notOk(
      seen.get(`sparkfailures_stall_seconds_sum{${labels}}`)! > 500,
      'nobody saw the end of that stall',
    );
    t.equal(seen.get(`sparkfailures_trials_total{${labels},verdict="Recovered"}`), 1);
    t.equal(seen.get(`sparkfailures_trials_total{${labels},verdict="NotRecovered"}`), 1);
    t.equal(seen.get('sparkfailures_fault_runs_total{fault="f",outcome="Healed"}'), 1);
    t.equal(seen.get('sparkfailures_fault_phase_duration_seconds_count{fault="f",phase="inject"}'), 1);
  });

  t.test('the newest figures are all of one trial', async (t) => {
    const metrics = createMetrics();
    const labels = 'schedule="s",fault="f"';
    const names = ['recovery_time', 'detection_time', 'stall', 'catch_up', 'redundancy_restored'];
    const newest = async () => {
      const seen = await scrape(metrics);
      return names.map((name) => seen.get(`sparkfailures_last_${name}_seconds{${labels}}`));
    };
    const figure = (ms: number) => ({ ms, errorMs: 500 });
    const ended = (
      figures: Parameters<typeof metrics.trials.trialEnded>[1]['figures'],
      recovery?: 'Masked',
    ) =>
      metrics.trials.trialEnded('s', {
        ...{ fault: 'f', figures },
        ...(recovery && { verdict: { recovery, correctness: 'Correct' } }),
      });
    ended({ recovery: figure(31_000), stall: figure(18_000), catchUp: figure(9_000) }, 'Masked');
    t.same(await newest(), [31, NaN, 18, 9, NaN]);
    ended({ detection: figure(400), recovery: figure(0) }, 'Masked');
    t.same(await newest(), [0, 0.4, NaN, NaN, NaN]);
    ended({});
    t.same(await newest(), [0, 0.4, NaN, NaN, NaN], 'one that was not judged is none');
  });

  t.test('the series of a fault go when its schedule no longer has it', async (t) => {
    const metrics = createMetrics();
    metrics.trials.scheduleFaults('s', ['f', 'g']);
    metrics.trials.scheduleFaults('other', ['f']);
    metrics.trials.faultActive('s', 'f', 'node4', true);
    metrics.trials.faultActive('s', 'g', 'node5', true);
    metrics.trials.faultActive('s', 'g', 'node5', false);
    t.equal(
      (await scrape(metrics)).get('sparkfailures_fault_active{schedule="s",fault="f",target="node4"}'),
      1,
    );
    metrics.trials.scheduleFaults('s', ['g']);
    let names = [...(await scrape(metrics)).keys()];
    t.same(
      names.filter((name) => name.includes('schedule="s",fault="f"')),
      [],
    );
    t.equal(
      (await scrape(metrics)).get('sparkfailures_fault_active{schedule="s",fault="g",target="node5"}'),
      0,
    );
    metrics.trials.scheduleFaults('s', []);
    names = [...(await scrape(metrics)).keys()];
    t.same(
      names.filter((name) => name.includes('schedule="s"')),
      [],
    );
    t.ok(names.some((name) => name.includes('schedule="other",fault="f"')));
  });

  t.test('shows ages and totals as they are, and neither when the stream is silent', async (t) => {
    const metrics = createMetrics();
    const { workload } = metrics;
    workload.sample(sample());
    workload.sample(sample({ atMs: 10_250, intended: 1500, acked: 1400, visibleMs: null }));
    workload.sample(sample({ atMs: 10_500, intended: 100, acked: 100 }));
    for (const conflicting of [5, 0, 1]) {
      const correctness = { ...noFindings, conflicting };
      workload.sample(sample({ atMs: 10_500, intended: 100, acked: 100, correctness }));
    }
    const altered = { ...noFindings, conflicting: 1, altered: 2 };
    workload.sample(sample({ atMs: 10_500, intended: 100, acked: 100, correctness: altered }));
    workload.clockBound('node2', 0.004);
    let seen = await scrape(metrics);
    t.equal(
      seen.get('sparkfailures_found_windows{result="conflicting"}'),
      1,
      'the job replayed the five before it',
    );
    t.equal(seen.get('sparkfailures_found_records{state="altered"}'), 2);
    t.equal(seen.get('sparkfailures_frontier_age_seconds{side="acked"}'), 0.6);
    t.equal(seen.get('sparkfailures_frontier_age_seconds{side="visible"}'), 3);
    t.equal(seen.get('sparkfailures_generator_behind_seconds'), 0.04);
    t.equal(
      seen.get('sparkfailures_records_total{state="intended"}'),
      600,
      '500 more, then 100 after a restart',
    );
    t.equal(seen.get('sparkfailures_clock_error_bound_seconds{node="node2"}'), 0.004);
    workload.silent();
    seen = await scrape(metrics);
    t.same(
      [...seen.keys()].filter((name) => /frontier_age|generator_behind|found_/.test(name)),
      [],
    );
    workload.sample(sample({ visibleMs: null }));
    seen = await scrape(metrics);
    t.equal(seen.get('sparkfailures_frontier_age_seconds{side="visible"}'), undefined);
    t.equal(seen.get('sparkfailures_frontier_age_seconds{side="committed"}'), 2);
  });

  t.test('shows clusters as they are, and forgets the services and clusters that are gone', async (t) => {
    const metrics = createMetrics();
    const { clusters } = metrics;
    const nodes = { desired: 6, ready: 5, managers: 1, unreachable: ['node5'] };
    const tasks = (service: string, running: number) => ({ service, desired: 1, running });
    clusters.clusterReady('c', false);
    clusters.clusterSeen('c', nodes, [tasks('app_web', 1), tasks('app_db', 0)]);
    clusters.clusterReady('other', true);
    let seen = await scrape(metrics);
    t.equal(seen.get('sparkfailures_cluster_ready{cluster="c"}'), 0);
    for (const [state, count] of Object.entries({ desired: 6, ready: 5, managers: 1, unreachable: 1 })) {
      t.equal(seen.get(`sparkfailures_cluster_nodes{cluster="c",state="${state}"}`), count, state);
    }
    t.equal(seen.get('sparkfailures_service_tasks{cluster="c",service="app_db",state="desired"}'), 1);
    t.equal(seen.get('sparkfailures_service_tasks{cluster="c",service="app_db",state="running"}'), 0);
    t.equal(seen.get('sparkfailures_forced_updates_total{cluster="c",result="healed"}'), 0);
    clusters.namesUnheard('c', [{ node: 'node3', names: 2 }]);
    clusters.clusterSeen('c', nodes, [tasks('app_web', 1)]);
    seen = await scrape(metrics);
    t.equal(seen.get('sparkfailures_unresolved_names{cluster="c",node="node3"}'), 2);
    t.same(
      [...seen.keys()].filter((name) => name.includes('app_db')),
      [],
    );
    t.equal(seen.get('sparkfailures_service_tasks{cluster="c",service="app_web",state="running"}'), 1);
    clusters.clusterGone('c');
    seen = await scrape(metrics);
    t.same(
      [...seen.keys()].filter((name) => name.includes('cluster="c"')),
      [],
    );
    t.equal(seen.get('sparkfailures_cluster_ready{cluster="other"}'), 1);
  });

  t.test('shows the threshold of a schedule as long as there is the schedule', async (t) => {
    const metrics = createMetrics();
    metrics.trials.scheduleFaults('s', ['f']);
    metrics.trials.threshold('s', 4.25);
    t.equal((await scrape(metrics)).get('sparkfailures_theta_seconds{schedule="s"}'), 4.25);
    metrics.trials.scheduleFaults('s', []);
    t.equal((await scrape(metrics)).get('sparkfailures_theta_seconds{schedule="s"}'), undefined);
  });
});

/** A loop whose only pass does not leave when it is aborted. */
function stuckLoop() {
  const clock = new FakeClock();
  const end = new AbortController();
  let leave = () => {};
  const loop = new ControlLoop({
    reconciler: {
      kind: 'Thing',
      reconcile: () => new Promise<object>((resolve) => (leave = () => resolve({}))),
    },
    resources: { get: (key) => ({ key, generation: 1, deleting: false }), finalized() {} },
    log: { warn() {}, error() {}, debug() {}, within: (_, work) => work() },
    ...{ clock, passLimitMs: 60_000 },
  });
  const running = loop.run(end.signal);
  return {
    clock,
    trouble: () => loop.trouble(),
    begin: () => loop.add('Thing/a'),
    async end() {
      leave();
      end.abort(new Error('test over'));
      await running;
    },
  };
}

t.test('health checks', async (t) => {
  t.test('a check that cannot look has failed', async (t) => {
    const broken = { name: 'broken', look: () => Promise.reject(new Error('no')) };
    const thrown = {
      name: 'thrown',
      look() {
        throw new Error('neither');
      },
    };
    t.same(await reportHealth('healthz', [broken, thrown], false), {
      ok: false,
      text: '[-]broken failed: no\n[-]thrown failed: neither\nhealthz check failed',
    });
  });

  t.test('an event loop that keeps lagging is told, as long as it does', async (t) => {
    const clock = new FakeClock();
    const turns = { count: 0, mean: NaN, reset: () => void Object.assign(turns, { count: 0, mean: NaN }) };
    const { look } = eventLoopCheck(1_000, clock, turns);
    const lasted = (ms: number) => Object.assign(turns, { count: 9, mean: ms * 1e6 });
    t.equal(look(), undefined, 'nothing is known yet');
    lasted(1_100);
    t.equal(look(), undefined);
    lasted(1_300);
    t.equal(look(), 'lags by 1200 ms');
    await clock.advance(10_000);
    t.equal(look(), 'lags by 1200 ms');
    t.equal(turns.count, 0);
    lasted(101);
    await clock.advance(9_999);
    t.equal(look(), 'lags by 1200 ms', 'in the window before');
    await clock.advance(1);
    look();
    t.equal(look(), undefined, 'it keeps its times again');
  });

  t.test('turns that take long are seen', async (t) => {
    const { look } = eventLoopCheck(50);
    await systemClock.sleep(250, new AbortController().signal);
    for (let turn = 0; turn < 3; turn++) {
      block(300);
      await systemClock.sleep(1, new AbortController().signal);
    }
    t.match(look(), /^lags by \d+ ms$/);
  });

  t.test('a state directory in which no file can be made is told, and asked for sparingly', async (t) => {
    const clock = new FakeClock();
    const folder = t.testdir({ state: {} });
    const { look } = stateCheck(join(folder, 'state'), clock);
    t.equal(await look(), undefined);
    t.same(await readdir(join(folder, 'state')), [], 'nothing is left there');
    await rmdir(join(folder, 'state'));
    t.equal(await look(), undefined, 'asked a moment ago');
    await clock.advance(2_000);
    t.match(await look(), /ENOENT/);
    await mkdir(join(folder, 'state'));
    await clock.advance(2_000);
    t.equal(await look(), undefined);
  });
});

/** A turn of the event loop that takes so long. */
function block(ms: number): void {
  for (const endMs = performance.now() + ms; performance.now() < endMs; );
}

t.test('http server', async (t) => {
  const failures: unknown[] = [];
  let missing: string | undefined = 'not read yet';
  let unwritable: string | undefined;
  const stuck = stuckLoop();
  const server = await startHttpServer({
    host: '127.0.0.1',
    port: 0,
    metrics: async () => ({ contentType: 'text/plain; version=0.0.4', text: 'up 1\n' }),
    healthz: [
      { name: 'clusters', look: () => stuck.trouble() },
      { name: 'event-loop', look: () => undefined },
    ],
    readyz: [
      { name: 'manifests', look: () => missing },
      { name: 'state', look: async () => unwritable },
    ],
    routes: new Map<string, JsonRoute>([
      ['/trials', async (url) => ({ schedule: url.searchParams.get('schedule') })],
      ['/nothing', async () => undefined],
      ['/false', async () => false],
      ['/broken', () => Promise.reject(new Error('no'))],
    ]),
    roles: () => ['leads lab'],
    failed: (error, path) => failures.push([(error as Error).message, path]),
  });
  t.teardown(() => server.close());
  const get = async (path: string, init?: RequestInit) => {
    const response = await fetch(`http://127.0.0.1:${server.port}${path}`, init);
    return [response.status, await response.text(), response.headers.get('content-type')];
  };

  t.test('says that it lives, whether it is ready, and what it counted', async (t) => {
    t.match(await get('/healthz'), [200, 'ok\n']);
    t.same((await get('/readyz'))[0], 503);
    t.equal(
      (await get('/readyz'))[1],
      '[-]manifests failed: not read yet\n[+]state ok\nreadyz check failed\n',
    );
    missing = undefined;
    t.match(await get('/readyz'), [200, 'ok\nleads lab\n']);
    t.match(await get('/readyz?verbose'), [
      200,
      '[+]manifests ok\n[+]state ok\nreadyz check passed\nleads lab\n',
    ]);
    unwritable = 'EROFS: read-only file system';
    t.match(await get('/readyz?verbose'), [503, /\[-]state failed: EROFS: read-only file system\n/]);
    unwritable = undefined;
    t.same(await get('/metrics'), [200, 'up 1\n', 'text/plain; version=0.0.4']);
    t.match(await get('/healthz', { method: 'HEAD' }), [200, '']);
  });

  t.test('is not healthy while a worker is stuck past its limit', async (t) => {
    stuck.begin();
    await stuck.clock.advance(60_000 + 59_999);
    t.match(await get('/healthz'), [200, 'ok\n'], 'it was aborted, and may still leave');
    await stuck.clock.advance(1);
    t.match(await get('/healthz'), [
      503,
      '[-]clusters failed: stuck: Thing/a\n[+]event-loop ok\nhealthz check failed\n',
    ]);
    await stuck.end();
    t.match(await get('/healthz'), [200, 'ok\n']);
  });

  t.test('answers its routes in JSON, and the rest by the rules', async (t) => {
    t.same(await get('/trials?schedule=a'), [200, '{"schedule":"a"}\n', 'application/json']);
    t.match(await get('/false'), [200, 'false\n']);
    for (const path of ['/nothing', '/other', '/toString', '/metrics/']) t.match(await get(path), [404]);
    t.match(await get('/healthz', { method: 'POST' }), [405]);
    t.match(await get('/broken'), [500, 'failed; see the log\n']);
    t.same(failures, [['no', '/broken']]);
  });

  t.test('says that its port is taken', async (t) => {
    const { port } = server;
    const options = { host: '127.0.0.1', port, metrics: async () => ({ contentType: '', text: '' }) };
    await t.rejects(startHttpServer({ ...options, healthz: [], readyz: [], failed: () => {} }), {
      code: 'EADDRINUSE',
    });
  });

  t.test('closes although a client keeps its connection', async (t) => {
    const socket = connect(server.port, '127.0.0.1');
    await new Promise((resolve) => socket.once('connect', resolve));
    const ended = new Promise((resolve) => socket.once('close', resolve));
    socket.on('error', () => {});
    socket.resume();
    await server.close();
    await ended;
    await t.rejects(get('/healthz'));
  });
});

/** A log, and what it wrote. */
function logInto(options: Partial<LogOptions> = {}) {
  const lines: string[] = [];
  const destination = { write: (text: string) => lines.push(text) };
  return { log: createLog({ level: 'info', format: 'json', destination, ...options }), lines };
}

t.test('log', async (t) => {
  t.test('writes fields, never secrets', async (t) => {
    const { log, lines } = logInto();
    log.info(
      { node: 'node4', token: 'SWMTKN', options: { password: 'p', deep: { privateKey: 'k' } } },
      'node joined',
    );
    t.match(JSON.parse(lines[0]!), {
      msg: 'node joined',
      node: 'node4',
      token: '[redacted]',
      options: { password: '[redacted]', deep: { privateKey: '[redacted]' } },
    });
    t.notMatch(lines[0], /SWMTKN/);
  });

  t.test('adds fields to everything below a call, across promises', async (t) => {
    const { log, lines } = logInto();
    const child = log.child({ part: 'swarm' });
    await log.within({ key: 'ClusterSpec/a' }, async () => {
      await systemClock.sleep(1, new AbortController().signal);
      log.within({ reconcileId: 'r1' }, () => child.info('service created'));
    });
    log.info('outside');
    t.match(JSON.parse(lines[0]!), { key: 'ClusterSpec/a', reconcileId: 'r1', part: 'swarm' });
    t.notOk('key' in JSON.parse(lines[1]!));
  });

  t.test('tells errors by code, message and cause, and keeps the stack of what has no code', async (t) => {
    const { log, lines } = logInto();
    const cause = Object.assign(new Error('connection reset'), {
      code: 'ECONNRESET',
      response: { huge: 'x'.repeat(9999) },
    });
    log.warn(
      { err: Object.assign(new Error('node4: lost', { cause }), { code: 'EXEC_FAILED' }) },
      'reconcile failed',
    );
    t.same(JSON.parse(lines[0]!).err, {
      code: 'EXEC_FAILED',
      message: 'node4: lost',
      cause: { code: 'ECONNRESET', message: 'connection reset' },
    });
    log.warn({ err: new TypeError('x is undefined') }, 'reconcile failed');
    t.match(JSON.parse(lines[1]!).err, { message: 'x is undefined', stack: /controller\.test/ });
    log.warn({ err: 'just text' }, 'reconcile failed');
    t.same(JSON.parse(lines[2]!).err, { message: 'just text' });
  });

  t.test('is one readable line on a terminal', async (t) => {
    const { log, lines } = logInto({ format: 'pretty' });
    const err = Object.assign(new Error('node4: timed out'), { code: 'EXEC_FAILED' });
    log.within({ key: 'ClusterSpec/a' }, () =>
      log.warn({ node: 'node4', labels: { a: 'b c' }, err }, 'node unreachable'),
    );
    t.equal(
      lines[0]?.slice('00:00:00.000 '.length),
      'WARN  node unreachable  key=ClusterSpec/a  node=node4  labels={"a":"b c"}  err="EXEC_FAILED node4: timed out"\n',
    );
    t.match(lines[0], /^\d\d:\d\d:\d\d\.\d\d\d WARN {2}/);
    log.debug('not at this level');
    t.equal(lines.length, 1);
  });
});

t.test('the steady clock tells the time that passes, whoever sets the time of day', async (t) => {
  const { now } = Date;
  t.teardown(() => {
    Date.now = now;
  });
  t.ok(Math.abs(steadyClock.now() - Date.now()) < 60_000);
  const before = steadyClock.now();
  Date.now = () => now() - 3_600_000;
  t.ok(systemClock.now() < before - 3_000_000);
  t.ok(steadyClock.now() >= before);
});

t.test('the real clock sleeps, and wakes with the reason of an abort', async (t) => {
  const before = systemClock.now();
  await systemClock.sleep(5, new AbortController().signal);
  t.ok(systemClock.now() >= before + 4);
  const abort = new AbortController();
  const asleep = systemClock.sleep(2 ** 40, abort.signal);
  abort.abort(new Error('enough'));
  await t.rejects(asleep, { message: 'enough' });
  await t.rejects(systemClock.sleep(1, abort.signal), { message: 'enough' });
});
