import fc from 'fast-check';
import t from 'tap';
import { ActiveRuns } from '../controller/schedule/active-runs.ts';
import { guardRun } from '../controller/schedule/guard-run.ts';
import { type Inventory, selectTargets, targetName } from '../controller/schedule/select-targets.ts';

const worker = (slot: number, tasks = 1) => ({
  name: `streaming_spark-worker-${slot}`,
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
    role: i === 1 ? 'manager' : 'worker',
    labels: { place: i > 3 ? 'compute' : 'other' },
  })),
  services: [
    worker(1),
    worker(2),
    worker(3),
    {
      name: 'streaming_kafka',
      labels: {},
      tasks: [{ node: 'node2', taskId: 'tk', containerId: 'ck' }],
    },
  ],
};

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
        const names = chosen.map(({ node }) => node);
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
    const isolate = { name: 'isolateNode', targets: 'nodes' } as const;
    const at = (node: string) => [{ kind: 'node', node } as const];
    t.same(guardRun(isolate, at('node4'), inventory, strict), []);
    t.match(guardRun(isolate, at('node2'), inventory, strict), [/^node2 runs streaming_kafka/]);
    t.same(guardRun(isolate, at('node2'), inventory, { ...strict, allowMeasurementNodes: true }), []);
    t.match(guardRun(isolate, at('node1'), inventory, strict), [/^0 of 1 swarm managers/]);
    t.same(guardRun(isolate, at('node1'), inventory, { ...strict, allowQuorumLoss: true }), []);
    const kill = { name: 'killContainer', targets: 'tasks' } as const;
    t.same(
      guardRun(
        kill,
        selectTargets({ services: { matchNames: ['kafka'] } }, inventory, () => 0),
        inventory,
        strict,
      ),
      [],
    );
    t.end();
  },
);

t.test('active runs start once, hand their key back when settled, and stop only when healed', async (t) => {
  const settled: string[] = [];
  const runs = new ActiveRuns((key) => settled.push(key));
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
});
