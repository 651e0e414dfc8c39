import { z } from 'zod';
import { type FaultKind, RefusedError, type Target, targetName } from '../../contract.ts';
import { changingManager } from '../aimed-at-nodes.ts';

const params = z.strictObject({});

/** The chosen services have no task at all for a while, on any machine. */
export const stopService: FaultKind<z.output<typeof params>> = {
  name: 'stopService',
  level: 'state',
  mechanism: 'scale',
  summary: 'Scales the chosen services to no replica at all, and then back to the number that they had.',
  params,
  needs: ['systemd'],
  death: 'crash',
  through: 'swarm',
  targets: ['services'],
  instant: false,
  plan(_params, { targets, nodes }) {
    const manager = changingManager(nodes);
    return targets.map((target) => ({
      ...{ node: manager, target: targetName(target), mechanism: 'scale', args: [scalableId(target)] },
    }));
  },
};

function scalableId(target: Target): string {
  const name = targetName(target);
  if (target.kind !== 'service') throw new RefusedError(`stopService is aimed at services, not at ${name}`);
  if (!target.replicated) throw new RefusedError(`${name} is no replicated service: it cannot be scaled`);
  return target.serviceId;
}
