import { stableHash } from '../stable-hash.ts';
import { checkpointUse } from '../stack/checkpoint.ts';
import { mayRunOn } from '../stack/needed-images.ts';
import { TRIED_LABEL } from '../swarm/labels.ts';
import type { ClusterPlan } from './cluster-plan.ts';
import { findSwarmNode } from './node-identity.ts';
import { type DesiredNode, machineOf, type PlanContext } from './plan-context.ts';
import { joinParts, type PlanPart, step, waiting } from './plan-part.ts';

/**
 * The last thing before Ready: each node on which the job may run has used its checkpoint, whether a task of the job is
 * there now or only comes with a fault. Nothing until all else is in order, for a failure would only tell of that; but the job
 * itself need not run, as it will not without its checkpoint. A trial that holds anything is not disturbed.
 */
export function planCheckpoint({ desired, observed, madeAnewFor }: PlanContext, plan: ClusterPlan): PlanPart {
  const { checkpoint, stacks, nodes } = desired;
  if (!checkpoint) return {};
  const services = stacks.flatMap((stack) => stack.services);
  const job = services.flatMap((service) => {
    const use = checkpointUse(checkpoint, service);
    return use ? [{ service, use }] : [];
  });
  // What runs already, and is only watched for a while, is in order.
  const others = plan.waiting.filter(
    ({ target, againMs }) => againMs === undefined && !job.some(({ service }) => service.Name === target),
  );
  if (plan.steps.length + plan.problems.length + others.length > 0) return {};
  const isTrialOn = plan.held.length > 0 || nodes.some(({ name }) => madeAnewFor?.(name) !== undefined);
  const tryNode = ({ name, role, labels }: DesiredNode): PlanPart => {
    const use = job.find(({ service }) => mayRunOn({ hostname: name, role, labels }, service))?.use;
    const live = findSwarmNode(name, machineOf(observed, name)?.look, observed.swarm?.nodes);
    if (!use || !live) return {};
    const hash = stableHash(use);
    if (live.Spec.Labels[TRIED_LABEL] === hash) return {};
    const reason = `it has not used ${use.dir} yet`;
    if (isTrialOn) return waiting(name, 'HeldByTrial', `${reason}, and does so when no trial runs`);
    return { steps: [step(name, reason, [], { kind: 'try-checkpoint', nodeId: live.ID, use, hash })] };
  };
  return joinParts(nodes.map(tryNode));
}
