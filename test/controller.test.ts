import { connect } from 'node:net';
import t from 'tap';
import { systemClock } from '../controller/clock.ts';
import { type JsonRoute, startHttpServer } from '../controller/http-server.ts';
import { createLog, type LogOptions } from '../controller/log.ts';
import { createMetrics } from '../controller/metrics.ts';
import { noFindings, type Sample } from '../state-machines/recovery/sample.ts';
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

t.test('metrics', async (t) => {
  t.test('counters with known labels exist at zero before anything happens', async (t) => {
    const metrics = createMetrics();
    metrics.loop('ClusterSpec', 2);
    metrics.trials.scheduleFaults('worker-crash', ['crash']);
    const seen = await scrape(metrics);
    for (const result of ['success', 'error', 'requeue', 'requeue_after']) {
      t.equal(seen.get(`controller_runtime_reconcile_total{controller="ClusterSpec",result="${result}"}`), 0);
    }
    for (const name of ['depth', 'adds_total', 'retries_total', 'queue_duration_seconds_count']) {
      t.equal(seen.get(`workqueue_${name}{name="ClusterSpec"}`), 0, name);
    }
    t.equal(seen.get('workqueue_work_duration_seconds_count{name="ClusterSpec"}'), 0);
    t.equal(seen.get('controller_runtime_reconcile_time_seconds_count{controller="ClusterSpec"}'), 0);
    t.equal(seen.get('controller_runtime_active_workers{controller="ClusterSpec"}'), 0);
    t.equal(seen.get('controller_runtime_max_concurrent_reconciles{controller="ClusterSpec"}'), 2);
    const labels = 'schedule="worker-crash",fault="crash"';
    for (const name of ['recovery_time', 'detection_time', 'stall', 'catch_up', 'redundancy_restored']) {
      t.equal(seen.get(`sparkfailures_${name}_seconds_count{${labels}}`), 0, name);
    }
    t.equal(seen.get(`sparkfailures_trials_total{${labels},verdict="Recovered"}`), 0);
    t.equal(seen.get('sparkfailures_fault_runs_total{fault="crash",outcome="Stuck"}'), 0);
    t.equal(seen.get('sparkfailures_orphaned_faults'), 0);
    t.equal(seen.get('sparkfailures_records_total{state="acked"}'), 0);
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
    for (const outcome of ['success', 'error', 'terminal_error', 'superseded'] as const) {
      reconcile.started();
      reconcile.finished(outcome, 0.2);
    }
    reconcile.started();
    queue.added();
    queue.depth(3);
    queue.queued(0.01);
    queue.worked(0.2);
    const seen = await scrape(metrics);
    const total = (result: string) =>
      seen.get(`controller_runtime_reconcile_total{controller="ClusterSpec",result="${result}"}`);
    t.same([total('success'), total('error'), total('requeue')], [1, 2, 1]);
    t.equal(seen.get('controller_runtime_reconcile_errors_total{controller="ClusterSpec"}'), 2);
    t.equal(seen.get('controller_runtime_terminal_reconcile_errors_total{controller="ClusterSpec"}'), 1);
    t.equal(seen.get('controller_runtime_active_workers{controller="ClusterSpec"}'), 1);
    t.equal(seen.get('controller_runtime_reconcile_time_seconds_count{controller="ClusterSpec"}'), 4);
    t.equal(seen.get('workqueue_depth{name="ClusterSpec"}'), 3);
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

t.test('http server', async (t) => {
  const failures: unknown[] = [];
  let missing: string | undefined = 'the first listing of manifests';
  const server = await startHttpServer({
    host: '127.0.0.1',
    port: 0,
    metrics: async () => ({ contentType: 'text/plain; version=0.0.4', text: 'up 1\n' }),
    notReady: () => missing,
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
    t.match(await get('/readyz'), [503, 'the first listing of manifests\n']);
    missing = undefined;
    t.match(await get('/readyz'), [200, 'ok\nleads lab\n']);
    t.same(await get('/metrics'), [200, 'up 1\n', 'text/plain; version=0.0.4']);
    t.match(await get('/healthz', { method: 'HEAD' }), [200, '']);
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
    await t.rejects(startHttpServer({ ...options, notReady: () => undefined, failed: () => {} }), {
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
