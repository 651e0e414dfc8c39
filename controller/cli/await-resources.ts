import type { Condition } from '../../crds/status.ts';
import { systemClock } from '../clock.ts';
import type { StoredResource } from '../source/resource-store.ts';
import { findCondition, isTrue } from '../status/conditions.ts';
import type { StatusStores } from '../status/status-stores.ts';

/** How one resource ended, or that it has not yet. */
export interface ResourceEnd {
  readonly key: string;
  readonly state: 'done' | 'failed' | 'pending';
  /** What its status says, for people. */
  readonly message: string;
}

const pollMs = 250;

/**
 * Waits until each resource is done: a cluster Ready, a schedule Complete, in the generation at hand. A schedule that
 * was refused or aborted, and anything Stalled, has failed. `tell` gets the message of whatever is awaited, when it changes.
 */
export async function awaitResources(
  resources: readonly StoredResource[],
  statuses: StatusStores,
  tell: (line: string) => void,
  signal: AbortSignal,
): Promise<readonly ResourceEnd[]> {
  const told = new Map<string, string>();
  for (;;) {
    const ends = await Promise.all(resources.map((resource) => look(resource, statuses)));
    for (const { key, state, message } of ends) {
      if (told.get(key) === message) continue;
      told.set(key, message);
      if (message !== '') tell(`${key} ${state === 'pending' ? 'is awaited' : state}: ${message}`);
    }
    if (ends.every(({ state }) => state !== 'pending')) return ends;
    await systemClock.sleep(pollMs, signal);
  }
}

async function look(
  { key, kind, name, generation }: StoredResource,
  { clusters, schedules }: StatusStores,
): Promise<ResourceEnd> {
  const { status } = await (kind === 'ClusterSpec' ? clusters : schedules).read(name);
  const conditions: readonly Condition[] = status?.conditions ?? [];
  const about = (type: 'Ready' | 'Complete' | 'Stalled' | 'Active') => findCondition(conditions, type);
  if (isTrue(conditions, 'Stalled', generation))
    return { key, state: 'failed', message: about('Stalled')?.message ?? '' };
  if (kind === 'ClusterSpec') {
    const state = isTrue(conditions, 'Ready', generation) ? 'done' : 'pending';
    return { key, state, message: about('Ready')?.message ?? '' };
  }
  if (!isTrue(conditions, 'Complete', generation))
    return { key, state: 'pending', message: about('Active')?.message ?? '' };
  const complete = about('Complete');
  return {
    key,
    state: complete?.reason === 'Finished' ? 'done' : 'failed',
    message: complete?.message ?? '',
  };
}
