import t from 'tap';
import { type Facts, RefusedError, type ServiceFacts } from '../state-machines/contract.ts';
import { corrupt, delay, duplicate, loss, reorder } from '../state-machines/faults/netem/fault.ts';
import { exampleFacts } from './contracts/fault-kind.ts';

const nodes = exampleFacts('nodes');
const tasks = exampleFacts('tasks');
const plan = (params: object, of: Facts = nodes) => delay.plan(delay.params.parse(params), of);
const service = (name: string, ...addresses: string[]): ServiceFacts => ({
  ...{ name, id: `id-of-${name}`, replicated: true, labels: { role: name } },
  tasks: [{ node: 'node1', taskId: name, containerId: name.padEnd(64, 'f'), addresses }],
});

t.test('speaks of each effect in the words of netem, in milliseconds and percent', async (t) => {
  const words = [
    plan({}),
    plan({ delay: '1s', jitter: '10ms', correlation: 25, distribution: 'normal' }),
    loss.plan(loss.params.parse({ percent: 0.5 }), nodes),
    duplicate.plan(duplicate.params.parse({}), nodes),
    corrupt.plan(corrupt.params.parse({ percent: 100 }), nodes),
    reorder.plan(reorder.params.parse({ correlation: 50 }), nodes),
  ].map(([step]) => step!.args[1]);
  t.same(words, [
    'delay 100ms',
    'delay 1000ms 10ms 25% distribution normal',
    'loss 0.5% 0%',
    'duplicate 10% 0%',
    'corrupt 100% 0%',
    'delay 50ms reorder 25% 50%',
  ]);
});

t.test('on a node: what goes to every other node, measured by three that are no victims', async (t) => {
  const [first] = plan({});
  const peers = ['10.98.0.11', '10.98.0.12', '10.98.0.13', '10.98.0.15', '10.98.0.16'];
  const measured = ['10.98.0.11', '10.98.0.12', '10.98.0.13'];
  const args = ['10.98.0.1', 'delay 100ms', '19750', peers.join(), measured.join()];
  t.same(first, { node: 'node4', target: 'node4', mechanism: 'netem', args });
});

t.test('or to the nodes that are named, be they victims too', async (t) => {
  const to = { matchNames: ['node6', 'node2'] };
  t.same(plan({ to })[0]!.args.slice(3), ['10.98.0.12,10.98.0.16', '10.98.0.12,10.98.0.16']);
  t.same(plan({ to: { matchLabels: { place: 'compute' } } })[0]!.args[3], '10.98.0.15,10.98.0.16');
});

t.test('lets as many packets wait as are on the way at the rate: 1000, and half as many again', async (t) => {
  const limit = (params: object) => Number(plan(params)[0]!.args[2]);
  t.equal(limit({ delay: '100ms', rate: '80mbit' }), 1000 + 1500);
  t.equal(limit({ delay: '100ms', jitter: '100ms', rate: '80mbit' }), 1000 + 3000);
  t.equal(limit({ delay: '1s', rate: '8mbit' }), 1000 + 1500);
  t.equal(Number(loss.plan(loss.params.parse({}), nodes)[0]!.args[2]), 1000);
});

t.test('inside tasks: on the networks of the swarm that they are attached to', async (t) => {
  const services = [service('kafka', '10.99.1.9/24', '10.99.2.9/24'), service('web', '10.99.3.4/24')];
  const container = '0'.repeat(64);
  t.same(plan({}, { ...tasks, services })[0], {
    ...{ node: 'node4', target: 'node4/streaming_spark-worker-1', mechanism: 'netem' },
    args: ['-', 'delay 100ms', '19750', '10.99.1.0/24', '10.99.1.9,10.99.1.6', container],
  });
  const to = { matchLabels: { role: 'kafka' } };
  t.same(plan({ to }, { ...tasks, services })[0]!.args.slice(3), ['10.99.1.9', '10.99.1.9', container]);
  t.throws(() => plan({ to: { matchNames: ['web'] } }, { ...tasks, services }), /shares no network/);
});

t.test('also to a service that is reached by a virtual address, measured by its tasks', async (t) => {
  const kafka = { ...service('kafka', '10.99.1.9/24'), addresses: ['10.99.1.2/24', '10.99.2.2/24'] };
  const to = { matchNames: ['kafka'] };
  const [, , , destinations, measured] = plan({ to }, { ...tasks, services: [kafka] })[0]!.args;
  t.same([destinations, measured], ['10.99.1.2,10.99.1.9', '10.99.1.9']);
});

t.test('finds the subnet of an address, however long its prefix', async (t) => {
  const [target] = tasks.targets;
  if (target?.kind !== 'task') throw new Error('a task');
  for (const [own, near, subnet] of [
    ['10.99.1.200/25', '10.99.1.129/25', '10.99.1.128/25'],
    ['172.31.255.1/12', '172.16.0.2/12', '172.16.0.0/12'],
    ['192.0.2.1/32', '192.0.2.1/32', '192.0.2.1/32'],
  ] as const) {
    const targets = [{ ...target, addresses: [own] }];
    t.equal(plan({}, { ...tasks, targets, services: [service('near', near)] })[0]!.args[3], subnet);
  }
});

t.test('is refused where there is nobody to send to, or by whom it could be measured', async (t) => {
  const targets = [{ kind: 'node', node: 'node1' } as const];
  t.throws(() => plan({}, { ...nodes, targets, nodes: nodes.nodes.slice(0, 1) }), RefusedError);
  t.throws(() => plan({ to: { matchNames: ['node4'] } }), /node4 has no such node/);
  t.throws(() => plan({ to: { matchNames: ['node9'] } }), /has no node "node9"/);
  t.throws(() => plan({ to: { matchNames: ['nobody'] } }, tasks), /has no service "nobody"/);
  t.throws(() => plan({}, { ...tasks, targets: tasks.targets.slice(0, 1) }), /shares no network/);
  const v6 = nodes.nodes.map((node) => ({ ...node, address: 'fd00::1' }));
  t.throws(() => plan({}, { ...nodes, nodes: v6 }), /IPv4/);
});

t.test('takes no parameters that mean nothing, and says all that is wrong with them', async (t) => {
  const problems = (params: object) =>
    delay.params.safeParse(params).error?.issues.map(({ message }) => message);
  for (const text of ['0s', '0.5ms', '11s', '100']) t.ok(problems({ delay: text }), text);
  t.same(problems({ delay: '10ms', jitter: '20ms' }), ['expected at most the delay']);
  t.same(problems({ distribution: 'normal' }), ['there is no jitter that could be distributed']);
  t.same(problems({ correlation: 50 }), ['there is no jitter that could be correlated']);
  t.notOk(problems({ correlation: 50, jitter: '1ms' }));
  t.notOk(problems({ delay: '10s', jitter: '10s', distribution: 'pareto' }));
  for (const percent of [0, -1, 101, '10']) t.notOk(loss.params.safeParse({ percent }).success, `${percent}`);
  t.notOk(reorder.params.safeParse({ percent: 100 }).success, 'nobody is left to be overtaken');
  t.notOk(loss.params.safeParse({ to: {} }).success);
});
