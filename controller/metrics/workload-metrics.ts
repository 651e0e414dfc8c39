import { Counter, Gauge, type Registry } from 'prom-client';
import { recordClasses, type Sample, windowClasses } from '../../state-machines/recovery/sample.ts';

/** What the observer's stream reports. */
export interface WorkloadMetrics {
  sample(sample: Sample): void;
  /** No rows come any more: an age or a total that stands still would look like health. */
  silent(): void;
  clockBound(node: string, seconds: number): void;
}

export function workloadMetrics(registry: Registry): WorkloadMetrics {
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
