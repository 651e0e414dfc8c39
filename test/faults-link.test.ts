import t from 'tap';
import { linkDown } from '../state-machines/faults/link/fault.ts';
import { exampleFacts } from './contracts/fault-kind.ts';

t.test('linkDown', async (t) => {
  const facts = exampleFacts('nodes');

  t.test('is for another node alone to see', async (t) => {
    const [first, second] = linkDown.plan({}, facts);
    t.same(first, {
      ...{ node: 'node4', target: 'node4', mechanism: 'link' },
      args: ['10.98.0.11', '10.98.0.12', '10.98.0.13', '10.98.0.15', '10.98.0.16'],
      witness: { node: 'node1', args: ['10.98.0.14'], alone: true },
    });
    t.same(second!.witness, { node: 'node1', args: ['10.98.0.16'], alone: true });
  });

  t.test('is refused when nobody is left to see it', async (t) => {
    const targets = facts.nodes.map(({ name }) => ({ kind: 'node' as const, node: name }));
    t.throws(() => linkDown.plan({}, { ...facts, targets }), /no other node is left/);
  });
});
