import type { ClusterStatus } from '../../crds/status.ts';
import type { StoredResource } from '../source/resource-store.ts';
import { removeCondition, setCondition } from './conditions.ts';

type Sourced = Pick<ClusterStatus, 'conditions' | 'source'>;

/** The status with what is known of the manifest's repository; of a manifest from a folder nothing is. */
export function withSource<S extends Sourced>(status: S, stored: StoredResource, nowMs: number): S {
  const { source, file, generation: observedGeneration } = stored;
  if (!source) {
    // As long as this process has read nothing, what an earlier one told stays.
    if (file === undefined || status.source === undefined) return status;
    const { source: _, ...rest } = status;
    return { ...rest, conditions: removeCondition(status.conditions, 'SourceReady') } as S;
  }
  const { commit, attempted, trouble } = source;
  const told = { ...status.source, ...commit, ...(attempted && { lastAttemptedRevision: attempted }) };
  const statement = trouble
    ? ({ status: 'False', reason: trouble.reason, message: trouble.message } as const)
    : ({ status: 'True', reason: 'Fetched', message: attempted ?? '' } as const);
  const condition = { type: 'SourceReady', observedGeneration, ...statement } as const;
  return { ...status, source: told, conditions: setCondition(status.conditions, condition, nowMs) };
}

/** The status of one with which its commit has come into the world. */
export function withApplied<S extends Sourced>(status: S): S {
  const { source } = status;
  if (source?.revision === undefined) return status;
  return { ...status, source: { ...source, lastAppliedRevision: source.revision } };
}
