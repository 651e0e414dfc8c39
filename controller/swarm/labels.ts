/** The ClusterSpec that an object was made for. */
export const CLUSTER_LABEL = 'spark-failures.io/cluster';
/** A machine's name in the manifest: its identity in the swarm, whatever id it joined under. */
export const NODE_LABEL = 'spark-failures.io/node';
/** The stack that an object belongs to: what carries it, and only that, may be pruned. */
export const STACK_LABEL = 'spark-failures.io/stack';
/** Hash of the service as we last wanted it, so that a rolled-back revision can be told from an edit. */
export const SPEC_HASH_LABEL = 'spark-failures.io/spec-hash';
/** Hash of the checkpoint that the node has written to, read and removed from: a node that is made anew is without it. */
export const TRIED_LABEL = 'spark-failures.io/tried-checkpoint';
