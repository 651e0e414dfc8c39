import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Test } from 'tap';
import { ensureImages } from '../../compose/images/ensure-images.ts';
import { resolveImageNames } from '../../compose/images/resolve-images.ts';
import { systemClock } from '../../controller/clock.ts';
import { gatherFacts, gatherInventory } from '../../controller/schedule/gather-facts.ts';
import type { Inventory } from '../../controller/schedule/select-targets.ts';
import { swarmGateway } from '../../controller/swarm/docker-gateways.ts';
import { type NodeHandle, OVERLAY_POOL, type Provisioner } from '../../provisioners/contract.ts';
import { labConfigSchema } from '../../provisioners/lab/config.ts';
import { containerName } from '../../provisioners/lab/labels.ts';
import { labProvisioner } from '../../provisioners/lab/provisioner.ts';
import { dockerOver } from '../../provisioners/shared/docker-client.ts';
import { runCommand } from '../../provisioners/shared/run-command.ts';
import type { Facts, RunRecord, RunResult, Target, TaskTarget } from '../../state-machines/contract.ts';
import type { StepPorts } from '../../state-machines/dead-man/step-actions.ts';
import { runFault } from '../../state-machines/fault-runner.ts';
import { loadScripts, type Scripts } from '../../state-machines/load-scripts.ts';
import { type FaultSteps, faultKindOf, faultSteps } from './fault-steps.ts';
import { engineOrSkip } from './lab-engine.ts';
import { tracesScript } from './traces.ts';

/** Machines of a lab without any controller: faults are run on them one by one, and looked at past all of ours. */
export interface FaultLab extends FaultSteps {
  readonly access: LabAccess;
  readonly names: readonly string[];
  readonly scripts: Scripts;
  readonly ports: StepPorts;
  /** Ends with the test file's own limit. */
  readonly signal: AbortSignal;
  node(name: string): NodeHandle;
  /** A connection of its own, to be closed by whoever asked for it. */
  connect(name: string): Promise<NodeHandle>;
  powerOff(name: string): Promise<void>;
  /** Resolves when the machine's engine runs again. */
  powerOn(name: string): Promise<void>;
  /** Off, and on again. */
  powerCycle(name: string): Promise<void>;
  /** Standard output of a shell script run as root; rejects when it fails. */
  on(name: string, script: string, ...args: string[]): Promise<string>;
  /** The same as if it were typed at the machine: no fault of its network is in the way. */
  atConsole(name: string, script: string, ...args: string[]): Promise<string>;
  /** What the swarm runs where, as a schedule sees it; nothing without one. */
  inventory(): Promise<Inventory>;
  facts(targets: readonly Target[]): Promise<Facts>;
  /** Starts `docker run` on a node with these options and a command; gives the task that a swarm would have made. */
  startTask(name: string, options?: string, command?: string): Promise<TaskTarget>;
  /** One fault from nothing to healed; `during` is run as soon as the hold has begun, and has to end in it. */
  run(fault: LabFault): Promise<LabRun>;
  /** What a fault could leave on a node, read without knowing any mark of ours: the same text before and after. */
  traces(name: string): Promise<string>;
  until(what: string, limitMs: number, holds: () => Promise<boolean>): Promise<void>;
}

interface LabFault {
  readonly kind: string;
  readonly params?: object;
  readonly targets: readonly Target[];
  readonly holdMs?: number;
  readonly during?: () => Promise<void>;
}

interface LabRun {
  readonly result: RunResult;
  /** What the journal was told, in order. */
  readonly records: readonly RunRecord[];
}

interface LabLayout {
  /** One network, and one name, per test file: several may run at once. */
  readonly cluster: string;
  readonly subnet: string;
  readonly nodes?: number;
  /** The machines are one: `node1`, a manager, makes it, and the others join. */
  readonly swarm?: boolean;
  /** On the machines, beside the one that `startTask` runs. */
  readonly images?: readonly string[];
  /** How many of the first ones are its managers; one when nothing is said. */
  readonly managers?: number;
  readonly limitMs?: number;
}

const graceMs = 30_000;
const defaultLimitMs = 600_000;
const victimImage = 'debian:trixie-slim';

/** What it takes to reach the machines from another process. */
export interface LabAccess {
  readonly cluster: string;
  readonly subnet: string;
  readonly work: string;
  readonly image: string;
  readonly seed: readonly string[];
}

/** The lab's provisioner, as this process and others bind it. */
export function bindLab(
  { cluster, subnet, work, image, seed }: LabAccess,
  progress: (line: string) => void,
): Provisioner {
  return labProvisioner(labConfigSchema.parse({ subnet, memory: '1Gi', cpus: 1 }), {
    ...{ cluster, stateDir: join(work, 'state'), cacheDir: join(work, 'cache') },
    ...{ images: { node: image, seed }, progress },
  });
}

/** Machines for a test file; skipped, or failed, where no engine runs. */
export async function openFaultLab(t: Test, layout: LabLayout): Promise<FaultLab> {
  t.setTimeout(layout.limitMs ?? defaultLimitMs);
  await engineOrSkip(t);
  return openMachines(t, layout);
}

const assetsDir = join(import.meta.dirname, '..', '..', '..');

/** Makes the engine hold the image of a machine, and those that are to be on it; two at once would build all twice. */
export async function ensureLabImages(
  images: readonly string[],
  signal: AbortSignal,
): Promise<Pick<LabAccess, 'image' | 'seed'>> {
  const image = (await resolveImageNames(assetsDir)).get('node') ?? '';
  const seed = [victimImage, ...images];
  const options = { assetsDir, cacheDir: join(assetsDir, '.cache'), progress: () => {} };
  await ensureImages([image, ...seed], options, signal);
  return { image, seed };
}

/** Boots the machines `node1`, `node2`, ...; they and all of theirs are gone after the teardown. */
export async function openMachines(
  t: Pick<Test, 'comment' | 'teardown'>,
  layout: LabLayout,
): Promise<FaultLab> {
  const { cluster, subnet, nodes: count = 2, swarm = false, managers = 1 } = layout;
  const { limitMs = defaultLimitMs } = layout;
  const signal = AbortSignal.timeout(limitMs - 10_000);
  const work = await mkdtemp(join(tmpdir(), `sf-${cluster}-`));
  const scripts = await loadScripts(join(assetsDir, 'state-machines'));
  const access = { cluster, subnet, work, ...(await ensureLabImages(layout.images ?? [], signal)) };
  const provisioner = bindLab(access, (line) => t.comment(line));
  const handles = new Map<string, NodeHandle>();
  const takeDown = async () => {
    for (const handle of handles.values()) handle.close();
    await Promise.all((await provisioner.list(signal)).map(({ name }) => provisioner.destroy(name, signal)));
    await provisioner.destroyShared(signal);
  };
  t.teardown(async () => {
    await takeDown();
    await rm(work, { recursive: true, force: true });
  });
  await takeDown();
  const machines = Array.from({ length: count }, (_, index) => ({
    ...{ name: `node${index + 1}`, index },
    role: index < managers ? ('manager' as const) : ('worker' as const),
  }));
  await Promise.all(machines.map((spec) => provisioner.create(spec, signal)));
  const connect = async (name: string) => {
    const machine = (await provisioner.list(signal)).find((each) => each.name === name);
    if (!machine) throw new Error(`the lab has no ${name}`);
    return provisioner.connect(machine, signal);
  };
  for (const { name } of machines) handles.set(name, await connect(name));

  const node = (name: string) => {
    const handle = handles.get(name);
    if (!handle) throw new Error(`the lab has no ${name}`);
    return handle;
  };
  const on = async (name: string, script: string, ...args: string[]) => {
    const { code, stdout, stderr } = await node(name).exec(script, args, {}, signal);
    if (code !== 0) throw new Error(`${name}: ${script} ended with ${code}: ${stderr}`);
    return stdout.trim();
  };
  const makeSwarm = async () => {
    const [manager, ...others] = machines;
    const { name: first, address } = node(manager!.name);
    const init =
      'docker swarm init --advertise-addr "$1" --default-addr-pool "$2" --default-addr-pool-mask-length 24';
    await on(first, init, address, OVERLAY_POOL);
    const join = 'docker swarm join --token "$1" --advertise-addr "$2" "$3:2377"';
    for (const { name, role } of others) {
      const token = await on(first, 'docker swarm join-token -q "$1"', role);
      await on(name, join, token, node(name).address, address);
    }
  };
  if (swarm) await makeSwarm();
  const inventory = async (): Promise<Inventory> => {
    if (!swarm) return { nodes: [], services: [] };
    const { docker, close } = await dockerOver(node('node1'), undefined, signal);
    try {
      return await gatherInventory(swarmGateway(docker), signal);
    } finally {
      close();
    }
  };
  const facts = async (targets: readonly Target[]): Promise<Facts> => {
    const nodeNames = [...handles.keys()];
    const nodes = async (name: string) => node(name);
    const found = await gatherFacts(targets, await inventory(), { nodeNames, nodes }, signal);
    return { ...found, nodes: found.nodes.map((each) => ({ ...each, labels: { place: 'compute' } })) };
  };
  const ports: StepPorts = {
    ...{ clock: systemClock, scripts, nodes: async (name) => node(name) },
    power: provisioner.power!,
  };
  const powerOff = async (name: string) => {
    node(name).close();
    await provisioner.power!.off(name, signal);
  };
  const powerOn = async (name: string) => {
    await provisioner.power!.on(name, signal);
    const machine = machines.find((spec) => spec.name === name)!;
    // An undo at boot may stop the engine once more while it starts.
    const create = () => provisioner.create(machine, signal);
    await create().catch(create);
    handles.set(name, await connect(name));
  };
  let runs = 0;
  return {
    ...{ access, scripts, ports, signal, node, connect, on, inventory, facts },
    names: machines.map(({ name }) => name),
    ...{ powerOff, powerOn },
    run: faultRuns({ cluster, ports, facts, signal }),
    ...faultSteps({ ports, facts, signal }),
    async powerCycle(name) {
      await powerOff(name);
      await powerOn(name);
    },
    atConsole: (name, script, ...args) =>
      runCommand(
        'docker',
        ['exec', containerName(cluster, name), 'sh', '-c', script, 'sh', ...args],
        {},
        signal,
      ),
    async startTask(name, options = '', command = 'sleep 3600') {
      runs += 1;
      const containerId = await on(name, `docker run -d --init=false ${options} ${victimImage} ${command}`);
      return {
        kind: 'task',
        node: name,
        service: `s${runs}`,
        taskId: `t${runs}`,
        containerId,
        addresses: [],
      };
    },
    traces: (name) => on(name, tracesScript),
    async until(what, withinMs, holds) {
      const deadlineMs = Date.now() + withinMs;
      while (!(await holds())) {
        if (Date.now() > deadlineMs) throw new Error(`not within ${withinMs} ms: ${what}`);
        await systemClock.sleep(200, signal);
      }
    },
  };
}

/** Runs faults one after another on any machines that can be reached, and keeps what the journal was told. */
export function faultRuns({
  cluster,
  ports,
  facts,
  signal,
}: {
  readonly cluster: string;
  readonly ports: StepPorts;
  readonly facts: FaultLab['facts'];
  readonly signal: AbortSignal;
}): FaultLab['run'] {
  let runs = 0;
  return async ({ kind: kindName, params = {}, targets, holdMs = 0, during }) => {
    const kind = faultKindOf(kindName);
    runs += 1;
    const steps = kind.plan(kind.params.parse(params), await facts(targets));
    const named = { runId: `lab-${runs}`, cluster, schedule: 'lab', fault: kindName };
    const run = { ...named, kind: kindName, instant: kind.instant, needs: kind.needs, steps };
    const records: RunRecord[] = [];
    const journal = {
      write: async (record: RunRecord) => void records.push(record),
      unfinished: async () => [],
    };
    let looked: Promise<void> | undefined;
    const onState = (_run: unknown, state: string) => {
      if (state === 'hold') looked = during?.();
      looked?.catch(() => {}); // told below
    };
    const result = await runFault({ ...run, holdMs, graceMs }, { ...ports, journal, onState }, signal);
    if (during && !looked) throw new Error(`${kindName} was never held: ${result.outcome} ${result.message}`);
    await looked;
    return { result, records };
  };
}
