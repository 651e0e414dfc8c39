import { z } from 'zod';
import { checked } from '../../../crds/exactly-one.ts';
import { quantityBytes, quantityField } from '../../../crds/quantity.ts';
import type { FaultKind } from '../../contract.ts';
import { nodeNames } from '../aimed-at-nodes.ts';

const params = checked(
  z.strictObject({
    path: z
      .string()
      .max(200)
      .regex(/^\/[!-~]*$/, 'expected an absolute path of printable ASCII without blanks')
      .default('/var/lib/docker/volumes')
      .describe("A folder on the file system that is filled; that of the engine's volumes when absent."),
    percent: z
      .int()
      .min(1)
      .max(100)
      .exactOptional()
      .describe(
        'Fill it to this percentage, as df shows it; 100, also when neither is given, takes what is kept for root, too.',
      ),
    leave: quantityField()
      .exactOptional()
      .describe('Leave this much free, as df shows it, instead of a percentage: 64Mi, 1Gi.'),
  }),
  ({ percent, leave }, report) => {
    if (percent !== undefined && leave !== undefined)
      report(['leave'], 'only one of percent, leave may be given, and percent is');
  },
);

/** The chosen machines have no space left, or little, on one of their file systems. */
export const fillDisk: FaultKind<z.output<typeof params>> = {
  name: 'fillDisk',
  level: 'resource',
  mechanism: 'disk',
  summary:
    'Fills a file system of the chosen nodes, by default the one of their volumes, to a percentage or to what is left free.',
  params,
  needs: ['systemd', 'bounded-disk'],
  death: 'slowness',
  targets: ['nodes'],
  instant: false,
  plan({ path, percent = 100, leave }, { targets }) {
    const amount =
      leave === undefined ? ['percent', String(percent)] : ['leave', String(quantityBytes(leave))];
    return nodeNames(fillDisk, targets).map((node) => ({
      ...{ node, target: node, mechanism: 'disk', args: [path, ...amount] },
    }));
  },
};
