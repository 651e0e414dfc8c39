import { faultKindsByName, resourceKinds } from '../../controller/resource-kinds.ts';
import type { ClusterAccess } from '../../controller/schedule/cluster-access.ts';
import { createInterventions } from '../../controller/schedule/interventions.ts';
import { type RunScheduleDeps, scheduleRunner } from '../../controller/schedule/run-schedule.ts';
import { createClaims } from '../../controller/status/claims.ts';
import { findCondition } from '../../controller/status/conditions.ts';
import type { StatusStore } from '../../controller/status/status-store.ts';
import type { FaultSchedule } from '../../crds/fault-schedule.ts';
import type { ScheduleStatus } from '../../crds/status.ts';
import type { Machine, Switches } from '../../provisioners/contract.ts';
import type {
  CheckpointKind,
  FaultKind,
  Outcome,
  RunRecord,
  Workload,
} from '../../state-machines/contract.ts';
import { loadScripts } from '../../state-machines/load-scripts.ts';
import { noFindings } from '../../state-machines/recovery/sample.ts';
import { FakeClock, settle } from './fake-clock.ts';
import { FakeNode } from './fake-node.ts';
import { FakeSwarm } from './fake-swarm.ts';

const scripts = await loadScripts('state-machines');
const never = new AbortController().signal;

/** Selects the Spark workers. */
export const workers = { services: { matchLabels: { role: 'spark-worker' } } };

/** On one Spark worker. */
export const crash = {
  name: 'crash',
  target: { ...workers, pick: 'one' },
  killContainer: {},
};

/** Of node4, for 20 s. */
export const silence = {
  name: 'silence',
  target: { nodes: { matchNames: ['node4'] } },
  hold: '20s',
  isolateNode: {},
};

/** A schedule as its file would give it. */
export function makeSchedule(spec: object = {}, annotations: Record<string, string> = {}): FaultSchedule {
  return resourceKinds.FaultSchedule.parse({
    apiVersion: 'spark-failures.io/v1alpha1',
    kind: 'FaultSchedule',
    metadata: { name: 'worker-crash', annotations },
    spec: {
      ...{ clusterRef: { name: 'six-nodes' }, seed: 42, when: { now: {} }, preset: 'none', faults: [crash] },
      ...spec,
    },
  });
}

/** Statuses in memory; `writes` counts what would have gone to the disk. */
export class MemoryStatuses implements StatusStore<ScheduleStatus> {
  readonly all = new Map<string, ScheduleStatus>();
  writes = 0;
  /** What is there is not understood, as that of another version. */
  isUnreadable = false;
  /** Fails writes, as a full disk does. */
  failure: Error | undefined;

  async read(of: string): ReturnType<StatusStore<ScheduleStatus>['read']> {
    const status = this.all.get(of);
    if (this.isUnreadable)
      return { unreadable: { path: `${of}.json`, problem: 'spares: expected a record' } };
    return status ? { status } : {};
  }

  async list() {
    return { found: this.all, unreadable: [] };
  }

  async write(of: string, status: ScheduleStatus) {
    if (this.failure) throw this.failure;
    this.writes++;
    this.all.set(of, JSON.parse(JSON.stringify(status)));
  }

  async tellFull(of: string, status: ScheduleStatus) {
    this.all.set(of, status);
  }

  async remove(of: string) {
    this.all.delete(of);
  }
}

/** The real kinds; a fake node cannot be the witness of what another one suffers. */
const kinds: RunScheduleDeps['kinds'] = Object.fromEntries(
  Object.entries(faultKindsByName).map(([kindName, kind]) => {
    const plan: FaultKind['plan'] = (params, facts) =>
      kind.plan(params, facts).map(({ witness: _witness, ...step }) => step);
    return [kindName, { ...kind, plan }];
  }),
);

/** Six nodes as faults see them, three Spark workers, and the runner over them. */
export class ScheduleLab {
  readonly clock = new FakeClock();
  readonly statuses = new MemoryStatuses();
  readonly claims = createClaims();
  readonly records: RunRecord[] = [];
  readonly nodes = [1, 2, 3, 4, 5, 6].map(
    (i) => new FakeNode(`node${i}`, this.clock, scripts, `10.0.0.${i}`),
  );
  readonly swarm = new FakeSwarm();
  readonly interventions = createInterventions(this.clock);
  /** What of the cluster is not as it should be. */
  shortcomings: readonly string[] = [];
  /** When names were looked at: after which run. */
  readonly nameLooks: (string | undefined)[] = [];
  /** How one node's clock stands to the world's; the others do not answer. */
  clockOffsetMs = 0;
  settings: Readonly<Record<string, string>> = { 'streaming.PROFILE': 'defaults' };
  /** How far the machine's clock was set since the beginning. */
  clockSetMs = 0;
  readonly said: string[] = [];
  readonly samples: string[] = [];
  readonly metrics = {
    ...{ ended: [] as Outcome[], trials: 0, active: [] as string[], bounds: [] as unknown[] },
    /** Thresholds as they were told, and how many faults had begun by then. */
    thetas: [] as { readonly schedule: string; readonly seconds: number; readonly begun: number }[],
  };
  workload = silentJob(this.clock);
  /** Of the machine that the controller runs on. */
  ownAddresses: readonly string[] = ['192.168.1.20'];
  /** What the provisioner of the machines can take from them, and tells of them. */
  switches: Switches = {};
  readonly machines = new Map<string, Machine>();
  /** As the manifest of the cluster says. */
  checkpoint: CheckpointKind | undefined;

  async prepare(): Promise<this> {
    for (const { name } of this.nodes) this.swarm.addNode(name, name === 'node1' ? 'manager' : 'worker');
    await this.addService('kafka', 'node2', 'kafka');
    for (const slot of [1, 2, 3])
      await this.addService(`spark-worker-${slot}`, `node${slot + 3}`, 'spark-worker');
    return this;
  }

  /** A service with one task, on that node. */
  addService(called: string, node: string, role: string): Promise<string> {
    return this.swarm.gateway.createService(
      {
        ...{ Name: `streaming_${called}`, Labels: { role }, Mode: { Replicated: { Replicas: 1 } } },
        TaskTemplate: {
          ContainerSpec: { Image: 'any:1' },
          Placement: { Constraints: [`node.hostname == ${node}`] },
        },
        EndpointSpec: { Mode: 'dnsrr' },
      },
      never,
    );
  }

  /** Runs a schedule to its end, or until its process dies, by the clock of the world; `saved` is what was begun already. */
  async run(
    schedule: FaultSchedule,
    signal: AbortSignal = never,
    saved: Partial<ScheduleStatus> = {},
    diesAtMs = Number.POSITIVE_INFINITY,
  ): Promise<ScheduleStatus> {
    const conditions: ScheduleStatus['conditions'] = [];
    const fresh = { uid: 'uid-1', observedGeneration: 1, conditions, trials: [], runKey: 'uid-1/1/' };
    const status = { ...fresh, ...saved };
    const { name: called } = schedule.metadata;
    const started = { name: called, generation: 1, schedule, seed: saved.seed ?? 42, status };
    const run = scheduleRunner(this.#deps())(started, signal);
    let isOver = false;
    const over = () => {
      isOver = true;
    };
    void run.then(over, over);
    for (;;) {
      await settle();
      if (isOver) break;
      const { nextWakeMs } = this.clock;
      if (nextWakeMs !== undefined && nextWakeMs > diesAtMs) return this.statuses.all.get(called) ?? status;
      if (nextWakeMs !== undefined) await this.clock.advance(nextWakeMs - this.clock.now());
    }
    await run;
    return this.statuses.all.get(called)!;
  }

  get isHealthy(): boolean {
    return this.nodes.every(({ runs, broken }) => runs.size === 0 && broken.size === 0);
  }

  get touched(): readonly string[] {
    const isQuestion = (call: string) => ['lacks.sh', 'ask.sh'].includes(call);
    return this.nodes.filter(({ calls }) => !calls.every(isQuestion)).map((node) => node.name);
  }

  #deps(): RunScheduleDeps {
    const { clock, claims, workload, metrics } = this;
    const cluster = (): ClusterAccess => ({
      ...{ claims, workload, triggerMs: 1_000, settings: this.settings, interventions: this.interventions },
      shortcomings: async () => this.shortcomings,
      namesSettled: async () => void this.nameLooks.push(this.records.at(-1)?.runId),
      settingsInForce: async () => this.settings,
      clocks: async () => [{ node: 'node3', offsetMs: this.clockOffsetMs, boundMs: 3 }],
      ...(this.checkpoint && { checkpoint: this.checkpoint }),
      ...{ switches: this.switches, machineOf: (wanted) => this.machines.get(wanted) },
      nodeNames: this.nodes.map((node) => node.name),
      ownAddresses: this.ownAddresses,
      nodes: async (wanted) => this.nodes.find(({ name }) => name === wanted)!,
      swarm: async () => this.swarm.gateway,
    });
    return {
      ...{ clock, scripts, kinds, cluster, status: this.statuses },
      monotonicMs: () => clock.now() - this.clockSetMs,
      journal: { write: async (record) => void this.records.push(record), unfinished: async () => [] },
      metrics: {
        scheduleFaults: () => {},
        faultActive: (_schedule, _fault, target, active) => void (active && metrics.active.push(target)),
        phaseEnded: () => {},
        runEnded: (_fault, outcome) => void metrics.ended.push(outcome),
        trialEnded: () => void metrics.trials++,
        threshold: (schedule, seconds) =>
          void metrics.thetas.push({ schedule, seconds, begun: this.records.length }),
        orphaned: () => {},
      },
      workloadMetrics: {
        sample: () => {},
        silent: () => {},
        clockBound: (...bound) => void metrics.bounds.push(bound),
      },
      openSamples: (runId) => {
        this.samples.push(runId);
        return { path: `samples/${runId}.ndjson`, write: () => {}, close: async () => {} };
      },
      progress: (_schedule, line) => void this.said.push(line),
    };
  }
}

/** How it ended; undefined as long as it has not. */
export function completeOf({ conditions }: ScheduleStatus) {
  return findCondition(conditions, 'Complete');
}

/** A job whose observer gives no rows. */
function silentJob(clock: FakeClock): Workload {
  return {
    clockBound: () => Promise.reject(new Error('no observer')),
    // biome-ignore lint/correctness/useYield: there is no row to give
    async *samples(signal) {
      await clock.sleep(3_600_000, signal);
    },
  };
}

/** What of a steady job is otherwise, at any moment. */
export interface JobMood {
  /** Executors and workers of three. */
  workers: number;
  /** Nothing new is seen from then on, for 15 s. */
  stalledFromMs: number;
}

/** A job that commits once a second, and that nothing disturbs but its mood. */
export function steadyJob(clock: FakeClock, mood: Partial<JobMood> = {}): Workload {
  return {
    clockBound: async () => ({ node: 'node2', offsetMs: 0, boundMs: 2 }),
    async *samples(signal) {
      for (;;) {
        await clock.sleep(250, signal);
        const atMs = clock.now();
        const commitMs = Math.floor(atMs / 1_000) * 1_000;
        const { workers: alive = 3, stalledFromMs = Number.POSITIVE_INFINITY } = mood;
        const isStalled = atMs >= stalledFromMs && atMs < stalledFromMs + 15_000;
        const visibleMs = (isStalled ? Math.floor(stalledFromMs / 1_000) * 1_000 : commitMs) - 1_000;
        yield {
          ...{ atMs, ackedMs: atMs, committedMs: visibleMs, visibleMs, intended: atMs, acked: atMs },
          ...{ generatorBehindMs: 0, batchId: commitMs, batchAtMs: commitMs },
          views: [
            {
              ...{ source: 'spark-master', askedMs: atMs, atMs, losses: 0 },
              parts: { mastersAlive: 1, workersAlive: alive },
            },
            {
              ...{ source: 'spark-driver', askedMs: atMs, atMs, losses: 0 },
              parts: { executors: alive, cores: alive },
            },
          ],
          ...{ batch: null, correctness: noFindings },
          sources: { observerStartedMs: 1, generatorStartedMs: 1, generatorSeenMs: atMs, countedSinceMs: 0 },
        };
      }
    },
  };
}
