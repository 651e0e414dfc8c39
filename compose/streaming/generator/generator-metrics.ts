import { Counter, Gauge, Registry } from 'prom-client';
import type { GeneratorFrontier } from '../records/frontier.ts';

/** The generator's own half of the workload's metrics; the observer exports the other states. */
export function generatorMetrics(frontier: () => GeneratorFrontier): Registry {
  const registry = new Registry();
  new Counter({
    name: 'sparkfailures_records_total',
    help: 'Records by what became of them: due by the schedule, acknowledged by Kafka, sent without an answer.',
    labelNames: ['state'],
    registers: [registry],
    collect() {
      const now = frontier();
      this.reset();
      this.inc({ state: 'intended' }, now.intended);
      this.inc({ state: 'acked' }, now.acked);
      this.inc({ state: 'indeterminate' }, now.unanswered);
    },
  });
  new Gauge({
    name: 'sparkfailures_generator_behind_seconds',
    help: 'How far sending is behind the open-loop schedule.',
    registers: [registry],
    collect() {
      this.set(frontier().behindMs / 1000);
    },
  });
  return registry;
}
