import { formatProblem } from '../../crds/problem.ts';
import type { ClusterStatus } from '../../crds/status.ts';
import { TerminalError } from '../loop/reconciler.ts';
import type { StoredResource } from '../source/resource-store.ts';
import { defined } from '../stack/defined.ts';
import { type ConditionUpdate, isTrue, setCondition } from '../status/conditions.ts';
import { addEvent } from '../status/events.ts';
import { withApplied, withSource } from '../status/source-status.ts';
import { isStateFull } from '../status/state-error.ts';
import type { ClusterDeps, ClusterSession } from './cluster-session.ts';
import {
  addLeaderEvent,
  addStepEvents,
  clusterConditions,
  failureConditions,
  type PassReport,
} from './cluster-status.ts';

/** What a pass found; undefined where there is nothing any more. */
type StatusParts = { readonly [part in keyof ClusterStatus]?: ClusterStatus[part] | undefined };

type TellerDeps = Pick<ClusterDeps, 'clock' | 'acting' | 'metrics' | 'statuses'>;

/** Tells what became of a pass: in the status, with its conditions and events, and in the metrics. */
export class ClusterTeller {
  readonly #deps: TellerDeps;

  constructor(deps: TellerDeps) {
    this.#deps = deps;
  }

  /** What a pass found, or did. */
  async pass(
    stored: StoredResource,
    session: ClusterSession,
    report: PassReport,
    parts: StatusParts = {},
  ): Promise<void> {
    const nowMs = this.#deps.clock.now();
    const leader = this.#deps.acting.leader(stored.name);
    const before = told(stored, session.status.current, nowMs);
    const conditions = clusterConditions(before.conditions, report, nowMs);
    const isReady = isTrue(conditions, 'Ready', stored.generation);
    this.#deps.metrics.clusterReady(stored.name, isReady);
    const { told: fromOthers } = session;
    const led = addLeaderEvent(before, leader, nowMs);
    const earlier = fromOthers.reduce((ring, event) => addEvent(ring, event, nowMs), led);
    const events = addStepEvents(earlier, report.results, nowMs);
    const status = defined({ ...before, ...parts, leader, conditions, events }) as ClusterStatus;
    await session.status.save(isReady ? withApplied(status) : status);
    session.told = session.told.slice(fromOthers.length);
  }

  /** A pass that could not even look, or act. */
  async failure(stored: StoredResource, session: ClusterSession, error: unknown): Promise<void> {
    const nowMs = this.#deps.clock.now();
    const before = told(stored, session.status.current, nowMs);
    const conditions = failureConditions(before.conditions, stored.generation, error, nowMs);
    this.#deps.metrics.clusterReady(stored.name, false);
    await session.status.save({ ...before, conditions }, isStateFull(error) ? 'tellFull' : 'write');
  }

  /** No text of this manifest was ever good: there is nothing to act upon, and nothing that could be destroyed. */
  async refused(stored: StoredResource): Promise<void> {
    if (stored.deleting) throw new TerminalError(`${stored.key} is gone, and what it asked for is not known`);
    const { status } = await this.#deps.statuses.read(stored.name);
    await this.#deps.statuses.write(stored.name, told(stored, status, this.#deps.clock.now()));
  }
}

const emptyStatus: ClusterStatus = {
  uid: '',
  observedGeneration: 0,
  conditions: [],
  inventory: { nodes: [], services: [], networks: [], configs: [], secrets: [], stacks: [] },
  nodes: { desired: 0, ready: 0, managers: 0, unreachable: [] },
};

/** What the status says already, now of this manifest and whether it was accepted. */
function told(stored: StoredResource, saved: ClusterStatus | undefined, nowMs: number): ClusterStatus {
  const { uid, generation: observedGeneration, specHash, problems } = stored;
  const before = { ...emptyStatus, ...saved };
  const update: Pick<ConditionUpdate, 'status' | 'reason' | 'message'> =
    problems.length === 0
      ? { status: 'True', reason: 'Valid', message: 'the manifest is in force' }
      : { status: 'False', reason: 'InvalidManifest', message: problems.map(formatProblem).join('; ') };
  const accepted = { type: 'Accepted', observedGeneration, ...update } as const;
  const conditions = setCondition(before.conditions, accepted, nowMs);
  const status = {
    ...before,
    ...{ uid, observedGeneration, ...(specHash !== undefined && { specHash }), conditions },
  };
  return withSource(status, stored, nowMs);
}
