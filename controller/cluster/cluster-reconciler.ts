import { type ClusterSpec, provisionerOf } from '../../crds/cluster-spec.ts';
import type { Rollouts } from '../../crds/status.ts';
import { type Machine, messageOf, type Provisioner } from '../../provisioners/contract.ts';
import type { Nodes } from '../../state-machines/contract.ts';
import { type ReconcileResult, type Reconciler, TerminalError } from '../loop/reconciler.ts';
import type { StoredResource } from '../source/resource-store.ts';
import type { NewEvent } from '../status/events.ts';
import { References } from '../swarm/resolve-references.ts';
import type { SwarmGateway } from '../swarm/swarm-gateway.ts';
import { applyPlan, type StepResult } from './apply-plan.ts';
import { applyStep } from './apply-step.ts';
import type { ClusterPlan, Finding, Step, StepKind } from './cluster-plan.ts';
import { type ClusterDeps, ClusterSession } from './cluster-session.ts';
import { countNodes, countTasks, listDrift, type PassReport, readyNodes } from './cluster-status.ts';
import { loadDesired } from './load-desired.ts';
import { observeCluster } from './observe-cluster.ts';
import { nextInventory } from './ownership.ts';
import { resyncMs, soonMs } from './pace.ts';
import { heldDifferences, planCluster } from './plan-cluster.ts';
import type { PlanContext } from './plan-context.ts';
import { nextRollouts } from './plan-rollout.ts';
import { planTeardown } from './plan-teardown.ts';
import { ClusterTeller } from './tell-cluster.ts';

type Context = Omit<PlanContext, 'replaced'>;

/** Makes machines, swarm and stacks as a ClusterSpec says: observe, plan, apply, and tell. */
export class ClusterReconciler implements Reconciler<StoredResource> {
  readonly kind = 'ClusterSpec';
  readonly #deps: ClusterDeps;
  readonly #sessions = new Map<string, ClusterSession>();
  readonly #passed = new Map<string, number>();
  readonly #teller: ClusterTeller;

  constructor(deps: ClusterDeps) {
    this.#deps = deps;
    this.#teller = new ClusterTeller(deps);
  }

  async reconcile(stored: StoredResource, signal: AbortSignal): Promise<ReconcileResult> {
    const cluster = clusterOf(stored);
    if (!cluster) {
      await this.#teller.refused(stored);
      return {};
    }
    const session = this.#session(cluster);
    session.use(cluster);
    await session.begin(stored.generation);
    if (isNewlyAsked(cluster, session)) session.startAfresh();
    const { suspend } = cluster.spec;
    const { acting } = this.#deps;
    if (stored.deleting && !suspend) acting.tearDown(stored.name);
    const hindrance = acting.hindrance(stored.name);
    // What was begun with the right to act ends with it.
    const ours = hindrance === undefined ? acting.ended(stored.name) : undefined;
    const bounded = ours ? AbortSignal.any([signal, ours]) : signal;
    try {
      if (hindrance === undefined && !suspend) await this.#deps.prepare(cluster, stored.deleting, bounded);
      const result = await this.#pass(stored, cluster, session, { signal: bounded, hindrance });
      this.#passed.set(stored.name, stored.generation);
      return result;
    } catch (error) {
      if (bounded.aborted && !signal.aborted) return { requeueAfterMs: soonMs };
      if (!signal.aborted && !(error instanceof StepsFailed))
        await this.#teller.failure(stored, session, error);
      throw error;
    }
  }

  /** Whether this process has made a pass over that generation: a status saved before it was born proves nothing now. */
  hasPassed(cluster: string, generation: number): boolean {
    return (this.#passed.get(cluster) ?? -1) >= generation;
  }

  /** What a pass would do now, without doing it. */
  async plan(stored: StoredResource, signal: AbortSignal): Promise<ClusterPlan> {
    const cluster = clusterOf(stored);
    if (!cluster) throw new TerminalError(`${stored.key} has no manifest that could be planned`);
    const session = this.#session(cluster);
    session.use(cluster);
    await session.begin(stored.generation);
    const engineHere = await this.#deps.isEngineHere(signal);
    const look = () => this.#look(stored, cluster, session, signal, engineHere);
    // Asks every engine for what the manifest names; people are told when all have answered, however long a pass would wait.
    await look();
    await session.pool.settled(signal);
    const plan = planFor(stored, cluster, await look());
    const notes = [
      ...(engineHere ? [] : [noEngineHere]),
      ...(cluster.spec.suspend ? [suspended(stored.name)] : []),
    ];
    return { ...plan, notes: [...plan.notes, ...notes] };
  }

  /** The connections to a cluster's machines, shared with those who run faults; opened when first asked for. */
  nodes(cluster: ClusterSpec): Nodes {
    return async (name) => {
      const { pool, provisioner, ended } = this.#session(cluster);
      if (!pool.has(name)) pool.sync(await provisioner.list(ended));
      return pool.node(name, ended);
    };
  }

  /** The swarm's API, through whichever manager answers. */
  async swarm(cluster: ClusterSpec, signal: AbortSignal): Promise<SwarmGateway> {
    const [manager] = await this.managers(cluster, signal);
    if (manager === undefined) throw new Error(`no manager of ${cluster.metadata.name} answers`);
    return manager();
  }

  /** Ways to the swarm's API, through each manager that answered when it was last asked. */
  async managers(
    cluster: ClusterSpec,
    signal: AbortSignal,
  ): Promise<readonly (() => Promise<SwarmGateway>)[]> {
    const { pool, provisioner } = this.#session(cluster);
    if (pool.managers().length === 0) await observeCluster({ pool, provisioner }, signal);
    if (pool.managers().length === 0) await pool.settled(signal);
    return pool.managers().map((name) => async () => (await pool.connection(name, signal)).swarm);
  }

  /** What the provisioner last told of a machine; undefined when it did not, or there is none. */
  machine(cluster: ClusterSpec, name: string): Machine | undefined {
    return this.#session(cluster).pool.machine(name);
  }

  /** The provisioner bound to a cluster, for faults that need its switches. */
  provisioner(cluster: ClusterSpec): Provisioner {
    return this.#session(cluster).provisioner;
  }

  /** Something that the status of a cluster is to tell; one that nobody looks after any more has none. */
  tell(cluster: string, event: NewEvent): void {
    const session = this.#sessions.get(cluster);
    if (!session) return;
    session.told = [...session.told, event];
    this.#deps.wake(session.key, soonMs);
  }

  /** Closes all connections. */
  close(): void {
    for (const session of this.#sessions.values()) session.close();
    this.#sessions.clear();
  }

  /** Runs of faults know the manifest that they began with, which may be an old one: only passes bring a new one in. */
  #session(cluster: ClusterSpec): ClusterSession {
    const { name } = cluster.metadata;
    const session = this.#sessions.get(name) ?? new ClusterSession(cluster, this.#deps);
    this.#sessions.set(name, session);
    return session;
  }

  async #pass(
    stored: StoredResource,
    cluster: ClusterSpec,
    session: ClusterSession,
    { signal, hindrance: before }: { readonly signal: AbortSignal; readonly hindrance: string | undefined },
  ): Promise<ReconcileResult> {
    const { acting } = this.#deps;
    const context = await this.#look(stored, cluster, session, signal);
    const { desired, observed } = context;
    acting.saw(stored.name, observed.swarm?.configs ?? (isGone(observed) ? [] : undefined));
    // A pass that began without the right to act does not act.
    const hindrance = acting.hindrance(stored.name) ?? before;
    const plan = planFor(stored, cluster, context);
    session.unkept.forgetOthers(differingServices(plan));
    const { generation, deleting } = stored;
    const leftAlone = hindrance === undefined ? whyLeftAlone(cluster, deleting, plan, session) : 'NotLeading';
    const steps = leftAlone ? [] : stepsToDo(plan, context, session);
    const report: PassReport = {
      ...{ generation, deleting, desired, observed, plan, leftAlone, leftTo: hindrance, results: [] },
      heldDifferences: deleting ? [] : heldDifferences(context, plan),
      failures: leftAlone ? [] : session.backoff.failuresOf(plan.steps),
    };
    const nodes = countNodes(desired, observed);
    const ready = readyNodes(desired, observed);
    if (ready.some((node) => session.ready?.includes(node) === false)) this.#deps.returned(stored.name);
    session.ready = ready;
    this.#deps.metrics.clusterSeen(stored.name, nodes, countTasks(desired, observed));
    await this.#teller.pass(stored, session, report, {
      nodes,
      inventory: nextInventory(context.inventory, observed, leftAlone ? [] : plan.steps, desired),
      drift: leftAlone && hindrance === undefined ? someOf(listDrift(plan)) : undefined,
      // What the leader does is not ours to remember.
      ...(hindrance === undefined && {
        rollouts: deleting ? undefined : someOf(nextRollouts(context, plan, steps)),
        ...(leftAlone !== 'Suspended' && { lastHandledReconcileAt: reconcileAt(cluster) }),
      }),
    });
    const results = await this.#apply(steps, session, context, signal);
    if (results.length > 0) {
      const failures = session.backoff.failuresOf(plan.steps);
      await this.#teller.pass(stored, session, { ...report, failures, results });
    }
    // Who only looks on forgets a cluster that is gone.
    const isOver = hindrance === undefined ? !leftAlone && isFinished(plan, results) : isGone(observed);
    if (deleting && isOver) {
      await this.#deps.removed(cluster.metadata.name, machinesLeft(plan, observed));
      return this.#finalize(session, cluster.metadata.name);
    }
    this.#throwFailures(session, results);
    return { requeueAfterMs: session.pace.nextMs(report, results) };
  }

  async #look(
    stored: StoredResource,
    cluster: ClusterSpec,
    session: ClusterSession,
    signal: AbortSignal,
    engineHere = true,
  ): Promise<Context> {
    const { provisioner, pool } = session;
    const { variables, loadStack, controllerPort, claimsOf } = this.#deps;
    const observe = () => observeCluster({ provisioner, pool }, signal);
    let observed = engineHere || !isLab(cluster) ? await observe() : { machines: [] };
    const address = await session.controllerAddress(signal);
    // With another target than the true one, every config that names it would seem to differ.
    if (observed.swarm && address === undefined)
      throw new Error('no node tells under which address it sees us');
    const sources = {
      provisioner,
      loadStack,
      variables: { ...variables, CONTROLLER_TARGET: `${address ?? 'controller'}:${controllerPort}` },
      deliverable: engineHere ? session.deliverable.bind(session) : async () => [],
    };
    // When a cluster goes, its compose files may be gone already.
    const manifest = stored.deleting ? { ...cluster, spec: { ...cluster.spec, stacks: [] } } : cluster;
    const desired = await loadDesired(manifest, sources, signal);
    const imagesAreNew = pool.watchImages(desired.images.map(({ reference }) => reference));
    if (imagesAreNew) observed = await observe();
    const claims = claimsOf(stored.name);
    const rollouts = rolloutsOf(cluster, session);
    const tasks =
      observed.swarm && !stored.deleting && (await session.lookAtTasks(observed.swarm, rollouts, signal));
    return {
      desired,
      observed: { ...observed, ...(tasks && { tasks }) },
      rollouts,
      notKept: (spec, differences) => session.unkept.has(spec, differences),
      heldBy: (name) => claims.heldBy(name),
      madeAnewFor: (name) => claims.madeAnewFor(name),
      diff: session.diff,
      inventory: session.status.current?.inventory,
      found: this.#deps.deafNodes(stored.name),
    };
  }

  async #apply(
    steps: readonly Step[],
    session: ClusterSession,
    context: Context,
    signal: AbortSignal,
  ): Promise<readonly StepResult[]> {
    if (steps.length === 0) return [];
    const { images, tryCheckpoint, clock } = this.#deps;
    const { provisioner, pool } = session;
    const tools = { provisioner, pool, images, tryCheckpoint, clock, references: new References() };
    const results = await applyPlan(
      { steps },
      (step) => applyStep(step, tools, ({ target }) => this.#holderOf(context, target), signal),
      (result) => this.#log(context.desired.name, result),
      signal,
    );
    session.backoff.record(results);
    for (const { step, outcome } of results)
      if (step.kind === 'update-service' && outcome.state === 'done')
        session.unkept.wrote(step.spec, step.differences);
    return results;
  }

  /** A trial, or the operator that acts instead of this one. */
  #holderOf({ desired, heldBy }: Context, target: string): string | undefined {
    return this.#deps.acting.hindrance(desired.name) ?? heldBy(target);
  }

  #log(cluster: string, { step, outcome }: StepResult): void {
    const fields = { cluster, step: step.kind, target: step.target };
    if (outcome.state === 'done') {
      this.#deps.log.info({ ...fields, reason: step.reason }, 'step done');
      this.#deps.changed(cluster, `${step.kind} ${step.target}`, step.target);
    } else if (outcome.state === 'failed')
      this.#deps.log.warn({ ...fields, err: outcome.error }, 'step failed');
    else this.#deps.log.debug({ ...fields, state: outcome.state, why: outcome.message }, 'step not done');
  }

  /** The loop counts the pass as failed; when a step is tried again is the step's own backoff's business. */
  #throwFailures(session: ClusterSession, results: readonly StepResult[]): void {
    const errors = results.flatMap(({ outcome }) => (outcome.state === 'failed' ? [outcome.error] : []));
    if (errors.length === 0) return;
    const retryMs = session.backoff.nextRetryMs(results.map(({ step }) => step)) ?? resyncMs;
    this.#deps.wake(session.key, Math.min(retryMs, resyncMs));
    throw new StepsFailed(errors);
  }

  async #finalize(session: ClusterSession, name: string): Promise<ReconcileResult> {
    await this.#deps.acting.forget(name);
    session.close();
    this.#sessions.delete(name);
    await session.status.remove();
    this.#deps.metrics.clusterGone(name);
    return { finalized: true };
  }
}

/** One or more steps of a pass failed; each was told already, with its step. */
class StepsFailed extends AggregateError {
  readonly code = 'STEPS_FAILED';
  constructor(errors: readonly unknown[]) {
    super(errors, errors.map(messageOf).join('; '));
    this.name = 'StepsFailed';
  }
}

/** These need a manager's answer, and the address under which nodes see us: they come a pass later. */
const stackKinds: ReadonlySet<StepKind> = new Set([
  'create-network',
  'create-config',
  'create-secret',
  'create-service',
  'update-service',
]);

/** Another value of this annotation has everything looked at from scratch, and what failed tried again. */
const RECONCILE_AT = 'spark-failures.io/reconcile-at';

const reconcileAt = ({ metadata }: ClusterSpec): string | undefined => metadata.annotations?.[RECONCILE_AT];

function isNewlyAsked(cluster: ClusterSpec, { status }: ClusterSession): boolean {
  const asked = reconcileAt(cluster);
  return asked !== undefined && asked !== status.current?.lastHandledReconcileAt;
}

function rolloutsOf(cluster: ClusterSpec, session: ClusterSession): Rollouts {
  const { rollouts = {} } = session.status.current ?? {};
  if (!isNewlyAsked(cluster, session)) return rollouts;
  return Object.fromEntries(Object.entries(rollouts).filter(([, { state }]) => state !== 'Failed'));
}

function whyLeftAlone(
  { spec }: ClusterSpec,
  deleting: boolean,
  plan: ClusterPlan,
  session: ClusterSession,
): PassReport['leftAlone'] {
  if (spec.suspend) return 'Suspended';
  const reportOnly = !deleting && spec.drift === 'report' && session.isSettled;
  return reportOnly && plan.steps.some(isCorrection) ? 'DriftReported' : undefined;
}

function differingServices({ steps, notes }: ClusterPlan): ReadonlySet<string> {
  const updated = steps.filter(({ kind }) => kind === 'update-service');
  const unkept = notes.filter(({ reason }) => reason === 'FieldNotKept');
  return new Set([...updated, ...unkept].map(({ target }) => target));
}

/** Undefined when it is empty. */
function someOf<T extends object>(parts: T): T | undefined {
  return Object.keys(parts).length > 0 ? parts : undefined;
}

/** A look changes nothing of what a manifest speaks of. */
const isCorrection = ({ kind }: Step): boolean => kind !== 'try-checkpoint';

function clusterOf({ resource }: StoredResource): ClusterSpec | undefined {
  return resource?.kind === 'ClusterSpec' ? resource : undefined;
}

function planFor({ deleting }: StoredResource, cluster: ClusterSpec, context: Context): ClusterPlan {
  if (!deleting) return planCluster(context);
  return planTeardown(context, cluster.spec.deletionPolicy ?? (isLab(cluster) ? 'destroy' : 'retain'));
}

/** Its machines are containers of this machine's engine. */
const isLab = (cluster: ClusterSpec): boolean => provisionerOf(cluster).name === 'lab';

const noEngineHere: Finding = {
  target: 'this machine',
  reason: 'EngineUnavailable',
  message:
    'no Docker engine answers: one will be installed or started first; machines of a lab, and images for nodes, are planned as if it held none',
};

const suspended = (target: string): Finding => ({
  target,
  reason: 'Suspended',
  message: 'nothing of this is done for as long as the manifest says `suspend: true`',
});

/** Not those that failed a moment ago. */
function stepsToDo(
  { steps }: ClusterPlan,
  { observed }: Context,
  { backoff }: ClusterSession,
): readonly Step[] {
  const possible = observed.swarm ? steps : steps.filter(({ kind }) => !stackKinds.has(kind));
  return possible.filter((step) => !backoff.holdsBack(step));
}

function isFinished(plan: ClusterPlan, results: readonly StepResult[]): boolean {
  const blocked = plan.held.length + plan.waiting.length + plan.problems.length > 0;
  return (
    !blocked &&
    results.length === plan.steps.length &&
    results.every(({ outcome }) => outcome.state === 'done')
  );
}

/** Nothing is left of it: no machine, or none in a swarm, as each of them says. */
function isGone({ machines, swarm }: Context['observed']): boolean {
  const isOut = machines.every(
    ({ look }) => look.state === 'up' && look.info.Swarm.LocalNodeState === 'inactive',
  );
  return !swarm && isOut;
}

/** Once all steps are done. */
function machinesLeft({ steps }: ClusterPlan, { machines }: Context['observed']): readonly string[] {
  const destroyed = steps.filter(({ kind }) => kind === 'destroy-machine').map(({ target }) => target);
  return machines.map(({ machine }) => machine.name).filter((name) => !destroyed.includes(name));
}
