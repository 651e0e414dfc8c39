import {
  type Facts,
  type FaultKind,
  type NodeFacts,
  RefusedError,
  type Target,
  targetName,
} from '../contract.ts';

/** The names of the nodes that a kind is aimed at; throws RefusedError for a target that is no node. */
export function nodeNames({ name }: Pick<FaultKind, 'name'>, targets: readonly Target[]): readonly string[] {
  return targets.map((target) => {
    if (target.kind !== 'node')
      throw new RefusedError(`${name} is aimed at nodes, not at ${targetName(target)}`);
    return target.node;
  });
}

/**
 * The manager on which the swarm is changed, and changed back: the first by name that is not itself `hurt`, or one that
 * is, when there is no other. Throws RefusedError when no manager is reached.
 */
export function changingManager(nodes: readonly NodeFacts[], hurt: readonly string[] = []): string {
  const managers = nodes.filter(({ swarm }) => swarm?.controls).map(({ name }) => name);
  const [first] = managers.sort((a, b) => Number(hurt.includes(a)) - Number(hurt.includes(b)) || order(a, b));
  if (first === undefined) throw new RefusedError('no manager of the swarm is reached, which could undo it');
  return first;
}

function order(a: string, b: string): number {
  return a < b ? -1 : 1;
}

/** The nodes that a network fault is aimed at, and the rest of the cluster. Throws RefusedError for other targets. */
export function sidesOf(
  kind: string,
  { targets, nodes }: Facts,
): { readonly chosen: readonly NodeFacts[]; readonly others: readonly NodeFacts[] } {
  const names = new Set(nodeNames({ name: kind }, targets));
  return {
    chosen: nodes.filter(({ name }) => names.has(name)),
    others: nodes.filter(({ name }) => !names.has(name)),
  };
}

/** What rules and probes are written for; throws RefusedError for anything else: half of a path would be a lie. */
export function ipv4(kind: string, address: string): string {
  if (!/^\d{1,3}(\.\d{1,3}){3}$/.test(address)) {
    throw new RefusedError(`${kind} needs IPv4 addresses, not "${address}"`);
  }
  return address;
}
