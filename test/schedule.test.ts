import fc from 'fast-check';
import t from 'tap';
import { faultKindsByName, resourceKinds } from '../controller/resource-kinds.ts';
import { ActiveRuns } from '../controller/schedule/active-runs.ts';
import type { ClusterAccess } from '../controller/schedule/cluster-access.ts';
import { gatherFacts, gatherInventory } from '../controller/schedule/gather-facts.ts';
import { guardRun } from '../controller/schedule/guard-run.ts';
import {
  type RunScheduleDeps,
  type ScheduledRun,
  scheduleRunner,
} from '../controller/schedule/run-schedule.ts';
import { ended, notHealed, withConditions } from '../controller/schedule/schedule-conditions.ts';
import { RUN_AT_ANNOTATION, ScheduleReconciler } from '../controller/schedule/schedule-reconciler.ts';
import { type Inventory, selectTargets } from '../controller/schedule/select-targets.ts';
import type { StoredResource } from '../controller/source/resource-store.ts';
import { createClaims } from '../controller/status/claims.ts';
import { findCondition } from '../controller/status/conditions.ts';
import { StateError } from '../controller/status/state-error.ts';
import type { StatusStore } from '../controller/status/status-store.ts';
import { NODE_LABEL } from '../controller/swarm/labels.ts';
import type { FaultSchedule } from '../crds/fault-schedule.ts';
import type { ScheduleStatus } from '../crds/status.ts';
import {
  type FaultKind,
  type Outcome,
  type RunRecord,
  targetName,
  type Workload,
} from '../state-machines/contract.ts';
import { loadScripts } from '../state-machines/load-scripts.ts';
import { exampleRun } from './support/example-run.ts';
import { FakeClock, settle } from './support/fake-clock.ts';
import { FakeNode } from './support/fake-node.ts';
import { FakeSwarm } from './support/fake-swarm.ts';

const scripts = await loadScripts('state-machines');
const never = new AbortController().signal;

const worker = (slot: number, tasks = 1) => ({
  name: `streaming_spark-worker-${slot}`,
  ...{ id: `worker-${slot}`, replicated: true },
  labels: { role: 'spark-worker' },
  tasks: Array.from({ length: tasks }, (_, i) => ({
    node: `node${slot + 3}`,
    taskId: `t${slot}${i}`,
    containerId: `c${slot}${i}`,
  })),
});

const inventory: Inventory = {
  nodes: [1, 2, 3, 4, 5, 6].map((i) => ({
    name: `node${i}`,
    ...{ id: `id-${i}`, role: i === 1 ? 'manager' : 'worker', controls: i === 1 },
    labels: { place: i > 3 ? 'compute' : 'other' },
  })),
  services: [
    worker(1),
    worker(2),
    worker(3),
    {
      name: 'streaming_kafka',
      ...{ id: 'kafka', replicated: true },
      labels: {},
      tasks: [{ node: 'node2', taskId: 'tk', containerId: 'ck' }],
    },
  ],
};

type Service = Inventory['services'][number];

const workers = { services: { matchLabels: { role: 'spark-worker' } } };

t.test('the same seed and the same world give the same targets, in whatever order they were listed', (t) => {
  const draw = () => 0.7;
  const reversed = { ...inventory, services: [...inventory.services].reverse() };
  t.same(selectTargets(workers, inventory, draw), selectTargets(workers, reversed, draw));
  t.equal(selectTargets(workers, inventory, draw).length, 1, 'one when nothing is said');
  t.end();
});

t.test('a service answers to its full name and to the one in its compose file', (t) => {
  for (const name of ['kafka', 'streaming_kafka']) {
    const targets = selectTargets({ services: { matchNames: [name] } }, inventory, () => 0);
    t.same(targets.map(targetName), ['node2/streaming_kafka']);
  }
  t.same(
    selectTargets({ services: { matchNames: ['afka'] } }, inventory, () => 0),
    [],
  );
  t.end();
});

t.test('a kind that is aimed at services gets each one whole, however many tasks it has', (t) => {
  const services = [worker(1, 2), { ...worker(2, 0), replicated: false }];
  const chosen = selectTargets(
    { ...workers, pick: 'all', whole: true },
    { ...inventory, services },
    () => 0.9,
  );
  t.same(
    [...chosen].sort((a, b) => (targetName(a) < targetName(b) ? -1 : 1)),
    [
      { kind: 'service', service: 'streaming_spark-worker-1', serviceId: 'worker-1', replicated: true },
      { kind: 'service', service: 'streaming_spark-worker-2', serviceId: 'worker-2', replicated: false },
    ],
  );
  const nodes = { nodes: { matchLabels: { place: 'compute' } }, pick: 'all', whole: true } as const;
  t.same(
    selectTargets(nodes, inventory, () => 0).map(({ kind }) => kind),
    ['node', 'node', 'node'],
  );
  t.end();
});

t.test('pick and count say how many, and too few candidates give none', (t) => {
  const many = (selector: object) => selectTargets({ ...workers, ...selector }, inventory, () => 0.3).length;
  t.equal(many({ pick: 'all' }), 3);
  t.equal(many({ pick: 'minority' }), 1);
  t.equal(many({ pick: 'majority' }), 2);
  t.equal(many({ count: 2 }), 2);
  t.equal(many({ count: 4 }), 0);
  t.end();
});

t.test('a choice is always a set of distinct candidates that match', (t) => {
  const label = (name: string) => inventory.nodes.find((node) => node.name === name)?.labels.place;
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 3 }),
      fc.infiniteStream(fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true })),
      (count, draws) => {
        const random = () => draws.next().value as number;
        const chosen = selectTargets(
          { nodes: { matchLabels: { place: 'compute' } }, count },
          inventory,
          random,
        );
        const names = chosen.map(targetName);
        return new Set(names).size === count && names.every((name) => label(name) === 'compute');
      },
    ),
  );
  t.end();
});

t.test(
  'a node-wide fault may not hit what the measurement depends on, nor take the quorum, unless it is said',
  (t) => {
    const strict = { allowQuorumLoss: false, allowMeasurementNodes: false };
    const at = (node: string) => [{ kind: 'node', node } as const];
    t.same(guardRun(at('node4'), inventory, strict), []);
    t.match(guardRun(at('node2'), inventory, strict), [/^node2 runs streaming_kafka/]);
    const permitted = { allowQuorumLoss: true, allowMeasurementNodes: true };
    t.same(guardRun(at('node2'), inventory, permitted), []);
    t.equal(guardRun(at('node2'), inventory, strict).length, 2, 'all reasons at once');
    t.match(guardRun(at('node1'), inventory, strict), [/^0 of 1 swarm managers/]);
    t.same(guardRun(at('node1'), inventory, { ...strict, allowQuorumLoss: true }), []);
    const managers = (...reached: readonly number[]): Inventory => ({
      services: [],
      nodes: inventory.nodes.map((node, index) => ({
        ...node,
        ...(index < 3 && { role: 'manager' as const, controls: reached.includes(index + 1) }),
      })),
    });
    t.same(guardRun(at('node1'), managers(1, 2, 3), strict), []);
    t.match(guardRun(at('node1'), managers(1, 2), strict), [/^1 of 3 swarm managers/], 'one is lost already');
    t.same(guardRun(at('node4'), managers(1, 2), strict), []);
    const task = (called: string) =>
      selectTargets({ services: { matchNames: [called] } }, inventory, () => 0);
    t.same(guardRun(task('spark-worker-1'), inventory, strict), [], 'a task beside the measurement');
    const whole = (called: string) =>
      selectTargets({ services: { matchNames: [called] }, whole: true }, inventory, () => 0);
    t.same(guardRun(whole('spark-worker-1'), inventory, strict), []);
    t.match(guardRun(whole('kafka'), inventory, strict), [/^streaming_kafka is what the measurement/]);
    t.same(guardRun(whole('kafka'), inventory, permitted), []);
    t.end();
  },
);

t.test('a quorum of ZooKeeper, or the in-sync replicas of Kafka, is not taken by accident', (t) => {
  const strict = { allowQuorumLoss: false, allowMeasurementNodes: true };
  const service = (name: string, nodes: readonly string[], desired = nodes.length): Service => ({
    ...{ name, id: name, replicated: true, labels: {}, desired },
    tasks: nodes.map((node, i) => ({ node, taskId: `${name}.${i}`, containerId: `${name}.${i}` })),
  });
  const world = (...services: readonly Service[]): Inventory => ({ nodes: inventory.nodes, services });
  const tasksHit = (from: Inventory, called: string, count: number) =>
    guardRun(
      selectTargets({ services: { matchNames: [called] }, count }, from, () => 0),
      from,
      strict,
    );
  const nodesHit = (from: Inventory, ...names: readonly string[]) =>
    guardRun(
      names.map((node) => ({ kind: 'node', node })),
      from,
      strict,
    );

  const one = world(service('streaming_zookeeper', ['node4']), service('streaming_kafka', ['node5']));
  t.same(tasksHit(one, 'zookeeper', 1), [
    '0 of 1 servers of streaming_zookeeper would be left: no quorum (allowQuorumLoss: true permits it)',
  ]);
  t.same(tasksHit(one, 'kafka', 1), [
    '0 of 1 brokers of streaming_kafka would be left: no in-sync replicas (allowQuorumLoss: true permits it)',
  ]);
  t.equal(nodesHit(one, 'node4', 'node5').length, 2);
  t.same(nodesHit(one, 'node6'), []);

  const three = world(service('a_zookeeper', ['node4', 'node5', 'node6']));
  t.same(tasksHit(three, 'zookeeper', 1), []);
  t.match(tasksHit(three, 'zookeeper', 2), [/^1 of 3 servers of a_zookeeper/]);
  const numbered = world(
    ...[1, 2, 3].map((i) => service(`a_zookeeper-${i}`, [`node${i + 3}`])),
    service('b_zookeeper', ['node4']),
  );
  t.same(nodesHit(numbered, 'node5'), [], 'three services, one ensemble');
  t.match(nodesHit(numbered, 'node5', 'node6'), [/^1 of 3 servers of a_zookeeper/]);
  t.match(nodesHit(numbered, 'node4'), [/^0 of 1 servers of b_zookeeper/], 'each stack has its own');
  const lame = world(service('a_zookeeper', ['node4', 'node5'], 3), service('a_app', ['node4', 'node6']));
  t.match(tasksHit(lame, 'zookeeper', 1), [/^1 of 3 servers/], 'one is lost already');
  t.same(nodesHit(lame, 'node6'), [], 'a fault that hits none of them is not to blame');

  const brokers = (count: number) =>
    world(
      service(
        'a_kafka',
        Array.from({ length: count }, (_, i) => `node${i + 1}`),
      ),
    );
  t.match(tasksHit(brokers(2), 'kafka', 1), [/^1 of 2 brokers/]);
  t.same(tasksHit(brokers(3), 'kafka', 1), []);
  t.match(tasksHit(brokers(5), 'kafka', 2), [/^3 of 5 brokers/], 'both may hold the same partition');
  const ui = world(service('a_kafka-ui', ['node4']), service('a_my-zookeeper-exporter', ['node4']));
  t.same(nodesHit(ui, 'node4'), [], 'what only sounds like it');
  t.end();
});

t.test('facts say what the swarm knows of each node, and nothing of a stale twin', async (t) => {
  const swarm = new FakeSwarm();
  for (const i of [1, 2]) swarm.addNode(`node${i}`, 'manager', { [NODE_LABEL]: `node${i}` });
  const twin = swarm.addNode('node3', 'worker', { [NODE_LABEL]: 'node3' });
  swarm.editNode(twin.ID, (node) => ({ ...node, Status: { State: 'down' } }));
  const current = swarm.addNode('node3', 'worker', { [NODE_LABEL]: 'node3' });
  const deaf = [...swarm.nodes.values()].find(({ Description }) => Description.Hostname === 'node2')!;
  swarm.editNode(deaf.ID, (node) => ({
    ...node,
    ManagerStatus: { Reachability: 'unreachable', Addr: '10.0.0.2:2377' },
  }));
  const seen = await gatherInventory(swarm.gateway, never);
  t.same(
    seen.nodes.map((node) => node.name),
    ['node1', 'node2', 'node3'],
  );
  const nodeNames = ['node1', 'node2', 'node3', 'node4'];
  const nodes = async (of: string) => new FakeNode(of, new FakeClock(), scripts);
  const facts = await gatherFacts([], seen, { nodeNames, nodes }, never);
  t.match(
    facts.nodes.map((node) => node.swarm),
    [
      { role: 'manager', controls: true },
      { role: 'manager', controls: false },
      { id: current.ID, role: 'worker', controls: false },
      undefined,
    ],
  );
});

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

const name = 'worker-crash';
const key = `FaultSchedule/${name}`;

const crash = {
  name: 'crash',
  target: { services: { matchLabels: { role: 'spark-worker' } }, pick: 'one' },
  killContainer: {},
};
const silence = {
  name: 'silence',
  target: { nodes: { matchNames: ['node4'] } },
  hold: '20s',
  isolateNode: {},
};

/** A schedule as its file would give it. */
function makeSchedule(spec: object = {}, annotations: Record<string, string> = {}): FaultSchedule {
  return resourceKinds.FaultSchedule.parse({
    apiVersion: 'spark-failures.io/v1alpha1',
    kind: 'FaultSchedule',
    metadata: { name, annotations },
    spec: {
      ...{ clusterRef: { name: 'six-nodes' }, seed: 42, when: { now: {} }, preset: 'none', faults: [crash] },
      ...spec,
    },
  });
}

function stored(change: Partial<StoredResource> = {}): StoredResource {
  const identity = { key, kind: 'FaultSchedule', name, uid: 'uid-1', generation: 1, specHash: 'hash' };
  return { ...identity, deleting: false, resource: makeSchedule(), file: 'a.yaml', problems: [], ...change };
}

/** Statuses in memory; `writes` counts what would have gone to the disk. */
class MemoryStatuses implements StatusStore<ScheduleStatus> {
  readonly all = new Map<string, ScheduleStatus>();
  writes = 0;
  /** Fails writes, as a full disk does. */
  failure: Error | undefined;

  async read(of: string) {
    const status = this.all.get(of);
    return status ? { status } : {};
  }

  async list() {
    return { found: this.all, unreadable: [] };
  }

  async write(of: string, status: ScheduleStatus) {
    if (this.failure) throw this.failure;
    this.writes++;
    this.all.set(of, JSON.parse(JSON.stringify(status)));
  }

  async tellFull(of: string, status: ScheduleStatus) {
    this.all.set(of, status);
  }

  async remove(of: string) {
    this.all.delete(of);
  }
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
  journal: RunRecord[] = [];
  isReady = true;
  isKnown = true;
  finish: (outcome: Outcome) => void = () => {};
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
      metrics: { scheduleFaults: (_schedule, faults) => this.faults.push(faults) },
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
    const outcome = await new Promise<Outcome>((resolve) => {
      this.finish = resolve;
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
      t.equal(await again(stored({ uid: 'uid-2' })), 1, 'another schedule of that name');
    },
  );

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

/** The real kinds; a fake node cannot be the witness of what another one suffers. */
const kinds: RunScheduleDeps['kinds'] = Object.fromEntries(
  Object.entries(faultKindsByName).map(([kindName, kind]) => {
    const plan: FaultKind['plan'] = (params, facts) =>
      kind.plan(params, facts).map(({ witness: _witness, ...step }) => step);
    return [kindName, { ...kind, plan }];
  }),
);

/** Six nodes as faults see them, three Spark workers, and the runner over them. */
class Lab {
  readonly clock = new FakeClock();
  readonly statuses = new MemoryStatuses();
  readonly claims = createClaims();
  readonly records: RunRecord[] = [];
  readonly nodes = [1, 2, 3, 4, 5, 6].map(
    (i) => new FakeNode(`node${i}`, this.clock, scripts, `10.0.0.${i}`),
  );
  readonly swarm = new FakeSwarm();
  readonly said: string[] = [];
  readonly samples: string[] = [];
  readonly metrics = { ended: [] as Outcome[], trials: 0, active: [] as string[], bounds: [] as unknown[] };
  workload = silentJob(this.clock);

  async prepare(): Promise<this> {
    for (const { name } of this.nodes) this.swarm.addNode(name, name === 'node1' ? 'manager' : 'worker');
    const service = (name: string, node: string, role: string) =>
      this.swarm.gateway.createService(
        {
          ...{ Name: `streaming_${name}`, Labels: { role }, Mode: { Replicated: { Replicas: 1 } } },
          TaskTemplate: {
            ContainerSpec: { Image: 'any:1' },
            Placement: { Constraints: [`node.hostname == ${node}`] },
          },
          EndpointSpec: { Mode: 'dnsrr' },
        },
        never,
      );
    await service('kafka', 'node2', 'kafka');
    for (const slot of [1, 2, 3]) await service(`spark-worker-${slot}`, `node${slot + 3}`, 'spark-worker');
    return this;
  }

  /** Runs a schedule to its end, by the clock of the world. */
  async run(schedule: FaultSchedule, signal: AbortSignal = never): Promise<ScheduleStatus> {
    const conditions: ScheduleStatus['conditions'] = [];
    const status = { uid: 'uid-1', observedGeneration: 1, conditions, trials: [], runKey: 'uid-1/1/' };
    const { name: called } = schedule.metadata;
    const started = { name: called, generation: 1, schedule, seed: 42, status };
    const run = scheduleRunner(this.#deps())(started, signal);
    let isOver = false;
    const over = () => {
      isOver = true;
    };
    void run.then(over, over);
    for (;;) {
      await settle();
      if (isOver) break;
      const { nextWakeMs } = this.clock;
      if (nextWakeMs !== undefined) await this.clock.advance(nextWakeMs - this.clock.now());
    }
    await run;
    return this.statuses.all.get(called)!;
  }

  get isHealthy(): boolean {
    return this.nodes.every(({ runs, broken }) => runs.size === 0 && broken.size === 0);
  }

  get touched(): readonly string[] {
    const isQuestion = (call: string) => ['lacks.sh', 'ask.sh'].includes(call);
    return this.nodes.filter(({ calls }) => !calls.every(isQuestion)).map((node) => node.name);
  }

  #deps(): RunScheduleDeps {
    const { clock, claims, workload, metrics } = this;
    const cluster: ClusterAccess = {
      ...{ claims, workload, triggerMs: 1_000, settings: { 'streaming.PROFILE': 'defaults' } },
      nodeNames: this.nodes.map((node) => node.name),
      nodes: async (wanted) => this.nodes.find(({ name }) => name === wanted)!,
      swarm: async () => this.swarm.gateway,
    };
    return {
      ...{ clock, scripts, kinds, cluster: () => cluster, status: this.statuses },
      journal: { write: async (record) => void this.records.push(record), unfinished: async () => [] },
      metrics: {
        scheduleFaults: () => {},
        faultActive: (_schedule, _fault, target, active) => void (active && metrics.active.push(target)),
        phaseEnded: () => {},
        runEnded: (_fault, outcome) => void metrics.ended.push(outcome),
        trialEnded: () => void metrics.trials++,
        orphaned: () => {},
      },
      workloadMetrics: {
        sample: () => {},
        silent: () => {},
        clockBound: (...bound) => void metrics.bounds.push(bound),
      },
      openSamples: (runId) => {
        this.samples.push(runId);
        return { path: `samples/${runId}.ndjson`, write: () => {}, close: async () => {} };
      },
      progress: (_schedule, line) => void this.said.push(line),
    };
  }
}

const completeOf = ({ conditions }: ScheduleStatus) => findCondition(conditions, 'Complete');

t.test('the run of a schedule', async (t) => {
  t.test('leaves a trial with its targets, seed and settings, and nothing else behind', async (t) => {
    const lab = await new Lab().prepare();
    const { trials, conditions } = await lab.run(makeSchedule({ faults: [crash, silence] }));
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
      end: { source: 'check' },
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

  t.test('of faults that are together is one trial, which begins at one moment', async (t) => {
    const lab = await new Lab().prepare();
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

  t.test('follows a task that restarts, when it is asked to', async (t) => {
    for (const onRestart of ['sticky', 'follow'] as const) {
      const lab = await new Lab().prepare();
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

  t.test('holds its claim as long as the trial lasts', async (t) => {
    const lab = await new Lab().prepare();
    let owner: string | undefined;
    lab.nodes[3]!.mood.before = async (script) => {
      if (script === 'heal.sh') owner = lab.claims.heldBy('node4');
    };
    await lab.run(makeSchedule({ faults: [silence] }));
    t.equal(owner, key);
  });

  t.test('of a whole service is armed on the manager, and the service is held', async (t) => {
    const lab = await new Lab().prepare();
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

  t.test('that a guard refuses is recorded, and touches no node', async (t) => {
    const lab = await new Lab().prepare();
    const target = { nodes: { matchNames: ['node2'] } };
    const status = await lab.run(makeSchedule({ faults: [{ ...silence, target }] }));
    t.match(status.trials, [{ outcome: 'Refused', targets: [], message: /node2 runs streaming_kafka/ }]);
    t.match(completeOf(status), { reason: 'Refused', message: /allowMeasurementNodes: true permits it/ });
    t.same(lab.touched, []);
    t.same(lab.records, []);
    const faults = [{ ...silence, target }];
    const permitted = { faults, allowMeasurementNodes: true, allowQuorumLoss: true };
    t.match((await lab.run(makeSchedule(permitted))).trials, [{ outcome: 'Healed' }]);
  });

  t.test('whose target is not there is refused, too', async (t) => {
    const lab = await new Lab().prepare();
    const target = { services: { matchNames: ['no-such-service'] } };
    const { trials } = await lab.run(makeSchedule({ faults: [{ ...crash, target }] }));
    t.match(trials, [{ outcome: 'Refused', message: /nothing that runs now matches/ }]);
  });

  t.test('is refused for every reason that there is, before any node is touched', async (t) => {
    const lab = await new Lab().prepare();
    lab.nodes[1]!.mood.lacks = ['iptables', 'systemd'];
    lab.nodes[3]!.mood.lacks = ['iptables'];
    lab.claims.hold('FaultSchedule/other', ['node4/streaming_spark-worker-1']);
    const both = { ...silence, target: { nodes: { matchNames: ['node2', 'node4'] }, pick: 'all' } };
    const status = await lab.run(makeSchedule({ faults: [both, crash] }));
    t.match(completeOf(status), { reason: 'Refused' });
    const message = completeOf(status)?.message ?? '';
    for (const reason of [
      'node2 runs streaming_kafka, which the measurement depends on',
      '0 of 1 brokers of streaming_kafka would be left',
      'node2 lacks systemd, iptables',
      'node4 lacks iptables',
      'node4/streaming_spark-worker-1 is held by FaultSchedule/other',
    ])
      t.ok(message.includes(reason), reason);
    t.same(lab.touched, []);
    t.same(lab.records, []);
    t.same(
      status.trials.map(({ fault, outcome }) => [fault, outcome]),
      [['silence', 'Refused']],
      'nor is what could be done begun',
    );
  });

  t.test('tells also what the kind itself refuses, beside what the nodes lack', async (t) => {
    const lab = await new Lab().prepare();
    lab.nodes[3]!.mood.lacks = ['iptables'];
    const partition = { from: { nodes: { matchNames: ['node9'] } } };
    const { isolateNode: _isolate, ...rest } = silence;
    const { trials } = await lab.run(makeSchedule({ faults: [{ ...rest, partition }] }));
    t.equal(trials[0]?.message, 'partition: the cluster has no node "node9"; node4 lacks iptables');
  });

  t.test('names every node that is out of reach', async (t) => {
    const lab = await new Lab().prepare();
    for (const node of lab.nodes.slice(3, 5)) node.mood.unreachable = true;
    const target = { nodes: { matchNames: ['node4', 'node5'] }, pick: 'all' };
    const { trials } = await lab.run(makeSchedule({ faults: [{ ...silence, target }] }));
    t.equal(trials[0]?.message, 'node4: connection lost; node5: connection lost');
    t.same(lab.touched, []);
  });

  t.test('leaves alone what another schedule holds, and says whose it is', async (t) => {
    const lab = await new Lab().prepare();
    const hold = async (targets: readonly string[]) => {
      lab.claims.release('FaultSchedule/other');
      lab.claims.hold('FaultSchedule/other', targets);
      return (await lab.run(makeSchedule({ faults: [silence] }))).trials[0];
    };
    t.match(await hold(['node4']), { outcome: 'Refused', message: 'node4 is held by FaultSchedule/other' });
    t.match(await hold(['node4/streaming_kafka']), { outcome: 'Refused' }, 'a part of it');
    t.match(await hold(['node5', 'streaming_kafka']), { outcome: 'Healed' });
    t.equal(lab.claims.heldBy('node4'), undefined);
    t.equal(lab.claims.heldBy('node5'), 'FaultSchedule/other', 'whose claim stays');
  });

  t.test(
    'that meets another on its target at the same instant gives way, and never comes to the node',
    async (t) => {
      const lab = await new Lab().prepare();
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
    const lab = await new Lab().prepare();
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
    t.equal(lab.said.filter((line) => line === 'quiet for 1m30s before the next trial').length, 2);
  });

  t.test('aborted in its quiet gap ends there', async (t) => {
    const lab = await new Lab().prepare();
    const abort = new AbortController();
    void lab.clock.sleep(60_000, never).then(() => abort.abort(new Error('the schedule was removed')));
    const { trials } = await lab.run(makeSchedule({ faults: [silence, crash], gap: '10m' }), abort.signal);
    t.match(trials, [{ outcome: 'Healed' }]);
    t.equal(trials.length, 1);
    t.equal(lab.clock.sleeping, 0);
  });

  t.test('that its node refuses is recorded, and never counts as active', async (t) => {
    const lab = await new Lab().prepare();
    lab.nodes[3]!.mood.before = async (script) => {
      lab.nodes[3]!.mood.unreachable ||= script === 'arm.sh';
    };
    const status = await lab.run(makeSchedule({ faults: [silence] }));
    t.match(status.trials, [{ outcome: 'Refused', targets: ['node4'], message: /connection lost/ }]);
    t.match(completeOf(status), { reason: 'Refused' });
    t.same(lab.metrics.active, []);
  });

  t.test('aborted in its hold is healed first, and nothing more is injected', async (t) => {
    const lab = await new Lab().prepare();
    const abort = new AbortController();
    void lab.clock.sleep(5_000, never).then(() => abort.abort(new Error('the schedule was removed')));
    const status = await lab.run(makeSchedule({ faults: [silence, crash] }), abort.signal);
    t.match(status.trials, [{ fault: 'silence', outcome: 'Aborted' }]);
    t.equal(status.trials.length, 1);
    t.match(completeOf(status), { reason: 'Aborted', message: 'the schedule was removed' });
    t.ok(lab.isHealthy);
  });

  t.test('ends with the first fault that nobody can heal', async (t) => {
    const lab = await new Lab().prepare();
    lab.nodes[3]!.mood.undoFails = 1_000;
    const status = await lab.run(makeSchedule({ faults: [silence, crash] }));
    t.match(status.trials, [{ outcome: 'Stuck' }]);
    t.equal(status.trials.length, 1);
    t.match(findCondition(status.conditions, 'Stalled'), { reason: 'FaultNotHealed', message: /node4/ });
  });

  t.test('rejects when its status cannot be kept, and leaves nothing broken', async (t) => {
    const lab = await new Lab().prepare();
    lab.statuses.failure = new Error('disk full');
    await t.rejects(lab.run(makeSchedule({ faults: [silence, crash] })), /disk full/);
    t.ok(lab.isHealthy);
    t.same(lab.metrics.ended, ['Healed'], 'and begins nothing more');
  });

  t.test('of a job that gives no rows is Invalid, says what it waits for, and injects nothing', async (t) => {
    const lab = await new Lab().prepare();
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
    const lab = await new Lab().prepare();
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
    t.equal(lab.said.filter((line) => /^trial 2: awaiting calibration/.test(line)).length, 0);
    t.same(
      lab.metrics.bounds,
      [
        ['node2', 0.002],
        ['node2', 0.002],
      ],
      'the clock error bound is exported',
    );
  });
});

t.test('the leader', async (t) => {
  const manifest = (target: object, kind: object = { killContainer: {} }, spec: object = {}) =>
    makeSchedule({ faults: [{ name: 'lost', target, ...kind }], ...spec });
  const worker = (slot: number) => `streaming_spark-worker-${slot}`;
  const master = (status: string) => `HTTP/1.1 200 OK\r\n\r\n{\n  "status" : "${status}"\n}`;
  const masters = {
    ...{ services: { matchLabels: { role: 'spark-worker' } }, pick: 'leader', leads: { sparkMaster: {} } },
  };

  t.test('of the services is the one that says so', async (t) => {
    const lab = await new Lab().prepare();
    for (const [i, status] of ['STANDBY', 'ALIVE', 'STANDBY'].entries())
      lab.nodes[i + 3]!.answers.set(8080, master(status));
    const { trials } = await lab.run(manifest(masters));
    t.match(trials, [{ outcome: 'Healed', targets: [`node5/${worker(2)}`] }]);
    const stopped = await lab.run(manifest(masters, { hold: '20s', stopService: {} }));
    t.match(
      stopped.trials,
      [{ outcome: 'Healed', targets: [worker(2)] }],
      'or the service that it belongs to',
    );
  });

  t.test('is asked where the manifest says, and a silent one does not hide it', async (t) => {
    const lab = await new Lab().prepare();
    lab.nodes[4]!.answers.set(2182, 'Zookeeper version: 3.9.5\nMode: leader\nNode count: 5\n');
    const target = { ...masters, leads: { zookeeper: { port: 2182 } } };
    const { trials } = await lab.run(manifest(target));
    t.match(trials, [{ targets: [`node5/${worker(2)}`] }]);
  });

  t.test('that nobody is, or that two claim to be, refuses the run with what each said', async (t) => {
    const lab = await new Lab().prepare();
    lab.nodes[3]!.answers.set(8080, master('STANDBY'));
    lab.nodes[4]!.answers.set(8080, 'HTTP/1.1 404 Not Found\r\n\r\n');
    const none = await lab.run(manifest(masters));
    t.equal(
      none.trials[0]?.message,
      `nobody leads Spark's masters: node4/${worker(1)} follows, ` +
        `node5/${worker(2)} is not clear (what answers is no Spark master), ` +
        `node6/${worker(3)} is not clear (ask.sh failed)`,
    );
    t.match(none.trials, [{ outcome: 'Refused' }]);
    for (const i of [3, 4]) lab.nodes[i]!.answers.set(8080, master('ALIVE'));
    const two = await lab.run(manifest(masters));
    t.match(two.trials[0]?.message, /^several claim to lead .*: node4\/\S+ leads, node5\/\S+ leads$/);
    t.same(lab.touched, []);
  });

  t.test('of the swarm is a node, if it is among those of the target', async (t) => {
    const lab = await new Lab().prepare();
    const silenced = { hold: '20s', isolateNode: {} };
    const target = { nodes: { matchNames: ['node1', 'node3'] }, pick: 'leader' };
    const { trials } = await lab.run(manifest(target, silenced, { allowQuorumLoss: true }));
    t.match(trials, [{ outcome: 'Healed', targets: ['node1'] }]);
    const others = { nodes: { matchNames: ['node3'] }, pick: 'leader' };
    const refused = await lab.run(manifest(others, silenced));
    t.match(refused.trials, [
      { message: /^node1 leads the swarm, and is not among the nodes of the target$/ },
    ]);
    for (const { ID } of lab.swarm.nodes.values())
      lab.swarm.editNode(ID, ({ ManagerStatus: _lost, ...node }) => node);
    const headless = await lab.run(manifest(target, silenced));
    t.match(headless.trials, [{ message: 'nobody leads the swarm' }]);
  });
});

/** A job whose observer gives no rows. */
function silentJob(clock: FakeClock): Workload {
  return {
    clockBound: () => Promise.reject(new Error('no observer')),
    // biome-ignore lint/correctness/useYield: there is no row to give
    async *samples(signal) {
      await clock.sleep(3_600_000, signal);
    },
  };
}

/** A job that commits once a second and that nothing disturbs. */
function steadyJob(clock: FakeClock): Workload {
  return {
    clockBound: async () => ({ node: 'node2', offsetMs: 0, boundMs: 2 }),
    async *samples(signal) {
      for (;;) {
        await clock.sleep(250, signal);
        const atMs = clock.now();
        const commitMs = Math.floor(atMs / 1_000) * 1_000;
        const visibleMs = commitMs - 1_000;
        yield {
          ...{ atMs, ackedMs: atMs, committedMs: visibleMs, visibleMs, intended: atMs, acked: atMs },
          ...{ generatorBehindMs: 0, batchId: commitMs, batchAtMs: commitMs },
          system: { atMs, mastersAlive: 1, workersAlive: 3, executors: 3, cores: 3 },
          correctness: {
            ...{ acknowledgedButAbsent: 0, storedTwice: 0, wrong: 0, conflicting: 0, reemitted: 0 },
            ...{ phantom: 0, shortWindows: 0, shortRecords: 0 },
          },
        };
      }
    },
  };
}
