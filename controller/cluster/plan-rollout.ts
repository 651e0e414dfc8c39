import type { Rollouts } from '../../crds/status.ts';
import type { AwaitedState } from '../stack/convert-stack.ts';
import type { Difference } from '../swarm/diff-trees.ts';
import { SPEC_HASH_LABEL } from '../swarm/labels.ts';
import { hashService } from '../swarm/normal-service.ts';
import type { LiveService, ServiceSpec } from '../swarm/swarm-types.ts';
import type { ClusterPlan, Step } from './cluster-plan.ts';
import type { DesiredCluster, PlanContext } from './plan-context.ts';
import { type PlanPart, problem, waiting } from './plan-part.ts';

/** Of swarmkit: how long a task must run before an update counts it as good. */
const MONITOR_MS = 5_000;

/** What a service is to be, in a word: the same for specs that mean the same. */
const revisionOf = (spec: ServiceSpec): string => spec.Labels[SPEC_HASH_LABEL] ?? hashService(spec);

/** The engine stopped rolling out, or went back: by itself it does nothing more. */
const gaveUp = ({ UpdateStatus }: LiveService): boolean =>
  /^(paused|rollback_)/.test(UpdateStatus?.State ?? '');

/**
 * Whether a service's tasks have to be looked at: its counts alone do not tell whether they are of the spec that was
 * asked for last, and for how long they have run. Once a rollout is over they do.
 */
export function isUnsettled(live: LiveService, rollouts: Rollouts): boolean {
  const state = live.UpdateStatus?.State;
  if (rollouts[live.Spec.Name]?.state === 'Failed') return state === 'paused';
  const isUnderWay = state !== undefined && /^(updating|paused|rollback_started)$/.test(state);
  return rollouts[live.Spec.Name] !== undefined || isUnderWay || missingTasks(live) > 0;
}

/** Tasks of a job that have done their work are not missing. */
function missingTasks({ ServiceStatus }: LiveService): number {
  const { RunningTasks = 0, DesiredTasks = 0, CompletedTasks = 0 } = ServiceStatus ?? {};
  return DesiredTasks - RunningTasks - CompletedTasks;
}

/**
 * All tasks run as they are asked for now, of those with a health check as healthy ones, or have done their work; for how
 * long does not matter. Completed is a job of which all tasks have succeeded.
 */
export function hasComeTo(awaited: AwaitedState, live: LiveService, { observed }: PlanContext): boolean {
  const { DesiredTasks = 0, CompletedTasks = 0 } = live.ServiceStatus ?? {};
  const { Mode } = live.Spec;
  if (awaited === 'completed' && 'ReplicatedJob' in Mode)
    return CompletedTasks >= (Mode.ReplicatedJob.TotalCompletions ?? Mode.ReplicatedJob.MaxConcurrent ?? 1);
  if (awaited === 'completed') return CompletedTasks > 0 && CompletedTasks >= DesiredTasks;
  if (missingTasks(live) > 0 || /^(updating|rollback_started)$/.test(live.UpdateStatus?.State ?? ''))
    return false;
  const look = observed.tasks?.get(live.ID);
  return isJob(live.Spec) || look === undefined || look.running >= DesiredTasks;
}

const isJob = ({ Mode }: ServiceSpec): boolean => 'ReplicatedJob' in Mode || 'GlobalJob' in Mode;

/**
 * What is to be said of a service's rollout, if anything: that it failed and is not tried again, or, where nothing differs,
 * that it still goes on. Undefined when it may be updated, or nothing is left to be awaited.
 */
export function planRollout(
  spec: ServiceSpec,
  live: LiveService,
  differences: readonly Difference[],
  context: PlanContext,
): PlanPart | undefined {
  const revision = revisionOf(spec);
  const last = context.rollouts?.[spec.Name];
  const isLast = last?.revision === revision;
  const stood = isSteady(spec, live, context) && differences.length === 0;
  if (isLast && last.state === 'Failed' && !stood) return failed(spec, last.message ?? '');
  const isOurs = isLast ? last.replaces !== live.UpdateStatus?.StartedAt : differences.length === 0;
  const isBack = live.UpdateStatus?.State.startsWith('rollback_') === true && differences.length === 0;
  if (gaveUp(live) && isOurs && !isBack && !stood) return failed(spec, whyFailed(live, context));
  return differences.length === 0 ? converging(spec, live, context) : undefined;
}

function failed({ Name }: ServiceSpec, message: string): PlanPart {
  return problem(Name, 'RolloutFailed', message);
}

function whyFailed({ ID, UpdateStatus }: LiveService, { observed }: PlanContext): string {
  const { State = '', Message = '' } = UpdateStatus ?? {};
  const end = State === 'paused' ? 'its update was paused' : 'its update was rolled back';
  return `${end}: ${observed.tasks?.get(ID)?.error ?? Message}; this revision is not applied again`;
}

function converging(spec: ServiceSpec, live: LiveService, context: PlanContext): PlanPart | undefined {
  const look = context.observed.tasks?.get(live.ID);
  const { RunningTasks = 0, DesiredTasks = 0 } = live.ServiceStatus ?? {};
  const why = look?.error === undefined ? '' : `: ${look.error}`;
  const wait = (message: string) => waiting(spec.Name, 'TasksNotRunning', message);
  if (missingTasks(live) > 0) return wait(`${RunningTasks} of ${DesiredTasks} tasks run${why}`);
  if (!isUnsettled(live, context.rollouts ?? {}) || isSteady(spec, live, context)) return undefined;
  if (look && look.running < DesiredTasks)
    return wait(`${look.running} of ${DesiredTasks} tasks run as they are asked for now${why}`);
  const monitorMs = monitorOf(spec);
  const againMs = Math.max(0, monitorMs - (look?.steadyMs ?? 0));
  const message = `its tasks run, and have to for ${monitorMs / 1000} s`;
  return { waiting: [{ target: spec.Name, reason: 'TasksNotRunning', message, againMs }] };
}

/** The tasks of the spec as it is now all run, have for as long as the update would watch them, and no update goes on. */
function isSteady(spec: ServiceSpec, live: LiveService, { observed }: PlanContext): boolean {
  const look = observed.tasks?.get(live.ID);
  const { State } = live.UpdateStatus ?? {};
  if (!look || missingTasks(live) > 0 || State === 'updating' || State === 'rollback_started') return false;
  const { DesiredTasks = 0 } = live.ServiceStatus ?? {};
  if (isJob(spec) || DesiredTasks === 0) return true;
  return look.running >= DesiredTasks && look.steadyMs >= monitorOf(spec);
}

function monitorOf({ UpdateConfig }: ServiceSpec): number {
  const { Monitor } = UpdateConfig ?? {};
  return Monitor === undefined || Monitor === 0 ? MONITOR_MS : Monitor / 1e6;
}

/**
 * The rollouts to be on the disk before steps are carried out: those that they begin, so that a crash right after the write
 * does not forget whose update it was; those that go on; and those that failed, until another revision is asked for.
 */
export function nextRollouts(
  { desired, observed, rollouts = {} }: PlanContext,
  { problems, waiting, held }: ClusterPlan,
  steps: readonly Step[],
): Rollouts {
  const begun = new Set(steps.filter(isPut).map(({ target }) => target));
  const failures = problems.filter(({ reason }) => reason === 'RolloutFailed');
  const open = new Set([...waiting, ...held].map(({ target }) => target));
  // What could not be looked at is as it was.
  const unseen = !observed.swarm || problems.some(({ reason }) => reason === 'StackRefused');
  const entries = specsOf(desired).map((spec): readonly [string, Rollouts[string] | undefined] => {
    const { Name } = spec;
    const failure = failures.find(({ target }) => target === Name);
    if (failure) {
      const { message } = failure;
      return [Name, { ...rollouts[Name], revision: revisionOf(spec), state: 'Failed', message }];
    }
    if (begun.has(Name)) return [Name, begin(spec, observed.swarm?.services)];
    return [Name, open.has(Name) ? rollouts[Name] : undefined];
  });
  const known = entries.filter((each): each is [string, Rollouts[string]] => each[1] !== undefined);
  return { ...(unseen && rollouts), ...Object.fromEntries(known) };
}

function begin(spec: ServiceSpec, services: readonly LiveService[] | undefined): Rollouts[string] {
  const replaces = services?.find(({ Spec }) => Spec.Name === spec.Name)?.UpdateStatus?.StartedAt;
  return { revision: revisionOf(spec), state: 'Rolling', ...(replaces !== undefined && { replaces }) };
}

const specsOf = ({ stacks }: DesiredCluster): readonly ServiceSpec[] =>
  stacks.flatMap(({ services }) => services);

export const isPut = ({ kind }: Step): boolean => kind === 'create-service' || kind === 'update-service';
