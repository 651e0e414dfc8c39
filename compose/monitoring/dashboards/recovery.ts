import { errorClasses, windowClasses } from '../../../state-machines/recovery/sample.ts';
import {
  bands,
  colored,
  dashboard,
  dashed,
  forLine,
  lines,
  noneAtAll,
  stat,
  table,
  thresholds,
  zeroOrOne,
} from './build-dashboard.ts';

const visibleAge = 'max(sparkfailures_frontier_age_seconds{job="observer",side="visible"})';
/** Survives a restart of the controller, whose gauges do not; what the newest trial did not have is NaN, and left out. */
const lastly = (labels: string, metric: string) =>
  `max by (${labels}) (last_over_time(${metric}[$__range]) >= 0)`;
const harmlessResults = Object.entries(windowClasses)
  .flatMap(([label, part]) => (errorClasses.includes(part) ? [] : [label]))
  .join('|');
const figure = (name: string) => lastly('schedule, fault', `sparkfailures_last_${name}_seconds`);

const about = {
  ...{ uid: 'sf-recovery', title: 'Recovery' },
  description:
    'How old results are, what is broken on purpose, and how the job came back. ' +
    'For the eye: verdicts are judged from raw rows.',
};

/** What a trial looks like. */
export const recovery = dashboard(about, [
  [
    stat({
      ...{ title: 'Faults in force', width: 4, thresholds: noneAtAll },
      description: 'Targets on which a fault is in force now, as an independent check has seen it.',
      queries: [['sum(sparkfailures_fault_active) or vector(0)', '']],
    }),
    stat({
      ...{ title: 'Age of results', width: 4, unit: 's', decimals: 1 },
      description:
        'Age of the oldest record that is not yet counted in its result, in the slowest partition: ' +
        'what a user of the results feels.',
      queries: [[visibleAge, '']],
    }),
    stat({
      ...{ title: 'Age against theta', width: 4, unit: 'percentunit', decimals: 0 },
      description:
        'The age of results as a share of theta, the threshold of the trials: above 1 they are late. ' +
        'Empty before the first calibration.',
      thresholds: thresholds([null, 'green'], [0.8, 'yellow'], [1, 'red']),
      queries: [[`${visibleAge} / max(sparkfailures_theta_seconds)`, '']],
    }),
    stat({
      ...{ title: 'Trials', width: 6 },
      description: 'Measured trials by verdict on recovery, since the controller was started.',
      queries: [['sum by (verdict) (sparkfailures_trials_total)', '{{verdict}}']],
    }),
    stat({
      ...{ title: 'Losses and errors', width: 6, thresholds: noneAtAll },
      description:
        'What the observer finds in the topics: records that the input topic has not as they were sent, or that came ' +
        'behind the watermark; results that are wrong, have too many or too few records, contradict earlier ones, or ' +
        'belong to no input.',
      queries: [
        ['max by (state) (sparkfailures_found_records{job="observer"})', '{{state}}'],
        [
          `max by (result) (sparkfailures_found_windows{job="observer",result!~"${harmlessResults}"})`,
          '{{result}}',
        ],
      ],
    }),
  ],
  [
    lines({
      ...{ title: 'Frontier ages', width: 24, height: 10, unit: 's', legend: ['lastNotNull', 'max'] },
      description:
        'Age of the oldest record that Kafka has not acknowledged, that no batch has committed, that no result counts; ' +
        'each in the slowest partition. Shaded: a fault is in force. Dashed: theta.',
      queries: [
        ['max by (side) (sparkfailures_frontier_age_seconds{job="observer"})', '{{side}}'],
        ['max(sparkfailures_theta_seconds)', 'theta'],
      ],
      overrides: [
        forLine('visible', colored('red')),
        forLine('committed', colored('orange')),
        forLine('acked', colored('blue')),
        forLine('theta', { ...colored('text'), ...dashed }),
      ],
    }),
  ],
  [
    bands({
      ...{ title: 'Faults', width: 24, height: 5 },
      description: 'Each fault with its target, from when its effect was seen until it was verified gone.',
      queries: [['max by (fault, target) (sparkfailures_fault_active)', '{{fault}} on {{target}}']],
      mappings: zeroOrOne(['gone', 'transparent'], ['in force', 'red']),
    }),
  ],
  [
    lines({
      ...{ title: 'Rates', width: 8, unit: 'cps' },
      description:
        'Records per second: due by the schedule, acknowledged by Kafka, and committed by the job (computed from the ' +
        'progress of its frontier: exact while the offered rate is constant).',
      queries: [
        ['state:sparkfailures_records:rate15s{state=~"intended|acked"}', '{{state}}'],
        ['sparkfailures_committed_records:rate15s', 'committed'],
      ],
    }),
    lines({
      ...{ title: 'Progress of the frontiers', width: 8 },
      description:
        'Seconds of the stream that get there per second: 1 is steady, 0 a stall, above 1 catching up.',
      queries: [['side:sparkfailures_frontier_progress:rate15s', '{{side}}']],
    }),
    lines({
      ...{ title: 'Membership', width: 8, steps: true },
      description: "Workers that Spark's master calls alive, executors of the job, masters that answer.",
      queries: [
        ['sum(metrics_master_aliveWorkers_Value)', 'workers alive'],
        ['count(metrics_executor_totalCores{executor_id!="driver"})', 'executors'],
        ['count(metrics_master_workers_Value)', 'masters'],
      ],
    }),
  ],
  [
    table({
      ...{ title: 'Last figures', width: 16, unit: 's', by: ['schedule', 'fault'] },
      description:
        'The figures of the newest trial of each fault in the time that is shown. Their error bounds are in the trial records.',
      queries: [
        [figure('detection_time'), 'detection'],
        [figure('stall'), 'stall'],
        [figure('recovery_time'), 'recovery'],
        [figure('catch_up'), 'catch-up'],
        [figure('redundancy_restored'), 'redundancy'],
      ],
    }),
    lines({
      ...{ title: 'Quality of the measurement', width: 8, unit: 's' },
      description:
        'How far the generator is behind its own schedule, and the bound of the error in the clock offset of the ' +
        'node that is measured on.',
      queries: [
        ['max(sparkfailures_generator_behind_seconds{job="generator"})', 'generator behind'],
        [lastly('node', 'sparkfailures_clock_error_bound_seconds'), 'clock of {{node}}'],
      ],
    }),
  ],
]);
