import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { stringify } from 'yaml';
import type { Finding } from '../../controller/cli/doctor.ts';
import { isTrue } from '../../controller/status/conditions.ts';
import { openStatusStores, type StatusStores } from '../../controller/status/status-stores.ts';
import { API_VERSION } from '../../crds/group.ts';
import type { TrialRecord } from '../../crds/trial-record.ts';
import { runCommand } from '../../provisioners/shared/run-command.ts';
import type { FaultKind } from '../../state-machines/contract.ts';
import { faultKinds } from '../../state-machines/faults/catalog.ts';
import { endController, runController, startController } from '../support/controller-process.ts';
import { type BenchSite, docker, until } from './bench-site.ts';

export interface LabLayout {
  /** Of the cluster: no other lab on this machine has it. */
  readonly name: string;
  /** That no other lab on this machine uses. */
  readonly subnet: string;
  /** Swarm labels of each node. */
  readonly nodes: readonly Readonly<Record<string, string>>[];
  /** As in a manifest; a path when nothing is said. */
  readonly checkpoint?: object;
}

export interface ScheduleOutcome {
  /** Epoch ms just before the manifest was written. */
  readonly savedMs: number;
  readonly trials: readonly TrialRecord[];
}

export interface StackEntry {
  readonly name: string;
  readonly compose: string;
  readonly env?: Readonly<Record<string, string>>;
}

/** Six nodes, placed as the streaming stack wants them. */
export const sixNodes: LabLayout['nodes'] = [
  { place: 'control' },
  { place: 'source' },
  { place: 'master' },
  { place: 'compute', slot: '1' },
  { place: 'compute', slot: '2' },
  { place: 'compute', slot: '3' },
];

/** Taken by nobody else here: the operator's usual port may be in use. */
export const metricsPort = 29464;
const readyMs = 600_000;

/** Gives a lab, driven through the built command line alone, and takes it down whatever happens. */
export async function withLab<T>(
  site: BenchSite,
  layout: LabLayout,
  use: (lab: BenchLab) => Promise<T>,
  signal: AbortSignal,
): Promise<T> {
  const lab = new BenchLab(site, layout, signal);
  await lab.removeLeftovers();
  try {
    return await use(lab);
  } finally {
    await lab.down();
  }
}

export class BenchLab {
  readonly #layout: LabLayout;
  readonly #signal: AbortSignal;
  readonly #common: readonly string[];
  readonly #children = new Set<ChildProcess>();
  /** The watched folder. */
  readonly folder: string;
  readonly stateDir: string;
  readonly manifest: string;
  readonly log: string;
  readonly statuses: StatusStores;

  constructor(
    { workDir, cacheDir }: Pick<BenchSite, 'workDir' | 'cacheDir'>,
    layout: LabLayout,
    signal: AbortSignal,
  ) {
    this.#layout = layout;
    this.#signal = signal;
    const path = (name: string) => join(workDir, `${layout.name}${name}`);
    this.folder = path('');
    this.stateDir = path('.state');
    this.log = path('.log');
    this.manifest = join(this.folder, 'cluster.yaml');
    this.statuses = openStatusStores(this.stateDir);
    const listen = `127.0.0.1:${metricsPort}`;
    this.#common = ['--state', this.stateDir, '--cache', cacheDir, '--listen', listen];
    mkdirSync(this.folder, { recursive: true });
    this.save([]);
  }

  /** Saves the manifest with these stacks and no others, which may remove all services; the first nodes are the managers. */
  save(stacks: readonly StackEntry[], managers = 1): void {
    const { name, subnet, nodes, checkpoint = { path: {} } } = this.#layout;
    const spec = {
      provisioner: { lab: { subnet } },
      nodes: nodes.map((labels, index) => {
        return { name: `node${index + 1}`, role: index < managers ? 'manager' : 'worker', labels };
      }),
      checkpoint,
      stacks,
    };
    const metadata = { name, annotations: { 'spark-failures.io/allow-prune': 'true' } };
    writeFileSync(this.manifest, stringify({ apiVersion: API_VERSION, kind: 'ClusterSpec', metadata, spec }));
  }

  /** `controller apply --wait` over the watched folder, from the start of the process to its end; rejects when it fails. */
  async apply(): Promise<void> {
    const child = this.#start(['apply', '-f', this.folder, '--wait']);
    const [code] = (await once(child, 'close', { signal: this.#signal })) as [number | null];
    if (code !== 0) throw new Error(`controller apply ended with ${code}: see ${this.log}`);
  }

  /** `controller --watch` over the folder; ends with the lab. */
  async watch(): Promise<ChildProcess> {
    const child = this.#start(['--watch', this.folder]);
    await this.untilPasses(3, child);
    return child;
  }

  /** Saves a FaultSchedule into the watched folder and waits until it is Complete. */
  async runSchedule(name: string, spec: object, deadlineMs = 180_000): Promise<ScheduleOutcome> {
    const text = stringify({ apiVersion: API_VERSION, kind: 'FaultSchedule', metadata: { name }, spec });
    const savedMs = Date.now();
    writeFileSync(join(this.folder, `${name}.yaml`), text);
    const look = async () => {
      const { status } = await this.statuses.schedules.read(name);
      return status && isTrue(status.conditions, 'Complete', status.observedGeneration) ? status : undefined;
    };
    const wait = { what: `${name} Complete`, everyMs: 100, deadlineMs };
    const { trials } = await until(wait, look, this.#signal);
    return { savedMs, trials };
  }

  /** Those that `controller doctor` does not call impossible on any of these nodes. */
  async possibleKinds(): Promise<readonly FaultKind[]> {
    const main = join(import.meta.dirname, '..', '..', 'controller', 'main.js');
    const args = [main, 'doctor', '-f', this.manifest, '-o', 'json', ...this.#common];
    const answer = await runCommand(process.execPath, args, {}, this.#signal);
    const findings = JSON.parse(answer) as readonly Finding[];
    const impossible = findings.flatMap(({ lacks = [] }) => lacks.flatMap(({ kinds }) => kinds));
    return faultKinds.filter(({ name }) => !impossible.includes(name));
  }

  /** Waits for the cluster's condition, in the generation that was last looked at. */
  async untilReady(): Promise<void> {
    const { name } = this.#layout;
    const look = async () => {
      const { status } = await this.statuses.clusters.read(name);
      return (status && isTrue(status.conditions, 'Ready', status.observedGeneration)) || undefined;
    };
    await until({ what: `${name} Ready`, everyMs: 250, deadlineMs: readyMs }, look, this.#signal);
  }

  /** Waits for so many more passes of the operator over the cluster: by then it has seen what there is to see. */
  async untilPasses(count: number, operator: ChildProcess): Promise<void> {
    let goal: number | undefined;
    const look = async () => {
      if (operator.exitCode !== null) throw new Error(`the operator has ended: see ${this.log}`);
      const passes = await countPasses();
      goal ??= passes === undefined ? undefined : passes + count;
      return (passes !== undefined && goal !== undefined && passes >= goal) || undefined;
    };
    const what = `${count} passes of the operator`;
    await until({ what, everyMs: 250, deadlineMs: readyMs }, look, this.#signal);
  }

  /** Runs a command on a node, past everything of ours. */
  onNode(node: number, ...command: readonly string[]): Promise<string> {
    return docker(['exec', this.container(node), ...command], this.#signal);
  }

  /** `docker OPTIONS CONTAINER COMMAND` on the node, for its running task of a service, or the slot `streaming_generator.2`. */
  async onTask(
    node: number,
    task: string,
    options: readonly string[],
    command: readonly string[] = [],
  ): Promise<string> {
    const named = `name=^${task.replaceAll('.', '\\.')}\\.`;
    const id = await this.onNode(node, 'docker', 'ps', '-q', '--filter', named);
    if (!/^\w+$/.test(id)) throw new Error(`there is not one task of ${task}: ${id}`);
    return this.onNode(node, 'docker', ...options, id, ...command);
  }

  /** The container that is node number `node`, from 1. */
  container(node: number): string {
    return `sf-${this.#layout.name}-node${node}`;
  }

  /** What a bench that was killed has left. */
  async removeLeftovers(): Promise<void> {
    const label = `label=spark-failures.io/cluster=${this.#layout.name}`;
    const left = await docker(['ps', '-aq', '--filter', label], this.#signal);
    if (left !== '') await this.#delete();
  }

  /** Ends what runs and destroys the cluster; not to be hurried. */
  async down(): Promise<void> {
    for (const child of this.#children) {
      child.kill('SIGCONT'); // it may be stopped
      await endController(child, 'SIGTERM');
    }
    await this.#delete();
  }

  async #delete(): Promise<void> {
    const { code } = await runController(
      ['delete', '-f', this.manifest, '--wait', ...this.#common],
      this.log,
    );
    if (code !== 0) throw new Error(`${this.#layout.name} could not be taken down: see ${this.log}`);
  }

  #start(args: readonly string[]): ChildProcess {
    const child = startController([...args, ...this.#common], this.log);
    this.#children.add(child);
    child.once('close', () => this.#children.delete(child));
    return child;
  }
}

/** Passes over clusters so far; undefined while nobody answers. */
async function countPasses(): Promise<number | undefined> {
  const response = await fetch(`http://127.0.0.1:${metricsPort}/metrics`).catch(() => undefined);
  const lines = (await response?.text())?.split('\n') ?? [];
  const counts = lines.flatMap(
    (line) =>
      /^controller_runtime_reconcile_total\{controller="ClusterSpec".*\} (\d+)$/.exec(line)?.[1] ?? [],
  );
  return counts.length === 0 ? undefined : counts.reduce((sum, count) => sum + Number(count), 0);
}
