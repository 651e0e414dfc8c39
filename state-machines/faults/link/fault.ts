import { z } from 'zod';
import { type FaultKind, RefusedError } from '../../contract.ts';
import { ipv4, sidesOf } from '../aimed-at-nodes.ts';

const params = z.strictObject({});

/** The cable of the chosen machines is pulled, and plugged in again: also ours, where ssh comes by the same interface. */
export const linkDown: FaultKind<z.output<typeof params>> = {
  name: 'linkDown',
  level: 'network',
  mechanism: 'link',
  summary:
    'Takes down the interface of the chosen nodes that leads to the others, ssh included where it comes that way; the node takes it up again by itself.',
  params,
  needs: ['systemd', 'ping'],
  death: 'silence',
  targets: ['nodes'],
  instant: false,
  plan(_params, facts) {
    const { chosen, others } = sidesOf('linkDown', facts);
    const [witness] = others;
    if (!witness) throw new RefusedError('linkDown: no other node is left that could see it');
    return chosen.map(({ name, address }) => ({
      ...{ node: name, target: name, mechanism: 'link' },
      args: facts.nodes.filter((node) => node.name !== name).map((node) => ipv4('linkDown', node.address)),
      witness: { node: witness.name, args: [ipv4('linkDown', address)], alone: true },
    }));
  },
};
