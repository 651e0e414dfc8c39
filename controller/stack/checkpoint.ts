import type { ClusterSpec } from '../../crds/cluster-spec.ts';
import type { CheckpointKind } from '../../state-machines/contract.ts';
import type { ServiceSpec } from '../swarm/swarm-types.ts';
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
  if (checkpoint?.s3a)
    return {
      CHECKPOINT_DIR: `s3a://${checkpoint.s3a.bucket}/${checkpoint.s3a.prefix}`,
      CHECKPOINT_MOUNT: `no-checkpoint:${folder}`,
      CHECKPOINT_CONF: s3aSettings(checkpoint.s3a)
        .map(([key, value]) => `${key}=${value}`)
        .join(' '),
    };
  return {};
}

/**
 * Of Spark, for a checkpoint in S3: files appear there whole or not at all, and nothing is renamed; see "Integration with
 * Cloud Infrastructures" of Spark's documentation.
 */
function s3aSettings({
  endpoint,
  region,
  credentials = endpoint === undefined ? 'role' : 'none',
}: Omit<NonNullable<NonNullable<Checkpoint['checkpoint']>['s3a']>, 'bucket' | 'prefix'>) {
  const s3a = 'spark.hadoop.fs.s3a';
  const provider = { role: 'auth.IAMInstanceCredentialsProvider', none: 'AnonymousAWSCredentialsProvider' };
  return [
    [
      'spark.sql.streaming.checkpointFileManagerClass',
      'org.apache.spark.internal.io.cloud.AbortableStreamBasedCheckpointFileManager',
    ],
    [`${s3a}.aws.credentials.provider`, `org.apache.hadoop.fs.s3a.${provider[credentials]}`],
    ...(region === undefined ? [] : [[`${s3a}.endpoint.region`, region]]),
    ...(endpoint === undefined
      ? []
      : [
          [`${s3a}.endpoint`, endpoint],
          // Its name is looked at by nobody, and without one the client asks AWS for it.
          ...(region === undefined ? [[`${s3a}.endpoint.region`, 'us-east-1']] : []),
          [`${s3a}.path.style.access`, 'true'],
        ]),
  ] as const;
}

/** Its compose file, below the package's root. */
export const HDFS_COMPOSE = 'compose/streaming/hdfs.yaml';

/** The stack that a checkpoint is served by, if it is a service; `hdfsFile` is its compose file. */
export function checkpointStacks({ checkpoint }: Checkpoint, hdfsFile: string): readonly Stack[] {
  if (!checkpoint?.hdfs) return [];
  return [
    { name: 'hdfs', compose: hdfsFile, overrides: [], env: { STREAMING_NETWORK: checkpoint.hdfs.network } },
  ];
}

/** A checkpoint that each node has to reach by itself, over a network. */
export interface CheckpointStore {
  /** Where the job finds it. */
  readonly dir: string;
  /** What Spark is told of it: `key=value`, separated by spaces. */
  readonly conf: string;
  /** The network of the job, where the manifest says it. */
  readonly network?: string;
}

/** How tasks of the job use it: what a node is tried with before the job may be moved to it. */
export interface CheckpointUse extends CheckpointStore {
  readonly image: string;
  readonly network: string;
}

/** Nothing of a folder: who mounts it has it. */
export function checkpointStore(cluster: Checkpoint): CheckpointStore | undefined {
  const { CHECKPOINT_DIR: dir, CHECKPOINT_CONF: conf = '' } = checkpointVariables(cluster);
  if (dir === undefined || cluster.checkpoint?.path) return undefined;
  const { network } = cluster.checkpoint?.hdfs ?? {};
  return { dir, conf, ...(network !== undefined && { network }) };
}

/** How the service's tasks use it; nothing of a service that has no part in the checkpoint (CHECKPOINT_MOUNT). */
export function checkpointUse(
  store: CheckpointStore,
  { TaskTemplate: { ContainerSpec, Networks } }: ServiceSpec,
): CheckpointUse | undefined {
  if (!ContainerSpec.Mounts?.some(({ Target }) => Target === folder)) return undefined;
  return { network: Networks?.[0]?.Target ?? 'bridge', ...store, image: ContainerSpec.Image };
}

/** Its kind, and for people whether faults of the network reach it; nothing of one that the manifest does not name. */
export function describeCheckpoint(cluster: Checkpoint): { readonly checkpoint?: string } {
  return cluster.checkpoint?.path ? { checkpoint: PATH_CHECKPOINT } : checkpointKind(cluster);
}

/** Which of the three it is; nothing where a manifest names none. */
export function checkpointKind({ checkpoint }: Checkpoint): { readonly checkpoint?: CheckpointKind } {
  const [kind] = (['path', 'hdfs', 's3a'] as const).filter((each) => checkpoint?.[each] !== undefined);
  return kind ? { checkpoint: kind } : {};
}

/** How records name a folder that every node sees. */
export const PATH_CHECKPOINT = 'path (not isolated)';
