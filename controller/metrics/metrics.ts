import { collectDefaultMetrics, Registry } from 'prom-client';
import {
  type ClusterMetrics,
  clusterMetrics,
  type LeadershipMetrics,
  leadershipMetrics,
} from './cluster-metrics.ts';
import { type LoopMetrics, loopMetrics } from './loop-metrics.ts';
import { type TrialMetrics, trialMetrics } from './trial-metrics.ts';
import { type WorkloadMetrics, workloadMetrics } from './workload-metrics.ts';

/** The process's metrics, in a registry of their own. Each part gets the narrow port that it needs. */
export interface Metrics {
  readonly trials: TrialMetrics;
  readonly workload: WorkloadMetrics;
  readonly clusters: ClusterMetrics;
  readonly leadership: LeadershipMetrics;
  readonly loop: LoopMetrics;
  /** The exposition, for `GET /metrics`. */
  render(): Promise<{ readonly contentType: string; readonly text: string }>;
}

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
