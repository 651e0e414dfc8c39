import type { ClusterPlan, Finding } from '../../controller/cluster/cluster-plan.ts';
import { ClusterReconciler } from '../../controller/cluster/cluster-reconciler.ts';
import type { OpenEngine } from '../../controller/cluster/node-pool.ts';
import type { Bystander } from '../../controller/lease/bystander.ts';
import { createMetrics } from '../../controller/metrics/metrics.ts';
import type { StoredResource } from '../../controller/source/resource-store.ts';
import type { CheckpointUse } from '../../controller/stack/checkpoint.ts';
import type { DesiredStack } from '../../controller/stack/convert-stack.ts';
import type { LoadStack } from '../../controller/stack/load-stack.ts';
import { createClaims } from '../../controller/status/claims.ts';
import { StateError } from '../../controller/status/state-error.ts';
import type { StatusStore } from '../../controller/status/status-store.ts';
import { CLUSTER_LABEL, STACK_LABEL } from '../../controller/swarm/labels.ts';
import type { ConfigSpec, LiveNode, ServiceSpec } from '../../controller/swarm/swarm-types.ts';
import type { ClusterSpec } from '../../crds/cluster-spec.ts';
import type { ClusterStatus } from '../../crds/status.ts';
import { FakeClock } from './fake-clock.ts';
import { FakeProvisioner } from './fake-provisioner.ts';
import { FakeSwarm } from './fake-swarm.ts';

export type NodeEntry = ClusterSpec['spec']['nodes'][number];

const live = new AbortController().signal;

export function node(
  name: string,
  role: 'manager' | 'worker' = 'worker',
  labels: Record<string, string> = {},
): NodeEntry {
  return { name, role, labels };
}

export const threeNodes = [
  node('node1', 'manager', { place: 'control' }),
  node('node2', 'worker', { place: 'compute', slot: '1' }),
  node('node3', 'worker', { place: 'compute', slot: '2' }),
];

export function stackLabels(stack: string) {
  return { [CLUSTER_LABEL]: 'small', [STACK_LABEL]: stack };
}

export function service(
  stack: string,
  name: string,
  change: Partial<ServiceSpec['TaskTemplate']> = {},
): ServiceSpec {
  return {
    Name: `${stack}_${name}`,
    Labels: stackLabels(stack),
    TaskTemplate: {
      ContainerSpec: { Image: `lab/${name}:1` },
      Networks: [{ Target: `${stack}_default`, Aliases: [name] }],
      ...change,
    },
    Mode: { Replicated: { Replicas: 1 } },
    EndpointSpec: { Mode: 'dnsrr' },
  };
}

export function stack(
  name: string,
  services: readonly ServiceSpec[],
  configs: readonly ConfigSpec[] = [],
): DesiredStack {
  const network = {
    Name: `${name}_default`,
    Driver: 'overlay',
    Labels: stackLabels(name),
    Attachable: false,
    Internal: false,
  };
  const externals = { networks: [], configs: [], secrets: [] };
  const said = { warnings: [], dependencies: {}, externals };
  return { name, networks: [network], configs, secrets: [], services, ...said };
}

export function config(stackName: string, name: string, hash: string): ConfigSpec {
  return { Name: `${stackName}_${name}-${hash}`, Labels: stackLabels(stackName), Data: '' };
}

export const app = stack('app', [service('app', 'web'), service('app', 'db'), service('app', 'queue')]);

/** A cluster in memory: machines, engines, a swarm, and the reconciler that looks after them. */
export class World {
  readonly clock = new FakeClock();
  readonly metrics = createMetrics();
  readonly swarm = new FakeSwarm();
  readonly provisioner = new FakeProvisioner(this.swarm);
  readonly claims = createClaims();
  /** What is known of other operators. */
  readonly lease = {
    elsewhere: undefined as string | undefined,
    leader: undefined as ClusterStatus['leader'],
    end: new AbortController(),
    calls: [] as string[],
  };
  /** In its place, from the next start on. */
  bystander: Bystander | undefined;
  readonly statuses = new Map<string, ClusterStatus>();
  readonly stacks = new Map<string, DesiredStack | Error>();
  readonly images = new Map<string, string>();
  readonly woken: string[] = [];
  /** Removed clusters, each with the machines that are left of it. */
  readonly removed: (readonly [string, readonly string[]])[] = [];
  readonly changed: string[] = [];
  /** What the look at names has found. */
  deafNodes: readonly Finding[] = [];
  /** How often a node came back. */
  returns = 0;
  /** What provisioners were bound to, in order. */
  readonly bound: ClusterSpec['spec']['provisioner'][] = [];
  /** The disk of the state directory takes no more. */
  full = false;
  journalFull = false;
  generation = 1;
  nodes: NodeEntry[];
  annotations: Record<string, string> = {};
  engineHere = true;
  /** Passes for which this machine was made ready. */
  prepared = 0;
  /** Nodes that have used the job's checkpoint, in order; may throw what goes wrong there. */
  readonly tried: string[] = [];
  tryCheckpoint: (node: string, use: CheckpointUse) => void = () => {};
  spec: Partial<ClusterSpec['spec']> = {};
  /** What every compose file sees; those of `stacks` are made without. */
  variables: Readonly<Record<string, string>> = {};
  openEngine: OpenEngine = this.provisioner.openEngine;
  loadStack: LoadStack = async ({ name }) => {
    const found = this.stacks.get(name);
    if (found && !(found instanceof Error)) return found;
    throw found ?? new Error(`no stack ${name}`);
  };

  reconciler: ClusterReconciler;

  constructor(nodes: readonly NodeEntry[] = threeNodes, stacks: readonly DesiredStack[] = [app]) {
    this.nodes = [...nodes];
    for (const each of stacks) this.stacks.set(each.name, each);
    this.reconciler = this.#start();
  }

  /** The process dies and comes back: what it kept in memory is gone. */
  restart(): void {
    this.reconciler.close();
    this.reconciler = this.#start();
  }

  #start(): ClusterReconciler {
    const store: StatusStore<ClusterStatus> = {
      read: async (name) => {
        const status = this.statuses.get(name);
        return status ? { status } : {};
      },
      list: async () => ({ found: this.statuses, unreadable: [] }),
      write: async (name, status) => {
        if (this.full) throw new StateError('STATE_FULL', name, 'no space left to save state');
        this.statuses.set(name, status);
      },
      tellFull: async (name, status) => void this.statuses.set(name, status),
      remove: async (name) => void this.statuses.delete(name),
    };
    return new ClusterReconciler({
      clock: this.clock,
      log: { info: () => {}, warn: () => {}, debug: () => {} },
      statuses: store,
      claimsOf: () => this.claims,
      acting: this.bystander ?? {
        saw: () => {},
        hindrance: () => this.lease.elsewhere,
        leader: () => this.lease.leader,
        ended: () => this.lease.end.signal,
        tearDown: () => void this.lease.calls.push('tearDown'),
        forget: async () => void this.lease.calls.push('forget'),
      },
      prepare: async () => {
        this.prepared++;
        this.lease.calls.push('prepare');
      },
      isEngineHere: async () => this.engineHere,
      bindProvisioner: ({ spec }) => {
        this.bound.push(spec.provisioner);
        return this.provisioner;
      },
      openEngine: (...call) => this.openEngine(...call),
      loadStack: (source, signal) => this.loadStack(source, signal),
      images: {
        deliver: async (references, engine) => {
          const { ID } = await engine.info(live);
          this.swarm.write(`deliver ${ID} ${references.join(' ')}`);
          const store = this.swarm.engineState(ID.replace('engine-', ''));
          for (const reference of references) store.images.set(reference, this.images.get(reference) ?? '');
        },
      },
      imageSource: {
        imageId: async (reference) => this.images.get(reference),
        save: () => Promise.reject(new Error('not used')),
      },
      tryCheckpoint: async ({ name }, use) => {
        this.tryCheckpoint(name, use);
        this.tried.push(name);
      },
      variables: this.variables,
      controllerPort: 9464,
      metrics: this.metrics.clusters,
      removed: async (name, left) => {
        if (this.journalFull) throw new StateError('STATE_FULL', name, 'no space left to save state');
        this.removed.push([name, left]);
      },
      changed: (_cluster, what) => void this.changed.push(what),
      deafNodes: () => this.deafNodes,
      returned: () => void this.returns++,
      wake: (key) => void this.woken.push(key),
    });
  }

  stored(deleting = false): StoredResource {
    const resource = {
      apiVersion: 'spark-failures.io/v1alpha1',
      kind: 'ClusterSpec',
      metadata: { name: 'small', annotations: this.annotations },
      spec: {
        provisioner: { lab: {} },
        nodes: this.nodes,
        stacks: [...this.stacks.keys()].map((name) => ({ name, compose: `/${name}.yaml`, env: {} })),
        drift: 'correct',
        prune: true,
        ...this.spec,
      },
    } as ClusterSpec;
    const { generation } = this;
    return {
      key: 'ClusterSpec/small',
      kind: 'ClusterSpec',
      name: 'small',
      uid: 'u1',
      generation,
      deleting,
      resource,
      problems: [],
    };
  }

  plan(): Promise<ClusterPlan> {
    return this.reconciler.plan(this.stored(), live);
  }

  pass(deleting = false) {
    return this.reconciler.reconcile(this.stored(deleting), live);
  }

  /** Passes until one finds nothing to do; failed passes are tried again, as the loop would. */
  async converge(): Promise<void> {
    for (let passes = 0; passes < 30; passes++) {
      const result = await this.pass().catch(() => ({ requeueAfterMs: 1000 }));
      if ((result.requeueAfterMs ?? 0) >= 2500) return;
      await this.clock.advance(result.requeueAfterMs ?? 0);
    }
    throw new Error(`does not converge: ${JSON.stringify(this.condition('Ready'))}`);
  }

  condition(type: string) {
    return this.statuses.get('small')?.conditions.find((each) => each.type === type);
  }

  /** The writes of `work`. */
  async writesOf(work: () => Promise<unknown>): Promise<readonly string[]> {
    const before = this.swarm.writes.length;
    await work();
    return this.swarm.writes.slice(before);
  }

  service(name: string) {
    return [...this.swarm.services.values()].find(({ Spec }) => Spec.Name === name);
  }

  memberOf(name: string): LiveNode | undefined {
    return this.swarm.nodes.get(this.swarm.engineState(name).nodeId);
  }
}

export async function convergedWorld(...args: ConstructorParameters<typeof World>): Promise<World> {
  const world = new World(...args);
  await world.converge();
  return world;
}
