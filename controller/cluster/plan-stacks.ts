import type { DesiredStack } from '../stack/convert-stack.ts';
import type { Step } from './cluster-plan.ts';
import { objectsOf } from './ownership.ts';
import type { PlanContext } from './plan-context.ts';
import { networkReason, planNetwork, type ReplacedNetworks, replacedNetworks } from './plan-network.ts';
import { joinParts, note, type PlanPart, problem, step, waiting } from './plan-part.ts';
import { planPrune } from './plan-prune.ts';
import { hasComeTo, isPut } from './plan-rollout.ts';
import { planService } from './plan-service.ts';

/** Networks, configs, secrets and services of all stacks; `nodes` are the steps that make the swarm ready for them. */
export function planStacks(context: PlanContext, nodes: readonly Step[]): PlanPart {
  const { desired, observed } = context;
  const broken = desired.brokenStacks.map(({ name, problems }) =>
    problem(name, 'StackRefused', problems.join('; ')),
  );
  if (!observed.swarm && !nodes.some(({ kind }) => kind === 'init-swarm')) return joinParts(broken);
  const init = nodes.filter(({ kind }) => kind === 'init-swarm');
  const replaced = replacedNetworks(context);
  const objects = joinParts(
    desired.stacks.flatMap((stack) => [
      ...stack.networks.map((spec) => planNetwork(spec, init, replaced, context)),
      planFiles(stack, init, context),
    ]),
  );
  const before = [...nodes.filter(({ kind }) => preparesPlacement.has(kind)), ...objects.steps];
  const services = desired.stacks.map((stack) => planServices(stack, before, replaced, context));
  const warnings = desired.stacks.flatMap(({ name, warnings }) =>
    warnings.map((warning) => note(name, 'ComposeWarning', warning)),
  );
  const present = joinParts([...broken, ...warnings, objects, ...services]);
  return joinParts([present, planPrune(context, present.steps)]);
}

/** Steps of which services must not run ahead: they decide where tasks are placed, and with what. */
const preparesPlacement = new Set<Step['kind']>([
  'init-swarm',
  'join-swarm',
  'label-node',
  'set-role',
  'deliver-images',
]);

function planServices(
  stack: DesiredStack,
  before: readonly Step[],
  replaced: ReplacedNetworks,
  context: PlanContext,
): PlanPart {
  const missing = missingExternals(stack, context);
  if (missing.length > 0)
    return problem(stack.name, 'StackRefused', `needs ${missing.join(', ')}, which the swarm lacks`);
  const used = usedObjects(stack);
  const first = before.filter(({ kind, target }) => preparesPlacement.has(kind) || used.has(target));
  const parts = new Map(
    stack.services.map((service) => [
      service.Name,
      planService(service, { before: first, replaced }, context),
    ]),
  );
  return joinParts([...parts.keys()].map((name) => afterOthers(name, parts, stack, context)));
}

/**
 * A rollout waits until the services before it have come to what it awaits of them. What has to make room for a network
 * that is made anew goes all the same: the ones before it wait for that.
 */
function afterOthers(
  name: string,
  parts: ReadonlyMap<string, PlanPart>,
  { dependencies }: DesiredStack,
  context: PlanContext,
): PlanPart {
  const { observed } = context;
  const part = parts.get(name)!;
  if (!part.steps?.some(isPut)) return part;
  const open = Object.entries(dependencies[name] ?? {}).filter(([other, awaited]) => {
    const live = observed.swarm?.services.find(({ Spec }) => Spec.Name === other);
    const { steps = [], problems = [], held = [] } = parts.get(other) ?? {};
    const settled = steps.length + problems.length + held.length === 0;
    return !(settled && live !== undefined && hasComeTo(awaited, live, context));
  });
  if (open.length === 0) return part;
  const makesRoom = part.steps.some(({ reason }) => reason === networkReason);
  const steps = makesRoom ? part.steps.filter((it) => !isPut(it)) : [];
  const names = open.map(([other]) => other).join(', ');
  return joinParts([{ steps }, waiting(name, 'DependencyNotReady', `waits for ${names}`)]);
}

function usedObjects({ networks, configs, secrets, externals }: DesiredStack): ReadonlySet<string> {
  const own = [...networks, ...configs, ...secrets].map(({ Name }) => Name);
  return new Set([...own, ...externals.networks, ...externals.configs, ...externals.secrets]);
}

/** What another stack makes need not be there yet. */
function missingExternals(
  { externals }: DesiredStack,
  { desired, observed }: PlanContext,
): readonly string[] {
  const absent = (kind: keyof DesiredStack['externals'], noun: string) => {
    const present = objectsOf(observed.swarm, kind).map(({ name }) => name);
    const planned = desired.stacks.flatMap((stack) => stack[kind].map(({ Name }) => Name));
    const there = new Set([...present, ...planned]);
    return externals[kind].filter((name) => !there.has(name)).map((name) => `${noun} ${name}`);
  };
  return [...absent('networks', 'network'), ...absent('configs', 'config'), ...absent('secrets', 'secret')];
}

/** Configs and secrets carry the hash of their content in their names: one that exists is right. */
function planFiles(stack: DesiredStack, init: readonly Step[], { observed }: PlanContext): PlanPart {
  const create = (kind: 'create-config' | 'create-secret', objects: 'configs' | 'secrets') => {
    const there = new Set(objectsOf(observed.swarm, objects).map(({ name }) => name));
    return stack[objects]
      .filter(({ Name }) => !there.has(Name))
      .map((spec) => step(spec.Name, 'no revision with this content exists', init, { kind, spec }));
  };
  return { steps: [...create('create-config', 'configs'), ...create('create-secret', 'secrets')] };
}
