import { chooseReplacement } from './choose-replacement.ts';
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
