import { atRight, dashboard, forLine, lines, noneAtAll, stat, thresholds } from './build-dashboard.ts';

/** The part of the job's driver that Spark calls by the name of the query. */
const ofQuery = (what: string) => `metrics_job_driver_spark_streaming_purchases_${what}_Value`;
const scheduler = (what: string) => `metrics_job_driver_DAGScheduler_${what}_Value`;
const executors = '{executor_id!="driver"}';
const ofTopics = (metric: string) => `${metric}{topic=~"events|results"}`;
const rateBy = (label: string, series: string) => `sum by (${label}) (rate(${series}[$__rate_interval]))`;

const about = {
  ...{ uid: 'sf-job-and-broker', title: 'Job and broker' },
  description:
    'Batches and executors of the Spark job, and the Kafka broker that it reads from and writes to.',
};

/** What the system under test says of itself. */
export const jobAndBroker = dashboard(about, [
  [
    stat({
      ...{ title: 'Executors', width: 4 },
      description: 'Executors that the driver has.',
      queries: [[`count(metrics_executor_totalCores${executors})`, '']],
    }),
    stat({
      ...{ title: 'Workers', width: 4 },
      description: "Alive and known, by Spark's master.",
      queries: [
        ['sum(metrics_master_aliveWorkers_Value)', 'alive'],
        ['sum(metrics_master_workers_Value)', 'known'],
      ],
    }),
    stat({
      ...{ title: 'Failed', width: 4, thresholds: thresholds([null, 'green'], [1, 'yellow']) },
      description: 'Tasks that failed on the executors that there are, and stages that failed in the driver.',
      queries: [
        [`sum(metrics_executor_failedTasks_total${executors})`, 'tasks'],
        [`sum(${scheduler('stage_failedStages')})`, 'stages'],
      ],
    }),
    stat({
      ...{ title: 'Partitions in trouble', width: 6, thresholds: noneAtAll },
      description:
        'With fewer replicas than asked for, with fewer in sync than the minimum, without a leader.',
      queries: [
        ['sum(kafka_server_replicamanager_underreplicatedpartitions)', 'under-replicated'],
        ['sum(kafka_server_replicamanager_underminisrpartitioncount)', 'under min ISR'],
        ['sum(kafka_controller_kafkacontroller_offlinepartitionscount)', 'offline'],
      ],
    }),
    stat({
      ...{ title: 'Active controllers', width: 6 },
      description: 'Exactly one broker leads the metadata.',
      thresholds: thresholds([null, 'red'], [1, 'green'], [2, 'red']),
      queries: [['sum(kafka_controller_kafkacontroller_activecontrollercount)', '']],
    }),
  ],
  'Spark',
  [
    lines({
      ...{ title: 'Rows of batches', width: 8, unit: 'cps' },
      description:
        'Rows per second between two triggers, and rows per second of the time that a batch takes. ' +
        'Both of the newest batch: they stand still in a stall.',
      queries: [
        [ofQuery('inputRate_total'), 'input'],
        [ofQuery('processingRate_total'), 'processing'],
      ],
    }),
    lines({
      ...{ title: 'Batches', width: 8, unit: 'ms' },
      description: 'How long the newest batch took, from its trigger to its commit.',
      queries: [[ofQuery('latency'), 'latency']],
    }),
    lines({
      ...{ title: 'State', width: 8 },
      description: 'Rows that the job keeps for its open windows, and the memory for them.',
      queries: [
        [ofQuery('states_rowsTotal'), 'rows'],
        [ofQuery('states_usedBytes'), 'memory'],
      ],
      overrides: [forLine('memory', atRight('bytes'))],
    }),
  ],
  [
    lines({
      ...{ title: 'Tasks', width: 8, unit: 'ops', interval: '10s' },
      description: 'Tasks per second that each executor completes: even when the load is balanced.',
      queries: [
        [rateBy('executor_id', `metrics_executor_completedTasks_total${executors}`), '{{executor_id}}'],
      ],
    }),
    lines({
      ...{ title: 'Garbage collection', width: 8, unit: 'percentunit', interval: '10s' },
      description: 'Share of time that driver and executors spend on it.',
      queries: [[rateBy('executor_id', 'metrics_executor_totalGCTime_seconds_total'), '{{executor_id}}']],
    }),
    lines({
      ...{ title: 'Heap', width: 8, unit: 'bytes' },
      description: 'The highest use of the heap that driver and executors have told.',
      queries: [['max by (executor_id) (metrics_executor_JVMHeapMemory_bytes)', '{{executor_id}}']],
    }),
  ],
  [
    lines({
      ...{ title: 'Cores in use', width: 8, steps: true },
      description: 'By worker, as the worker itself says.',
      queries: [['sum by (service) (metrics_worker_coresUsed_Value)', '{{service}}']],
    }),
    lines({
      ...{ title: 'Driver', width: 8 },
      description: 'Jobs and stages that run or wait.',
      queries: [
        [scheduler('job_activeJobs'), 'jobs'],
        [scheduler('stage_runningStages'), 'stages running'],
        [scheduler('stage_waitingStages'), 'stages waiting'],
      ],
    }),
    lines({
      ...{ title: 'Applications', width: 8, steps: true },
      description: "Known to Spark's master, and those that wait for executors.",
      queries: [
        ['sum(metrics_master_apps_Value)', 'known'],
        ['sum(metrics_master_waitingApps_Value)', 'waiting'],
      ],
    }),
  ],
  'Kafka',
  [
    lines({
      ...{ title: 'Records in', width: 8, unit: 'cps', interval: '5s' },
      description: 'Records per second that the broker stores, by topic.',
      queries: [[rateBy('topic', ofTopics('kafka_server_brokertopicmetrics_messagesin_total')), '{{topic}}']],
    }),
    lines({
      ...{ title: 'Traffic', width: 8, unit: 'Bps', interval: '5s' },
      description: 'Bytes per second in and out, by topic.',
      queries: [
        [rateBy('topic', ofTopics('kafka_server_brokertopicmetrics_bytesin_total')), '{{topic}} in'],
        [rateBy('topic', ofTopics('kafka_server_brokertopicmetrics_bytesout_total')), '{{topic}} out'],
      ],
    }),
    lines({
      ...{ title: 'Requests', width: 8, unit: 'ms' },
      description:
        'The 99th percentile of the time in the broker, as the broker computes it; fetches wait for data on purpose.',
      queries: [['max by (request) (kafka_network_request_time_ms_99thpercentile)', '{{request}}']],
    }),
  ],
  [
    lines({
      ...{ title: 'Request queue', width: 8 },
      description: 'Requests that wait for a thread of the broker.',
      queries: [['sum(kafka_network_requestchannel_requestqueuesize)', 'waiting']],
    }),
    lines({
      ...{ title: 'Logs', width: 8, unit: 'bytes' },
      description: 'Bytes on the disk, by topic.',
      queries: [[`sum by (topic) (${ofTopics('kafka_log_size_bytes')})`, '{{topic}}']],
    }),
    lines({
      ...{ title: 'Broker', width: 8, unit: 'bytes', interval: '5s' },
      description: 'Heap in use, and losses of in-sync replicas per second.',
      queries: [
        ['sum(jvm_memory_used_bytes{job="kafka",area="heap"})', 'heap'],
        ['sum(rate(kafka_server_replicamanager_isrshrinks_total[$__rate_interval]))', 'ISR shrinks'],
      ],
      overrides: [forLine('ISR shrinks', atRight('ops'))],
    }),
  ],
]);
