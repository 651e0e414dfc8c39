import { z } from 'zod';
import { type FaultKind, RefusedError } from '../../contract.ts';
import { changingManager, nodeNames } from '../aimed-at-nodes.ts';

const params = z.strictObject({});

/** The chosen machines are drained: their tasks end in good order and go where else they may. */
export const drainNode: FaultKind<z.output<typeof params>> = {
  name: 'drainNode',
  level: 'state',
  mechanism: 'availability',
  summary:
    'Sets the availability of the chosen nodes to drain, so that the swarm ends their tasks, and then back to what it was.',
  params,
  needs: ['systemd'],
  death: 'crash',
  through: 'swarm',
  targets: ['nodes'],
  instant: false,
  plan(_params, { targets, nodes }) {
    const names = nodeNames(drainNode, targets);
    const manager = changingManager(nodes, names);
    return names.map((target) => {
      const member = nodes.find(({ name }) => name === target)?.swarm;
      if (!member) throw new RefusedError(`the swarm does not list ${target}`);
      return { node: manager, target, mechanism: 'availability', args: [member.id] };
    });
  },
};
