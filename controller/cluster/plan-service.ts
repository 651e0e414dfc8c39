import { diffService, needsReplacement } from '../swarm/diff-service.ts';
import type { Difference } from '../swarm/diff-trees.ts';
import type { LiveService, ServiceSpec } from '../swarm/swarm-types.ts';
import type { Step } from './cluster-plan.ts';
import { isOwned } from './ownership.ts';
import type { PlanContext } from './plan-context.ts';
import { networkReason, type ReplacedNetworks, usesNetwork } from './plan-network.ts';
import { foreign, note, type PlanPart, problem, removeService, step } from './plan-part.ts';
import { planRollout } from './plan-rollout.ts';

interface Around {
  /** What has to be done before the service can be made or changed. */
  readonly before: readonly Step[];
  readonly replaced: ReplacedNetworks;
}

/** One service: made, changed in place, replaced where that cannot be, or watched until its tasks run. */
export function planService(spec: ServiceSpec, { before, replaced }: Around, context: PlanContext): PlanPart {
  const owner = context.heldBy(spec.Name);
  if (owner !== undefined) return { held: [{ target: spec.Name, owner }] };
  const live = context.observed.swarm?.services.find(({ Spec }) => Spec.Name === spec.Name);
  if (!live) return { steps: [createService(spec, 'the service does not exist', before)] };
  if (!isOwned(live.Spec.Labels, context)) return foreign(spec.Name, 'service');
  if ([...replaced.keys()].some((id) => usesNetwork(live, id)))
    return replaceService(spec, live, networkReason, before);
  const differences = diffLive(spec, live, context);
  if (needsReplacement(spec, live.Spec)) return planReplacement(spec, live, differences, before, context);
  const rollout = planRollout(spec, live, differences, context);
  if (rollout || differences.length === 0) return rollout ?? {};
  const paths = differences.map(({ path }) => path).join(', ');
  if (context.notKept?.(spec, differences) === true)
    return note(spec.Name, 'FieldNotKept', `the engine does not keep ${paths} as it was told`);
  const update = { kind: 'update-service', live, spec, differences } as const;
  return { steps: [step(spec.Name, `differs in ${paths}`, before, update)] };
}

function diffLive(spec: ServiceSpec, live: LiveService, context: PlanContext): readonly Difference[] {
  const networks = context.observed.swarm?.networks ?? [];
  const names = new Map(networks.map(({ Id, Name }) => [Id, Name]));
  return context.diff?.(spec, live, names) ?? diffService(spec, live.Spec, names);
}

const createService = (spec: ServiceSpec, reason: string, after: readonly Step[]): Step =>
  step(spec.Name, reason, after, { kind: 'create-service', spec });

function planReplacement(
  spec: ServiceSpec,
  live: LiveService,
  differences: readonly Difference[],
  before: readonly Step[],
  { desired }: PlanContext,
): PlanPart {
  const paths = differences.map(({ path }) => path).join(', ');
  const reason = `differs in ${paths}, and a service's mode cannot be changed`;
  if (desired.mayReplace) return replaceService(spec, live, reason, before);
  return problem(spec.Name, 'ReplacementNeeded', `${reason}: with \`replace: allow\` it is made anew`);
}

function replaceService(
  spec: ServiceSpec,
  live: LiveService,
  reason: string,
  before: readonly Step[],
): PlanPart {
  const [remove, gone] = removeService(live, reason);
  return { steps: [remove, gone, createService(spec, reason, [gone, ...before])] };
}
