import type { ClusterSpec } from '../../crds/cluster-spec.ts';
import type { Variables } from './interpolate.ts';

type Checkpoint = Pick<ClusterSpec['spec'], 'checkpoint'>;
type Stack = ClusterSpec['spec']['stacks'][number];

/** Where every node sees the folder of `checkpoint: { path: {} }`, and the job, too. */
const folder = '/var/lib/spark-failures/checkpoint';

/**
 * What compose files see of a cluster's checkpoint: where the job finds it (CHECKPOINT_DIR), and what is mounted for that
 * (CHECKPOINT_MOUNT, in short form). Nothing without one: a stack that asks for it is refused unless its `env` says it.
 */
export function checkpointVariables({ checkpoint }: Checkpoint): Variables {
  if (checkpoint?.path) return { CHECKPOINT_DIR: folder, CHECKPOINT_MOUNT: `${folder}:${folder}` };
  // The folder may not exist, and nobody is to reach one past the network: a volume is in its place.
  if (checkpoint?.hdfs)
    return {
      CHECKPOINT_DIR: 'hdfs://namenode:8020/checkpoint',
      CHECKPOINT_MOUNT: `no-checkpoint:${folder}`,
    };
  return {};
}

/** Its compose file, below the package's root. */
export const HDFS_COMPOSE = 'compose/streaming/hdfs.yaml';

/** The stack that a checkpoint is served by, if it is a service; `hdfsFile` is its compose file. */
export function checkpointStacks({ checkpoint }: Checkpoint, hdfsFile: string): readonly Stack[] {
  if (!checkpoint?.hdfs) return [];
  return [{ name: 'hdfs', compose: hdfsFile, env: { STREAMING_NETWORK: checkpoint.hdfs.network } }];
}

/** Its kind, and for people whether faults of the network reach it; nothing of one that the manifest does not name. */
export function describeCheckpoint({ checkpoint }: Checkpoint): { readonly checkpoint?: string } {
  if (checkpoint?.path) return { checkpoint: PATH_CHECKPOINT };
  return checkpoint?.hdfs ? { checkpoint: 'hdfs' } : {};
}

/** How records name a folder that every node sees. */
export const PATH_CHECKPOINT = 'path (not isolated)';
