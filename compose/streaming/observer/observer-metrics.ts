import { Counter, Gauge, Registry } from 'prom-client';
import type { Sample } from '../../../state-machines/recovery/sample.ts';

const sides = { acked: 'ackedMs', committed: 'committedMs', visible: 'visibleMs' } as const;

/** The newest row as Prometheus metrics: for display; verdicts come from the rows themselves. */
export function observerMetrics(newest: () => Sample | null): Registry {
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
  counter('sparkfailures_records_total', 'state', (sample) => ({
    lost: sample?.correctness.acknowledgedButAbsent ?? 0,
    duplicated: sample?.correctness.storedTwice ?? 0,
  }));
  counter('sparkfailures_windows_total', 'result', (sample) => ({
    wrong: sample?.correctness.wrong ?? 0,
    conflicting: sample?.correctness.conflicting ?? 0,
    reemitted: sample?.correctness.reemitted ?? 0,
    phantom: sample?.correctness.phantom ?? 0,
  }));
  new Gauge({
    name: 'sparkfailures_short_records',
    help: 'Records of committed batches that no result counts.',
    registers,
    collect() {
      this.set(newest()?.correctness.shortRecords ?? 0);
    },
  });
  return registry;

  function counter(
    name: string,
    label: string,
    values: (sample: Sample | null) => Record<string, number>,
  ): void {
    new Counter({
      name,
      help: `Found by the observer, by ${label}.`,
      labelNames: [label],
      registers,
      collect() {
        this.reset();
        for (const [key, value] of Object.entries(values(newest()))) this.inc({ [label]: key }, value);
      },
    });
  }
}
