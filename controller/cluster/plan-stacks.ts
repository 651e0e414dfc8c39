import type { DesiredStack } from '../stack/convert-stack.ts';
import { diffNetwork } from '../swarm/diff-network.ts';
import { diffService, needsReplacement } from '../swarm/diff-service.ts';
import { CLUSTER_LABEL } from '../swarm/labels.ts';
import type { Labels, LiveService, ServiceSpec } from '../swarm/swarm-types.ts';
import type { Step } from './cluster-plan.ts';
import { objectsOf } from './ownership.ts';
import type { PlanContext } from './plan-context.ts';
import { joinParts, type PlanPart, problem, step, waiting } from './plan-part.ts';
import { planPrune } from './plan-prune.ts';

/** Networks, configs, secrets and services of all stacks; `nodes` are the steps that make the swarm ready for them. */
export function planStacks(context: PlanContext, nodes: readonly Step[]): PlanPart {
  const { desired, observed } = context;
  const broken = desired.brokenStacks.map(({ name, problems }) =>
    problem(name, 'StackRefused', problems.join('; ')),
  );
  if (!observed.swarm && !nodes.some(({ kind }) => kind === 'init-swarm')) return joinParts(broken);
  const init = nodes.filter(({ kind }) => kind === 'init-swarm');
  const objects = joinParts(
    desired.stacks.flatMap((stack) => [planNetworks(stack, init, context), planFiles(stack, init, context)]),
  );
  const before = [...nodes.filter(({ kind }) => preparesPlacement.has(kind)), ...objects.steps];
  const services = desired.stacks.map((stack) => planServices(stack, before, context));
  const present = joinParts([...broken, objects, ...services]);
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

function planServices(stack: DesiredStack, before: readonly Step[], context: PlanContext): PlanPart {
  const missing = missingExternals(stack, context);
  if (missing.length > 0)
    return problem(stack.name, 'StackRefused', `needs ${missing.join(', ')}, which the swarm lacks`);
  const used = usedObjects(stack);
  const first = before.filter(({ kind, target }) => preparesPlacement.has(kind) || used.has(target));
  return joinParts(stack.services.map((service) => planService(service, first, context)));
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

function planNetworks(
  stack: DesiredStack,
  init: readonly Step[],
  { desired, observed }: PlanContext,
): PlanPart {
  return joinParts(
    stack.networks.map((spec) => {
      const live = observed.swarm?.networks.find(({ Name }) => Name === spec.Name);
      if (!live) {
        return {
          steps: [step(spec.Name, 'the network does not exist', init, { kind: 'create-network', spec })],
        };
      }
      if (!isOwned(live.Labels, desired.name)) return foreign(spec.Name, 'network');
      const paths = diffNetwork(spec, live).map(({ path }) => path);
      if (paths.length === 0) return {};
      const message = `differs in ${paths.join(', ')}, and a network cannot be changed: remove it by hand to have it made anew`;
      return problem(spec.Name, 'StackRefused', message);
    }),
  );
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

function planService(spec: ServiceSpec, before: readonly Step[], context: PlanContext): PlanPart {
  const owner = context.heldBy(spec.Name);
  if (owner !== undefined) return { held: [{ target: spec.Name, owner }] };
  const live = context.observed.swarm?.services.find(({ Spec }) => Spec.Name === spec.Name);
  if (!live) {
    return {
      steps: [step(spec.Name, 'the service does not exist', before, { kind: 'create-service', spec })],
    };
  }
  if (!isOwned(live.Spec.Labels, context.desired.name)) return foreign(spec.Name, 'service');
  if (needsReplacement(spec, live.Spec)) {
    const message =
      'cannot change between replicated and global: remove the service by hand to have it made anew';
    return problem(spec.Name, 'StackRefused', message);
  }
  const networks = context.observed.swarm?.networks ?? [];
  const names = new Map(networks.map(({ Id, Name }) => [Id, Name]));
  const differences = context.diff?.(spec, live, names) ?? diffService(spec, live.Spec, names);
  if (differences.length === 0) return convergence(live);
  const reason = `differs in ${differences.map(({ path }) => path).join(', ')}`;
  return { steps: [step(spec.Name, reason, before, { kind: 'update-service', live, spec, differences })] };
}

function convergence({ Spec, ServiceStatus, UpdateStatus }: LiveService): PlanPart {
  const state = UpdateStatus?.State ?? '';
  if (state === 'paused' || state.startsWith('rollback')) {
    return problem(Spec.Name, 'TasksNotRunning', `its update ended ${state}: ${UpdateStatus?.Message ?? ''}`);
  }
  const { RunningTasks = 0, DesiredTasks = 0 } = ServiceStatus ?? {};
  if (RunningTasks >= DesiredTasks && state !== 'updating') return {};
  return waiting(Spec.Name, 'TasksNotRunning', `${RunningTasks} of ${DesiredTasks} tasks run`);
}

function foreign(name: string, kind: string): PlanPart {
  return problem(
    name,
    'StackRefused',
    `a ${kind} of this name exists that this cluster's manifest did not make`,
  );
}

function isOwned(labels: Labels | undefined, cluster: string): boolean {
  return labels?.[CLUSTER_LABEL] === cluster;
}
