import { type Target, targetName } from '../../state-machines/contract.ts';
import type { Inventory } from './select-targets.ts';

/** What a schedule may allow knowingly. */
export interface Permissions {
  readonly allowQuorumLoss: boolean;
  readonly allowMeasurementNodes: boolean;
}

/** Services that a fault may not stop, nor hit the node of: they produce and judge the measurement. */
const measuringServices = ['generator', 'kafka', 'observer'];

/**
 * Reasons to refuse a run before anything is touched; empty when it may go on. A container-scoped fault may share a
 * node with the measuring services, a node-wide one may not.
 */
export function guardRun(
  targets: readonly Target[],
  inventory: Inventory,
  permissions: Permissions,
): readonly string[] {
  const namesOf = (kind: Target['kind']) =>
    new Set(targets.filter((target) => target.kind === kind).map(targetName));
  const nodes = namesOf('node');
  return [
    ...(permissions.allowMeasurementNodes
      ? []
      : [...measuringAmong(namesOf('service')), ...measurementNodes(nodes, inventory)]),
    ...(permissions.allowQuorumLoss ? [] : lostQuorum(nodes, inventory)),
  ];
}

function measuringAmong(services: ReadonlySet<string>): string[] {
  return [...services]
    .filter(isMeasuring)
    .map((name) => `${name} is what the measurement depends on (allowMeasurementNodes: true permits it)`);
}

function isMeasuring(service: string): boolean {
  return measuringServices.some((name) => service.endsWith(`_${name}`));
}

function measurementNodes(nodes: ReadonlySet<string>, inventory: Inventory): string[] {
  return inventory.services
    .filter(({ name }) => isMeasuring(name))
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
