import { readFile } from 'node:fs/promises';
import t from 'tap';
import { parse } from 'yaml';
import { stackLoader } from '../controller/stack/load-stack.ts';

interface ScrapeJob {
  readonly job_name: string;
  readonly metrics_path?: string;
  readonly dns_sd_configs?: readonly { readonly names: readonly string[]; readonly port: number }[];
}

const folder = 'compose/monitoring';
const { scrape_configs } = parse(await readFile(`${folder}/prometheus.yml`, 'utf8')) as {
  scrape_configs: readonly ScrapeJob[];
};
const streaming = parse(await readFile('compose/streaming/stack.yaml', 'utf8'), { merge: true });
const monitoring = parse(await readFile(`${folder}/stack.yaml`, 'utf8'));

/** Everything that DNS is asked for, as `service:port/path`. */
const asked = scrape_configs.flatMap(({ metrics_path = '/metrics', dns_sd_configs = [] }) =>
  dns_sd_configs.flatMap(({ names, port }) => names.map((name) => `${name}:${port}${metrics_path}`)),
);

t.test('every part of the workload that has metrics is scraped, by the tasks of its service', async (t) => {
  t.same([...asked].sort(), [
    'tasks.driver:4040/metrics/executors/prometheus',
    'tasks.driver:4040/metrics/prometheus',
    'tasks.generator:9400/metrics',
    'tasks.kafka:9404/metrics',
    'tasks.node-exporter:9100/metrics',
    'tasks.observer:9401/metrics',
    'tasks.spark-master:8080/metrics/applications/prometheus',
    'tasks.spark-master:8080/metrics/master/prometheus',
    'tasks.spark-worker-1:8081/metrics/prometheus',
    'tasks.spark-worker-2:8081/metrics/prometheus',
    'tasks.spark-worker-3:8081/metrics/prometheus',
  ]);
});

t.test('every service that DNS is asked for exists in one of the stacks', async (t) => {
  const services = { ...streaming.services, ...monitoring.services };
  for (const name of asked) t.ok(services[name.replace(/^tasks\./, '').replace(/:.*/, '')], name);
});

t.test('the address of the controller reaches Prometheus as a file of targets', async (t) => {
  const stack = await stackLoader()(
    {
      cluster: 'six-nodes',
      name: 'monitoring',
      path: `${folder}/stack.yaml`,
      variables: { CONTROLLER_TARGET: '10.0.0.9:9464' },
    },
    AbortSignal.timeout(10_000),
  );
  const contents = stack.configs.map(({ Data }) => Buffer.from(Data, 'base64').toString());
  const targets = contents.find((text) => text.includes('10.0.0.9'));
  t.same(JSON.parse(targets ?? ''), [{ targets: ['10.0.0.9:9464'] }]);
  const [controller] = scrape_configs;
  t.match(controller, {
    job_name: 'controller',
    file_sd_configs: [{ files: ['/etc/prometheus/controller.json'] }],
  });
});
