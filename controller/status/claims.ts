import { type Claims, RefusedError } from '../../state-machines/contract.ts';

/** The claims as a plan sees them, before it asks for its own. */
export interface TargetClaims extends Claims {
  /** What stands in the way of that owner's claim on these targets, one sentence each. */
  conflicts(owner: string, targets: readonly string[]): readonly string[];
  /** The owner for whom the reconciler makes this node anew, if any. */
  madeAnewFor(target: string): string | undefined;
}

/**
 * The claims of one cluster, in memory: a new process finds no run to respect, it heals what was left. A target has one
 * owner, and so has what it is a part of; across processes the lock on the node keeps two faults apart.
 * `released` is called with what became free, so that its reconcile need not wait for the next resync.
 */
export function createClaims(released: (targets: readonly string[]) => void = () => {}): TargetClaims {
  const held = new Map<string, Set<string>>();
  /** Of these, what is made anew meanwhile. */
  const anew = new Map<string, readonly string[]>();
  const isAnew = (owner: string, target: string) => anew.get(owner)?.includes(target) === true;
  const heldBy = (target: string) =>
    [...held].find(([owner, theirs]) =>
      [...theirs].some((one) => overlap(one, target) && !isAnew(owner, one)),
    )?.[0];
  const conflicts = (owner: string, targets: readonly string[]) =>
    [...held]
      .filter(([other]) => other !== owner)
      .flatMap(([other, theirs]) =>
        targets.flatMap((target) =>
          [...theirs].filter((one) => overlap(one, target)).map((one) => `${one} is held by ${other}`),
        ),
      );
  return {
    heldBy,
    conflicts,
    madeAnewFor: (target) => [...held.keys()].find((owner) => isAnew(owner, target)),
    hold(owner, targets, madeAnew = []) {
      const reasons = conflicts(owner, targets);
      if (reasons.length > 0) throw new RefusedError(reasons);
      held.set(owner, new Set([...(held.get(owner) ?? []), ...targets]));
      anew.set(owner, [...(anew.get(owner) ?? []), ...madeAnew]);
    },
    release(owner) {
      const targets = [...(held.get(owner) ?? [])];
      held.delete(owner);
      anew.delete(owner);
      if (targets.length > 0) released(targets);
    },
  };
}

/** A task of a service on a node, `node4/streaming_kafka`, is a part of both. */
function overlap(one: string, other: string): boolean {
  return one === other || one.split('/').includes(other) || other.split('/').includes(one);
}
