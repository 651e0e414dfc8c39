import { type FaultEntry, type FaultGroup, type FaultSchedule, faultOf } from '../../crds/fault-schedule.ts';
import { parseDuration } from '../../crds/parse-duration.ts';
import { type Machine, messageOf } from '../../provisioners/contract.ts';
import { deadline } from '../../provisioners/deadline.ts';
import {
  type CheckpointKind,
  type Facts,
  type FaultKind,
  type FaultRun,
  type FaultStep,
  type Nodes,
  RefusedError,
  type Target,
  type TaskTarget,
  targetName,
} from '../../state-machines/contract.ts';
import type { StepSwitches } from '../../state-machines/dead-man/step-actions.ts';
import { findLeader } from '../../state-machines/leaders/find-leader.ts';
import type { Scripts } from '../../state-machines/load-scripts.ts';
import { missingNeeds, missingSwitch } from '../../state-machines/missing-needs.ts';
import { effectLimitOf } from '../../state-machines/observe-effect.ts';
import { seededRandom } from '../../state-machines/seeded-random.ts';
import type { TargetClaims } from '../status/claims.ts';
import type { SwarmGateway } from '../swarm/swarm-gateway.ts';
import { gatherFacts, gatherInventory } from './gather-facts.ts';
import { checkpointServices, guardOperator, guardRun } from './guard-run.ts';
import {
  type Inventory,
  nodesAmong,
  selectTargets,
  servicesAmong,
  tasksOf,
  wholeOf,
} from './select-targets.ts';

/** Between the latest end of a hold and the switch: for the heal by a controller that lives. */
const healTimeMs = 10_000;
/** What is armed waits so long for those that it is to be together with. */
const gateMs = 25_000;
/** A node that does not say by then what it lacks is as good as out of reach. */
const needsLimitMs = 25_000;

/** What a plan of one run is made from. */
export interface Planning {
  readonly schedule: FaultSchedule;
  readonly fault: FaultEntry;
  readonly cluster: {
    readonly nodeNames: readonly string[];
    readonly nodes: Nodes;
    /** IPv4, of the machine that this process runs on. */
    readonly ownAddresses: readonly string[];
    readonly checkpoint?: CheckpointKind;
    /** Those of the machines' provisioner. */
    readonly switches: StepSwitches;
    /** What its provisioner last told of a machine; undefined where it tells of none. */
    readonly machineOf?: (name: string) => Pick<Machine, 'zone' | 'spot'> | undefined;
    readonly claims: Pick<TargetClaims, 'conflicts'>;
    swarm(signal: AbortSignal): Promise<SwarmGateway>;
  };
  readonly scripts: Scripts;
  readonly runId: string;
  readonly faultKind: FaultKind;
  readonly params: unknown;
  readonly random: () => number;
  /** The trial of which it is one fault of several. */
  readonly together?: string;
}

/** Whose claims those of a schedule's trials are. */
export function ownerOf({ metadata }: FaultSchedule): string {
  return `FaultSchedule/${metadata.name}`;
}

export interface TrialPlanning extends Pick<Planning, 'schedule' | 'cluster' | 'scripts'> {
  readonly group: FaultGroup;
  readonly kinds: Readonly<Record<string, FaultKind>>;
  readonly runId: string;
  /** Of the trial: all of its faults draw from it. */
  readonly seed: number;
}

/** What the run of each fault of a trial is planned from, in the order of their draws. */
export function planningsOf({
  group: { faults },
  kinds,
  runId,
  seed,
  ...world
}: TrialPlanning): readonly Planning[] {
  const random = seededRandom(seed);
  return faults.map((fault, index) => {
    const { kind, params } = faultOf(fault);
    const named = faults.length === 1 ? { runId } : { runId: `${runId}.${index + 1}`, together: runId };
    // The schema admits no other kind.
    return { ...world, ...named, fault, faultKind: kinds[kind]!, params, random };
  });
}

/** The runs of a trial. Throws RefusedError with the reasons of all of its faults. */
export async function planRuns(
  plannings: readonly Planning[],
  signal: AbortSignal,
): Promise<readonly FaultRun[]> {
  const runs: FaultRun[] = [];
  const reasons: string[] = [];
  for (const planning of plannings) {
    try {
      runs.push(await planRun(planning, signal));
    } catch (error) {
      if (!(error instanceof RefusedError)) throw error;
      reasons.push(...error.reasons);
    }
  }
  if (reasons.length > 0) throw new RefusedError([...new Set(reasons)]);
  return runs;
}

/**
 * Targets, guards and steps of one run, from what is so at this moment; changes nothing. Throws RefusedError with every
 * reason that there is: guards, nodes out of reach, the kind's own, what nodes lack, what others hold.
 */
export async function planRun(planning: Planning, signal: AbortSignal): Promise<FaultRun> {
  const { schedule, fault, cluster, faultKind } = planning;
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
  if (facts) reasons.push(...guardOperator(facts, cluster.ownAddresses, schedule.spec));
  const steps = facts && (await orReasons(() => stepsOn(planning, facts)));
  const held = steps?.map(({ target }) => target) ?? targets.map(targetName);
  const lacking = await asked;
  signal.throwIfAborted();
  reasons.push(
    ...nodesOf(steps, targets).flatMap((node) => lacking.get(node) ?? []),
    ...(steps ?? []).flatMap((step) => missingSwitch(step, cluster.switches) ?? []),
    ...cluster.claims.conflicts(ownerOf(schedule), held),
  );
  if (reasons.length > 0 || !steps) throw new RefusedError([...new Set(reasons)]);
  const isTogether = planning.together !== undefined;
  const checkpointHit = checkpointServices(targets, inventory);
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
    // The switch counts from the arming, the hold from the effect.
    graceMs: (isTogether ? gateMs : 0) + Math.max(...steps.map(effectLimitOf)) + healTimeMs,
    ...(isTogether && { together: planning.together }),
    ...(fault.onRestart === 'follow' && { follow: true }),
    ...(checkpointHit.length > 0 && { checkpointHit }),
  };
}

/** The steps of a kind, each with the containers that it acts on, and whose they are. */
function stepsOn({ faultKind, params }: Planning, facts: Facts): readonly FaultStep[] {
  return faultKind.plan(params, facts).map((step) => {
    const tasks = facts.targets
      .filter((target) => target.kind === 'task')
      .filter((task) => targetName(task) === step.target);
    if (tasks.length === 0) return step;
    const containers = tasks.map(({ containerId }) => containerId);
    return { ...step, containers, slots: tasks.flatMap(({ slot }) => slot ?? []) };
  });
}

/**
 * The step on a task that runs in the place of one that is gone, on the same node if there is one. Undefined as long as
 * there is none: the other tasks of its service are not for this fault to hurt.
 */
export async function planSuccessor(
  planning: Planning,
  run: FaultRun,
  gone: FaultStep,
  signal: AbortSignal,
): Promise<FaultStep | undefined> {
  const { cluster } = planning;
  const inventory = await gatherInventory(await cluster.swarm(signal), signal);
  const hurt = new Set(run.steps.flatMap(({ containers = [] }) => containers));
  const fresh = inventory.services
    .filter(({ name }) => gone.target.endsWith(`/${name}`))
    .flatMap(({ name, tasks }) => tasks.map((task): TaskTarget => ({ kind: 'task', service: name, ...task })))
    .filter(({ containerId, slot = '' }) => gone.slots?.includes(slot) && !hurt.has(containerId));
  const next = fresh.find(({ node }) => node === gone.node) ?? fresh[0];
  if (!next) return undefined;
  const [step] = stepsOn(planning, await gatherFacts([next], inventory, cluster, signal));
  return step;
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
  const limited = AbortSignal.any([signal, deadline(needsLimitMs)]);
  const asked = cluster.nodeNames.map(async (name): Promise<[string, readonly string[]]> => {
    try {
      const missing = await missingNeeds(await cluster.nodes(name), faultKind.needs, scripts, limited);
      return [name, missing.length === 0 ? [] : [`${name} lacks ${missing.join(', ')}`]];
    } catch (error) {
      return [name, [messageOf(error)]];
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
