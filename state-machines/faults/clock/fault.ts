import { z } from 'zod';
import { parseDuration } from '../../../crds/parse-duration.ts';
import type { FaultKind } from '../../contract.ts';
import { nodeNames } from '../aimed-at-nodes.ts';

const expected = 'expected a duration of whole seconds, minutes or hours, to 1h, such as 30s or -5m';
/** The certificates of a swarm are dated back by an hour: before that, they are not valid yet. */
const mostMs = 3_600_000;

const params = z.strictObject({
  offset: z
    .string()
    .regex(/^-?[1-9]\d{0,3}[smh]$/, { error: expected, abort: true })
    .refine((offset) => Math.abs(offsetMs(offset)) <= mostMs, expected)
    .default('30s')
    .describe('By how much the clock is stepped ahead, or back with a minus sign: 30s, -5m.'),
});

/** The chosen machines' clocks are wrong by an offset, in one step, and right again in another, whatever time has gone by. */
export const clockSkew: FaultKind<z.output<typeof params>> = {
  name: 'clockSkew',
  level: 'resource',
  mechanism: 'clock',
  summary:
    'Steps the clock of the chosen nodes and stops what keeps it; then steps it back. Refused where machines share a kernel.',
  params,
  needs: ['systemd', 'own-clock'],
  death: 'silence',
  targets: ['nodes'],
  instant: false,
  plan({ offset }, { targets }) {
    const args = [String(offsetMs(offset))];
    return nodeNames(clockSkew, targets).map((node) => ({
      ...{ node, target: node, mechanism: 'clock', args },
    }));
  },
};

function offsetMs(text: string): number {
  return text.startsWith('-') ? -parseDuration(text.slice(1)) : parseDuration(text);
}
