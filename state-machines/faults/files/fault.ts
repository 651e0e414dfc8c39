import { z } from 'zod';
import { type FaultKind, RefusedError } from '../../contract.ts';
import { nodeNames } from '../aimed-at-nodes.ts';

/** Below these, and not these themselves: what a system needs to run lies elsewhere. */
const roots = [
  '/var/lib/spark-failures/checkpoint',
  '/mnt',
  '/srv',
  '/data',
  '/media',
  '/home',
  '/opt',
  '/tmp',
];
/** No part of a path leads up: at most one dot at its beginning. */
const pathPattern = new RegExp(`^(${roots.join('|')})(/\\.?[\\w-][\\w.-]*)+$`);

const params = z.strictObject({
  path: z
    .string()
    .max(200)
    .regex(pathPattern, `expected a folder below one of ${roots.join(', ')}`)
    .default('/var/lib/spark-failures/checkpoint/job')
    .describe(
      "The job's checkpoint as the chosen node sees it: it has the files metadata, offsets, commits.",
    ),
  parts: z
    .array(z.enum(['metadata', 'offsets', 'commits', 'sources', 'state']))
    .min(1)
    .default(['state'])
    .describe(
      'Which of its parts lose files. A job that runs writes its logs on, offsets and commits: it misses none.',
    ),
  newest: z
    .int()
    .min(1)
    .max(1000)
    .exactOptional()
    .describe(
      'Of each part only the files of so many newest batches or versions; all of its files when absent.',
    ),
  how: z
    .enum(['move', 'truncate'])
    .default('move')
    .describe('move: the files are gone; truncate: they are empty.'),
  restore: z
    .boolean()
    .default(true)
    .describe(
      'Whether they are put back at the end of the hold (none of them, if the job has written one anew) or gone for good.',
    ),
});

/**
 * The chosen node's checkpoint folder loses files. Where nodes share the folder one of them is enough, and a second is
 * refused. A running job does not read its checkpoint: it notices when it is started anew, as by killContainer.
 */
export const loseCheckpoint: FaultKind<z.output<typeof params>> = {
  name: 'loseCheckpoint',
  level: 'state',
  mechanism: 'files',
  summary:
    'Takes files of a streaming checkpoint away, or their content; a running job notices when it is started anew: add killContainer.',
  params,
  needs: ['systemd'],
  // Whoever reads it fails at once; no timer waits for it.
  death: 'crash',
  targets: ['nodes'],
  instant: false,
  plan({ path, parts, newest = 'all', how, restore }, { targets, checkpoint }) {
    if (checkpoint !== undefined && checkpoint !== 'path')
      throw new RefusedError(
        `loseCheckpoint: the job keeps its checkpoint in ${checkpoint === 'hdfs' ? 'HDFS' : 'a bucket'}, no node has it as a folder (with checkpoint: { path: {} } all have)`,
      );
    const args = [path, how, String(newest), restore ? 'restore' : 'leave', ...new Set(parts)];
    return nodeNames(loseCheckpoint, targets).map((node) => ({
      ...{ node, target: node, mechanism: 'files', args },
    }));
  },
};
