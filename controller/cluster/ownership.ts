import type { Inventory } from '../../crds/status.ts';
import { CLUSTER_LABEL, STACK_LABEL } from '../swarm/labels.ts';
import type { Labels } from '../swarm/swarm-types.ts';
import type { Step } from './cluster-plan.ts';
import type { DesiredCluster } from './desired-cluster.ts';
import type { ObservedCluster } from './observed-cluster.ts';
import type { PlanContext } from './plan-context.ts';

/** Whether an object in the swarm carries this cluster's labels. */
function isLabelled(labels: Labels | undefined, cluster: string): boolean {
  return labels?.[CLUSTER_LABEL] === cluster && labels[STACK_LABEL] !== undefined;
}

/** Whether an object may be removed: it carries our labels (which get copied) *and* the status lists it. */
export function isOurs(
  kind: keyof Inventory,
  name: string,
  labels: Labels | undefined,
  { desired, inventory }: Pick<PlanContext, 'desired' | 'inventory'>,
): boolean {
  return isLabelled(labels, desired.name) && (!inventory || inventory[kind].includes(name));
}

/** What carries our labels now: the inventory of a cluster whose status was never written, or was lost. */
function labelledInventory({ machines, swarm }: ObservedCluster, cluster: string): Inventory {
  const files = (
    list: readonly { readonly Spec: { readonly Name: string; readonly Labels: Labels } }[] = [],
  ) => list.filter(({ Spec }) => isLabelled(Spec.Labels, cluster)).map(({ Spec }) => Spec.Name);
  const networks = swarm?.networks.filter(({ Labels }) => isLabelled(Labels, cluster)) ?? [];
  return {
    nodes: machines.map(({ machine }) => machine.name),
    services: files(swarm?.services),
    networks: networks.map(({ Name }) => Name),
    configs: files(swarm?.configs),
    secrets: files(swarm?.secrets),
    stacks: [],
  };
}

/**
 * The inventory to be on the disk before a plan is carried out: what is listed, less what is no longer there, and what
 * the plan will make. Written ahead, so that a crash leaves nothing that nobody knows of.
 */
export function nextInventory(
  before: Inventory | undefined,
  observed: ObservedCluster,
  steps: readonly Step[],
  desired: DesiredCluster,
): Inventory {
  const there = labelledInventory(observed, desired.name);
  const made = plannedInventory(steps);
  const merge = (kind: keyof Inventory): string[] => {
    // Without a swarm to ask, what the list says of it stands.
    const unseen = kind !== 'nodes' && !observed.swarm;
    const kept = before ? before[kind].filter((name) => unseen || there[kind].includes(name)) : there[kind];
    return [...new Set([...kept, ...made[kind]])].sort();
  };
  return {
    nodes: merge('nodes'),
    services: merge('services'),
    networks: merge('networks'),
    configs: merge('configs'),
    secrets: merge('secrets'),
    stacks: desired.stacks.map(({ name }) => name).sort(),
  };
}

function plannedInventory(steps: readonly Step[]): Inventory {
  const targets = (...kinds: readonly Step['kind'][]) =>
    steps.filter(({ kind }) => kinds.includes(kind)).map(({ target }) => target);
  return {
    nodes: targets('create-machine'),
    services: targets('create-service', 'update-service'),
    networks: targets('create-network'),
    configs: targets('create-config'),
    secrets: targets('create-secret'),
    stacks: [],
  };
}
