import { Counter, Gauge, Histogram, type Registry } from 'prom-client';
import type { TrialRecord } from '../../crds/trial-record.ts';
import type { Outcome } from '../../state-machines/contract.ts';

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

/** Recovery takes from parts of a second to T_max = 600 s; fine where the defaults of Spark and ZooKeeper lie. */
const RECOVERY_BUCKETS = [0.5, 1, 2, 5, 10, 15, 20, 30, 45, 60, 90, 120, 150, 180, 240, 300, 450, 600];
const PHASE_BUCKETS = [0.01, 0.025, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 120, 300, 600];

const OUTCOMES: readonly Outcome[] = ['Healed', 'Aborted', 'Refused', 'Stuck', 'Unknown'];
const VERDICTS = ['Masked', 'Recovered', 'RecoveredDegraded', 'NotRecovered', 'Invalid'];

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

export function trialMetrics(registry: Registry): TrialMetrics {
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
