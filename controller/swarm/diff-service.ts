import { type Difference, diffTrees } from './diff-trees.ts';
import { normalService } from './normal-service.ts';
import type { LiveService, ServiceSpec } from './swarm-types.ts';

/**
 * Every field in which the live service is not as wanted; empty after the engine took the wanted spec as it is.
 * A digest or version that someone resolved into the image counts only when a digest is wanted.
 * @param networkNames names by id of the swarm's networks, since the engine replaces the names it was given
 */
export function diffService(
  want: ServiceSpec,
  have: ServiceSpec,
  networkNames: ReadonlyMap<string, string>,
): readonly Difference[] {
  const digestWanted = want.TaskTemplate.ContainerSpec.Image.includes('@');
  const seen = digestWanted ? have : withoutDigest(have);
  return diffTrees(normalService(want, new Map()), normalService(seen, networkNames));
}

/** True when an update cannot bridge the difference: the engine refuses to change a service's mode. */
export function needsReplacement(want: ServiceSpec, have: ServiceSpec): boolean {
  return modeOf(want) !== modeOf(have);
}

/** `Replicated`, `Global`, `ReplicatedJob` or `GlobalJob`. */
const modeOf = ({ Mode }: ServiceSpec): string => Object.keys(Mode).join();

function withoutDigest(spec: ServiceSpec): ServiceSpec {
  const { ContainerSpec } = spec.TaskTemplate;
  const Image = ContainerSpec.Image.split('@', 1)[0] ?? '';
  return { ...spec, TaskTemplate: { ...spec.TaskTemplate, ContainerSpec: { ...ContainerSpec, Image } } };
}

interface Remembered {
  readonly live: string;
  readonly networks: string;
  readonly differences: readonly Difference[];
}

/** In which fields a live service is not as wanted. */
export type DiffLive = (
  want: ServiceSpec,
  live: LiveService,
  networkNames: ReadonlyMap<string, string>,
) => readonly Difference[];

/** How often the same fields are written before it is taken that they cannot be. */
const maxWrites = 2;

/**
 * Fields that were written and found as before: an engine drops in silence what it is too old for, and writing it over and
 * over would cost each service its way back.
 */
export class UnkeptFields {
  readonly #tried = new Map<string, { readonly said: string; readonly count: number }>();

  /** To be told of each write that was done. */
  wrote({ Name }: ServiceSpec, differences: readonly Difference[]): void {
    const said = JSON.stringify(differences);
    const before = this.#tried.get(Name);
    this.#tried.set(Name, { said, count: before?.said === said ? before.count + 1 : 1 });
  }

  /** Whether writing these was tried often enough. */
  has({ Name }: ServiceSpec, differences: readonly Difference[]): boolean {
    const tried = this.#tried.get(Name);
    return tried?.said === JSON.stringify(differences) && tried.count >= maxWrites;
  }

  /** Forgets the services that did not differ when they were last looked at: in them the write has held. */
  forgetOthers(differing: ReadonlySet<string>): void {
    for (const name of this.#tried.keys()) if (!differing.has(name)) this.#tried.delete(name);
  }
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
    const differences = diffService(want, live.Spec, networkNames);
    memory.set(want, { ...seen, differences });
    return differences;
  };
}
