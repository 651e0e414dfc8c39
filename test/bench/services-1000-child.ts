import { readFileSync } from 'node:fs';
import { readFiles } from '../../controller/cli/read-files.ts';
import { createLog } from '../../controller/log.ts';
import { createOperator } from '../../controller/operator.ts';
import { ownMachine } from '../support/own-machine.ts';
import type { OwnSite } from './own-cluster.ts';

// A process of its own, so that its memory is nobody else's: { site, manifest, n } as JSON. One JSON line on standard output.

/** What looks at a cluster, and what differs there, cost. */
export interface LookAnswer {
  /** Of the first one, which also reads and understands the stack, ms. */
  readonly firstMs: number;
  /** Of those after it, ms. */
  readonly ms: readonly number[];
  /** The same questions asked, and nothing done with the answers, ms. */
  readonly readMs: readonly number[];
  /** Of all plans together. */
  readonly steps: number;
  /** In 10^6 bytes. */
  readonly peakMb: number;
}

const { site, manifest, n } = JSON.parse(process.argv[2]!) as {
  readonly site: OwnSite;
  readonly manifest: string;
  readonly n: number;
};
const { socket, folder: _, ...options } = site;
const signal = AbortSignal.timeout(120_000);
const operator = await createOperator({
  ...{ ...options, progress: () => undefined, bindProvisioner: () => ownMachine(socket) },
  log: createLog({ level: 'warn', format: 'json', destination: process.stderr }),
});
const [stored] = await readFiles(operator, { files: [manifest], recursive: false }, signal);
if (stored?.resource?.kind !== 'ClusterSpec') throw new Error('the manifest was not read');
let steps = 0;
const look = async (): Promise<number> => {
  const startMs = performance.now();
  steps += (await operator.clusters.plan(stored, signal)).steps.length;
  return performance.now() - startMs;
};
const firstMs = await look();
const swarm = await operator.clusters.swarm(stored.resource, signal);
const read = async (): Promise<number> => {
  const startMs = performance.now();
  await Promise.all([
    swarm.listServices(signal),
    swarm.listNodes(signal),
    swarm.listNetworks(signal),
    swarm.listConfigs(signal),
    swarm.listSecrets(signal),
  ]);
  return performance.now() - startMs;
};
const another = { Name: 'another', Driver: 'overlay', Labels: {}, Attachable: false, Internal: false };
const ms: number[] = [];
const readMs: number[] = [];
for (let count = 0; count < n; count++) {
  // What was compared before counts no more where names of networks may mean something else.
  const network = await swarm.createNetwork(another, signal);
  ms.push(await look());
  await swarm.removeNetwork(network, signal);
  readMs.push(await read());
}
operator.clusters.close();
// Not `maxRSS`, which begins with what the process that started this one had.
const kb = Number(/^VmHWM:\s+(\d+) kB$/m.exec(readFileSync('/proc/self/status', 'utf8'))![1]);
const answer: LookAnswer = { firstMs, ms, readMs, steps, peakMb: (kb * 1024) / 1e6 };
process.stdout.write(`${JSON.stringify(answer)}\n`);
