import { isDeepStrictEqual } from 'node:util';
import type { ClusterSpec } from '../../crds/cluster-spec.ts';
import { resourceKey } from '../../crds/group.ts';
import type { ClusterStatus, Rollouts } from '../../crds/status.ts';
import type { Provisioner } from '../../provisioners/contract.ts';
import type { Clock } from '../../state-machines/contract.ts';
import type { Acting } from '../lease/leadership.ts';
import { leaseName } from '../lease/lease-record.ts';
import type { ClusterMetrics } from '../metrics/cluster-metrics.ts';
import {
  type ImageDelivery,
  type ImageSource,
  type SourcedImage,
  sourcedImages,
} from '../stack/deliver-images.ts';
import type { LoadStack } from '../stack/load-stack.ts';
import type { TryCheckpoint } from '../stack/try-checkpoint.ts';
import type { TargetClaims } from '../status/claims.ts';
import { findCondition } from '../status/conditions.ts';
import type { NewEvent } from '../status/events.ts';
import type { StatusStore } from '../status/status-store.ts';
import { rememberingDiff, UnkeptFields } from '../swarm/diff-service.ts';
import { CLUSTER_LABEL } from '../swarm/labels.ts';
import type { Finding } from './cluster-plan.ts';
import { NodePool, type OpenEngine } from './node-pool.ts';
import { Pace } from './pace.ts';
import type { ObservedSwarm } from './plan-context.ts';
import { RolloutWatch } from './rollout-watch.ts';
import { SavedStatus } from './saved-status.ts';
import { StepBackoff } from './step-backoff.ts';

/** Where changes made in the world are logged. */
interface ClusterLog {
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  debug(fields: object, message: string): void;
}

/** What the reconciler of clusters needs of the process around it. */
export interface ClusterDeps {
  readonly clock: Clock;
  readonly log: ClusterLog;
  readonly statuses: StatusStore<ClusterStatus>;
  /** The claims of one cluster, by its name. */
  readonly claimsOf: (cluster: string) => Pick<TargetClaims, 'heldBy' | 'madeAnewFor'>;
  /** Whether this operator may act on a cluster, or which other one does. */
  readonly acting: Omit<Acting, 'beginRun' | 'forgetRun'>;
  /** Binds the provisioner that a cluster names to its settings; called again when these change. */
  readonly bindProvisioner: (cluster: ClusterSpec) => Provisioner;
  /**
   * Long work before machines can be made (engine, images), or destroyed (engine); quick when there is nothing to do. Not
   * called by `plan`.
   */
  readonly prepare: (cluster: ClusterSpec, deleting: boolean, signal: AbortSignal) => Promise<void>;
  /** Whether an engine answers on this machine: `plan` may be the first command here, and starts none. */
  readonly isEngineHere: (signal: AbortSignal) => Promise<boolean>;
  readonly openEngine: OpenEngine;
  readonly loadStack: LoadStack;
  readonly images: ImageDelivery;
  readonly imageSource: ImageSource;
  readonly tryCheckpoint: TryCheckpoint;
  /** What every compose file sees (image names); CLUSTER, CONTROLLER_TARGET and the checkpoint's are added to it. */
  readonly variables: Readonly<Record<string, string>>;
  /** Where this process serves /metrics: nodes reach it there under `NodeHandle.controllerAddress`. */
  readonly controllerPort: number;
  readonly metrics: ClusterMetrics;
  /** Told, before a removed cluster is forgotten, which of its machines are left; it is forgotten once this resolves. */
  readonly removed: (cluster: string, left: readonly string[]) => Promise<void>;
  /** Told of each step that was done, and to what. */
  readonly changed: (cluster: string, what: string, target: string) => void;
  /** Nodes on which names are not resolved, and nothing of ours helps: in the way of Ready. */
  readonly deafNodes: (cluster: string) => readonly Finding[];
  /** Told that the swarm calls a node ready that it did not. */
  readonly returned: (cluster: string) => void;
  /** Asks the loop for a pass over a key, in `delayMs`. */
  readonly wake: (key: string, delayMs: number) => void;
}

/** An image that was built anew here is noticed after this long. */
const imageAgeMs = 30_000;
/** One change in the swarm comes as several events. */
const settleMs = 50;
const eventTypes = ['node', 'service', 'network', 'config', 'secret'];
const watchAgainMs = 1_000;

interface Sourced {
  readonly references: readonly string[];
  readonly atMs: number;
  readonly found: readonly SourcedImage[];
}

/** What is kept of one cluster between passes: connections, and what saves questions. The truth is read anew. */
export class ClusterSession {
  readonly key: string;
  readonly pool: NodePool;
  readonly status: SavedStatus;
  readonly backoff: StepBackoff;
  readonly pace: Pace;
  readonly diff = rememberingDiff();
  readonly unkept = new UnkeptFields();
  readonly rollouts: RolloutWatch;
  /** The nodes that the swarm called ready in the last pass. */
  ready: readonly string[] | undefined;
  /** What others have to tell of the cluster, for its status. */
  told: readonly NewEvent[] = [];
  readonly #deps: ClusterDeps;
  readonly #end = new AbortController();
  #cluster: ClusterSpec;
  #provisioner: Provisioner;
  #generation = 0;
  #settledGeneration = 0;
  #controllerAddress: string | undefined;
  #sourced: Sourced | undefined;

  constructor(cluster: ClusterSpec, deps: ClusterDeps) {
    const { name } = cluster.metadata;
    this.key = resourceKey('ClusterSpec', name);
    this.#deps = deps;
    this.#cluster = cluster;
    this.#provisioner = deps.bindProvisioner(cluster);
    const connect = (...call: Parameters<Provisioner['connect']>) => this.#provisioner.connect(...call);
    this.pool = new NodePool({ provisioner: { connect }, openEngine: deps.openEngine, clock: deps.clock });
    this.status = new SavedStatus(deps.statuses, name, deps.clock);
    this.backoff = new StepBackoff(deps.clock);
    this.pace = new Pace(deps.clock, this.backoff);
    this.rollouts = new RolloutWatch(deps.clock);
    void this.#watch(this.#end.signal);
  }

  get provisioner(): Provisioner {
    return this.#provisioner;
  }

  /** Aborts when the session is closed. */
  get ended(): AbortSignal {
    return this.#end.signal;
  }

  /** Takes in an edit: the same machines under other settings, connections stay. */
  use(cluster: ClusterSpec): void {
    const sameSettings = isDeepStrictEqual(cluster.spec.provisioner, this.#cluster.spec.provisioner);
    this.#cluster = cluster;
    if (!sameSettings) this.#provisioner = this.#deps.bindProvisioner(cluster);
  }

  /** Starts a pass over a generation; another one than before may have mended what failed. */
  async begin(generation: number): Promise<void> {
    this.pace.begin();
    await this.status.restore();
    if (generation !== this.#generation) this.backoff.clear();
    this.#generation = generation;
    const ready = findCondition(this.status.current?.conditions ?? [], 'Ready');
    const settled = ready?.status === 'True' || ready?.reason === 'DriftReported';
    if (ready && settled)
      this.#settledGeneration = Math.max(this.#settledGeneration, ready.observedGeneration);
  }

  /** Everything is to be looked at from scratch: what was given up, or is believed of machines, counts no more. */
  startAfresh(): void {
    this.backoff.clear();
    this.unkept.forgetOthers(new Set());
    this.pool.doubtAll();
  }

  /** This generation was Ready once: what differs since then is drift. */
  get isSettled(): boolean {
    return this.#settledGeneration === this.#generation;
  }

  /** The tasks of the cluster's services that are being rolled out. */
  lookAtTasks(swarm: ObservedSwarm, rollouts: Rollouts, signal: AbortSignal) {
    const { name } = this.#cluster.metadata;
    const services = swarm.services.filter(({ Spec }) => Spec.Labels?.[CLUSTER_LABEL] === name);
    const api = async () => (await this.pool.connection(swarm.manager, signal)).swarm;
    return this.rollouts.look({ ...swarm, services }, rollouts, api, signal);
  }

  /** From where nodes see this process; asked once, then kept, so that no config moves with it. */
  async controllerAddress(signal: AbortSignal): Promise<string | undefined> {
    const [manager] = this.pool.managers();
    if (this.#controllerAddress === undefined && manager !== undefined) {
      const handle = await this.pool.handle(manager, signal);
      this.#controllerAddress = await handle.controllerAddress(signal);
    }
    return this.#controllerAddress;
  }

  /** Those of the images that we hold for nodes that cannot pull them. */
  async deliverable(references: readonly string[], signal: AbortSignal): Promise<readonly SourcedImage[]> {
    const atMs = this.#deps.clock.now();
    const known = this.#sourced;
    if (known && atMs - known.atMs < imageAgeMs && isDeepStrictEqual(known.references, references))
      return known.found;
    const found = await sourcedImages(references, this.#deps.imageSource, signal);
    this.#sourced = { references, atMs, found };
    return found;
  }

  close(): void {
    this.#end.abort(new Error('the cluster is let go'));
    this.pool.close();
  }

  /** Wakes up for every event of the swarm, but for a lease that is renewed. Events get lost: the periodic pass finds what they would have told. */
  async #watch(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      const [manager] = this.pool.managers();
      try {
        const connection = manager === undefined ? undefined : await this.pool.connection(manager, signal);
        for await (const { actor } of connection?.engine.events(eventTypes, signal) ?? [])
          if (actor !== leaseName(this.#cluster.metadata.name)) this.#deps.wake(this.key, settleMs);
      } catch {
        // A lost connection, or the end: the next round tells which.
      }
      await this.#deps.clock.sleep(watchAgainMs, signal).catch(() => {}); // aborted: the loop ends
    }
  }
}
