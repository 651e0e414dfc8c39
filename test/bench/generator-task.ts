import type { GeneratorFrontier } from '../../compose/streaming/records/frontier.ts';
import type { BenchLab } from './bench-lab.ts';

/** The generator's clock, counts and ledger; asked from inside its task on a node, for nothing of it is published. */
export async function askFrontier(lab: BenchLab, node: number, service: string): Promise<GeneratorFrontier> {
  const script = "fetch('http://localhost:9400/frontier').then((it) => it.text()).then(console.log)";
  const answer = await lab.onTask(node, service, ['exec'], ['node', '-e', script]);
  return JSON.parse(answer) as GeneratorFrontier;
}

/** The most that the generator ever had, and what a Node process of the same image has that does nothing. */
export async function memoryMb(
  lab: BenchLab,
  node: number,
  service: string,
): Promise<readonly [peak: number, plain: number]> {
  const peaks = await lab.onTask(node, service, ['exec'], ['sh', '-c', 'cat /proc/[0-9]*/status']);
  const kib = [...peaks.matchAll(/^VmHWM:\s+(\d+) kB$/gm)].map(([, size]) => Number(size));
  const script = 'console.log(process.memoryUsage.rss())';
  const plain = await lab.onTask(node, service, ['exec'], ['node', '-e', script]);
  return [(Math.max(...kib) * 1024) / 1e6, Number(plain) / 1e6];
}
