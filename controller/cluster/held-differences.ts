import type { ClusterPlan, Finding } from './cluster-plan.ts';
import { planCluster } from './plan-cluster.ts';
import type { PlanContext } from './plan-context.ts';

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
