import type { FaultKind, Target } from '../../state-machines/contract.ts';
import type { Inventory } from './select-targets.ts';

/** What a schedule may allow knowingly. */
export interface Permissions {
  readonly allowQuorumLoss: boolean;
  readonly allowMeasurementNodes: boolean;
}

/** Services whose node a node-wide fault may not hit: they produce and judge the measurement. */
const measuringServices = ['generator', 'kafka', 'observer'];

/**
 * Reasons to refuse a run before anything is touched; empty when it may go on. A container-scoped fault may share a
 * node with the measuring services, a node-wide one may not.
 */
export function guardRun(
  kind: Pick<FaultKind, 'name' | 'targets'>,
  targets: readonly Target[],
  inventory: Inventory,
  permissions: Permissions,
): readonly string[] {
  if (kind.targets === 'tasks') return [];
  const nodes = new Set(targets.map(({ node }) => node));
  return [
    ...(permissions.allowMeasurementNodes ? [] : measurementNodes(nodes, inventory)),
    ...(permissions.allowQuorumLoss ? [] : lostQuorum(nodes, inventory)),
  ];
}

function measurementNodes(nodes: ReadonlySet<string>, inventory: Inventory): string[] {
  return inventory.services
    .filter(({ name }) => measuringServices.some((service) => name.endsWith(`_${service}`)))
    .flatMap(({ name, tasks }) =>
      tasks
        .filter(({ node }) => nodes.has(node))
        .map(
          ({ node }) =>
            `${node} runs ${name}, which the measurement depends on (allowMeasurementNodes: true permits it)`,
        ),
    );
}

/** Raft needs more than half of the managers: with one or two of them, every one counts. */
function lostQuorum(nodes: ReadonlySet<string>, inventory: Inventory): string[] {
  const managers = inventory.nodes.filter(({ role }) => role === 'manager').map(({ name }) => name);
  const left = managers.filter((name) => !nodes.has(name)).length;
  if (left === managers.length || left > managers.length / 2) return [];
  return [
    `${left} of ${managers.length} swarm managers would be left: no quorum (allowQuorumLoss: true permits it)`,
  ];
}
