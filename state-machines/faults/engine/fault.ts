import { z } from 'zod';
import type { FaultKind } from '../../contract.ts';
import { nodeNames } from '../aimed-at-nodes.ts';

const params = z.strictObject({});

/**
 * The chosen machines lose their engine, and with it every container; the machines themselves go on. It lasts 18 s at
 * least, whatever the hold: common.sh says why.
 */
export const stopEngine: FaultKind<z.output<typeof params>> = {
  name: 'stopEngine',
  level: 'state',
  mechanism: 'engine',
  summary:
    'Stops the Docker engine of the chosen nodes and the socket that would start it again; its containers end with it.',
  params,
  needs: ['systemd', 'docker-unit'],
  death: 'crash',
  targets: ['nodes'],
  instant: false,
  plan(_params, { targets }) {
    return nodeNames(stopEngine, targets).map((node) => ({
      ...{ node, target: node, mechanism: 'engine', args: [] },
    }));
  },
};
