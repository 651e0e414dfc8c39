import { z } from 'zod';
import { type FaultKind, RefusedError } from '../../contract.ts';
import { ipv4, sidesOf } from '../aimed-at-nodes.ts';
import { bitRateField, bitsPerSecond } from '../bit-rate.ts';

/** Up to this rate a peer can tell it from what any network between nodes carries. */
const measurable = 100_000_000;

const params = z.strictObject({
  rate: bitRateField()
    .default('10mbit')
    .describe('The most that each chosen node sends to all other nodes together, in bits per second.'),
});

/** The chosen machines send slowly: packets wait in a short queue, and what finds it full is lost, as on a thin line. */
export const throttle: FaultKind<z.output<typeof params>> = {
  name: 'throttle',
  level: 'network',
  mechanism: 'rate',
  summary:
    'Limits the rate at which the chosen nodes send to other nodes, containers included; ssh to them stays as fast as it was.',
  params,
  needs: ['systemd', 'htb', 'ping'],
  death: 'slowness',
  targets: ['nodes'],
  instant: false,
  plan({ rate }, facts) {
    const { chosen, others } = sidesOf('throttle', facts);
    const bits = bitsPerSecond(rate);
    const witness = bits <= measurable ? others[0] : undefined;
    return chosen.map((node) => {
      const peers = facts.nodes.filter(({ name }) => name !== node.name);
      if (peers.length === 0) throw new RefusedError(`throttle: ${node.name} has no other node to send to`);
      const controller = ipv4('throttle', node.controllerAddress);
      const args = [controller, String(bits)];
      return {
        node: node.name,
        target: node.name,
        mechanism: 'rate',
        args: [...args, ...peers.map(({ address }) => ipv4('throttle', address))],
        ...(witness && { witness: { node: witness.name, args: [...args, ipv4('throttle', node.address)] } }),
      };
    });
  },
};
