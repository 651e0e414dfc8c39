import type { Step } from './cluster-plan.ts';
import { type ObjectKind, ownObjects } from './ownership.ts';
import type { PlanContext } from './plan-context.ts';
import { joinParts, type PlanPart, problem, removal } from './plan-part.ts';

const reason = 'no stack of the manifest asks for it';

/**
 * What earlier manifests asked for and this one does not: only what carries our labels *and* is in the inventory.
 * A stack that cannot be read suspends all of it, and more than half of the services at once needs the annotation:
 * both look like a mistake in a file.
 */
export function planPrune(context: PlanContext, present: readonly Step[]): PlanPart {
  const { desired, observed } = context;
  if (!desired.prune || desired.brokenStacks.length > 0 || !observed.swarm) return {};
  const services = joinParts(surplus('services', context).map((each) => pruneService(each, context)));
  const { length: owned } = ownObjects('services', context);
  if (services.steps.length * 2 > owned && !desired.allowLargePrune) {
    const message = `would remove ${services.steps.length} of ${owned} services; the annotation spark-failures.io/allow-prune permits it`;
    return problem(desired.name, 'PruneRefused', message);
  }
  const users = [...services.steps, ...present.filter(({ kind }) => letsGo.has(kind))];
  const steps = [
    ...surplus('networks', context).map((each) => removal('remove-network', each, reason, users)),
    ...beyondRetention('configs', context).map((each) => removal('remove-config', each, reason, users)),
    ...beyondRetention('secrets', context).map((each) => removal('remove-secret', each, reason, users)),
  ];
  return joinParts([services, { steps }]);
}

/** Steps after which a service does not use any more what it used. */
const letsGo: ReadonlySet<Step['kind']> = new Set(['update-service', 'remove-service']);

type OwnObject = ReturnType<typeof ownObjects>[number];

function pruneService(service: OwnObject, context: PlanContext): PlanPart {
  const owner = context.heldBy(service.name);
  if (owner !== undefined) return { held: [{ target: service.name, owner }] };
  return { steps: [removal('remove-service', service, reason, [])] };
}

function wantedNames(kind: ObjectKind, { desired }: PlanContext): readonly string[] {
  return desired.stacks.flatMap((stack) => stack[kind].map(({ Name }) => Name));
}

function surplus(kind: ObjectKind, context: PlanContext): readonly OwnObject[] {
  const wanted = new Set(wantedNames(kind, context));
  return ownObjects(kind, context).filter(({ name }) => !wanted.has(name));
}

/**
 * One revision before the wanted one stays, that to which the engine would go back: the one that a service uses, else the
 * newest, which only a previous spec may refer to, and the engine does not protect what only that needs.
 */
function beyondRetention(kind: 'configs' | 'secrets', context: PlanContext): readonly OwnObject[] {
  const used = usedFiles(kind, context);
  const wanted = new Set(wantedNames(kind, context).map(baseName));
  const all = surplus(kind, context);
  const kept = new Set(all.filter(({ name }) => used.has(name)).map(({ name }) => baseName(name)));
  const newestFirst = [...all].sort((a, b) => Date.parse(b.createdAt) - Date.parse(a.createdAt));
  return newestFirst.filter(({ name }) => {
    const base = baseName(name);
    if (!wanted.has(base)) return true;
    if (used.has(name)) return false;
    if (kept.has(base)) return true;
    kept.add(base);
    return false;
  });
}

/** What the services of the stacks have in their specs as they are now: also of one that the engine has rolled back. */
function usedFiles(kind: 'configs' | 'secrets', { desired, observed }: PlanContext): ReadonlySet<string> {
  const stays = new Set(desired.stacks.flatMap(({ services }) => services.map(({ Name }) => Name)));
  const services = (observed.swarm?.services ?? []).filter(({ Spec }) => stays.has(Spec.Name));
  const containers = services.map(({ Spec }) => Spec.TaskTemplate.ContainerSpec);
  return new Set(
    kind === 'configs'
      ? containers.flatMap(({ Configs }) => (Configs ?? []).map(({ ConfigName }) => ConfigName))
      : containers.flatMap(({ Secrets }) => (Secrets ?? []).map(({ SecretName }) => SecretName)),
  );
}

/** `streaming_job-1a2b3c4d` -> `streaming_job`. */
const baseName = (name: string): string => name.replace(/-[0-9a-f]{8}$/, '');
