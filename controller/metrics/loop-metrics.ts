import { Counter, exponentialBuckets, Gauge, Histogram, type Registry } from 'prom-client';
import type { ReconcileMetrics, ReconcileOutcome } from '../loop/control-loop.ts';
import type { WorkQueueMetrics, WorkQueueState } from '../loop/work-queue.ts';

/** `kind` is the label: one queue and one loop per kind. Starts its counters at zero. */
export type LoopMetrics = (
  kind: string,
  workers: number,
) => { readonly queue: WorkQueueMetrics; readonly reconcile: ReconcileMetrics };

/** client-go's and controller-runtime's own buckets, so that dashboards made for them fit. */
const QUEUE_BUCKETS = exponentialBuckets(1e-8, 10, 12);
const RECONCILE_BUCKETS = [
  0.005, 0.01, 0.025, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.6, 0.7, 0.8, 0.9, 1, 1.25, 1.5,
  1.75, 2, 2.5, 3, 3.5, 4, 4.5, 5, 6, 7, 8, 9, 10, 15, 20, 25, 30, 40, 50, 60,
];

export function loopMetrics(registry: Registry): LoopMetrics {
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
