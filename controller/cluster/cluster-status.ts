import type { ClusterStatus, Condition, Drift, ObjectEvent } from '../../crds/status.ts';
import { messageOf, ProvisionError } from '../../provisioners/contract.ts';
import type { TaskCount } from '../metrics/cluster-metrics.ts';
import { type ConditionReason, stateReason } from '../status/condition-vocabulary.ts';
import { removeCondition, setCondition } from '../status/conditions.ts';
import { addEvent } from '../status/events.ts';
import { StateError } from '../status/state-error.ts';
import { CLUSTER_LABEL } from '../swarm/labels.ts';
import { tellDifference } from '../swarm/tell-difference.ts';
import type { StepResult } from './apply-plan.ts';
import type { ClusterPlan, Finding, StepKind } from './cluster-plan.ts';
import { findSwarmNode } from './node-identity.ts';
import { type DesiredCluster, machineOf, type ObservedCluster } from './plan-context.ts';
import type { StepFailure } from './step-backoff.ts';

/** What a pass found and did, as far as the status tells of it. */
export interface PassReport {
  readonly generation: number;
  readonly deleting: boolean;
  readonly desired: DesiredCluster;
  readonly observed: ObservedCluster;
  readonly plan: ClusterPlan;
  /** Steps of the plan that failed when they were last tried. */
  readonly failures: readonly StepFailure[];
  /** Why the steps are not carried out, if they are not. */
  readonly leftAlone?: 'DriftReported' | 'Suspended' | 'NotLeading' | undefined;
  /** Who acts instead of this operator, which only looks on. */
  readonly leftTo?: string | undefined;
  /** Not Ready because of what a trial holds: what a plan without claims would have done there. */
  readonly heldDifferences: readonly Finding[];
  /** How the steps ended; none before they were carried out. */
  readonly results: readonly StepResult[];
}

/** One sentence about the cluster, with its word. */
interface Verdict {
  readonly ready: boolean;
  readonly reason: ConditionReason;
  readonly message: string;
  /** Without help it stays so. */
  readonly stalled: boolean;
  /** Nothing is done, as it was asked for. */
  readonly paused?: boolean;
}

/** The conditions before and after the steps of a pass. */
export function clusterConditions(
  before: readonly Condition[],
  report: PassReport,
  nowMs: number,
): Condition[] {
  return setConditions(before, judge(report), report.generation, nowMs);
}

/** The conditions of a pass that could not even look. */
export function failureConditions(
  before: readonly Condition[],
  generation: number,
  error: unknown,
  nowMs: number,
): Condition[] {
  const needsSomebody = error instanceof ProvisionError && error.needsHelp;
  const stalled = error instanceof StateError || needsSomebody; // nothing is begun that could not be remembered
  return setConditions(
    before,
    { ...notReady(failureReason(error), messageOf(error)), stalled },
    generation,
    nowMs,
  );
}

function failureReason(error: unknown): ConditionReason {
  if (error instanceof StateError) return stateReason(error);
  return error instanceof ProvisionError ? 'ProvisionFailed' : 'ProgressingWithRetry';
}

function setConditions(
  before: readonly Condition[],
  verdict: Verdict,
  observedGeneration: number,
  nowMs: number,
): Condition[] {
  const { reason, message } = verdict;
  const set = (
    list: readonly Condition[],
    type: 'Ready' | 'Reconciling' | 'Stalled',
    status: 'True' | 'False',
  ) => setCondition(list, { type, status, reason, message, observedGeneration }, nowMs);
  let conditions = set(before, 'Ready', verdict.ready ? 'True' : 'False');
  const working = !verdict.ready && !verdict.stalled && verdict.paused !== true;
  conditions = working ? set(conditions, 'Reconciling', 'True') : removeCondition(conditions, 'Reconciling');
  conditions = verdict.stalled ? set(conditions, 'Stalled', 'True') : removeCondition(conditions, 'Stalled');
  return [...conditions];
}

function judge(report: PassReport): Verdict {
  const { plan, results, desired } = report;
  const failures = report.failures.map(
    ({ step, message }): Finding => ({
      target: step.id,
      reason: failureReasons[step.kind] ?? 'ProgressingWithRetry',
      message,
    }),
  );
  if (failures.length > 0) {
    const stalled = report.failures.every((failure) => failure.needsHelp);
    return { ...notReady(failures[0]!.reason, listFindings(failures)), stalled };
  }
  if (report.leftAlone === 'Suspended') return { ...notReady('Suspended', whatWaits(report)), paused: true };
  if (report.deleting) return notReady('Deleting', leftToDo(plan, results));
  if (report.leftAlone === 'DriftReported')
    return { ...notReady('DriftReported', `left as it is: ${stepList(plan)}`), stalled: true };
  if (report.leftTo !== undefined && plan.steps.length > 0) {
    const isFirst = plan.steps.some(({ kind }) => kind === 'init-swarm');
    const whom = isFirst
      ? '`controller apply`: a lease is kept in a swarm, and there is none'
      : report.leftTo;
    return notReady('NotLeading', `left to ${whom}: ${stepList(plan)}`);
  }
  const [problem] = plan.problems;
  if (problem) {
    const stalled = needsHelp.has(problem.reason) && plan.steps.length === 0 && plan.waiting.length === 0;
    return { ...notReady(problem.reason, listFindings(plan.problems)), stalled };
  }
  if (plan.steps.length > 0) return notReady('Progressing', summary(plan, results));
  if (plan.waiting.length > 0) return notReady(plan.waiting[0]!.reason, listFindings(plan.waiting));
  if (report.heldDifferences.length > 0) {
    const owners = [...new Set(plan.held.map(({ owner }) => owner))].join(', ');
    return notReady('HeldByTrial', `held by ${owners}: ${listFindings(report.heldDifferences)}`);
  }
  const services = desired.stacks.reduce((sum, stack) => sum + stack.services.length, 0);
  const without = plan.notes.filter(({ reason }) => hasNoEffect.has(reason));
  const but = without.length > 0 ? `, but ${listFindings(without)}` : '';
  const message = `${desired.nodes.length} machines and ${services} services are as the manifest asks${but}`;
  return { ready: true, reason: 'Converged', message, stalled: false };
}

/** What the manifest says in vain. */
const hasNoEffect: ReadonlySet<ConditionReason> = new Set(['FieldNotKept', 'ComposeWarning']);

/** What an edit, an annotation or a person's hand must mend. */
const needsHelp: ReadonlySet<ConditionReason> = new Set([
  'StackRefused',
  'PruneRefused',
  'RolloutFailed',
  'ReplacementNeeded',
  'NamesUnresolved',
]);

function notReady(reason: ConditionReason, message: string): Verdict {
  return { ready: false, reason, message, stalled: false };
}

const failureReasons: { readonly [kind in StepKind]?: ConditionReason } = {
  'ensure-shared': 'ProvisionFailed',
  'create-machine': 'ProvisionFailed',
  'destroy-machine': 'ProvisionFailed',
  'destroy-shared': 'ProvisionFailed',
  'verify-engine': 'EngineUnavailable',
  'deliver-images': 'ImagesMissing',
  'try-checkpoint': 'CheckpointUnreachable',
};

function leftToDo(plan: ClusterPlan, results: readonly StepResult[]): string {
  const blocked = [...plan.problems, ...plan.waiting];
  return blocked.length > 0 ? listFindings(blocked) : summary(plan, results);
}

function summary({ steps }: ClusterPlan, results: readonly StepResult[]): string {
  const done = results.filter(({ outcome }) => outcome.state === 'done').length;
  return `${done} of ${steps.length} steps done`;
}

const stepList = ({ steps }: ClusterPlan): string => steps.map(({ id }) => id).join(', ');

function whatWaits({ deleting, plan }: PassReport): string {
  if (deleting)
    return 'the manifest is gone, but it was suspended: nothing is removed; give it back without `suspend`, then remove it';
  return plan.steps.length === 0
    ? 'nothing is to be done, and nothing would be'
    : `left as it is: ${stepList(plan)}`;
}

function listFindings(findings: readonly Finding[]): string {
  const shown = findings.slice(0, 5).map(({ target, message }) => `${target}: ${message}`);
  const more = findings.length - shown.length;
  return `${shown.join('; ')}${more > 0 ? `; and ${more} more` : ''}`;
}

/** The most entries that a status lists, of a cluster that was changed through and through. */
const maxDrift = 100;

/** What the steps of a plan would change, field by field where they say so; for when they are not carried out. */
export function listDrift({ steps }: ClusterPlan): Drift[] {
  const all = steps.flatMap((step): Drift[] => {
    const { target, kind, reason } = step;
    if (step.kind !== 'update-service') return [{ target, step: `${kind}: ${reason}` }];
    return step.differences.map((difference) => {
      const { want, have } = tellDifference(difference);
      const sides = { ...(want !== undefined && { want }), ...(have !== undefined && { have }) };
      return { target, field: difference.path, ...sides, step: kind };
    });
  });
  return all.slice(0, maxDrift);
}

/** The machines that the swarm calls ready. */
export function readyNodes(desired: DesiredCluster, observed: ObservedCluster): readonly string[] {
  const names = desired.nodes.map(({ name }) => name);
  return names.filter((name) => {
    const look = machineOf(observed, name)?.look;
    return findSwarmNode(name, look, observed.swarm?.nodes)?.Status.State === 'ready';
  });
}

/** How many machines are asked for, and what became of them. */
export function countNodes(desired: DesiredCluster, observed: ObservedCluster): ClusterStatus['nodes'] {
  const looks = desired.nodes.map(({ name }) => ({ name, look: machineOf(observed, name)?.look }));
  const members = looks.map(({ name, look }) => findSwarmNode(name, look, observed.swarm?.nodes));
  const trusted = observed.machines.flatMap(({ machine: { name, trustedKey } }) =>
    trustedKey === undefined ? [] : [[name, trustedKey] as const],
  );
  return {
    ...(trusted.length > 0 && { trustedOnFirstUse: Object.fromEntries(trusted) }),
    desired: desired.nodes.length,
    ready: readyNodes(desired, observed).length,
    managers: members.filter((node) => node?.ManagerStatus?.Reachability === 'reachable').length,
    unreachable: looks
      .filter(({ look }) => look?.state === 'unreachable' || look?.state === 'engine-down')
      .map(({ name }) => name),
  };
}

/** The tasks of the cluster's own services, as the swarm counts them; none when no manager answers. */
export function countTasks({ name }: DesiredCluster, { swarm }: ObservedCluster): readonly TaskCount[] {
  const own = (swarm?.services ?? []).filter(({ Spec }) => Spec.Labels?.[CLUSTER_LABEL] === name);
  return own.map(({ Spec, ServiceStatus }) => ({
    service: Spec.Name,
    desired: ServiceStatus?.DesiredTasks ?? 0,
    running: ServiceStatus?.RunningTasks ?? 0,
  }));
}

/** An event when another operator leads than the status said. */
export function addLeaderEvent(
  { leader: before, events = [] }: Pick<ClusterStatus, 'leader' | 'events'>,
  leader: ClusterStatus['leader'],
  nowMs: number,
): readonly ObjectEvent[] {
  if (!leader || (leader.holder === before?.holder && leader.term === before.term)) return events;
  const message = `${leader.holder} became leader, term ${leader.term}`;
  return addEvent(events, { type: 'Normal', reason: 'LeaderElection', message }, nowMs);
}

/** An event for each step that changed something or failed to. */
export function addStepEvents(
  events: readonly ObjectEvent[],
  results: readonly StepResult[],
  nowMs: number,
): ObjectEvent[] {
  let ring = [...events];
  for (const { step, outcome } of results) {
    const reason = step.kind.replace(/(^|-)(\w)/g, (_, __, letter: string) => letter.toUpperCase());
    if (outcome.state === 'done') {
      ring = addEvent(ring, { type: 'Normal', reason, message: `${step.target}: ${step.reason}` }, nowMs);
    } else if (outcome.state === 'failed') {
      const message = `${step.target}: ${outcome.message}`;
      ring = addEvent(ring, { type: 'Warning', reason: `${reason}Failed`, message }, nowMs);
    }
  }
  return ring;
}
