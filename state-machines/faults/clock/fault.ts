import { z } from 'zod';
import { checked } from '../../../crds/exactly-one.ts';
import { formatDuration, parseDuration } from '../../../crds/parse-duration.ts';
import type { FaultKind } from '../../contract.ts';
import { nodeNames } from '../aimed-at-nodes.ts';

/** The certificates of a swarm are dated back by an hour: before that, they are not valid yet. */
const mostMs = 3_600_000;
/** By how much check.sh has to see a clock off, and how soon a drift has to be there: an effect may take 20 s to show. */
const [leastSeenMs, seenWithinMs] = [250, 15_000];

const params = checked(
  z.strictObject({
    offset: spanField(/^-?[1-9]\d{0,3}[smh]$/, 'such as 30s or -5m')
      .default('30s')
      .describe('By how much the clock is put ahead, or back with a minus sign: 30s, -5m.'),
    over: spanField(/^[1-9]\d{0,3}[smh]$/, 'such as 30s or 5m')
      .exactOptional()
      .describe(
        'The offset builds up evenly over this time, as that of a clock that drifts, instead of in one step; a minute at most for each second of the offset. A shorter hold ends it on the way.',
      ),
  }),
  ({ offset, over }, report) => {
    const [asked, timeMs] = [spanMs(offset), spanMs(over)];
    if (asked === undefined || timeMs === undefined) return;
    const longestMs = (Math.abs(asked) * seenWithinMs) / leastSeenMs;
    if (timeMs > longestMs)
      report(
        ['over'],
        `expected at most ${formatDuration(longestMs)} for an offset of ${String(offset)}, got ${String(over)}: ` +
          `a slower drift is not seen in time (${leastSeenMs} ms within ${seenWithinMs / 1000} s)`,
      );
  },
);

/**
 * The chosen machines' clocks are wrong by an offset, in one step or bit by bit, and right again in one step, whatever time
 * has gone by.
 */
export const clockSkew: FaultKind<z.output<typeof params>> = {
  name: 'clockSkew',
  level: 'resource',
  mechanism: 'clock',
  summary:
    'Steps the clock of the chosen nodes, or lets it drift, and stops what keeps it; then steps it back. Refused where machines share a kernel.',
  params,
  needs: ['systemd', 'own-clock'],
  death: 'silence',
  targets: ['nodes'],
  instant: false,
  plan({ offset, over }, { targets }) {
    const args = [offset, over].flatMap((span) => spanMs(span) ?? []).map(String);
    return nodeNames(clockSkew, targets).map((node) => ({
      ...{ node, target: node, mechanism: 'clock', args },
    }));
  },
};

/** Text of that form, refused in words. */
function spanField(pattern: RegExp, examples: string): z.ZodString {
  const error = `expected a duration of whole seconds, minutes or hours, to 1h, ${examples}`;
  return z
    .string()
    .regex(pattern, { error, abort: true })
    .refine((text) => spanMs(text) !== undefined, error);
}

/** Of a time that a field accepts, negative with a minus sign; undefined for anything else. */
function spanMs(value: unknown): number | undefined {
  if (typeof value !== 'string' || !/^-?[1-9]\d{0,3}[smh]$/.test(value)) return undefined;
  const ms = value.startsWith('-') ? -parseDuration(value.slice(1)) : parseDuration(value);
  return Math.abs(ms) <= mostMs ? ms : undefined;
}
