import type { Condition } from '../../crds/status.ts';
import { systemClock } from '../clock.ts';
import type { Operator } from '../operator.ts';
import { isRunOf } from '../schedule/schedule-reconciler.ts';
import type { StoredResource } from '../source/resource-store.ts';
import { findCondition, isTrue } from '../status/conditions.ts';
import type { ExitCode } from './cli-context.ts';

/** How one resource ended, or that it has not yet. */
export interface ResourceEnd {
  readonly key: string;
  readonly state: 'done' | 'failed' | 'pending';
  /** What its status says, for people. */
  readonly message: string;
}

/** 0 when all there was is done. */
export function exitCodeOf(ends: readonly ResourceEnd[]): ExitCode {
  return ends.length > 0 && ends.every(({ state }) => state === 'done') ? 0 : 1;
}

const pollMs = 250;

/**
 * Waits until each resource is done: a cluster Ready, a schedule Complete, in the generation at hand. A schedule that
 * was refused or aborted, anything Stalled or suspended, and what another operator looks after, has failed. `tell` gets the
 * message of whatever is awaited, when it changes.
 */
export function awaitResources(
  resources: readonly StoredResource[],
  operator: Pick<Operator, 'acting' | 'clusters' | 'statuses'>,
  tell: (line: string) => void,
  signal: AbortSignal,
): Promise<readonly ResourceEnd[]> {
  return awaitEnds(resources, (resource) => look(resource, operator), tell, signal);
}

/** Waits until what `look` says of each resource is not pending any more. */
export async function awaitEnds(
  resources: readonly StoredResource[],
  look: (resource: StoredResource) => Promise<ResourceEnd>,
  tell: (line: string) => void,
  signal: AbortSignal,
): Promise<readonly ResourceEnd[]> {
  const told = new Map<string, string>();
  for (;;) {
    const ends = await Promise.all(resources.map(look));
    for (const { key, state, message } of ends) {
      if (told.get(key) === message) continue;
      told.set(key, message);
      if (message !== '') tell(`${key} ${state === 'pending' ? 'is awaited' : state}: ${message}`);
    }
    if (ends.every(({ state }) => state !== 'pending')) return ends;
    await systemClock.sleep(pollMs, signal);
  }
}

/** It does not go on pending when another operator leads the cluster: that one has manifests of its own. */
export function leftToLeader(end: ResourceEnd, cluster: string, acting: Operator['acting']): ResourceEnd {
  const hindrance = acting.leader(cluster) && acting.hindrance(cluster);
  if (end.state !== 'pending' || hindrance === undefined) return end;
  const message = `left to ${hindrance}: change what that one reads, or end it`;
  return { key: end.key, state: 'failed', message };
}

async function look(
  stored: StoredResource,
  { acting, clusters, statuses }: Pick<Operator, 'acting' | 'clusters' | 'statuses'>,
): Promise<ResourceEnd> {
  const { key, name, generation, resource } = stored;
  if (resource?.kind !== 'FaultSchedule') {
    const { status } = await statuses.clusters.read(name);
    // What was saved before this process looked is history.
    const conditions = clusters.hasPassed(name, generation) ? status?.conditions : undefined;
    return leftToLeader(endOf(key, conditions ?? [], 'Ready', generation), name, acting);
  }
  const { status } = await statuses.schedules.read(name);
  // A run that ended before this one was asked for says nothing about it.
  const conditions = isRunOf(status?.runKey, stored, resource) ? status?.conditions : undefined;
  const end = endOf(key, conditions ?? [], 'Complete', generation);
  return leftToLeader(end, resource.spec.clusterRef.name, acting);
}

function endOf(
  key: string,
  conditions: readonly Condition[],
  goal: 'Ready' | 'Complete',
  generation: number,
): ResourceEnd {
  const messageOf = (type: 'Ready' | 'Complete' | 'Stalled' | 'Active') =>
    findCondition(conditions, type)?.message ?? '';
  if (isTrue(conditions, 'Stalled', generation))
    return { key, state: 'failed', message: messageOf('Stalled') };
  if (isTrue(conditions, goal, generation)) {
    const failed = goal === 'Complete' && findCondition(conditions, goal)?.reason !== 'Finished';
    return { key, state: failed ? 'failed' : 'done', message: messageOf(goal) };
  }
  const ready = findCondition(conditions, 'Ready');
  if (ready?.reason === 'Suspended' && ready.observedGeneration >= generation)
    return { key, state: 'failed', message: `suspended: ${ready.message}` };
  return { key, state: 'pending', message: messageOf(goal === 'Ready' ? 'Ready' : 'Active') };
}
