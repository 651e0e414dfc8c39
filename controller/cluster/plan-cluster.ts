import type { ClusterPlan, Finding } from './cluster-plan.ts';
import { planCheckpoint } from './plan-checkpoint.ts';
import { machineOf, type PlanContext } from './plan-context.ts';
import { planNodes } from './plan-nodes.ts';
import { joinParts } from './plan-part.ts';
import { planStacks } from './plan-stacks.ts';

/**
 * What it takes to make the observed cluster the desired one: steps with their dependencies, and what no step can
 * mend now. Pure: the same input gives the same plan, and a cluster that is as desired gives no step.
 */
export function planCluster(input: Omit<PlanContext, 'replaced'>): ClusterPlan {
  const context = { ...input, replaced: chooseReplacement(input) };
  const nodes = joinParts([planNodes(context)]);
  const plan = joinParts([nodes, planStacks(context, nodes.steps)]);
  return joinParts([plan, planCheckpoint(context, plan), { problems: context.found ?? [] }]);
}

/**
 * The worker to be made anew because its settings changed: only with `replace: allow`, only when nothing else is amiss
 * with any machine, and one at a time, so that a wrong setting costs one worker. Managers are never replaced.
 */
function chooseReplacement({ desired, observed, heldBy, madeAnewFor }: PlanContext): string | undefined {
  if (!desired.mayReplace || observed.machines.length !== desired.nodes.length) return undefined;
  const allReady = desired.nodes.every(({ name }) => {
    const look = machineOf(observed, name)?.look;
    if (look?.state !== 'up' || (heldBy(name) ?? madeAnewFor?.(name)) !== undefined) return false;
    const live = observed.swarm?.nodes.find(({ ID }) => ID === look.info.Swarm.NodeID);
    return live?.Status.State === 'ready';
  });
  if (!allReady) return undefined;
  return desired.nodes.find(({ name, role, settingsHash }) => {
    return role === 'worker' && machineOf(observed, name)?.machine.settingsHash !== settingsHash;
  })?.name;
}

/** How held targets differ from what the manifest asks: what a plan without claims would have to say of them. */
export function heldDifferences(
  context: Omit<PlanContext, 'replaced'>,
  plan: ClusterPlan,
): readonly Finding[] {
  if (plan.held.length === 0) return [];
  const held = new Set(plan.held.map(({ target }) => target));
  const free = planCluster({ ...context, heldBy: () => undefined });
  const steps = free.steps.map(({ target, reason: message }) => ({
    target,
    reason: 'HeldByTrial' as const,
    message,
  }));
  return [...free.problems, ...free.waiting, ...steps].filter(({ target }) => held.has(target));
}
