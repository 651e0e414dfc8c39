import t from 'tap';
import { RefusedError } from '../state-machines/contract.ts';
import { throttle } from '../state-machines/faults/rate/fault.ts';
import { exampleFacts } from './contracts/fault-kind.ts';

const facts = exampleFacts('nodes');
const plan = (params: object, of = facts) => throttle.plan(throttle.params.parse(params) as never, of);

t.test('throttles what the chosen nodes send, to one another too, in bits per second', async (t) => {
  t.same(plan({ rate: '1500kbit' })[0], {
    ...{ node: 'node4', target: 'node4', mechanism: 'rate' },
    args: [...['10.98.0.1', '1500000'], ...[1, 2, 3, 5, 6].map((name) => `10.98.0.1${name}`)],
    witness: { node: 'node1', args: ['10.98.0.1', '1500000', '10.98.0.14'] },
  });
  t.equal(plan({})[0]!.args[1], '10000000');
  t.equal(plan({ rate: '2gbit' })[0]!.args[1], '2000000000');
});

t.test('asks a witness only for a rate that it can tell from none', async (t) => {
  t.ok(plan({ rate: '100mbit' })[0]!.witness);
  t.notOk(plan({ rate: '101mbit' })[0]!.witness);
});

t.test('takes no rate that means nothing, or almost nothing', async (t) => {
  for (const rate of [
    '10',
    '10mb',
    '0mbit',
    '1.5mbit',
    '-1mbit',
    '255kbit',
    '11gbit',
    '10 mbit',
    10,
    '10MBIT',
  ])
    t.match(
      throttle.params.safeParse({ rate }).error?.issues,
      [{ message: /from 256kbit to 10gbit/ }],
      String(rate),
    );
  for (const rate of ['256kbit', '10gbit']) t.ok(throttle.params.safeParse({ rate }).success, rate);
});

t.test('is refused where there is nobody to send to, or only half of the path', async (t) => {
  const alone = {
    ...facts,
    targets: [{ kind: 'node', node: 'node1' } as const],
    nodes: facts.nodes.slice(0, 1),
  };
  t.throws(() => plan({}, alone), RefusedError);
  const v6 = facts.nodes.map((node) => ({ ...node, address: 'fd00::1' }));
  t.throws(() => plan({}, { ...facts, nodes: v6 }), /IPv4/);
});
