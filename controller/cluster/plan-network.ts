import { diffNetwork } from '../swarm/diff-network.ts';
import type { LiveNetwork, LiveService, NetworkSpec } from '../swarm/swarm-types.ts';
import type { Step } from './cluster-plan.ts';
import { isOwned } from './ownership.ts';
import type { PlanContext } from './plan-context.ts';
import { foreign, joinParts, type PlanPart, problem, removal, removeService, step } from './plan-part.ts';

/** Networks that are made anew in this pass, by id: whoever uses one goes first, and comes back after. */
export type ReplacedNetworks = ReadonlyMap<string, { readonly users: readonly LiveService[] }>;

/** Why the services that use a network are removed. */
export const networkReason = 'a network that it uses is made anew';

/** Those that differ, may be replaced, and are used by nothing that has to stay. */
export function replacedNetworks(context: PlanContext): ReplacedNetworks {
  const { desired, observed } = context;
  if (!desired.mayReplace) return new Map();
  const wanted = new Map(desired.stacks.flatMap(({ networks }) => networks.map((it) => [it.Name, it])));
  const live = (observed.swarm?.networks ?? []).filter((network) => {
    const want = wanted.get(network.Name);
    const mayGo = isOwned(network.Labels, context) && keepers(network, context).length === 0;
    return want !== undefined && mayGo && diffNetwork(want, network).length > 0;
  });
  return new Map(live.map((network) => [network.Id, { users: usersOf(network, context) }]));
}

/** Made when it is absent; one that differs is a problem, or is removed first, after all that use it. */
export function planNetwork(
  spec: NetworkSpec,
  init: readonly Step[],
  replaced: ReplacedNetworks,
  context: PlanContext,
): PlanPart {
  const live = context.observed.swarm?.networks.find(({ Name }) => Name === spec.Name);
  const create = (reason: string, after: readonly Step[]) =>
    step(spec.Name, reason, after, { kind: 'create-network', spec });
  if (!live) return { steps: [create('the network does not exist', init)] };
  if (!isOwned(live.Labels, context)) return foreign(spec.Name, 'network');
  const paths = diffNetwork(spec, live).map(({ path }) => path);
  if (paths.length === 0) return {};
  const differs = `differs in ${paths.join(', ')}`;
  const users = replaced.get(live.Id)?.users;
  if (!users) return notReplaced(live, differs, context);
  const gone = users.map((user) => removeService(user, networkReason)[1]);
  const reason = `${differs}, and a network cannot be changed`;
  const remove = removal('remove-network', { id: live.Id, name: spec.Name }, reason, gone);
  return { steps: [remove, create(reason, [remove])] };
}

function notReplaced(live: LiveNetwork, differs: string, context: PlanContext): PlanPart {
  const used = keepers(live, context);
  const held = used.flatMap(({ Spec }) => {
    const owner = context.heldBy(Spec.Name);
    return owner === undefined ? [] : [{ target: Spec.Name, owner }];
  });
  const users = usersOf(live, context).map(({ Spec }) => Spec.Name);
  const why = context.desired.mayReplace
    ? `is used by ${used.map(({ Spec }) => Spec.Name).join(', ')}, which cannot go now`
    : `with \`replace: allow\` it is made anew, and what uses it with it: ${users.join(', ') || 'nothing'}`;
  const message = `${differs}, and a network cannot be changed: ${why}`;
  return joinParts([{ held }, problem(live.Name, 'ReplacementNeeded', message)]);
}

const usersOf = ({ Id }: LiveNetwork, { observed }: PlanContext): readonly LiveService[] =>
  (observed.swarm?.services ?? []).filter((service) => usesNetwork(service, Id));

/** Whether tasks of the service are attached to the network of this id. */
export const usesNetwork = ({ Spec }: LiveService, id: string): boolean =>
  (Spec.TaskTemplate.Networks ?? []).some(({ Target }) => Target === id);

/** Users that are not ours to make anew, or held by a trial. */
function keepers(network: LiveNetwork, context: PlanContext): readonly LiveService[] {
  const wanted = new Set(context.desired.stacks.flatMap(({ services }) => services.map(({ Name }) => Name)));
  return usersOf(network, context).filter(({ Spec: { Name, Labels } }) => {
    return !wanted.has(Name) || !isOwned(Labels, context) || context.heldBy(Name) !== undefined;
  });
}
