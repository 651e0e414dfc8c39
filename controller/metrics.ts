import { Counter, collectDefaultMetrics, exponentialBuckets, Gauge, Histogram, Registry } from 'prom-client';
import type { ClusterStatus } from '../crds/status.ts';
import type { TrialRecord } from '../crds/trial-record.ts';
import type { Outcome } from '../state-machines/contract.ts';
import { recordClasses, type Sample, windowClasses } from '../state-machines/recovery/sample.ts';
import type { ReconcileMetrics, ReconcileOutcome } from './loop/control-loop.ts';
import type { WorkQueueMetrics, WorkQueueState } from './loop/work-queue.ts';

/** What a trial reports, with the labels that Prometheus gets. */
export interface TrialMetrics {
  /**
   * Says which faults, by name, the schedule has now: their series exist, empty, before anything happens, and those of
   * faults that it had before are taken away. None: the schedule is gone.
   */
  scheduleFaults(schedule: string, faults: readonly string[]): void;
  faultActive(schedule: string, fault: string, target: string, active: boolean): void;
  /** How long one state of the fault machine lasted: prepare, inject, hold, heal, verify. */
  phaseEnded(fault: string, phase: string, seconds: number): void;
  runEnded(fault: string, outcome: Outcome): void;
  /** Theta, by which the schedule's trials are judged. */
  threshold(schedule: string, seconds: number): void;
  /** A trial that was judged: its verdict always counts, its figures only where they exist. One that was not is ignored. */
  trialEnded(schedule: string, trial: Pick<TrialRecord, 'fault' | 'figures' | 'verdict'>): void;
  /** Faults that are in force, or may be, without a run that will heal them. */
  orphaned(faults: number): void;
}

/** What the observer's stream reports. */
export interface WorkloadMetrics {
  sample(sample: Sample): void;
  /** No rows come any more: an age or a total that stands still would look like health. */
  silent(): void;
  clockBound(node: string, seconds: number): void;
}

/** How many tasks of a service the swarm wants to run, and how many run. */
export interface TaskCount {
  readonly service: string;
  readonly desired: number;
  readonly running: number;
}

/** What a pass over a cluster reports; a cluster has no series before its first pass in this process. */
export interface ClusterMetrics {
  clusterReady(cluster: string, ready: boolean): void;
  /** Services that are not counted any more lose their series. */
  clusterSeen(cluster: string, nodes: ClusterStatus['nodes'], services: readonly TaskCount[]): void;
  clusterGone(cluster: string): void;
  /** Nodes that do not resolve names of services as the swarm says, and how many; all others resolve all. */
  namesUnheard(cluster: string, nodes: readonly { readonly node: string; readonly names: number }[]): void;
  /** What came of the forced update of a service whose name was not resolved. */
  forcedForNames(cluster: string, result: 'healed' | 'failed'): void;
}

/** Which of several operators leads; no series without an election. */
export interface LeadershipMetrics {
  leading(cluster: string, leads: boolean): void;
  gone(cluster: string): void;
}

/** The process's metrics, in a registry of their own. Each part gets the narrow port that it needs. */
export interface Metrics {
  readonly trials: TrialMetrics;
  readonly workload: WorkloadMetrics;
  readonly clusters: ClusterMetrics;
  readonly leadership: LeadershipMetrics;
  /** `kind` is the label: one queue and one loop per kind. Starts its counters at zero. */
  loop(
    kind: string,
    workers: number,
  ): { readonly queue: WorkQueueMetrics; readonly reconcile: ReconcileMetrics };
  /** The exposition, for `GET /metrics`. */
  render(): Promise<{ readonly contentType: string; readonly text: string }>;
}

/** client-go's and controller-runtime's own buckets, so that dashboards made for them fit. */
const QUEUE_BUCKETS = exponentialBuckets(1e-8, 10, 12);
const RECONCILE_BUCKETS = [
  0.005, 0.01, 0.025, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.6, 0.7, 0.8, 0.9, 1, 1.25, 1.5,
  1.75, 2, 2.5, 3, 3.5, 4, 4.5, 5, 6, 7, 8, 9, 10, 15, 20, 25, 30, 40, 50, 60,
];
/** Recovery takes from parts of a second to T_max = 600 s; fine where the defaults of Spark and ZooKeeper lie. */
const RECOVERY_BUCKETS = [0.5, 1, 2, 5, 10, 15, 20, 30, 45, 60, 90, 120, 150, 180, 240, 300, 450, 600];
const PHASE_BUCKETS = [0.01, 0.025, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 120, 300, 600];

const OUTCOMES: readonly Outcome[] = ['Healed', 'Aborted', 'Refused', 'Stuck', 'Unknown'];
const VERDICTS = ['Masked', 'Recovered', 'RecoveredDegraded', 'NotRecovered', 'Invalid'];

/** Makes all metrics. Counters whose labels are known exist at zero from here on. */
export function createMetrics(): Metrics {
  const registry = new Registry();
  addProcessMetrics(registry);
  return {
    trials: trialMetrics(registry),
    workload: workloadMetrics(registry),
    clusters: clusterMetrics(registry),
    leadership: leadershipMetrics(registry),
    loop: loopMetrics(registry),
    render: async () => ({ contentType: registry.contentType, text: await registry.metrics() }),
  };
}

/** CPU, memory, event loop; without the three whose names end in `_total` and are gauges: promtool refuses those. */
function addProcessMetrics(registry: Registry): void {
  // Sampling the event loop a hundred times a second, the default, would be most of an idle operator's CPU time.
  collectDefaultMetrics({ register: registry, eventLoopMonitoringPrecision: 100 });
  for (const what of ['handles', 'requests', 'resources']) {
    registry.removeSingleMetric(`nodejs_active_${what}_total`);
  }
}

function loopMetrics(registry: Registry): Metrics['loop'] {
  const registers = [registry];
  const name = { registers, labelNames: ['name', 'controller'] as const };
  const controller = { registers, labelNames: ['controller'] as const };
  const adds = new Counter({ ...name, name: 'workqueue_adds_total', help: 'Keys added' });
  const retries = new Counter({ ...name, name: 'workqueue_retries_total', help: 'Keys added with a delay' });
  const queued = new Histogram({
    ...name,
    name: 'workqueue_queue_duration_seconds',
    help: 'How long a key waits for a worker',
    buckets: QUEUE_BUCKETS,
  });
  const worked = new Histogram({
    ...name,
    name: 'workqueue_work_duration_seconds',
    help: 'How long a worker keeps a key',
    buckets: QUEUE_BUCKETS,
  });
  const states = new Map<string, () => WorkQueueState>();
  const asked = (what: string, help: string, of: (state: WorkQueueState) => number, more: object = {}) =>
    new Gauge({
      ...{ registers, name: `workqueue_${what}`, help },
      labelNames: [...name.labelNames, ...Object.keys(more)],
      collect() {
        for (const [kind, read] of states) this.set({ name: kind, controller: kind, ...more }, of(read()));
      },
    });
  // One priority, which has no name: client-go's own word for that.
  asked('depth', 'Keys that wait for a worker', ({ depth }) => depth, { priority: '' });
  asked('unfinished_work_seconds', 'Age of all work in progress together', ({ ageSeconds }) =>
    ageSeconds.reduce((sum, each) => sum + each, 0),
  );
  asked('longest_running_processor_seconds', 'Age of the oldest work in progress', ({ ageSeconds }) =>
    Math.max(0, ...ageSeconds),
  );
  const total = new Counter({
    registers,
    labelNames: ['controller', 'result'] as const,
    name: 'controller_runtime_reconcile_total',
    help: 'Passes by how they ended',
  });
  const counter = (what: string, help: string) =>
    new Counter({ ...controller, name: `controller_runtime_${what}_total`, help });
  const errors = counter('reconcile_errors', 'Passes that failed');
  const terminal = counter('terminal_reconcile_errors', 'Passes that failed for good, until an edit');
  const panics = counter('reconcile_panics', 'Passes that failed because of a mistake in this program');
  const timeouts = counter('reconcile_timeouts', 'Passes that were aborted because they took too long');
  const time = new Histogram({
    ...controller,
    name: 'controller_runtime_reconcile_time_seconds',
    help: 'How long a pass takes',
    buckets: RECONCILE_BUCKETS,
  });
  const active = new Gauge({
    ...controller,
    name: 'controller_runtime_active_workers',
    help: 'Workers that are in a pass',
  });
  const max = new Gauge({
    ...controller,
    name: 'controller_runtime_max_concurrent_reconciles',
    help: 'Workers that there are',
  });

  return (kind, workers) => {
    const own = { controller: kind };
    const queue = { name: kind, ...own };
    for (const result of Object.values(RESULTS)) total.inc({ ...own, result }, 0);
    for (const zeroed of [errors, terminal, panics, timeouts, active]) zeroed.inc(own, 0);
    for (const zeroed of [adds, retries]) zeroed.inc(queue, 0);
    for (const empty of [queued, worked]) empty.zero(queue);
    states.set(kind, () => ({ depth: 0, ageSeconds: [] }));
    time.zero(own);
    max.set(own, workers);
    return {
      queue: {
        added: () => adds.inc(queue),
        retried: () => retries.inc(queue),
        queued: (seconds) => queued.observe(queue, seconds),
        worked: (seconds) => worked.observe(queue, seconds),
        state: (read) => void states.set(kind, read),
      },
      reconcile: {
        started: () => active.inc(own),
        finished(outcome, seconds) {
          active.dec(own);
          time.observe(own, seconds);
          total.inc({ ...own, result: RESULTS[outcome] });
          if (RESULTS[outcome] === 'error') errors.inc(own);
          if (outcome === 'terminal_error') terminal.inc(own);
          if (outcome === 'panic') panics.inc(own);
          if (outcome === 'timeout') timeouts.inc(own);
        },
      },
    };
  };
}

/** Our outcomes in controller-runtime's four words: what was cut short by a newer edit is requeued at once. */
const RESULTS: Readonly<Record<ReconcileOutcome, string>> = {
  success: 'success',
  requeue_after: 'requeue_after',
  superseded: 'requeue',
  error: 'error',
  panic: 'error',
  timeout: 'error',
  terminal_error: 'error',
};

/** Each figure of a trial with its histogram's name and what it means. */
const FIGURES = {
  recovery: ['recovery_time_seconds', 'From the effect of the fault to the end of the last violation'],
  detection: [
    'detection_time_seconds',
    'From the effect of the fault to the instant at which the system noticed',
  ],
  stall: ['stall_seconds', 'Time without visible progress beyond the normal gap'],
  catchUp: ['catch_up_seconds', 'From the first new result to recovery'],
  redundancy: ['redundancy_restored_seconds', 'From the effect of the fault to full redundancy'],
} as const;

type FigureName = keyof typeof FIGURES;
const FIGURE_NAMES = Object.keys(FIGURES) as readonly FigureName[];

function trialMetrics(registry: Registry): TrialMetrics {
  const registers = [registry];
  const labelNames = ['schedule', 'fault'] as const;
  const histograms = byFigure(
    ([name, help]) =>
      new Histogram({
        registers,
        labelNames,
        name: `sparkfailures_${name}`,
        help,
        buckets: RECOVERY_BUCKETS,
      }),
  );
  const newest = byFigure(
    ([name, help]) =>
      new Gauge({
        registers,
        labelNames,
        name: `sparkfailures_last_${name}`,
        help: `${help}; newest trial, NaN without`,
      }),
  );
  const active = new Gauge({
    registers,
    labelNames: ['schedule', 'fault', 'target'] as const,
    name: 'sparkfailures_fault_active',
    help: '1 while the fault is in force on the target',
  });
  const runs = new Counter({
    registers,
    labelNames: ['fault', 'outcome'] as const,
    name: 'sparkfailures_fault_runs_total',
    help: 'Fault runs by how they ended',
  });
  const phases = new Histogram({
    registers,
    labelNames: ['fault', 'phase'] as const,
    name: 'sparkfailures_fault_phase_duration_seconds',
    help: 'How long the states of a fault run last',
    buckets: PHASE_BUCKETS,
  });
  const trials = new Counter({
    registers,
    labelNames: ['schedule', 'fault', 'verdict'] as const,
    name: 'sparkfailures_trials_total',
    help: 'Measured trials by verdict on recovery',
  });
  const theta = new Gauge({
    registers,
    labelNames: ['schedule'] as const,
    name: 'sparkfailures_theta_seconds',
    help: "Age of the oldest record without a result above which the schedule's trials call results late",
  });
  const orphans = new Gauge({
    registers,
    name: 'sparkfailures_orphaned_faults',
    help: 'Faults that may be in force and that nothing is going to heal',
  });
  const known = new Map<string, readonly string[]>();
  const targets = new Map<string, Set<string>>();

  const appear = (schedule: string, fault: string) => {
    for (const figure of FIGURE_NAMES) histograms[figure].zero({ schedule, fault });
    for (const outcome of OUTCOMES) runs.inc({ fault, outcome }, 0);
    for (const verdict of VERDICTS) trials.inc({ schedule, fault, verdict }, 0);
  };
  const vanish = (schedule: string, fault: string) => {
    for (const figure of FIGURE_NAMES) {
      histograms[figure].remove({ schedule, fault });
      newest[figure].remove({ schedule, fault });
    }
    for (const verdict of VERDICTS) trials.remove({ schedule, fault, verdict });
    for (const target of targets.get(`${schedule}/${fault}`) ?? [])
      active.remove({ schedule, fault, target });
    targets.delete(`${schedule}/${fault}`);
  };

  return {
    scheduleFaults(schedule, faults) {
      const before = known.get(schedule) ?? [];
      for (const fault of before) if (!faults.includes(fault)) vanish(schedule, fault);
      for (const fault of faults) if (!before.includes(fault)) appear(schedule, fault);
      known.set(schedule, faults);
      if (faults.length === 0) theta.remove({ schedule });
    },
    faultActive(schedule, fault, target, on) {
      const key = `${schedule}/${fault}`;
      targets.set(key, (targets.get(key) ?? new Set()).add(target));
      active.set({ schedule, fault, target }, on ? 1 : 0);
    },
    phaseEnded: (fault, phase, seconds) => phases.observe({ fault, phase }, seconds),
    runEnded: (fault, outcome) => runs.inc({ fault, outcome }),
    threshold: (schedule, seconds) => theta.set({ schedule }, seconds),
    trialEnded(schedule, { fault, figures, verdict }) {
      if (!verdict) return;
      trials.inc({ schedule, fault, verdict: verdict.recovery });
      for (const figure of FIGURE_NAMES) {
        // A stall that nobody saw the end of is no figure.
        const isCensored = figure === 'stall' && verdict.recovery === 'NotRecovered';
        const measured = isCensored ? undefined : figures[figure];
        if (measured) histograms[figure].observe({ schedule, fault }, measured.ms / 1000);
        // All of one trial. Not removed: who looks back over a restart of ours would find the one before.
        newest[figure].set({ schedule, fault }, measured ? measured.ms / 1000 : Number.NaN);
      }
    },
    orphaned: (faults) => orphans.set(faults),
  };
}

function byFigure<M>(make: (figure: (typeof FIGURES)[FigureName]) => M): Readonly<Record<FigureName, M>> {
  return Object.fromEntries(FIGURE_NAMES.map((figure) => [figure, make(FIGURES[figure])])) as Record<
    FigureName,
    M
  >;
}

function clusterMetrics(registry: Registry): ClusterMetrics {
  const registers = [registry];
  const isReady = new Gauge({
    registers,
    labelNames: ['cluster'] as const,
    name: 'sparkfailures_cluster_ready',
    help: '1 while machines and services are as the manifest asks',
  });
  const machines = new Gauge({
    registers,
    labelNames: ['cluster', 'state'] as const,
    name: 'sparkfailures_cluster_nodes',
    help: 'Machines that are asked for, and what the swarm says of them',
  });
  const tasks = new Gauge({
    registers,
    labelNames: ['cluster', 'service', 'state'] as const,
    name: 'sparkfailures_service_tasks',
    help: 'Tasks of a service that the swarm wants to run, and those that run',
  });
  const unheard = new Gauge({
    registers,
    labelNames: ['cluster', 'node'] as const,
    name: 'sparkfailures_unresolved_names',
    help: 'Names of services that a node does not resolve as the swarm says; absent where it resolves all',
  });
  const forced = new Counter({
    registers,
    labelNames: ['cluster', 'result'] as const,
    name: 'sparkfailures_forced_updates_total',
    help: 'Services that were updated by force because a node did not resolve their names, by what came of it',
  });
  const forcedResults = ['healed', 'failed'] as const;
  const deaf = new Map<string, readonly string[]>();
  const namesUnheard: ClusterMetrics['namesUnheard'] = (cluster, nodes) => {
    for (const node of deaf.get(cluster) ?? []) unheard.remove({ cluster, node });
    for (const { node, names } of nodes) unheard.set({ cluster, node }, names);
    deaf.set(
      cluster,
      nodes.map(({ node }) => node),
    );
  };
  const states = ['desired', 'ready', 'managers', 'unreachable'] as const;
  const counted = new Map<string, readonly string[]>();
  const clusterSeen: ClusterMetrics['clusterSeen'] = (cluster, nodes, services) => {
    for (const state of states) {
      machines.set({ cluster, state }, state === 'unreachable' ? nodes[state].length : nodes[state]);
    }
    const names = services.map(({ service }) => service);
    for (const service of counted.get(cluster) ?? []) {
      if (names.includes(service)) continue;
      for (const state of ['desired', 'running']) tasks.remove({ cluster, service, state });
    }
    counted.set(cluster, names);
    for (const { service, desired, running } of services) {
      tasks.set({ cluster, service, state: 'desired' }, desired);
      tasks.set({ cluster, service, state: 'running' }, running);
    }
  };
  return {
    clusterReady(cluster, ready) {
      isReady.set({ cluster }, ready ? 1 : 0);
      for (const result of forcedResults) forced.inc({ cluster, result }, 0);
    },
    clusterSeen,
    clusterGone(cluster) {
      clusterSeen(cluster, { desired: 0, ready: 0, managers: 0, unreachable: [] }, []);
      for (const state of states) machines.remove({ cluster, state });
      isReady.remove({ cluster });
      counted.delete(cluster);
      namesUnheard(cluster, []);
      for (const result of forcedResults) forced.remove({ cluster, result });
    },
    namesUnheard,
    forcedForNames: (cluster, result) => forced.inc({ cluster, result }),
  };
}

function leadershipMetrics(registry: Registry): LeadershipMetrics {
  const status = new Gauge({
    registers: [registry],
    labelNames: ['name'] as const,
    name: 'leader_election_master_status',
    help: '1 while this process holds the lease of the cluster, 0 while it waits for it',
  });
  return {
    leading: (name, leads) => status.set({ name }, leads ? 1 : 0),
    gone: (name) => status.remove({ name }),
  };
}

function workloadMetrics(registry: Registry): WorkloadMetrics {
  const registers = [registry];
  const age = new Gauge({
    registers,
    labelNames: ['side'] as const,
    name: 'sparkfailures_frontier_age_seconds',
    help: 'Age of the oldest record that has not got there yet, in the slowest partition',
  });
  const records = new Counter({
    registers,
    labelNames: ['state'] as const,
    name: 'sparkfailures_records_total',
    help: 'Records by what became of them, while this process watched',
  });
  const foundRecords = new Gauge({
    registers,
    labelNames: ['state'] as const,
    name: 'sparkfailures_found_records',
    help: 'Found by the observer in the topics, by state',
  });
  const foundWindows = new Gauge({
    registers,
    labelNames: ['result'] as const,
    name: 'sparkfailures_found_windows',
    help: 'Found by the observer in the topics, by result',
  });
  const behind = new Gauge({
    registers,
    name: 'sparkfailures_generator_behind_seconds',
    help: 'How far the generator is behind its own schedule',
  });
  const bound = new Gauge({
    registers,
    labelNames: ['node'] as const,
    name: 'sparkfailures_clock_error_bound_seconds',
    help: "Bound of the error in the node's clock offset",
  });
  const sent = ['intended', 'acked'] as const;
  for (const state of sent) records.inc({ state }, 0);
  behind.remove();
  let previous: Sample | undefined;

  return {
    sample(sample) {
      for (const state of sent) records.inc({ state }, growth(sample[state], previous?.[state]));
      for (const [state, part] of Object.entries(recordClasses))
        foundRecords.set({ state }, sample.correctness[part]);
      for (const [result, part] of Object.entries(windowClasses))
        foundWindows.set({ result }, sample.correctness[part]);
      const sides = { acked: sample.ackedMs, committed: sample.committedMs, visible: sample.visibleMs };
      for (const [side, frontierMs] of Object.entries(sides)) {
        if (frontierMs === null) age.remove({ side });
        else age.set({ side }, (sample.atMs - frontierMs) / 1000);
      }
      behind.set(sample.generatorBehindMs / 1000);
      previous = sample;
    },
    silent() {
      for (const gauge of [age, foundRecords, foundWindows]) gauge.reset();
      behind.remove();
    },
    clockBound: (node, seconds) => bound.set({ node }, seconds),
  };
}

/** What a total grew by; one that fell was started anew, and counts from zero. The first one is only a mark. */
function growth(total: number, previous: number | undefined): number {
  if (previous === undefined) return 0;
  return total >= previous ? total - previous : total;
}
