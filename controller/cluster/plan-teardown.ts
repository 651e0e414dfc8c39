import type { Inventory } from '../../crds/status.ts';
import type { ClusterPlan, HeldTarget, RemovalKind, Step } from './cluster-plan.ts';
import { type ObjectKind, ownObjects } from './ownership.ts';
import type { PlanContext } from './plan-context.ts';
import { joinParts, problem, removal, step, waiting } from './plan-part.ts';

const reason = 'the manifest is gone';

/**
 * Undoes what the inventory lists, in the reverse order of making: services, then what their tasks used, then (unless
 * the machines are to be retained) the swarm and the machines. While a trial holds anything, nothing is touched.
 */
export function planTeardown(context: PlanContext, policy: 'destroy' | 'retain'): ClusterPlan {
  const held = heldTargets(context);
  if (held.length > 0) {
    const message = `held by ${[...new Set(held.map(({ owner }) => owner))].join(', ')}`;
    return joinParts([{ held }, waiting(context.desired.name, 'HeldByTrial', message)]);
  }
  if (policy === 'retain' && !context.observed.swarm && !isEmpty(context.inventory)) {
    return joinParts([
      problem(context.desired.name, 'SwarmUnavailable', 'no manager answers to remove the stacks'),
    ]);
  }
  const objects = objectSteps(context);
  return joinParts([
    { steps: objects },
    { steps: policy === 'destroy' ? machineSteps(context, objects) : [] },
  ]);
}

function heldTargets(context: PlanContext): readonly HeldTarget[] {
  const { observed, heldBy, madeAnewFor } = context;
  const nodes = observed.machines.map(
    ({ machine }) => [machine.name, heldBy(machine.name) ?? madeAnewFor?.(machine.name)] as const,
  );
  const services = (observed.swarm?.services ?? []).map(
    ({ Spec }) => [Spec.Name, heldBy(Spec.Name)] as const,
  );
  return [...nodes, ...services].flatMap(([target, owner]) =>
    owner === undefined ? [] : [{ target, owner }],
  );
}

function objectSteps(context: PlanContext): readonly Step[] {
  const removals = (objects: ObjectKind, kind: RemovalKind, after: readonly Step[]) =>
    ownObjects(objects, context).map((each) => removal(kind, each, reason, after));
  const services = removals('services', 'remove-service', []);
  const wait = step(context.desired.name, 'networks are in use until then', services, {
    kind: 'await-tasks-gone',
    services: ownObjects('services', context).map(({ id }) => id),
  });
  const gone = services.length > 0 ? [wait] : [];
  return [
    ...services,
    ...gone,
    ...removals('networks', 'remove-network', gone),
    ...removals('configs', 'remove-config', services),
    ...removals('secrets', 'remove-secret', services),
  ];
}

/** Machines leave the swarm all at once: nobody is left who would miss the raft. */
function machineSteps(
  { desired, observed, inventory }: PlanContext,
  objects: readonly Step[],
): readonly Step[] {
  const mine = observed.machines.filter(
    ({ machine: { name } }) => !inventory || inventory.nodes.includes(name),
  );
  const perMachine = mine.map(({ machine: { name }, look }) => {
    const member = look.state === 'up' && look.info.Swarm.LocalNodeState !== 'inactive';
    const leave = member ? [step(name, reason, objects, { kind: 'leave-swarm' })] : [];
    return [...leave, step(name, reason, member ? leave : objects, { kind: 'destroy-machine' })];
  });
  const steps = perMachine.flat();
  if (mine.length < observed.machines.length) return steps; // what is shared is in use
  const last = steps.filter(({ kind }) => kind === 'destroy-machine');
  return [...steps, step(desired.name, 'no machine is left', last, { kind: 'destroy-shared' })];
}

/** Nothing in the swarm is known to be ours. */
function isEmpty(inventory: Inventory | undefined): boolean {
  if (!inventory) return true;
  const { services, networks, configs, secrets } = inventory;
  return services.length + networks.length + configs.length + secrets.length === 0;
}
