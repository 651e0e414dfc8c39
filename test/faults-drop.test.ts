import t from 'tap';
import { faultKinds } from '../state-machines/faults/catalog.ts';
import { exampleFacts } from './contracts/fault-kind.ts';

const kindOf = (name: string) => faultKinds.find((kind) => kind.name === name)!;
const at = (...names: number[]) => names.map((name) => `10.98.0.1${name}`);
const facts = exampleFacts('nodes');
const plan = (kind: string, params: object, of = facts) =>
  kindOf(kind).plan(kindOf(kind).params.parse(params), of);
const problems = (kind: string, params: object) =>
  (kindOf(kind).params.safeParse(params).error?.issues ?? []).map(
    ({ path, message }) => `${path.join('.')}: ${message}`,
  );

t.test('partition', async (t) => {
  t.test('cuts the chosen nodes off from all others, and not from one another', async (t) => {
    t.same(plan('partition', {}), [
      {
        ...{ node: 'node4', target: 'node4', mechanism: 'drop' },
        args: ['10.98.0.1', 'drop', 'both', 'all', ...at(1, 2, 3, 5)],
        witness: { node: 'node1', args: ['10.98.0.1', 'drop', 'both', 'all', ...at(4)] },
      },
      {
        ...{ node: 'node6', target: 'node6', mechanism: 'drop' },
        args: ['10.98.0.1', 'drop', 'both', 'all', ...at(1, 2, 3, 5)],
        witness: { node: 'node1', args: ['10.98.0.1', 'drop', 'both', 'all', ...at(6)] },
      },
    ]);
  });

  t.test('finds the other side by names or labels, without the chosen ones', async (t) => {
    const peers = (from: object) => plan('partition', { from }).map(({ args }) => args.slice(4));
    t.same(peers({ matchNames: ['node2', 'node6'] }), [at(2), at(2)]);
    t.same(peers({ matchLabels: { place: 'compute' } }), [at(5), at(5)]);
    const [first] = plan('partition', { from: { matchLabels: { place: 'compute' } } });
    t.equal(first!.witness!.node, 'node5', 'the witness is on the other side');
  });

  t.test('lets a witness see one direction the other way round', async (t) => {
    const [first] = plan('partition', { direction: 'in', action: 'reject' });
    t.same(first!.args.slice(1, 4), ['reject', 'in', 'all']);
    t.same(first!.witness!.args.slice(1, 4), ['reject', 'out', 'all']);
  });

  t.test('is refused without another side, or with one that is misspelt', async (t) => {
    const from = (selector: object) => () => plan('partition', { from: selector });
    t.throws(from({ matchNames: ['node4'] }), /no other node/);
    t.throws(from({ matchLabels: { place: 'nowhere' } }), /no other node/);
    t.throws(from({ matchNames: ['node1', 'nod2'] }), /no node "nod2"/);
    t.match(problems('partition', { from: {} }), ['from: expected exactly one of matchNames, matchLabels']);
    t.match(problems('partition', { from: { matchNames: [] } }), [/matchNames/]);
    t.equal(problems('partition', { direction: 'sideways', action: 'delay' }).length, 2);
  });
});

t.test('blockPort', async (t) => {
  t.test('names the ports once, and asks a witness only who can tell', async (t) => {
    const of = (params: object) => plan('blockPort', params)[0]!;
    const tcp = of({ protocol: 'tcp', ports: [9092, 8080, 9092], direction: 'in' });
    t.same(tcp.args, ['10.98.0.1', 'drop', 'in', 'tcp/9092,8080', ...at(1, 2, 3, 5, 6)]);
    t.same(tcp.witness, {
      node: 'node1',
      args: ['10.98.0.1', 'drop', 'out', 'tcp/9092,8080', ...at(4)],
    });
    t.notOk(of({ protocol: 'tcp', ports: [9092], direction: 'out' }).witness, 'a peer feels nothing of it');
    t.notOk(of({ protocol: 'udp', ports: [7946] }).witness, 'a datagram that is not answered tells nothing');
    t.equal(of({}).args[3], 'udp/4789', 'the overlay networks');
  });

  t.test('never blocks the port by which it is undone, nor one that there is not', async (t) => {
    t.same(problems('blockPort', { protocol: 'tcp', ports: [80, 22] }), [
      'ports.1: port 22 stays open: the controller needs it to undo the fault',
    ]);
    t.same(problems('blockPort', { protocol: 'udp', ports: [22] }), []);
    for (const ports of [[], [0], [65_536], [80.5], ['80'], [1, 2, 3, 4, 5, 6, 7, 8, 9]])
      t.equal(problems('blockPort', { ports }).length, 1, JSON.stringify(ports));
    t.equal(problems('blockPort', { protocol: 'sctp' }).length, 1);
  });
});
