import type { FaultEntry, FaultSchedule } from '../../crds/fault-schedule.ts';
import { parseDuration } from '../../crds/parse-duration.ts';
import { type FaultKind, type FaultRun, type Nodes, RefusedError } from '../../state-machines/contract.ts';
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
    steps: faultKind.plan(planning.params, facts),
    holdMs: parseDuration(fault.hold),
    graceMs,
  };
}
