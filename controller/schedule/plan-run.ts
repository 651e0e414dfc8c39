import type { FaultEntry, FaultSchedule } from '../../crds/fault-schedule.ts';
import { parseDuration } from '../../crds/parse-duration.ts';
import {
  type FaultKind,
  type FaultRun,
  type FaultStep,
  type Nodes,
  RefusedError,
  type Target,
  targetName,
} from '../../state-machines/contract.ts';
import { findLeader } from '../../state-machines/leaders/find-leader.ts';
import type { Scripts } from '../../state-machines/load-scripts.ts';
import { missingNeeds } from '../../state-machines/missing-needs.ts';
import type { TargetClaims } from '../status/claims.ts';
import type { SwarmGateway } from '../swarm/swarm-gateway.ts';
import { gatherFacts, gatherInventory } from './gather-facts.ts';
import { guardRun } from './guard-run.ts';
import {
  type Inventory,
  nodesAmong,
  selectTargets,
  servicesAmong,
  tasksOf,
  wholeOf,
} from './select-targets.ts';

/** After the hold: covers the 20 s within which the effect must be seen, and the heal by a controller that lives. */
const graceMs = 30_000;
/** A node that does not say by then what it lacks is as good as out of reach. */
const needsLimitMs = 25_000;

/** What a plan of one run is made from. */
export interface Planning {
  readonly schedule: FaultSchedule;
  readonly fault: FaultEntry;
  readonly cluster: {
    readonly nodeNames: readonly string[];
    readonly nodes: Nodes;
    readonly claims: Pick<TargetClaims, 'conflicts'>;
    swarm(signal: AbortSignal): Promise<SwarmGateway>;
  };
  readonly scripts: Scripts;
  readonly runId: string;
  readonly faultKind: FaultKind;
  readonly params: unknown;
  readonly random: () => number;
}

/** Whose claims those of a schedule's trials are. */
export function ownerOf({ metadata }: FaultSchedule): string {
  return `FaultSchedule/${metadata.name}`;
}

/**
 * Targets, guards and steps of one run, from what is so at this moment; changes nothing. Throws RefusedError with every
 * reason that there is: guards, nodes out of reach, the kind's own, what nodes lack, what others hold.
 */
export async function planRun(planning: Planning, signal: AbortSignal): Promise<FaultRun> {
  const { schedule, fault, cluster, faultKind, params } = planning;
  // Asked beside the swarm, so that it takes no time of its own.
  const asked = askNeeds(planning, signal);
  const inventory = await gatherInventory(await cluster.swarm(signal), signal);
  const targets = await chooseTargets(planning, inventory, signal);
  const reasons = [...guardRun(targets, inventory, schedule.spec)];
  const orReasons = async <T>(work: () => T | Promise<T>): Promise<T | undefined> => {
    try {
      return await work();
    } catch (error) {
      if (!(error instanceof RefusedError)) throw error;
      reasons.push(...error.reasons);
      return undefined;
    }
  };
  const facts = await orReasons(() => gatherFacts(targets, inventory, cluster, signal));
  const steps = facts && (await orReasons(() => faultKind.plan(params, facts)));
  const held = steps?.map(({ target }) => target) ?? targets.map(targetName);
  const lacking = await asked;
  signal.throwIfAborted();
  reasons.push(
    ...nodesOf(steps, targets).flatMap((node) => lacking.get(node) ?? []),
    ...cluster.claims.conflicts(ownerOf(schedule), held),
  );
  if (reasons.length > 0 || !steps) throw new RefusedError([...new Set(reasons)]);
  return {
    runId: planning.runId,
    cluster: schedule.spec.clusterRef.name,
    schedule: schedule.metadata.name,
    fault: fault.name,
    kind: faultKind.name,
    instant: faultKind.instant,
    needs: faultKind.needs,
    steps,
    holdMs: parseDuration(fault.hold),
    graceMs,
  };
}

async function chooseTargets(
  planning: Planning,
  inventory: Inventory,
  signal: AbortSignal,
): Promise<readonly Target[]> {
  const { fault, faultKind, random } = planning;
  const { pick, leads: _leads, ...selector } = fault.target;
  const whole = faultKind.targets.includes('services');
  const targets =
    pick === 'leader'
      ? await chooseLeader(planning, inventory, signal)
      : selectTargets({ ...selector, ...(pick && { pick }), whole }, inventory, random);
  if (targets.length === 0) throw new RefusedError(`${fault.name}: nothing that runs now matches its target`);
  return targets;
}

/** Among nodes the leader of the swarm, as its managers say; among services the task that says it leads, or its service. */
async function chooseLeader(
  { fault, faultKind, cluster, scripts }: Planning,
  inventory: Inventory,
  signal: AbortSignal,
): Promise<readonly Target[]> {
  const { nodes, services, leads } = fault.target;
  const candidates = nodesAmong(nodes, inventory);
  if (candidates.length > 0) {
    const leader = inventory.nodes.find((node) => node.leads);
    if (!leader) throw new RefusedError('nobody leads the swarm');
    if (!candidates.includes(leader))
      throw new RefusedError(`${leader.name} leads the swarm, and is not among the nodes of the target`);
    return [{ kind: 'node', node: leader.name }];
  }
  const able = servicesAmong(services, inventory);
  const tasks = able.flatMap(tasksOf);
  if (tasks.length === 0 || !leads) return [];
  const task = await findLeader(tasks, leads, { nodes: cluster.nodes, scripts }, signal);
  if (!faultKind.targets.includes('services')) return [task];
  return able.filter(({ name }) => name === task.service).map(wholeOf);
}

/** What each node of the cluster lacks, or that it does not say. */
async function askNeeds(
  { cluster, faultKind, scripts }: Planning,
  signal: AbortSignal,
): Promise<ReadonlyMap<string, readonly string[]>> {
  const limited = AbortSignal.any([signal, AbortSignal.timeout(needsLimitMs)]);
  const asked = cluster.nodeNames.map(async (name): Promise<[string, readonly string[]]> => {
    try {
      const missing = await missingNeeds(await cluster.nodes(name), faultKind.needs, scripts, limited);
      return [name, missing.length === 0 ? [] : [`${name} lacks ${missing.join(', ')}`]];
    } catch (error) {
      return [name, [error instanceof Error ? error.message : String(error)]];
    }
  });
  return new Map(await Promise.all(asked));
}

/** Where the run would act; as far as can be told when its kind has no plan. */
function nodesOf(steps: readonly FaultStep[] | undefined, targets: readonly Target[]): readonly string[] {
  const nodes =
    steps?.map(({ node }) => node) ??
    targets.flatMap((target) => (target.kind === 'service' ? [] : [target.node]));
  return [...new Set(nodes)];
}
