import { type FaultEntry, type FaultGroup, type FaultSchedule, faultOf } from '../../crds/fault-schedule.ts';
import { parseDuration } from '../../crds/parse-duration.ts';
import {
  type Facts,
  type FaultKind,
  type FaultRun,
  type FaultStep,
  type Nodes,
  RefusedError,
  type TaskTarget,
  targetName,
} from '../../state-machines/contract.ts';
import { seededRandom } from '../../state-machines/seeded-random.ts';
import type { SwarmGateway } from '../swarm/swarm-gateway.ts';
import { gatherFacts, gatherInventory } from './gather-facts.ts';
import { guardRun } from './guard-run.ts';
import { selectTargets } from './select-targets.ts';

/** After the hold: covers the 20 s within which the effect must be seen, and the heal by a controller that lives. */
const graceMs = 30_000;

/** What a plan of one run is made from. */
export interface Planning {
  readonly schedule: FaultSchedule;
  readonly fault: FaultEntry;
  readonly cluster: {
    readonly nodeNames: readonly string[];
    readonly nodes: Nodes;
    swarm(signal: AbortSignal): Promise<SwarmGateway>;
  };
  readonly runId: string;
  readonly faultKind: FaultKind;
  readonly params: unknown;
  readonly random: () => number;
  /** The trial of which it is one fault of several. */
  readonly together?: string;
}

export interface TrialPlanning extends Pick<Planning, 'schedule' | 'cluster'> {
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
  schedule,
  cluster,
}: TrialPlanning): readonly Planning[] {
  const random = seededRandom(seed);
  return faults.map((fault, index) => {
    const { kind, params } = faultOf(fault);
    const named = faults.length === 1 ? { runId } : { runId: `${runId}.${index + 1}`, together: runId };
    // The schema admits no other kind.
    return { ...named, schedule, fault, cluster, faultKind: kinds[kind]!, params, random };
  });
}

/** The runs of a trial. Throws RefusedError. */
export async function planRuns(
  plannings: readonly Planning[],
  signal: AbortSignal,
): Promise<readonly FaultRun[]> {
  const runs: FaultRun[] = [];
  for (const planning of plannings) runs.push(await planRun(planning, signal));
  return runs;
}

/** Targets, guards and steps of one run, from what is so at this moment; changes nothing. Throws RefusedError. */
export async function planRun(planning: Planning, signal: AbortSignal): Promise<FaultRun> {
  const { fault, cluster, faultKind, random } = planning;
  const { metadata, spec } = planning.schedule;
  const inventory = await gatherInventory(await cluster.swarm(signal), signal);
  const selector = { ...fault.target, whole: faultKind.targets.includes('services') };
  const targets = selectTargets(selector, inventory, random);
  if (targets.length === 0) throw new RefusedError(`${fault.name}: nothing that runs now matches its target`);
  const reasons = guardRun(targets, inventory, spec);
  if (reasons.length > 0) throw new RefusedError(reasons.join('; '));
  const facts = await gatherFacts(targets, inventory, cluster, signal);
  return {
    runId: planning.runId,
    cluster: spec.clusterRef.name,
    schedule: metadata.name,
    fault: fault.name,
    kind: faultKind.name,
    instant: faultKind.instant,
    needs: faultKind.needs,
    steps: stepsOn(planning, facts),
    holdMs: parseDuration(fault.hold),
    graceMs,
    ...(planning.together !== undefined && { together: planning.together }),
    ...(fault.onRestart === 'follow' && { follow: true }),
  };
}

/** The steps of a kind, each with the containers that it acts on. */
function stepsOn({ faultKind, params }: Planning, facts: Facts): readonly FaultStep[] {
  return faultKind.plan(params, facts).map((step) => {
    const tasks = facts.targets.filter((target) => target.kind === 'task');
    const containers = tasks
      .filter((task) => targetName(task) === step.target)
      .map(({ containerId }) => containerId);
    return containers.length === 0 ? step : { ...step, containers };
  });
}

/**
 * The step on a task that runs in the place of one that is gone: of its service, on the same node if there is one, and
 * none that the run has hurt already. Undefined as long as there is none.
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
    .filter(({ containerId }) => !hurt.has(containerId));
  const next = fresh.find(({ node }) => node === gone.node) ?? fresh[0];
  if (!next) return undefined;
  const [step] = stepsOn(planning, await gatherFacts([next], inventory, cluster, signal));
  return step;
}
