import {
  atRight,
  bands,
  dashboard,
  dashed,
  forLine,
  lines,
  noneAtAll,
  stat,
  zeroOrOne,
} from './build-dashboard.ts';

const running = 'sparkfailures_service_tasks{state="running"}';
const desired = 'ignoring (state) sparkfailures_service_tasks{state="desired"}';
/** With the machine's name as a label: targets are found by address. */
const named = (expr: string) => `${expr} * on (instance) group_left (nodename) node_uname_info`;
const rate = (series: string) => `rate(${series}[$__rate_interval])`;
/** Not its increase: a series that begins with the first fault has none. */
const phases = (what: string) => `sum by (phase) (sparkfailures_fault_phase_duration_seconds_${what})`;

const about = {
  ...{ uid: 'sf-cluster', title: 'Cluster' },
  description: 'Machines, services, what is scraped, and the controller that looks after them.',
};

/** What the job runs on, and who keeps it as it is. */
export const cluster = dashboard(about, [
  [
    stat({
      ...{ title: 'Clusters', width: 5, mappings: zeroOrOne(['not Ready', 'red'], ['Ready', 'green']) },
      description: 'Whether machines and services are as the manifest asks.',
      queries: [['max by (cluster) (sparkfailures_cluster_ready)', '{{cluster}}']],
    }),
    stat({
      ...{ title: 'Machines', width: 7 },
      description: 'How many the manifest asks for, and what the swarm says of them.',
      queries: [['sum by (state) (sparkfailures_cluster_nodes)', '{{state}}']],
    }),
    stat({
      ...{ title: 'Services short of tasks', width: 4, thresholds: noneAtAll },
      description: 'Services of which fewer tasks run than the swarm wants.',
      queries: [[`count(${running} < ${desired}) or vector(0)`, '']],
    }),
    stat({
      ...{ title: 'Targets down', width: 4, thresholds: noneAtAll },
      description: 'What Prometheus cannot read now; during a fault this is what the fault does.',
      queries: [['count(up == 0) or vector(0)', '']],
    }),
    stat({
      ...{ title: 'Orphaned faults', width: 4, thresholds: noneAtAll },
      description: 'Faults that may be in force and that nothing is going to heal: run controller heal.',
      queries: [['sum(sparkfailures_orphaned_faults)', '']],
    }),
  ],
  [
    bands({
      ...{ title: 'Services', width: 12, height: 10 },
      description: 'Whether as many tasks run as the swarm wants.',
      queries: [[`max by (service) (${running} >= bool ${desired})`, '{{service}}']],
      mappings: zeroOrOne(['short of tasks', 'red'], ['complete', 'green']),
    }),
    bands({
      ...{ title: 'Targets', width: 12, height: 10 },
      description: 'Whether Prometheus reaches all targets of a job.',
      queries: [['min by (job) (up)', '{{job}}']],
      mappings: zeroOrOne(['down', 'red'], ['up', 'green']),
    }),
  ],
  'Machines (those of a lab share one kernel, and with it most of these figures)',
  [
    lines({
      ...{ title: 'CPU', width: 8, unit: 'percentunit', max: 1, interval: '5s' },
      description:
        'Share of CPU time that was not idle, by machine. Dashed: what a hypervisor took away, in the mean of all.',
      queries: [
        [`1 - avg by (nodename) (${named(rate('node_cpu_seconds_total{mode="idle"}'))})`, '{{nodename}}'],
        [`avg(${rate('node_cpu_seconds_total{mode="steal"}')})`, 'steal'],
      ],
      overrides: [forLine('steal', dashed)],
    }),
    lines({
      ...{ title: 'Memory available', width: 8, unit: 'percentunit', max: 1 },
      description: 'Share of memory that programs can still get.',
      queries: [[named('node_memory_MemAvailable_bytes / node_memory_MemTotal_bytes'), '{{nodename}}']],
    }),
    lines({
      ...{ title: 'Disk busy', width: 8, unit: 'percentunit', interval: '5s' },
      description: 'Share of time in which the busiest disk of a machine had work.',
      queries: [[`max by (nodename) (${named(rate('node_disk_io_time_seconds_total'))})`, '{{nodename}}']],
    }),
  ],
  [
    lines({
      ...{ title: 'Pressure', width: 8, unit: 'percentunit', interval: '5s' },
      description:
        'Share of time in which some task waited for CPU, disk or memory, on the machine where that was most. ' +
        'Empty where the kernel does not count it.',
      queries: [
        [`max(${rate('node_pressure_cpu_waiting_seconds_total')})`, 'cpu'],
        [`max(${rate('node_pressure_io_waiting_seconds_total')})`, 'io'],
        [`max(${rate('node_pressure_memory_waiting_seconds_total')})`, 'memory'],
      ],
    }),
    lines({
      ...{ title: 'Load', width: 8 },
      description: 'Tasks that run or wait, in the mean of a minute.',
      queries: [[named('node_load1'), '{{nodename}}']],
    }),
    lines({
      ...{ title: 'Scrapes', width: 8, unit: 's' },
      description:
        'How long Prometheus takes to read the slowest target of a job; it gives up after a second.',
      queries: [['max by (job) (scrape_duration_seconds)', '{{job}}']],
    }),
  ],
  'Controller',
  [
    lines({
      ...{ title: 'Passes', width: 8, unit: 'ops', interval: '10s' },
      description: 'Passes of the reconcilers per second, by how they ended.',
      queries: [
        [
          `sum by (controller, result) (${rate('controller_runtime_reconcile_total')})`,
          '{{controller}} {{result}}',
        ],
      ],
    }),
    lines({
      ...{ title: 'Length of passes', width: 8, unit: 's', interval: '10s' },
      description: 'The 99th percentile, from the histogram. No line: there was no pass.',
      queries: [
        [
          `histogram_quantile(0.99, sum by (controller, le) (${rate('controller_runtime_reconcile_time_seconds_bucket')}))`,
          '{{controller}}',
        ],
      ],
    }),
    lines({
      ...{ title: 'Queues', width: 8 },
      description: 'Keys that wait for a worker, and workers that are in a pass.',
      queries: [
        ['workqueue_depth', '{{name}} waiting'],
        ['controller_runtime_active_workers', '{{controller}} in a pass'],
      ],
    }),
  ],
  [
    lines({
      ...{ title: 'Phases of faults', width: 8, unit: 's' },
      description: 'How long the states of fault runs last, in the mean since the controller was started.',
      queries: [[`${phases('sum')} / ${phases('count')}`, '{{phase}}']],
    }),
    lines({
      ...{ title: 'Fault runs', width: 8, steps: true },
      description: 'Runs by how they ended, since the controller was started.',
      queries: [['sum by (outcome) (sparkfailures_fault_runs_total)', '{{outcome}}']],
    }),
    lines({
      ...{ title: 'Process', width: 8, unit: 'bytes' },
      description: 'Memory of the controller, and the 99th percentile of the lag of its event loop.',
      queries: [
        ['process_resident_memory_bytes{job="controller"}', 'memory'],
        ['nodejs_eventloop_lag_p99_seconds{job="controller"}', 'event loop lag'],
      ],
      overrides: [forLine('event loop lag', atRight('s'))],
    }),
  ],
]);
