import { type Facts, type NodeFacts, RefusedError } from '../contract.ts';

/** The nodes that a network fault is aimed at, and the rest of the cluster. Throws RefusedError for tasks. */
export function sidesOf(
  kind: string,
  { targets, nodes }: Facts,
): { readonly chosen: readonly NodeFacts[]; readonly others: readonly NodeFacts[] } {
  const task = targets.find((target) => target.kind === 'task');
  if (task) throw new RefusedError(`${kind} aims at nodes, not at ${task.service}`);
  const names = new Set(targets.map(({ node }) => node));
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
