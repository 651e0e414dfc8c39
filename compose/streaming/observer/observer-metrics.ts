import { Gauge, Registry } from 'prom-client';
import {
  type BatchProgress,
  type Correctness,
  recordClasses,
  type Sample,
  windowClasses,
} from '../../../state-machines/recovery/sample.ts';

const sides = { acked: 'ackedMs', committed: 'committedMs', visible: 'visibleMs' } as const;

/** The job's newest batch, by metric; times in seconds. */
const batchGauges: Readonly<Record<string, readonly [help: string, of: (batch: BatchProgress) => number]>> = {
  batch_duration_seconds: ['From trigger to commit', ({ durationMs }) => durationMs / 1000],
  batch_add_seconds: ['The part that ran the query', ({ addBatchMs }) => addBatchMs / 1000],
  batch_input_rows: ['Rows read', ({ inputRows }) => inputRows],
  batch_dropped_rows: ['Rows behind the watermark, as Spark counts them', ({ droppedRows }) => droppedRows],
  state_rows: ['Rows of state after it', ({ stateRows }) => stateRows],
};

/**
 * The newest row as Prometheus metrics: for display; verdicts come from the rows themselves. `held`: what the oracle
 * keeps in memory.
 */
export function observerMetrics(
  newest: () => Sample | null,
  held: () => Readonly<Record<string, number>> | null,
): Registry {
  const registry = new Registry();
  const registers = [registry];
  new Gauge({
    name: 'sparkfailures_frontier_age_seconds',
    help: 'Age of the oldest record that is not acknowledged, committed, visible yet, in the slowest partition.',
    labelNames: ['side'],
    registers,
    collect() {
      const sample = newest();
      if (sample === null) return;
      for (const [side, field] of Object.entries(sides)) {
        const frontierMs = sample[field];
        // Absent until something was measured: a zero would read as instant.
        if (frontierMs !== null) this.set({ side }, (sample.atMs - frontierMs) / 1000);
      }
    },
  });
  totals('sparkfailures_found_records', 'state', recordClasses);
  totals('sparkfailures_found_windows', 'result', windowClasses);
  new Gauge({
    name: 'sparkfailures_short_records',
    help: 'Records of committed batches that no result counts.',
    registers,
    collect() {
      const { shortRecords = 0, missingRecords = 0 } = newest()?.correctness ?? {};
      this.set(shortRecords + missingRecords);
    },
  });
  for (const [name, [help, ofBatch]] of Object.entries(batchGauges)) {
    new Gauge({
      name: `sparkfailures_job_${name}`,
      help: `Of the job's newest batch: ${help}.`,
      registers,
      collect() {
        const batch = newest()?.batch;
        if (batch) this.set(ofBatch(batch));
        else this.remove();
      },
    });
  }
  new Gauge({
    name: 'sparkfailures_observer_held',
    help: 'What the observer keeps in memory, by what it is: bounded by what no result counts yet.',
    labelNames: ['of'],
    registers,
    collect() {
      for (const [of, value] of Object.entries(held() ?? {})) this.set({ of }, value);
    },
  });
  return registry;

  /** No counters: they fall when a job replays a result, and rise to where they were when the observer starts anew. */
  function totals(name: string, label: string, classes: Readonly<Record<string, keyof Correctness>>): void {
    new Gauge({
      name,
      help: `Found by the observer in the topics, by ${label}.`,
      labelNames: [label],
      registers,
      collect() {
        const correctness = newest()?.correctness;
        if (!correctness) return;
        for (const [key, part] of Object.entries(classes)) this.set({ [label]: key }, correctness[part]);
      },
    });
  }
}
