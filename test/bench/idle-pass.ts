import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { createWriteStream } from 'node:fs';
import type { ClientRequest } from 'node:http';
import { readFiles } from '../../controller/cli/read-files.ts';
import { createLog } from '../../controller/log.ts';
import { createOperator, type OperatorOptions } from '../../controller/operator.ts';
import { metricsPort, withLab } from './bench-lab.ts';
import type { Measure } from './bench-site.ts';
import { median } from './figure.ts';
import { saveStack, sleepers } from './tiny-stack.ts';

const serviceCount = 100;
/** Until connections are made and code is compiled: an operator that idles has done this for hours. */
const warmUps = 20;

type Name = 'idle-pass-writes' | 'idle-pass-median' | 'idle-pass-max';

/**
 * A pass over a cluster of a hundred services that finds nothing to do, in this process, through the operator's own
 * parts and its connections to the node; beside it the questions that it asks, without a thought about the answers.
 */
export const measureIdlePass: Measure<Name> = (site, signal) =>
  withLab(
    site,
    { name: 'bench-idle', subnet: '10.94.2.0/24', nodes: [{}] },
    async (lab) => {
      site.progress(`idle-pass: one node with ${serviceCount} services`);
      const compose = saveStack(site, 'bench-idle', sleepers(serviceCount, { replicas: 0 }));
      lab.save([{ name: 'many', compose }]);
      await lab.apply();
      const n = site.runs ?? 100;
      const { stateDir, manifest, log } = lab;
      const { packageRoot, cacheDir } = site;
      const bound = { packageRoot, cacheDir, stateDir, port: metricsPort };
      const { passes, reads, writes } = await timePasses({ bound, manifest, log, n }, signal);
      const ms = { unit: 'ms', n } as const;
      const below = (limit: number) => ({ of: 'value', sign: '<', limit }) as const;
      const none = { of: 'value', sign: '<=', limit: 0 } as const;
      return {
        'idle-pass-writes': { value: writes, unit: 'requests', n, baseline: 0, target: none },
        'idle-pass-median': { ...ms, value: median(passes), baseline: median(reads), target: below(20) },
        'idle-pass-max': {
          ...ms,
          ...{ value: Math.max(...passes), baseline: Math.max(...reads), target: below(60) },
        },
      };
    },
    signal,
  );

export interface Timing {
  readonly bound: Omit<OperatorOptions, 'log' | 'progress'>;
  readonly manifest: string;
  /** What the operator says goes there. */
  readonly log: string;
  readonly n: number;
}

/** In ms each, and all requests together. */
interface Timed {
  readonly passes: readonly number[];
  readonly reads: readonly number[];
  readonly writes: number;
}

/** Passes over the cluster of a manifest, in this process, each beside the questions that it asks. */
export async function timePasses({ bound, manifest, log, n }: Timing, signal: AbortSignal): Promise<Timed> {
  const destination = createWriteStream(log, { flags: 'a' });
  const operator = await createOperator({
    ...{ ...bound, progress: () => undefined },
    log: createLog({ level: 'debug', format: 'json', destination }),
  });
  try {
    const [stored] = await readFiles(operator, { files: [manifest], recursive: false }, signal);
    if (stored?.resource?.kind !== 'ClusterSpec') throw new Error('the manifest was not read');
    const { clusters } = operator;
    const cluster = stored.resource;
    const pass = () => clusters.reconcile(stored, signal);
    for (let count = 0; count < warmUps; count++) await pass();
    const swarm = await clusters.swarm(cluster, signal);
    const read = () =>
      Promise.all([
        clusters.provisioner(cluster).list(signal),
        swarm.listServices(signal),
        swarm.listNodes(signal),
        swarm.listNetworks(signal),
        swarm.listConfigs(signal),
        swarm.listSecrets(signal),
      ]);
    const passes: number[] = [];
    const reads: number[] = [];
    const writes = await countWrites(async () => {
      for (let count = 0; count < n; count++) {
        passes.push(await msOf(pass));
        reads.push(await msOf(read));
      }
    });
    return { passes, reads, writes };
  } finally {
    operator.clusters.close();
    destination.end();
  }
}

async function msOf(work: () => Promise<unknown>): Promise<number> {
  const startMs = performance.now();
  await work();
  return performance.now() - startMs;
}

/** Every HTTP request of this process that is not a question, to whichever engine. */
async function countWrites(work: () => Promise<void>): Promise<number> {
  let writes = 0;
  const count = (message: unknown) => {
    const { request } = message as { readonly request: ClientRequest };
    if (request.method !== 'GET' && request.method !== 'HEAD') writes++;
  };
  subscribe('http.client.request.start', count);
  try {
    await work();
  } finally {
    unsubscribe('http.client.request.start', count);
  }
  return writes;
}
