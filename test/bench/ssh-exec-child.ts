import { readFileSync } from 'node:fs';
import { performance } from 'node:perf_hooks';
import { pinOf } from '../../provisioners/shared/keys.ts';
import { openSshNode, type SshNode } from '../../provisioners/shared/ssh-node.ts';
import type { LabHosts } from '../support/lab-hosts.ts';

// A process of its own, so that its memory is nobody else's: [LOGIN, HOSTS, TIMES] as JSON, with --expose-gc. One JSON line on
// standard output.

/** What held connections cost, and what a command over one takes. */
export interface ExecAnswer {
  /** Of each command, in turn over all connections. */
  readonly ms: readonly number[];
  /** By which the process grew when it made the connections and used each. */
  readonly heldMb: number;
}

const [login, hosts, times] = JSON.parse(process.argv[2]!) as [LabHosts['login'], LabHosts['hosts'], number];
const privateKey = readFileSync(login.keyFile, 'utf8');
const signal = AbortSignal.timeout(300_000);
const open = () =>
  Promise.all(
    Object.entries(hosts).map(([name, { host, hostKey }]) =>
      openSshNode(
        { name, host, address: host, port: 22, user: login.user, privateKey, hostKey: pinOf(hostKey) },
        signal,
      ),
    ),
  );
const exec = async (node: SshNode): Promise<number> => {
  const startMs = performance.now();
  const { code } = await node.exec('true', [], {}, signal);
  if (code !== 0) throw new Error(`true ended with ${code}`);
  return performance.now() - startMs;
};
const rssMb = (): number => {
  (globalThis as { gc?: () => void }).gc?.();
  return process.memoryUsage().rss / 1e6;
};

// What the first connections leave behind, code above all, is no cost of those that are held.
for (const node of await open()) {
  await exec(node);
  node.close();
}
const beforeMb = rssMb();
const nodes = await open();
for (const node of nodes) await exec(node);
const heldMb = rssMb() - beforeMb;
const ms: number[] = [];
for (let count = 0; count < times; count++) ms.push(await exec(nodes[count % nodes.length]!));
for (const node of nodes) node.close();
process.stdout.write(`${JSON.stringify({ ms, heldMb } satisfies ExecAnswer)}\n`);
