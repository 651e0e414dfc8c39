import type { ClusterPlan } from './cluster-plan.ts';
import type { PlanContext } from './plan-context.ts';
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
  return joinParts([nodes, planStacks(context, nodes.steps)]);
}

/**
 * The worker to be made anew because its settings changed: only with the annotation, only when nothing else is amiss
 * with any machine, and one at a time, so that a wrong setting costs one worker. Managers are never replaced.
 */
function chooseReplacement({ desired, observed, heldBy }: PlanContext): string | undefined {
  if (!desired.replaceNodes || observed.machines.length !== desired.nodes.length) return undefined;
  const allReady = desired.nodes.every(({ name }) => {
    const look = observed.machines.find(({ machine }) => machine.name === name)?.look;
    if (look?.state !== 'up' || heldBy(name) !== undefined) return false;
    const live = observed.swarm?.nodes.find(({ ID }) => ID === look.info.Swarm.NodeID);
    return live?.Status.State === 'ready';
  });
  if (!allReady) return undefined;
  return desired.nodes.find(({ name, role, settingsHash }) => {
    const seen = observed.machines.find(({ machine }) => machine.name === name);
    return role === 'worker' && seen?.machine.settingsHash !== settingsHash;
  })?.name;
}
