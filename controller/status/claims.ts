import { type Claims, RefusedError } from '../../state-machines/contract.ts';

/** The claims as a plan sees them, before it asks for its own. */
export interface TargetClaims extends Claims {
  /** What stands in the way of that owner's claim on these targets, one sentence each. */
  conflicts(owner: string, targets: readonly string[]): readonly string[];
}

/**
 * The claims of one cluster, in memory: a new process finds no run to respect, it heals what was left. A target has one
 * owner, and so has what it is a part of; across processes the lock on the node keeps two faults apart.
 * `released` is called with what became free, so that its reconcile need not wait for the next resync.
 */
export function createClaims(released: (targets: readonly string[]) => void = () => {}): TargetClaims {
  const held = new Map<string, Set<string>>();
  const heldBy = (target: string) =>
    [...held].find(([, theirs]) => [...theirs].some((one) => overlap(one, target)))?.[0];
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
    hold(owner, targets) {
      const reasons = conflicts(owner, targets);
      if (reasons.length > 0) throw new RefusedError(reasons);
      held.set(owner, new Set([...(held.get(owner) ?? []), ...targets]));
    },
    release(owner) {
      const targets = [...(held.get(owner) ?? [])];
      held.delete(owner);
      if (targets.length > 0) released(targets);
    },
  };
}

/** A task of a service on a node, `node4/streaming_kafka`, is a part of both. */
function overlap(one: string, other: string): boolean {
  return one === other || one.split('/').includes(other) || other.split('/').includes(one);
}
