import type { Claims } from '../../state-machines/contract.ts';

/**
 * The claims of one cluster, in memory: a new process finds no run to respect, it heals what was left. Owners may
 * overlap (the lock on the node keeps two faults apart): a target is free when the last owner is gone.
 * `released` is called with what became free, so that its reconcile need not wait for the next resync.
 */
export function createClaims(released: (targets: readonly string[]) => void = () => {}): Claims {
  const held = new Map<string, Set<string>>();
  const heldBy = (target: string) => [...held].find(([, targets]) => targets.has(target))?.[0];
  return {
    heldBy,
    hold(owner, targets) {
      held.set(owner, new Set([...(held.get(owner) ?? []), ...targets]));
    },
    release(owner) {
      const targets = [...(held.get(owner) ?? [])];
      held.delete(owner);
      const free = targets.filter((target) => heldBy(target) === undefined);
      if (free.length > 0) released(free);
    },
  };
}
