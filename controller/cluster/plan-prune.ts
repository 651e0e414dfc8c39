import type { LiveConfig, LiveSecret } from '../swarm/swarm-types.ts';
import type { Step } from './cluster-plan.ts';
import { isOurs } from './ownership.ts';
import type { PlanContext } from './plan-context.ts';
import { joinParts, type PlanPart, problem, step } from './plan-part.ts';

/**
 * What earlier manifests asked for and this one does not: only what carries our labels *and* is in the inventory.
 * A stack that cannot be read suspends all of it, and more than half of the services at once needs the annotation:
 * both look like a mistake in a file.
 */
export function planPrune(context: PlanContext, present: readonly Step[]): PlanPart {
  const { desired, observed } = context;
  if (!desired.prune || desired.brokenStacks.length > 0 || !observed.swarm) return {};
  const services = pruneServices(context);
  const removals = services.steps ?? [];
  const owned = observed.swarm.services.filter(({ Spec }) =>
    isOurs('services', Spec.Name, Spec.Labels, context),
  );
  if (removals.length * 2 > owned.length && !desired.allowLargePrune) {
    const message = `would remove ${removals.length} of ${owned.length} services; the annotation spark-failures.io/allow-prune permits it`;
    return problem(desired.name, 'PruneRefused', message);
  }
  const users = [...removals, ...present.filter(({ kind }) => kind === 'update-service')];
  return joinParts([services, { steps: [...pruneNetworks(context, users), ...pruneFiles(context, users)] }]);
}

const surplusReason = 'no stack of the manifest asks for it';

function pruneServices(context: PlanContext): PlanPart {
  const wanted = new Set(context.desired.stacks.flatMap(({ services }) => services.map(({ Name }) => Name)));
  const surplus = (context.observed.swarm?.services ?? []).filter(
    ({ Spec: { Name, Labels } }) => !wanted.has(Name) && isOurs('services', Name, Labels, context),
  );
  return joinParts(
    surplus.map(({ ID, Spec: { Name } }): PlanPart => {
      const owner = context.heldBy(Name);
      if (owner !== undefined) return { held: [{ target: Name, owner }] };
      return { steps: [step(Name, surplusReason, [], { kind: 'remove-service', objectId: ID })] };
    }),
  );
}

function pruneNetworks(context: PlanContext, users: readonly Step[]): readonly Step[] {
  const wanted = new Set(context.desired.stacks.flatMap(({ networks }) => networks.map(({ Name }) => Name)));
  return (context.observed.swarm?.networks ?? [])
    .filter(({ Name, Labels }) => !wanted.has(Name) && isOurs('networks', Name, Labels, context))
    .map(({ Id, Name }) => step(Name, surplusReason, users, { kind: 'remove-network', objectId: Id }));
}

function pruneFiles(context: PlanContext, users: readonly Step[]): readonly Step[] {
  const { desired, observed } = context;
  const { configs = [], secrets = [] } = observed.swarm ?? {};
  const wantedConfigs = desired.stacks.flatMap((stack) => stack.configs.map(({ Name }) => Name));
  const wantedSecrets = desired.stacks.flatMap((stack) => stack.secrets.map(({ Name }) => Name));
  const oldConfigs = configs.filter(({ Spec }) => isOurs('configs', Spec.Name, Spec.Labels, context));
  const oldSecrets = secrets.filter(({ Spec }) => isOurs('secrets', Spec.Name, Spec.Labels, context));
  return [
    ...beyondRetention(oldConfigs, wantedConfigs).map(({ ID, Spec }) =>
      step(Spec.Name, surplusReason, users, { kind: 'remove-config', objectId: ID }),
    ),
    ...beyondRetention(oldSecrets, wantedSecrets).map(({ ID, Spec }) =>
      step(Spec.Name, surplusReason, users, { kind: 'remove-secret', objectId: ID }),
    ),
  ];
}

/**
 * One revision before the wanted one stays: a service's previous spec refers to it, and the engine does not protect
 * what only a previous spec needs.
 */
function beyondRetention<T extends LiveConfig | LiveSecret>(
  live: readonly T[],
  wanted: readonly string[],
): readonly T[] {
  const kept = new Set<string>();
  const bases = new Set(wanted.map(baseName));
  const newestFirst = live
    .filter(({ Spec }) => !wanted.includes(Spec.Name))
    .sort((a, b) => (a.CreatedAt < b.CreatedAt ? 1 : -1));
  return newestFirst.filter(({ Spec }) => {
    const base = baseName(Spec.Name);
    if (!bases.has(base) || kept.has(base)) return true;
    kept.add(base);
    return false;
  });
}

/** `streaming_job-1a2b3c4d` -> `streaming_job`. */
const baseName = (name: string): string => name.replace(/-[0-9a-f]{8}$/, '');
