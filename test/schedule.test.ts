import fc from 'fast-check';
import t from 'tap';
import { resourceKinds } from '../controller/resource-kinds.ts';
import { ActiveRuns } from '../controller/schedule/active-runs.ts';
import { hasTrialsLeft, recordInterrupted } from '../controller/schedule/close-books.ts';
import { clusterAccess } from '../controller/schedule/cluster-access.ts';
import { phaseOf } from '../controller/schedule/plan-campaign.ts';
import type { ScheduledRun } from '../controller/schedule/run-schedule.ts';
import { ended, notHealed, withConditions } from '../controller/schedule/schedule-conditions.ts';
import { RUN_AT_ANNOTATION, ScheduleReconciler } from '../controller/schedule/schedule-reconciler.ts';
import type { StoredResource } from '../controller/source/resource-store.ts';
import { findCondition } from '../controller/status/conditions.ts';
import { StateError } from '../controller/status/state-error.ts';
import type { FaultSchedule } from '../crds/fault-schedule.ts';
import type { ScheduleStatus } from '../crds/status.ts';
import type { Outcome, RunRecord } from '../state-machines/contract.ts';
import { exampleRun } from './support/example-run.ts';
import { FakeClock, settle } from './support/fake-clock.ts';
import {
  completeOf,
  crash,
  type JobMood,
  MemoryStatuses,
  makeSchedule,
  ScheduleLab,
  silence,
  steadyJob,
  workers,
} from './support/schedule-lab.ts';

const never = new AbortController().signal;
const { name } = makeSchedule().metadata;
const key = `FaultSchedule/${name}`;

t.test('active runs start once, hand their key back when settled, and stop only when healed', async (t) => {
  const settled: string[] = [];
  const errors: unknown[] = [];
  const runs = new ActiveRuns((key, error) => {
    settled.push(key);
    if (error) errors.push(error);
  });
  let healed = false;
  let starts = 0;
  const run = (signal: AbortSignal) => {
    starts++;
    return new Promise<void>((resolve) =>
      signal.addEventListener('abort', () =>
        setTimeout(() => {
          healed = true;
          resolve();
        }, 5),
      ),
    );
  };
  runs.start('a', 1, run);
  runs.start('a', 2, run);
  t.equal(starts, 1);
  t.equal(runs.generationOf('a'), 1);
  await runs.stop('the process ends');
  t.ok(healed);
  t.same(settled, ['a']);
  t.equal(runs.generationOf('a'), undefined);
  runs.start('b', 1, () => Promise.reject(new Error('a bug')));
  await runs.stop('again');
  t.same(settled, ['a', 'b'], 'a rejection settles too');
  t.match(errors, [/a bug/], 'and is told');
});

function stored(change: Partial<StoredResource> = {}): StoredResource {
  const identity = { key, kind: 'FaultSchedule', name, uid: 'uid-1', generation: 1 };
  const specHash = `hash-${change.generation ?? 1}`;
  return {
    ...identity,
    specHash,
    deleting: false,
    resource: makeSchedule(),
    file: 'a.yaml',
    problems: [],
    ...change,
  };
}

/** The reconciler over runs that go on until a test ends them. */
class Schedules {
  readonly clock = new FakeClock();
  readonly statuses = new MemoryStatuses();
  readonly started: ScheduledRun[] = [];
  /** Names of the schedules whose status was on the disk when their run began. */
  readonly announced: boolean[] = [];
  readonly settled: string[] = [];
  readonly faults: (readonly string[])[] = [];
  readonly thresholds: (readonly [schedule: string, seconds: number])[] = [];
  journal: RunRecord[] = [];
  isReady = true;
  isKnown = true;
  /** Who acts on the cluster instead. */
  elsewhere: string | undefined;
  /** Runs that any operator has begun. */
  readonly begun = new Map<string, string>();
  finish: (outcome: Outcome) => void = () => {};
  fail: (error: Error) => void = () => {};
  runs!: ActiveRuns;
  reconciler!: ScheduleReconciler;

  constructor() {
    this.restart();
  }

  /** The process dies and comes back: only statuses and journal remain. */
  restart(): void {
    this.runs = new ActiveRuns((settledKey) => this.settled.push(settledKey));
    this.reconciler = new ScheduleReconciler({
      ...{ status: this.statuses, runs: this.runs, clock: this.clock, drawSeed: () => 7 },
      metrics: {
        scheduleFaults: (_schedule, faults) => this.faults.push(faults),
        threshold: (...theta) => this.thresholds.push(theta),
      },
      acting: {
        hindrance: () => this.elsewhere,
        beginRun: async (_cluster, schedule, run) => {
          const isNew = this.begun.get(schedule) !== run;
          this.begun.set(schedule, run);
          return isNew;
        },
        forgetRun: async (_cluster, schedule) => void this.begun.delete(schedule),
      },
      isClusterReady: async () => this.isReady,
      isClusterKnown: () => this.isKnown,
      runsOf: async () => this.journal,
      runSchedule: (run, signal) => this.#run(run, signal),
    });
  }

  pass(resource: StoredResource = stored(), signal: AbortSignal = never) {
    return this.reconciler.reconcile(resource, signal);
  }

  /** As a run that heals and closes its books, when it is ended or aborted. */
  async #run(run: ScheduledRun, signal: AbortSignal): Promise<void> {
    this.started.push(run);
    this.announced.push(this.statuses.all.get(run.name)?.runKey !== undefined);
    const outcome = await new Promise<Outcome>((resolve, reject) => {
      this.finish = resolve;
      this.fail = reject;
      signal.addEventListener('abort', () => resolve('Aborted'), { once: true });
    });
    const record = exampleRun('run-1', { schedule: name });
    const trial = { ...toTrial(record), outcome };
    const statements = [
      ...ended(outcome === 'Aborted' ? 'Aborted' : 'Finished', 'over'),
      ...(outcome === 'Stuck' ? [notHealed(trial.targets)] : []),
    ];
    const status = { ...run.status, trials: [trial] };
    await this.statuses.write(run.name, withConditions(status, run.generation, statements, this.clock.now()));
  }

  condition(type: 'Accepted' | 'Active' | 'Complete' | 'Stalled') {
    return findCondition(this.statuses.all.get(name)?.conditions ?? [], type);
  }
}

function toTrial({ runId, fault, kind, steps }: RunRecord): ScheduleStatus['trials'][number] {
  const identity = { number: 1, fault, kind, runId, seed: 42, startedAt: '2026-01-01T00:00:00.000Z' };
  const targets = steps.map(({ target }) => target);
  return { ...identity, targets, outcome: 'Healed', instants: {}, figures: {} };
}

t.test('a schedule', async (t) => {
  t.test(
    'runs once per uid, generation and value of its annotation, and not again after a restart',
    async (t) => {
      const world = new Schedules();
      const again = async (resource: StoredResource) => {
        const before = world.started.length;
        await world.pass(resource);
        world.finish('Healed');
        await settle();
        return world.started.length - before;
      };
      const annotated = (value: string) =>
        stored({ resource: makeSchedule({}, { [RUN_AT_ANNOTATION]: value }) });
      t.equal(await again(stored()), 1);
      t.equal(await again(stored()), 0, 'another pass');
      world.restart();
      t.equal(await again(stored()), 0, 'a restart');
      t.equal(await again(annotated('1')), 1, 'an annotation');
      t.equal(await again(annotated('1')), 0);
      t.equal(await again(annotated('2')), 1, 'another value');
      t.equal(await again(stored()), 0, 'an annotation taken away is no new value');
      t.equal(await again(stored({ generation: 2 })), 1, 'an edit');
      await world.pass(stored({ deleting: true }));
      t.equal(await again(stored({ uid: 'uid-2' })), 1, 'another schedule of that name');
    },
  );

  t.test('of a cluster that another operator acts on waits until it may, and says for whom', async (t) => {
    const world = new Schedules();
    world.elsewhere = 'other, which leads';
    t.match(await world.pass(), { requeueAfterMs: 500 });
    t.match(world.condition('Active'), {
      reason: 'WaitingForLease',
      message: 'its cluster is left to other, which leads',
    });
    t.equal(world.started.length, 0);
    world.elsewhere = undefined;
    await world.pass();
    t.equal(world.started.length, 1);
  });

  t.test('that another operator has begun is not begun again by who leads next', async (t) => {
    const world = new Schedules();
    world.begun.set(name, 'hash-1/');
    await world.pass();
    t.equal(world.started.length, 0);
    t.match(world.condition('Complete'), { status: 'True', reason: 'RunElsewhere', message: /run-at/ });
    await world.pass();
    t.equal(world.started.length, 0);
    await world.pass(stored({ resource: makeSchedule({}, { [RUN_AT_ANNOTATION]: 'again' }) }));
    t.equal(world.started.length, 1, 'another value of the annotation asks for it');
  });

  t.test('is on the disk as running, with its seed, before anything is hurt', async (t) => {
    const world = new Schedules();
    const { seed: _seed, ...spec } = makeSchedule().spec;
    await world.pass(stored({ resource: { ...makeSchedule(), spec } }));
    t.same(world.announced, [true]);
    t.equal(world.started[0]?.seed, 7, 'drawn');
    t.match(world.statuses.all.get(name), { seed: 7, runKey: 'uid-1/1/', observedGeneration: 1, trials: [] });
    t.match(world.condition('Active'), { status: 'True', reason: 'Running' });
    t.equal(world.condition('Complete'), undefined);
  });

  t.test('that cannot be announced is not started, says so, and is once there is space', async (t) => {
    const world = new Schedules();
    world.statuses.failure = new StateError('STATE_FULL', 'a.json', 'no space left');
    await t.rejects(world.pass(), { code: 'STATE_FULL' });
    t.equal(world.started.length, 0);
    t.match(world.condition('Stalled'), { reason: 'StateDirectoryFull', message: /no space left/ });
    await t.rejects(world.pass(), { code: 'STATE_FULL' }, 'tried again');
    world.statuses.failure = undefined;
    await world.pass();
    t.equal(world.started.length, 1);
    t.equal(world.condition('Stalled'), undefined);
  });

  t.test('never runs twice at once, whatever passes do', async (t) => {
    const world = new Schedules();
    await Promise.all([world.pass(), world.pass()]);
    await world.pass();
    t.equal(world.started.length, 1);
  });

  t.test('waits for its cluster, says so once, and has its metrics meanwhile', async (t) => {
    const world = new Schedules();
    world.isReady = false;
    t.same(await world.pass(), { requeueAfterMs: 500 });
    await world.pass();
    t.match(world.condition('Active'), { status: 'False', reason: 'WaitingForCluster' });
    t.match(world.condition('Accepted'), { status: 'True', observedGeneration: 1 });
    t.equal(world.statuses.writes, 1);
    t.same(world.faults.at(-1), ['crash']);
    world.isReady = true;
    await world.pass();
    t.equal(world.started.length, 1);
  });

  t.test('edited during its run is aborted and runs again once that has healed', async (t) => {
    const world = new Schedules();
    await world.pass();
    await world.pass(stored({ generation: 2 }));
    t.equal(world.started.length, 1);
    await settle();
    t.same(world.settled, [key], 'its key came back');
    t.match(world.condition('Complete'), { reason: 'Aborted', observedGeneration: 1 });
    await world.pass(stored({ generation: 2 }));
    t.equal(world.started.length, 2);
    t.same(world.statuses.all.get(name)?.trials, []);
  });

  t.test('removed during its run is aborted, healed, and forgotten only then', async (t) => {
    const world = new Schedules();
    await world.pass();
    const gone = stored({ deleting: true });
    t.same(await world.pass(gone), {});
    t.ok(world.statuses.all.has(name));
    await settle();
    t.same(world.settled, [key]);
    t.same(await world.pass(gone), { finalized: true });
    t.notOk(world.statuses.all.has(name));
    t.same(world.faults.at(-1), [], 'its metrics are gone, too');
  });

  t.test('removed with a fault in force stays in sight until that is healed', async (t) => {
    const world = new Schedules();
    await world.pass();
    world.finish('Stuck');
    await settle();
    world.journal = [exampleRun('run-1', { phase: 'stuck' })];
    const gone = stored({ deleting: true });
    t.same(await world.pass(gone), { requeueAfterMs: 1_000 });
    t.match(world.condition('Stalled'), { reason: 'FaultNotHealed', message: /node4/ });
    const { writes } = world.statuses;
    await world.pass(gone);
    t.equal(world.statuses.writes, writes, 'and says so once');
    world.isKnown = false;
    t.same(await world.pass(gone), { finalized: true }, 'its cluster took the fault with it');
    world.isKnown = true;
    world.journal = [exampleRun('run-1', { outcome: 'Aborted' })];
    t.same(await world.pass(gone), { finalized: true });
    t.notOk(world.statuses.all.has(name));
  });

  t.test('whose cluster is removed during its run is aborted, and says what it lacks', async (t) => {
    const world = new Schedules();
    await world.pass();
    const path = 'spec.clusterRef.name';
    const message = 'there is no ClusterSpec "six-nodes"';
    const lost = stored({ problems: [{ file: 'a.yaml', line: 5, column: 23, path, message }] });
    await world.pass(lost);
    await settle();
    t.same(world.settled, [key]);
    t.match(world.condition('Complete'), { reason: 'Aborted' });
    await world.pass(lost);
    t.match(world.condition('Accepted'), { status: 'False', message: /there is no ClusterSpec/ });
    t.equal(world.started.length, 1);
  });

  t.test('whose status nobody can read is not begun again, and the status stays', async (t) => {
    const world = new Schedules();
    await world.pass();
    world.finish('Healed');
    await settle();
    world.restart();
    const { writes } = world.statuses;
    world.statuses.isUnreadable = true;
    await t.rejects(world.pass(), {
      code: 'STATE_UNREADABLE',
      message: /expected a record; nothing is begun/,
    });
    t.equal(world.started.length, 1);
    t.equal(world.statuses.writes, writes);
    world.statuses.isUnreadable = false;
    await world.pass();
    t.equal(world.started.length, 1, 'it had run');
    world.statuses.isUnreadable = true;
    t.same(await world.pass(stored({ deleting: true })), { finalized: true }, 'removed, it goes with it');
  });

  t.test('removed or edited while a pass looks at it is not started', async (t) => {
    const world = new Schedules();
    await t.rejects(world.pass(stored(), AbortSignal.abort(new Error('a newer edit'))), /a newer edit/);
    t.equal(world.started.length, 0);
  });

  t.test('that is only remembered is not started before its file was read', async (t) => {
    const world = new Schedules();
    const { file: _file, ...remembered } = stored();
    await world.pass(remembered);
    t.equal(world.started.length, 0);
    await world.pass();
    t.equal(world.started.length, 1);
  });

  t.test('with problems is not accepted and not started; a run that goes on is left alone', async (t) => {
    const world = new Schedules();
    const problem = { file: 'a.yaml', line: 3, column: 5, path: 'spec.seed', message: 'expected a number' };
    const broken = stored({ problems: [problem] });
    const { resource: _resource, ...never } = broken;
    for (const resource of [broken, { ...never, generation: 0 }]) {
      t.same(await world.pass(resource), {});
      t.match(world.condition('Accepted'), { status: 'False', reason: 'InvalidManifest' });
      t.equal(world.condition('Accepted')?.message, 'a.yaml:3:5: spec.seed: expected a number');
    }
    t.equal(world.started.length, 0);
    await world.pass();
    t.match(world.condition('Accepted'), { status: 'True' });
    await world.pass(broken);
    await settle();
    t.equal(world.runs.generationOf(key), 1, 'the last good text stays in force');
    world.finish('Healed');
    await settle();
    await world.pass(broken);
    t.match(world.condition('Accepted'), { status: 'False' });
    t.match(world.condition('Complete'), { reason: 'Finished' });
  });
});

t.test('a run that a kill cut off', async (t) => {
  const cutOff = (world: Schedules, change: Partial<RunRecord>) =>
    exampleRun(`${name}-1-crash-1-abc`, { schedule: name, atMs: world.clock.now() + 5, ...change });

  t.test(
    'is closed as aborted at the next start, with what the journal knows, and not repeated',
    async (t) => {
      const world = new Schedules();
      await world.pass();
      const old = { runId: `${name}-1-crash-1-old`, atMs: world.clock.now() - 60_000 };
      world.journal = [cutOff(world, { ...old, outcome: 'Healed' }), cutOff(world, { outcome: 'Aborted' })];
      world.restart();
      await world.pass();
      t.match(world.condition('Complete'), { status: 'True', reason: 'Aborted' });
      t.match(world.condition('Active'), { status: 'False', reason: 'Idle' });
      const { trials = [] } = world.statuses.all.get(name) ?? {};
      t.match(trials, [
        {
          number: 1,
          runId: `${name}-1-crash-1-abc`,
          outcome: 'Aborted',
          targets: ['node4/streaming_spark-worker-1'],
        },
      ]);
      t.equal(trials.length, 1);
      await world.pass();
      t.equal(world.started.length, 1);
    },
  );

  t.test('has the threshold of its calibration in the metrics again', async (t) => {
    const world = new Schedules();
    await world.pass();
    const gaps = { leastMs: 500, commitGapMs: 1_250, progressGapMs: 1_250 };
    const calibration = { thetaMs: 4_250, p99Ms: 3_000, ...gaps, durationMs: 60_000 };
    world.statuses.all.set(name, { ...world.statuses.all.get(name)!, calibration });
    world.restart();
    await world.pass();
    t.same(world.thresholds.at(-1), [name, 4.25]);
  });

  t.test('is not closed, and nothing new begins, as long as its fault may be in force', async (t) => {
    const world = new Schedules();
    await world.pass();
    world.journal = [cutOff(world, { phase: 'holding' })];
    world.restart();
    for (const resource of [stored(), stored({ generation: 2 })]) {
      t.same(await world.pass(resource), { requeueAfterMs: 1_000 });
      t.match(world.condition('Active'), { status: 'True', reason: 'Healing' });
      t.match(world.condition('Stalled'), { status: 'True', reason: 'FaultNotHealed', message: /node4/ });
      t.equal(world.condition('Complete'), undefined);
    }
    world.journal = [cutOff(world, { outcome: 'Aborted' })];
    await world.pass();
    t.match(world.condition('Complete'), { reason: 'Aborted' });
    t.equal(world.condition('Stalled'), undefined);
    t.equal(world.started.length, 1);
  });

  t.test(
    'goes on with the trials that are left when it measures, and with all that they depend on',
    async (t) => {
      const world = new Schedules();
      const { seed: _seed, ...spec } = makeSchedule({ preset: 'quick', controls: 0 }).spec;
      const measured = stored({ resource: { ...makeSchedule(), spec } });
      await world.pass(measured);
      const calibration = {
        ...{ thetaMs: 3_000, p99Ms: 2_000, leastMs: 900, commitGapMs: 1_000, progressGapMs: 1_000 },
        durationMs: 60_000,
      };
      await world.statuses.write(name, { ...world.statuses.all.get(name)!, calibration });
      world.restart();
      world.isReady = false;
      world.journal = [cutOff(world, { outcome: 'Aborted' })];
      t.same(await world.pass(measured), { requeueAfterMs: 500 }, 'not before its cluster is Ready');
      t.match(world.condition('Active'), { status: 'False', reason: 'WaitingForCluster' });
      world.isReady = true;
      const { file: _file, ...remembered } = measured;
      await world.pass(remembered);
      t.equal(world.started.length, 1, 'not before its file was read');
      await world.pass(measured);
      t.equal(world.started.length, 2);
      t.match(world.started[1], { seed: 7, status: { runKey: 'uid-1/1/', calibration } });
      t.match(world.started[1]?.status.trials, [
        { number: 1, outcome: 'Aborted', verdict: { recovery: 'Invalid' }, message: 'the trial was cut off' },
      ]);
      t.equal(world.started[1]?.status.trials.length, 1);
      t.match(world.condition('Active'), { status: 'True', reason: 'Running' });
      world.restart();
      const again = { runId: `${name}-1-crash-2-def`, atMs: world.clock.now() + 9 };
      world.journal = [...world.journal, cutOff(world, { ...again, outcome: 'Aborted' })];
      await world.pass(measured);
      t.match(
        world.started[2]?.status.trials.map(({ number }) => number),
        [1, 2],
        'as often as it is killed',
      );
    },
  );

  t.test('begins anew, and is calibrated anew, when it was edited meanwhile', async (t) => {
    const world = new Schedules();
    const resource = makeSchedule({ preset: 'quick' });
    await world.pass(stored({ resource }));
    const calibration = {
      ...{ thetaMs: 3_000, p99Ms: 2_000, leastMs: 900, commitGapMs: 1_000, progressGapMs: 1_000 },
      durationMs: 60_000,
    };
    await world.statuses.write(name, { ...world.statuses.all.get(name)!, calibration });
    world.restart();
    world.journal = [cutOff(world, { outcome: 'Aborted' })];
    await world.pass(stored({ resource, generation: 2 }));
    t.match(world.started[1], { generation: 2, status: { trials: [] } });
    t.equal(world.started[1]?.status.calibration, undefined);
  });

  t.test('does not go on when no trial is left, or when it was not the process that ended', async (t) => {
    for (const isKilled of [true, false]) {
      const world = new Schedules();
      const preset = isKilled ? 'smoke' : 'quick';
      const measured = stored({ resource: makeSchedule({ preset }) });
      await world.pass(measured);
      world.journal = [cutOff(world, { outcome: 'Aborted' })];
      if (isKilled) world.restart();
      else world.fail(new Error('a bug'));
      await settle();
      await world.pass(measured);
      t.equal(world.started.length, 1, preset);
      t.match(world.condition('Complete'), { reason: 'Aborted' });
      t.match(world.statuses.all.get(name)?.trials, [{ number: 1, verdict: { recovery: 'Invalid' } }]);
    }
  });

  t.test('got stuck keeps its schedule stalled until it is healed after all', async (t) => {
    const world = new Schedules();
    await world.pass();
    world.finish('Stuck');
    await settle();
    world.journal = [exampleRun('run-1', { phase: 'stuck' })];
    t.same(await world.pass(), { requeueAfterMs: 1_000 });
    const { writes } = world.statuses;
    await world.pass();
    t.equal(world.statuses.writes, writes, 'and says so once');
    t.match(world.condition('Stalled'), { reason: 'FaultNotHealed' });
    world.journal = [exampleRun('run-1', { outcome: 'Aborted' })];
    t.same(await world.pass(), {});
    t.equal(world.condition('Stalled'), undefined);
    t.equal(world.statuses.all.get(name)?.trials[0]?.outcome, 'Aborted');
  });
});

t.test('the run of a schedule', async (t) => {
  t.test('leaves a trial with its targets, seed and settings, and nothing else behind', async (t) => {
    const lab = await new ScheduleLab().prepare();
    const { trials, conditions, events } = await lab.run(makeSchedule({ faults: [crash, silence] }));
    t.match(
      events?.map(({ type, reason, message }) => [type, reason, message]),
      [
        ['Normal', 'TrialHealed', `trial 1: crash on ${trials[0]?.targets.join(', ')}`],
        ['Normal', 'TrialHealed', 'trial 2: silence on node4'],
        ['Normal', 'Finished', /2 trials/],
      ],
    );
    t.match(
      trials.map(({ number, fault, outcome, seed }) => [number, fault, outcome, seed]),
      [
        [1, 'crash', 'Healed', 42],
        [2, 'silence', 'Healed', 43],
      ],
    );
    t.match(trials[0]?.targets, [/^node[456]\/streaming_spark-worker-[123]$/]);
    t.same(trials[1]?.targets, ['node4']);
    t.match(trials[1]?.instants, {
      cmd: { source: 'controller' },
      eff: { source: 'check' },
      end: { source: 'check', resolutionMs: 10 },
    });
    t.same(trials[0]?.settings, { 'streaming.PROFILE': 'defaults' });
    t.equal(trials[0]?.verdict, undefined, 'preset none measures nothing');
    t.match(findCondition(conditions, 'Complete'), {
      status: 'True',
      reason: 'Finished',
      observedGeneration: 1,
    });
    t.match(findCondition(conditions, 'Active'), { status: 'False', reason: 'Idle' });
    t.same(lab.metrics.ended, ['Healed', 'Healed']);
    t.same(new Set(lab.metrics.active), new Set(trials.flatMap(({ targets }) => targets)));
    t.equal(lab.claims.heldBy('node4'), undefined);
    t.same(lab.samples, []);
    t.ok(lab.isHealthy);
    t.equal(lab.clock.sleeping, 0);
  });

  t.test('says when a measurement has its checkpoint out of reach of the network', async (t) => {
    const said = async (preset: string, checkpoint: 'path' | 'hdfs') => {
      const lab = await new ScheduleLab().prepare();
      lab.checkpoint = checkpoint;
      await lab.run(makeSchedule({ preset, ...(preset === 'none' ? {} : { trials: 1 }) }));
      return lab.said.filter((line) => line.startsWith('checkpoint: path (not isolated)'));
    };
    t.equal((await said('quick', 'path')).length, 1);
    t.same(await said('quick', 'hdfs'), []);
    t.same(await said('smoke', 'path'), [], 'as a demo is');
    t.same(await said('none', 'path'), [], 'nothing is measured');
  });

  t.test('records the checkpoint of its cluster among the settings', async (t) => {
    const nodes = [{ name: 'node1', role: 'manager' }];
    const stacks = [{ name: 's', compose: 's.yaml', env: { RATE: '1' } }];
    const settings = (checkpoint: object) => {
      const cluster = resourceKinds.ClusterSpec.parse({
        ...{ apiVersion: 'spark-failures.io/v1alpha1', kind: 'ClusterSpec', metadata: { name: 'c' } },
        spec: { provisioner: { lab: {} }, nodes, stacks, ...checkpoint },
      });
      const unused = () => Promise.reject(new Error('not asked'));
      const { claims, clock, interventions } = new ScheduleLab();
      const access = clusterAccess({
        ...{ cluster, nodes: unused, claims, clock, swarm: unused, interventions },
        ...{ shortcomings: async () => [], switches: {}, machineOf: () => undefined, namesSettled: unused },
      });
      return [access.checkpoint, access.settings];
    };
    const env = { 's.RATE': '1' };
    t.same(settings({ checkpoint: { path: {} } }), ['path', { checkpoint: 'path (not isolated)', ...env }]);
    t.same(settings({ checkpoint: { hdfs: {} } }), ['hdfs', { checkpoint: 'hdfs', ...env }]);
    t.same(settings({}), [undefined, env], 'one of its own is an environment');
  });

  t.test('of faults that are together is one trial, which begins at one moment', async (t) => {
    const lab = await new ScheduleLab().prepare();
    const pause = { name: 'pause', target: workers, hold: '20s', pauseContainer: {} };
    const faults = [crash, { ...silence, hold: '10s' }, pause];
    const { trials } = await lab.run(makeSchedule({ faults, together: ['silence', 'pause'] }));
    t.match(
      trials.map(({ fault, kind, outcome }) => [fault, kind, outcome]),
      [
        ['crash', 'killContainer', 'Healed'],
        ['silence+pause', 'isolateNode+pauseContainer', 'Healed'],
      ],
    );
    const both = trials[1]!;
    t.equal(both.targets.length, 2);
    t.ok(both.figures.skew && both.figures.skew.ms < 100, 'the skew is told');
    const runs = new Set(lab.records.map(({ runId }) => runId));
    t.ok(runs.has(`${both.runId}.1`) && runs.has(`${both.runId}.2`));
    t.same(lab.metrics.ended, ['Healed', 'Healed']);
    t.ok(lab.isHealthy);
  });

  t.test('of faults that are together is not undone by a switch that waited for the others', async (t) => {
    const lab = await new ScheduleLab().prepare();
    const [, , , first, second] = lab.nodes;
    second!.mood.before = async (script) => {
      if (script === 'arm.sh') await lab.clock.sleep(22_000, never);
    };
    first!.mood.effectAfterMs = 15_000;
    const target = { services: { matchNames: ['spark-worker-2'] } };
    const pause = { name: 'pause', target, hold: '20s', pauseContainer: {} };
    const together = { faults: [silence, pause], together: ['silence', 'pause'] };
    const { trials } = await lab.run(makeSchedule(together));
    t.match(trials, [{ outcome: 'Healed' }], trials[0]?.message ?? '');
    t.ok(lab.isHealthy);
  });

  t.test('follows a task that restarts, when it is asked to', async (t) => {
    for (const onRestart of ['sticky', 'follow'] as const) {
      const lab = await new ScheduleLab().prepare();
      const named = { services: { matchNames: ['spark-worker-1'] } };
      const pause = { name: 'pause', target: named, hold: '60s', onRestart, pauseContainer: {} };
      const [, , , node] = lab.nodes;
      let old: string | undefined;
      node!.mood.before = async (script) => {
        if (script !== 'inject.sh' || old !== undefined) return;
        old = lab.records.at(-1)?.steps[0]?.containers?.[0];
        node!.mood.gone = [old!];
        lab.swarm.restartTasks('streaming_spark-worker-1');
      };
      const { trials } = await lab.run(makeSchedule({ faults: [pause] }));
      t.equal(trials[0]?.outcome, 'Healed', onRestart);
      t.ok(old !== undefined && old !== '', 'the step names its container');
      const hurt = lab.records.at(-1)?.steps.map(({ containers }) => containers);
      t.equal(hurt?.length, onRestart === 'follow' ? 2 : 1);
      t.notSame(hurt?.[1], [old]);
      t.match(trials[0]?.message, onRestart === 'follow' ? /it is followed/ : /was over for it/);
      t.ok(lab.isHealthy);
    }
  });

  t.test('follows nobody but who comes in the place of the task that is gone', async (t) => {
    const lab = await new ScheduleLab().prepare();
    const template = { ContainerSpec: { Image: 'any:1' } };
    await lab.swarm.gateway.createService(
      {
        ...{ Name: 'streaming_pool', Labels: {}, Mode: { Replicated: { Replicas: 3 } } },
        ...{ TaskTemplate: template, EndpointSpec: { Mode: 'dnsrr' } },
      },
      never,
    );
    for (const node of lab.nodes)
      node.mood.before = async (script) => {
        if (script === 'inject.sh') node.mood.gone = lab.records.at(-1)?.steps[0]?.containers ?? [];
      };
    const target = { services: { matchNames: ['pool'] } };
    const pause = { name: 'pause', target, hold: '60s', onRestart: 'follow', pauseContainer: {} };
    const { trials } = await lab.run(makeSchedule({ faults: [pause] }));
    t.match(trials, [{ outcome: 'Healed', message: /the fault was over for it/ }]);
    t.equal(lab.nodes.filter(({ calls }) => calls.includes('inject.sh')).length, 1, 'the others go on');
    t.equal(lab.records.at(-1)?.steps.length, 1);
  });

  t.test('holds its claim as long as the trial lasts', async (t) => {
    const target = { services: { matchNames: ['spark-worker-1'] } };
    for (const fault of [silence, { ...crash, target }]) {
      const lab = await new ScheduleLab().prepare();
      let owner: string | undefined;
      lab.nodes[3]!.mood.before = async (script) => {
        if (script === 'heal.sh') owner = lab.claims.heldBy('node4');
      };
      await lab.run(makeSchedule({ faults: [fault] }));
      t.equal(owner, key, fault.name);
      t.equal(lab.claims.heldBy('node4'), undefined);
    }
  });

  t.test('of a whole service is armed on the manager, and the service is held', async (t) => {
    const lab = await new ScheduleLab().prepare();
    const held = new Map<string, string | undefined>();
    lab.nodes[0]!.mood.before = async (script) => {
      for (const target of ['streaming_spark-worker-1', 'node1']) held.set(target, lab.claims.heldBy(target));
      t.not(script, 'unknown script');
    };
    const target = { services: { matchNames: ['spark-worker-1'] } };
    const stop = { name: 'stop', target, hold: '20s', stopService: {} };
    const { trials } = await lab.run(makeSchedule({ faults: [stop] }));
    t.match(trials, [{ outcome: 'Healed', targets: ['streaming_spark-worker-1'] }]);
    t.same(lab.touched, ['node1']);
    t.same(
      [...held],
      [
        ['streaming_spark-worker-1', key],
        ['node1', undefined],
      ],
    );
    t.ok(lab.isHealthy);
  });

  t.test(
    'that meets another on its target at the same instant gives way, and never comes to the node',
    async (t) => {
      const lab = await new ScheduleLab().prepare();
      const one = makeSchedule({ faults: [silence] });
      const other = { ...one, metadata: { ...one.metadata, name: 'other' } };
      const ends = await Promise.all([lab.run(one), lab.run(other)]);
      const trials = ends.flatMap((status) => status.trials);
      t.same(trials.map(({ outcome }) => outcome).sort(), ['Healed', 'Refused']);
      t.match(
        trials.find(({ outcome }) => outcome === 'Refused')?.message,
        /^node4 is held by FaultSchedule\//,
      );
      t.same(
        lab.nodes.flatMap(({ calls }) => calls.filter((call) => call === 'arm.sh')),
        ['arm.sh'],
      );
      t.equal(lab.claims.heldBy('node4'), undefined);
      t.ok(lab.isHealthy);
    },
  );

  t.test('is quiet between its trials, and not before the first or after the last', async (t) => {
    const lab = await new ScheduleLab().prepare();
    const faults = ['a', 'b', 'c'].map((called) => ({ ...silence, name: called }));
    const startMs = lab.clock.now();
    const { trials } = await lab.run(makeSchedule({ faults, gap: '90s' }));
    const [first, ...rest] = trials.map(({ startedAt }) => Date.parse(startedAt));
    const ends = trials.map(({ finishedAt }) => Date.parse(finishedAt!));
    t.ok(first! - startMs < 1_000, 'at once');
    t.same(
      rest.map((atMs, index) => atMs - ends[index]!),
      [90_000, 90_000],
    );
    t.equal(lab.clock.now(), ends.at(-1));
    const runs = trials.map(({ runId }) => runId);
    t.same(lab.nameLooks, runs.slice(0, 2), 'and looks after names at the beginning of each gap');
    t.equal(lab.said.filter((line) => line === 'quiet for 1m30s before the next trial').length, 2);
  });

  t.test('aborted in its quiet gap ends there', async (t) => {
    const lab = await new ScheduleLab().prepare();
    const abort = new AbortController();
    void lab.clock.sleep(60_000, never).then(() => abort.abort(new Error('the schedule was removed')));
    const { trials } = await lab.run(makeSchedule({ faults: [silence, crash], gap: '10m' }), abort.signal);
    t.match(trials, [{ outcome: 'Healed' }]);
    t.equal(trials.length, 1);
    t.equal(lab.clock.sleeping, 0);
  });

  t.test('that its node refuses is recorded, and never counts as active', async (t) => {
    const lab = await new ScheduleLab().prepare();
    lab.nodes[3]!.mood.before = async (script) => {
      lab.nodes[3]!.mood.unreachable ||= script === 'arm.sh';
    };
    const status = await lab.run(makeSchedule({ faults: [silence] }));
    t.match(status.trials, [{ outcome: 'Refused', targets: ['node4'], message: /connection lost/ }]);
    t.match(completeOf(status), { reason: 'Refused' });
    t.same(lab.metrics.active, []);
  });

  t.test('aborted in its hold is healed first, and nothing more is injected', async (t) => {
    const lab = await new ScheduleLab().prepare();
    const abort = new AbortController();
    void lab.clock.sleep(5_000, never).then(() => abort.abort(new Error('the schedule was removed')));
    const status = await lab.run(makeSchedule({ faults: [silence, crash] }), abort.signal);
    t.match(status.trials, [{ fault: 'silence', outcome: 'Aborted' }]);
    t.equal(status.trials.length, 1);
    t.match(completeOf(status), { reason: 'Aborted', message: 'the schedule was removed' });
    t.ok(lab.isHealthy);
  });

  t.test('ends with the first fault that nobody can heal', async (t) => {
    const lab = await new ScheduleLab().prepare();
    lab.nodes[3]!.mood.undoFails = 1_000;
    const status = await lab.run(makeSchedule({ faults: [silence, crash] }));
    t.match(status.trials, [{ outcome: 'Stuck' }]);
    t.equal(status.trials.length, 1);
    t.match(findCondition(status.conditions, 'Stalled'), { reason: 'FaultNotHealed', message: /node4/ });
  });

  t.test('rejects when its status cannot be kept, and leaves nothing broken', async (t) => {
    const lab = await new ScheduleLab().prepare();
    lab.statuses.failure = new Error('disk full');
    await t.rejects(lab.run(makeSchedule({ faults: [silence, crash] })), /disk full/);
    t.ok(lab.isHealthy);
    t.same(lab.metrics.ended, ['Healed'], 'and begins nothing more');
  });

  t.test('of a job that gives no rows is Invalid, says what it waits for, and injects nothing', async (t) => {
    const lab = await new ScheduleLab().prepare();
    const status = await lab.run(makeSchedule({ preset: 'smoke' }));
    t.match(status.trials, [
      { outcome: 'Refused', verdict: { recovery: 'Invalid', correctness: 'Unknown' } },
    ]);
    t.match(status.trials[0]?.message, /did not become steady/);
    t.equal(status.trials[0]?.samples, `samples/${lab.samples[0]}.ndjson`);
    t.equal(lab.metrics.trials, 1);
    t.same(lab.touched, []);
    t.match(lab.said[0], /^trial 1: awaiting samples/);
    t.ok(lab.said.length < 100, `${lab.said.length} lines in five and a half minutes`);
  });

  t.test('calibrates once for all of its trials', async (t) => {
    const lab = await new ScheduleLab().prepare();
    lab.workload = steadyJob(lab.clock);
    const settings = { preset: 'smoke', trials: 2, calibration: '12s', gate: '10s' };
    const { trials, calibration } = await lab.run(makeSchedule(settings));
    t.match(
      trials.map(({ outcome, verdict, seed }) => [outcome, verdict?.recovery, seed]),
      [
        ['Healed', 'Masked', 42],
        ['Healed', 'Masked', 43],
      ],
    );
    t.equal(trials[0]?.thetaMs, trials[1]?.thetaMs);
    t.equal(calibration?.thetaMs, trials[0]?.thetaMs);
    t.same(calibration?.maxima, ['p99Ms', 'commitGapMs', 'progressGapMs'], '12 s are fewer than 300 rows');
    t.equal(lab.said.filter((line) => /^trial 2: awaiting calibration/.test(line)).length, 0);
    t.same(lab.metrics.thetas[0], { schedule: name, seconds: calibration!.thetaMs / 1000, begun: 0 });
    t.same(
      lab.metrics.bounds,
      Array.from({ length: 2 }, () => [
        ['node2', 0.002],
        ['node3', 0.003],
      ]).flat(),
      'the clock error bound is exported',
    );
  });
});

t.test('a campaign', async (t) => {
  const shape = { preset: 'smoke', calibration: '12s', gate: '10s', faults: [crash] };
  const prepare = async (mood: Partial<JobMood> = {}) => {
    const lab = await new ScheduleLab().prepare();
    lab.workload = steadyJob(lab.clock, mood);
    return lab;
  };
  const injections = (lab: ScheduleLab) =>
    lab.nodes.flatMap(({ calls }) => calls.filter((call) => call === 'inject.sh')).length;

  t.test('says what it is in numbers, and how long it was calibrated', async (t) => {
    const lab = await prepare();
    const { campaign, trials } = await lab.run(
      makeSchedule({ ...shape, trials: 2, controls: 1, reset: 'none' }),
    );
    t.same(campaign, {
      ...{ preset: 'smoke', planned: 3, trials: 2, controls: 1, calibrationMs: 12_000, gateMs: 10_000 },
      ...{ maxRecoveryMs: 600_000, gapMs: 5_000, reset: 'none' },
    });
    t.same(
      trials.map(({ calibratedMs }) => calibratedMs),
      [12_000, 12_000, 12_000],
    );
  });

  t.test('judges a control like the others, and touches nothing in it', async (t) => {
    const lab = await prepare();
    const held = { name: 'held', target: workers, hold: '20s', cpuLimit: { cpus: 0.2 } };
    const { trials } = await lab.run(makeSchedule({ ...shape, faults: [held], trials: 1, controls: 2 }));
    const controls = trials.filter(({ fault }) => fault === 'control');
    t.match(controls, [
      { kind: 'none', standsFor: 'held', targets: [], outcome: 'Healed', verdict: { recovery: 'Masked' } },
      { kind: 'none', standsFor: 'held', targets: [], outcome: 'Healed' },
    ]);
    for (const { instants } of controls)
      t.equal(instants.end!.atMs - instants.eff!.atMs, 20_000, 'as long as the fault is held');
    t.same(lab.metrics.ended, ['Healed'], 'a control is no run of a fault');
    t.equal(lab.metrics.trials, 3);
    t.equal(injections(lab), 1);
  });

  t.test('tells of a control in which the job stalled by itself', async (t) => {
    const mood: Partial<JobMood> = {};
    const lab = await prepare(mood);
    const { said } = lab;
    lab.workload = steadyJob(lab.clock, {
      get stalledFromMs() {
        if (said.some((line) => line.includes('awaiting control'))) mood.stalledFromMs ??= lab.clock.now();
        return mood.stalledFromMs ?? Number.POSITIVE_INFINITY;
      },
    });
    const { trials } = await lab.run(makeSchedule({ ...shape, controls: 1 }));
    const [control] = trials.filter(({ fault }) => fault === 'control');
    t.match(control?.verdict, { recovery: 'Recovered', correctness: 'Correct' });
    t.ok(control!.figures.recovery!.ms > 10_000);
  });

  t.test('waits for the phase of each trial between its gate and its fault', async (t) => {
    const waits: number[] = [];
    for (const seed of [42, 43, 44]) {
      const lab = await prepare();
      const startMs = lab.clock.now();
      const { trials } = await lab.run(makeSchedule({ ...shape, seed }), never, { seed });
      const [trial] = trials;
      t.equal(trial?.phaseMs, phaseOf(trial!.seed, 1_000));
      waits.push(trial!.instants.cmd!.atMs - startMs - trial!.phaseMs!);
    }
    t.equal(new Set(waits).size, 1, `nothing else differs: ${waits}`);
  });

  t.test('has its threshold on the disk before anything is hurt', async (t) => {
    const lab = await prepare();
    const thetas: (number | undefined)[] = [];
    for (const node of lab.nodes)
      node.mood.before = async (script) => {
        if (script === 'arm.sh') thetas.push(lab.statuses.all.get(name)?.calibration?.thetaMs);
      };
    const { calibration } = await lab.run(makeSchedule(shape));
    t.same(thetas, [calibration?.thetaMs]);
    t.same(calibration?.spares, {
      'spark-master': { mastersAlive: 1, workersAlive: 3 },
      'spark-driver': { executors: 3, cores: 3 },
    });
  });

  t.test('that goes on has the same order, seeds, targets and threshold', async (t) => {
    const faults = [crash, { ...crash, name: 'other' }];
    const schedule = makeSchedule({ ...shape, faults, trials: 1, controls: 1 });
    const whole = await (await prepare()).run(schedule);
    const lab = await prepare({});
    const { calibration } = whole;
    const rest = await lab.run(schedule, never, {
      trials: whole.trials.slice(0, 1),
      calibration: calibration!,
    });
    const identity = (trials: ScheduleStatus['trials']) =>
      trials.map(({ number, fault, seed, targets, thetaMs, phaseMs }) => ({
        ...{ number, fault, seed, targets, thetaMs, phaseMs },
      }));
    t.same(identity(rest.trials), identity(whole.trials));
    t.same(rest.calibration, calibration);
    t.equal(lab.said.filter((line) => line.includes('awaiting calibration')).length, 0);
    t.match(completeOf(rest), { reason: 'Finished' });
  });

  t.test('never injects the same trial twice, however often its process is killed', async () => {
    const faults = [crash, { ...crash, name: 'other' }];
    const schedule = makeSchedule({ ...shape, faults, trials: 1, controls: 1 });
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.integer({ min: 1_000, max: 200_000 }), { minLength: 1, maxLength: 3 }),
        async (lives) => {
          let saved: Partial<ScheduleStatus> = {};
          const journal: RunRecord[] = [];
          for (const lifeMs of [...lives, Number.POSITIVE_INFINITY]) {
            const lab = await prepare();
            const at = await lab.run(schedule, never, saved, lab.clock.now() + lifeMs);
            const runs = new Map(lab.records.map((record) => [record.runId, record]));
            // As at the start of the next process: what was left is healed, and closed.
            journal.push(...[...runs.values()].map((run) => ({ outcome: 'Aborted' as const, ...run })));
            saved = recordInterrupted({ ...at, seed: 42 }, journal, stored(), schedule);
          }
          const { trials = [] } = saved;
          const numbers = trials.map(({ number }) => number);
          const injected = journal.map(({ runId }) => runId.split('-').at(-2));
          return (
            numbers.join() === '1,2,3' &&
            !hasTrialsLeft({ ...saved, trials } as ScheduleStatus, schedule) &&
            new Set(injected).size === injected.length &&
            new Set(trials.flatMap(({ thetaMs }) => thetaMs ?? [])).size <= 1
          );
        },
      ),
      { numRuns: 8 },
    );
  });

  t.test(
    'waits for what an earlier trial took away, and calls it by name when it does not come',
    async (t) => {
      const mood = { workers: 3 };
      const lab = await prepare(mood);
      const backAtMs = lab.clock.now() + 240_000;
      for (const node of lab.nodes)
        node.mood.before = async (script) => {
          if (script === 'inject.sh' && mood.workers === 3 && injections(lab) < 2) mood.workers = 2;
        };
      void lab.clock.sleep(backAtMs - lab.clock.now(), never).then(() => {
        mood.workers = 3;
      });
      const { trials } = await lab.run(makeSchedule({ ...shape, trials: 2 }));
      t.match(trials, [{ redundancy: 'lost' }, { redundancy: 'kept', verdict: { recovery: 'Masked' } }]);
      t.ok(trials[1]!.instants.cmd!.atMs > backAtMs + 10_000, 'the gate begins when all is there');
      t.ok(lab.said.some((line) => line.startsWith('trial 2: awaiting redundancy')));

      const worse = await prepare({ workers: 2 });
      const known = {
        trials: trials.slice(0, 1),
        calibration: (await lab.run(makeSchedule(shape))).calibration!,
      };
      const status = await worse.run(makeSchedule({ ...shape, trials: 2 }), never, known);
      t.match(status.trials[1], { outcome: 'Refused', verdict: { recovery: 'Invalid' } });
      t.equal(
        status.trials[1]?.message,
        'not whole again before the fault: workersAlive is 2, was 3 at the calibration; ' +
          'executors is 2, was 3 at the calibration; cores is 2, was 3 at the calibration',
      );
      t.equal(injections(worse), 0);
    },
  );

  t.test('gives up after three trials in a row that do not come to their fault', async (t) => {
    const lab = await prepare();
    lab.nodes.forEach((node) => {
      node.mood.before = async (script) => {
        if (script === 'inject.sh') lab.shortcomings = ['cluster six-nodes is not Ready'];
      };
    });
    const status = await lab.run(makeSchedule({ ...shape, trials: 9 }));
    t.same(
      status.trials.map(({ outcome }) => outcome),
      ['Healed', 'Refused', 'Refused', 'Refused'],
    );
    t.match(completeOf(status), {
      reason: 'Aborted',
      message:
        '3 trials in a row did not come to their fault, the last one: ' +
        'not whole again before the fault: cluster six-nodes is not Ready',
    });
    t.equal(injections(lab), 1);
  });

  t.test('does not repeat a trial that is Invalid, and says how many there were', async (t) => {
    const lab = await prepare();
    void lab.clock
      .sleep(30_000, never)
      .then(() => lab.interventions.note('the reconciler', 'update-service x'));
    const status = await lab.run(makeSchedule({ ...shape, trials: 2 }));
    t.match(status.trials, [
      {
        outcome: 'Healed',
        verdict: { recovery: 'Invalid' },
        message: 'the reconciler changed the cluster: update-service x',
      },
      { outcome: 'Healed', verdict: { recovery: 'Masked' } },
    ]);
    t.same(status.trials[0]?.figures, {}, 'no figure that could be taken for a result');
    t.equal(status.trials[0]?.recoveryBand, undefined);
    t.ok(status.trials[0]?.instants.eff);
    t.match(completeOf(status), { reason: 'Finished', message: '2 trials ended, 1 of them Invalid' });
  });

  t.test('marks trials beside which something else went on', async (t) => {
    const other = { ...makeSchedule({ preset: 'none', faults: [silence] }) };
    const target = { services: { matchNames: ['spark-worker-2'] } };
    const mine = makeSchedule({ ...shape, faults: [{ ...crash, target }] });
    const known: readonly (readonly [RegExp, (lab: ScheduleLab) => void])[] = [
      [
        /^FaultSchedule\/other changed the cluster: silence of trial 1$/,
        (lab) => void lab.run(renamed(other)),
      ],
      [/^the clock of the controller was set by 2000 ms$/, (lab) => (lab.clockSetMs = 2_000)],
      [/^the clock of node3 moved by -900 ms against/, (lab) => (lab.clockOffsetMs = -900)],
      [
        /^a task of streaming_kafka, on which the measurement depends, ended$/,
        (lab) => lab.swarm.restartTasks('streaming_kafka'),
      ],
    ];
    for (const [words, happen] of known) {
      const lab = await prepare();
      void lab.clock.sleep(30_000, never).then(() => happen(lab));
      const { trials } = await lab.run(mine);
      t.match(trials[0], { outcome: 'Healed', verdict: { recovery: 'Invalid' }, message: words });
      t.same(trials[0]?.clocks, [{ node: 'node3', offsetMs: 0, boundMs: 3 }], 'as before the fault');
    }
    const lab = await prepare();
    void lab.clock.sleep(60_000, never).then(() => (lab.settings = { 'streaming.PROFILE': 'fast' }));
    const { trials } = await lab.run(makeSchedule({ ...shape, trials: 2 }));
    t.match(trials[0], { verdict: { recovery: 'Masked' } });
    t.match(trials[1]?.message, /^streaming.PROFILE is not what it was at the beginning of the campaign$/);
  });

  t.test(
    'marks what was done from the beginning of its gate on, and a reset of the job by others',
    async (t) => {
      const { calibration } = await (await prepare()).run(makeSchedule(shape));
      const lab = await prepare();
      void lab.clock.sleep(1_500, never).then(() => lab.interventions.note('the reconciler', 'early'));
      const { trials } = await lab.run(makeSchedule(shape), never, {
        seed: 7,
        trials: [],
        calibration: calibration!,
      });
      t.ok(trials[0]!.phaseMs! > 1_000, `the fault came ${trials[0]!.phaseMs} ms after the gate`);
      t.match(trials[0]?.message, /early/);

      const both = await prepare();
      await both.addService('driver', 'node1', 'spark-driver');
      const target = { services: { matchNames: ['spark-worker-2'] } };
      const beside = new Promise<ScheduleStatus>((resolve) => {
        void both.clock
          .sleep(70_000, never)
          .then(() => resolve(both.run(makeSchedule({ ...shape, faults: [{ ...crash, target }] }))));
      });
      await both.run(renamed(makeSchedule({ ...shape, trials: 2, reset: 'job' })));
      t.match(
        (await beside).trials[0]?.message,
        /FaultSchedule\/other changed the cluster: reset of the job/,
      );
    },
  );

  t.test(
    'restarts the job between its trials when that is asked for, and holds its service meanwhile',
    async (t) => {
      for (const reset of ['none', 'job'] as const) {
        const lab = await prepare();
        await lab.addService('driver', 'node1', 'spark-driver');
        const held: (string | undefined)[] = [];
        lab.swarm.beforeCall = (call) => {
          if (call.startsWith('restartService')) held.push(lab.claims.heldBy('streaming_driver'));
        };
        const { trials } = await lab.run(makeSchedule({ ...shape, trials: 3, reset }));
        t.match(
          trials.map(({ verdict }) => verdict?.recovery),
          ['Masked', 'Masked', 'Masked'],
        );
        t.same(held, reset === 'job' ? [key, key] : []);
        t.equal(lab.claims.heldBy('streaming_driver'), undefined);
        const asked = lab.swarm.writes.filter((call) => call.startsWith('restartService'));
        t.same(asked, reset === 'job' ? Array(2).fill('restartService streaming_driver') : []);
      }
    },
  );

  t.test('whose job cannot be reset has Invalid trials that say why, and injects nothing more', async (t) => {
    const lab = await prepare();
    const none = await lab.run(makeSchedule({ ...shape, trials: 2, reset: 'job' }));
    t.match(none.trials[1], {
      ...{ outcome: 'Refused', verdict: { recovery: 'Invalid' } },
      message: 'no service is called driver: there is no job that could be reset',
    });
    const stuck = await prepare();
    await stuck.addService('driver', 'node1', 'spark-driver');
    stuck.swarm.beforeCall = (call) => {
      if (call.startsWith('restartService')) stuck.swarm.taskState = () => 'preparing';
    };
    const { trials } = await stuck.run(makeSchedule({ ...shape, trials: 2, reset: 'job' }));
    t.match(trials[1], { outcome: 'Refused', message: 'not running again: streaming_driver' });
    t.equal(stuck.claims.heldBy('streaming_driver'), undefined);
    t.equal(injections(stuck), 1);
  });
});

/** The same schedule under another name. */
function renamed(schedule: FaultSchedule): FaultSchedule {
  return { ...schedule, metadata: { ...schedule.metadata, name: 'other' } };
}
