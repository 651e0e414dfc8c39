import type { Inventory } from '../../crds/status.ts';
import { CLUSTER_LABEL, STACK_LABEL } from '../swarm/labels.ts';
import type { Labels } from '../swarm/swarm-types.ts';
import type { Step, StepKind } from './cluster-plan.ts';
import type { DesiredCluster, ObservedCluster, ObservedSwarm, PlanContext } from './plan-context.ts';

/** What a stack is made of, by the word for it in inventories and listings. */
export type ObjectKind = 'services' | 'networks' | 'configs' | 'secrets';

/** An object in the swarm, whatever its kind: the engine spells networks otherwise than the rest. */
interface SwarmObject {
  readonly id: string;
  readonly name: string;
  readonly labels: Labels | undefined;
  /** Not told of networks. */
  readonly createdAt: string;
}

export function objectsOf(swarm: ObservedSwarm | undefined, kind: ObjectKind): readonly SwarmObject[] {
  if (kind === 'networks')
    return (swarm?.networks ?? []).map(({ Id, Name, Labels }) => {
      return { id: Id, name: Name, labels: Labels, createdAt: '' };
    });
  return (swarm?.[kind] ?? []).map(({ ID, CreatedAt, Spec }) => {
    return { id: ID, name: Spec.Name, labels: Spec.Labels, createdAt: CreatedAt };
  });
}

/** Whether it carries the label of this cluster; what may be *removed* needs more (`ownObjects`). */
export const isOwned = (labels: Labels | undefined, { desired }: PlanContext): boolean =>
  labels?.[CLUSTER_LABEL] === desired.name;

/** Those that carry this cluster's labels. */
function labelledObjects(swarm: ObservedSwarm | undefined, kind: ObjectKind, cluster: string) {
  return objectsOf(swarm, kind).filter(
    ({ labels }) => labels?.[CLUSTER_LABEL] === cluster && labels[STACK_LABEL] !== undefined,
  );
}

/** Those that may be removed: they carry our labels (which get copied) *and* the status lists them. */
export function ownObjects(
  kind: ObjectKind,
  { desired, observed, inventory }: PlanContext,
): readonly SwarmObject[] {
  const labelled = labelledObjects(observed.swarm, kind, desired.name);
  return labelled.filter(({ name }) => !inventory || inventory[kind].includes(name));
}

const makers: Readonly<Record<'nodes' | ObjectKind, readonly StepKind[]>> = {
  nodes: ['create-machine'],
  services: ['create-service', 'update-service'],
  networks: ['create-network'],
  configs: ['create-config'],
  secrets: ['create-secret'],
};

/**
 * The inventory to be on the disk before a plan is carried out: what is listed (without a list, what carries our labels),
 * less what is no longer there, and what the plan will make. Written ahead, so that a crash leaves nothing that nobody
 * knows of.
 */
export function nextInventory(
  before: Inventory | undefined,
  { machines, swarm }: ObservedCluster,
  steps: readonly Step[],
  desired: DesiredCluster,
): Inventory {
  const merge = (kind: 'nodes' | ObjectKind, there: readonly string[]): string[] => {
    // Without a swarm to ask, what the list says of it stands.
    const unseen = kind !== 'nodes' && !swarm;
    const kept = before ? before[kind].filter((name) => unseen || there.includes(name)) : there;
    const made = steps.filter((step) => makers[kind].includes(step.kind)).map(({ target }) => target);
    return [...new Set([...kept, ...made])].sort();
  };
  const objects = (kind: ObjectKind) =>
    merge(
      kind,
      labelledObjects(swarm, kind, desired.name).map(({ name }) => name),
    );
  return {
    nodes: merge(
      'nodes',
      machines.map(({ machine }) => machine.name),
    ),
    services: objects('services'),
    networks: objects('networks'),
    configs: objects('configs'),
    secrets: objects('secrets'),
    stacks: desired.stacks.map(({ name }) => name).sort(),
  };
}
