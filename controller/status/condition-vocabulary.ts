import type { StateError } from './state-error.ts';

/** Every condition type; a cluster has the first five, a schedule `Accepted`, `SourceReady`, `Active`, `Complete`, `Stalled`. */
const CONDITION_TYPES = [
  'Accepted', // the manifest as it is now was understood and is in force
  'SourceReady', // manifests from Git: the newest commit could be fetched, and may be taken
  'Ready', // cluster: everything it asks for runs
  'Reconciling', // work is in progress; absent when none is
  'Stalled', // no progress without help; absent when fine
  'Active', // schedule: a trial is running
  'Complete', // schedule: all its trials ended
] as const;

/** Every reason that a condition may give. Scripts and alerts match on these words: add, never rename. */
const CONDITION_REASONS = [
  // Accepted
  'Valid',
  'InvalidManifest', // the file has problems; the last good spec stays in force
  'ImpossibleTopology', // no manager, two provisioners, ...
  'ClusterNotFound', // clusterRef names nothing
  'TargetNotFound', // the target selects nothing that the cluster's manifest could ever run
  // SourceReady
  'Fetched',
  'FetchFailed', // the repository does not answer, or not as it should
  'AuthenticationFailed', // it does not let us in, or is not who it was
  'RefNotFound',
  'CommitNotVerified', // no signature, or not of a given key
  'HistoryRewritten', // with given keys only a commit that follows the one in force is taken
  'CommitRefused', // too big, a link out of it, or no manifest in it
  // Ready
  'Converged',
  'Progressing',
  'ProgressingWithRetry', // the last pass failed; it is tried again with backoff
  'ProvisionFailed',
  'NodeUnreachable',
  'EngineUnavailable',
  'SwarmUnavailable', // no manager answers, or there is no leader
  'JoinPending',
  'ImagesMissing', // not on a node yet, and not to be had from where we looked
  'StackRefused', // the compose file asks for what we do not support, or cannot be read
  'TasksNotRunning',
  'DependencyNotReady', // `depends_on`: the tasks of a service before it do not all run yet
  'RolloutFailed', // the engine paused or undid a service's update: this revision is not applied again
  'ReplacementNeeded', // differs where nothing can be changed in place, and may not be made anew
  'ComposeWarning', // a compose file says what has no effect in a swarm
  'FieldNotKept', // written, and found as before: an engine that is too old for it, or somebody who insists
  'NamesUnresolved', // a node does not resolve a service's name, and a forced update of it does not help
  'CheckpointUnreachable', // a node on which the job may run cannot write, read and remove there
  'DriftReported', // `drift: report`: the world differs and is left so
  'NotLeading', // another operator acts on it
  'HeldByTrial', // differs where a trial holds it; left alone until the trial ends
  'PruneRefused', // what would be removed looks like a mistake in a file
  'Suspended', // `suspend: true`: looked at, and left as it is
  'Deleting',
  // Stalled
  'StateDirectoryFull',
  'StateDirectoryUnwritable',
  'StatusUnreadable', // a status file is torn or foreign: what was done before is unknown
  'FaultNotHealed', // Stuck or Unknown: an orphaned fault
  'TrialFailed',
  // Active, Complete
  'Waiting', // for its time, or for a quiet gap
  'WaitingForCluster',
  'WaitingForLease', // another operator may act on its cluster
  'Running',
  'Healing',
  'Idle',
  'Finished',
  'Aborted',
  'RunElsewhere', // another operator has begun it, and has its records
  'Refused', // a guard said no: nothing was injected
] as const;

/** Why nothing goes on while the state directory cannot be written. */
export function stateReason({ code }: StateError): ConditionReason {
  return code === 'STATE_FULL' ? 'StateDirectoryFull' : 'StateDirectoryUnwritable';
}

export type ConditionType = (typeof CONDITION_TYPES)[number];
export type ConditionReason = (typeof CONDITION_REASONS)[number];
