import { diffService } from '../swarm/diff-service.ts';
import type { Difference } from '../swarm/difference.ts';
import type { LiveService, ServiceSpec } from '../swarm/swarm-types.ts';

/** In which fields a live service is not as wanted. */
export type DiffLive = (
  want: ServiceSpec,
  live: LiveService,
  networkNames: ReadonlyMap<string, string>,
) => readonly Difference[];

/** Compares each time anew. */
export const diffLive: DiffLive = (want, live, networkNames) => diffService(want, live.Spec, networkNames);

interface Remembered {
  readonly live: string;
  readonly networks: string;
  readonly differences: readonly Difference[];
}

/**
 * Compares only when either side is another than last time: with a hundred services, comparing is most of what a pass
 * with nothing to do costs. The swarm's version moves with every change of an object, and the loader of stacks gives
 * the very same spec as long as its files are the same.
 */
export function rememberingDiff(): DiffLive {
  const memory = new WeakMap<ServiceSpec, Remembered>();
  return (want, live, networkNames) => {
    const seen = { live: `${live.ID} ${live.Version.Index}`, networks: [...networkNames].join() };
    const last = memory.get(want);
    if (last && last.live === seen.live && last.networks === seen.networks) return last.differences;
    const differences = diffLive(want, live, networkNames);
    memory.set(want, { ...seen, differences });
    return differences;
  };
}
