import { CLUSTER_LABEL, NODE_LABEL } from '../swarm/labels.ts';
import type { LiveNode } from '../swarm/swarm-types.ts';
import type { Step } from './cluster-plan.ts';
import { findSwarmNode } from './node-identity.ts';
import type { ObservedMachine, PlanContext } from './plan-context.ts';
import { joinParts, note, type PlanPart, problem, step } from './plan-part.ts';

/**
 * Machines that the manifest no longer names, the one that is replaced, and what is left of them in the swarm. As with
 * services, none goes for want of its name while a stack cannot be read.
 */
export function planRemoval(context: PlanContext, present: readonly Step[]): PlanPart {
  const { desired, observed, replaced } = context;
  const wanted = new Set(desired.nodes.map(({ name }) => name));
  const mayGo = desired.brokenStacks.length === 0;
  const surplus = observed.machines.filter(
    ({ machine: { name } }) => (mayGo && !wanted.has(name)) || name === replaced,
  );
  // A manager goes only when those that stay have come.
  const arrivals = present.filter(
    ({ kind }) => kind === 'init-swarm' || kind === 'join-swarm' || kind === 'set-role',
  );
  return joinParts([
    ...surplus.map((machine) => planMachineRemoval(machine, arrivals, context)),
    { steps: ghostSteps(wanted, context) },
  ]);
}

function planMachineRemoval(
  seen: ObservedMachine,
  arrivals: readonly Step[],
  context: PlanContext,
): PlanPart {
  const { name } = seen.machine;
  const owner = context.heldBy(name);
  if (owner !== undefined) return { held: [{ target: name, owner }] };
  if (context.inventory && !context.inventory.nodes.includes(name)) {
    return note(
      name,
      'DriftReported',
      'carries the label of this cluster, but was not made for it: left alone',
    );
  }
  const { swarm } = context.observed;
  if (!swarm) return problem(name, 'SwarmUnavailable', 'no manager answers to take it out of the swarm');
  const reason =
    name === context.replaced ? 'it was made with other settings' : 'the manifest no longer names it';
  const leave = leaveSteps(seen, reason, arrivals, context);
  const destroy = step(name, reason, leave, { kind: 'destroy-machine' });
  return { steps: [...leave, destroy] };
}

/** Demoted if it is a manager, made to leave if it answers, then struck from the swarm's list. */
function leaveSteps(
  { machine: { name }, look }: ObservedMachine,
  reason: string,
  arrivals: readonly Step[],
  { observed }: PlanContext,
): readonly Step[] {
  const live = findSwarmNode(name, look, observed.swarm?.nodes);
  if (!live) return [];
  const demote =
    live.Spec.Role === 'manager'
      ? step(name, reason, arrivals, { kind: 'set-role', role: 'worker' })
      : undefined;
  const active = look.state === 'up' && look.info.Swarm.LocalNodeState !== 'inactive';
  const leave = active ? step(name, reason, [demote], { kind: 'leave-swarm' }) : undefined;
  const remove = step(name, reason, [demote, leave], { kind: 'remove-node', nodeId: live.ID });
  return [demote, leave, remove].filter((each) => each !== undefined);
}

/** Members under our label whose machine is neither wanted nor there any more. */
function ghostSteps(
  wanted: ReadonlySet<string>,
  { desired, observed, heldBy }: PlanContext,
): readonly Step[] {
  const machines = new Set(observed.machines.map(({ machine }) => machine.name));
  const nodes = observed.swarm?.nodes ?? [];
  return nodes.flatMap((node) => {
    const name = node.Spec.Labels?.[NODE_LABEL];
    if (name === undefined || node.Spec.Labels[CLUSTER_LABEL] !== desired.name) return [];
    if (wanted.has(name) || machines.has(name) || heldBy(name) !== undefined || !isDown(node)) return [];
    return [step(name, 'its machine is gone', [], { kind: 'remove-node', nodeId: node.ID })];
  });
}

const isDown = (node: LiveNode): boolean => node.Status.State === 'down';
