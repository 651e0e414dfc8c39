import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parse } from 'yaml';
import { openRunJournal } from '../../controller/status/run-journal.ts';
import { type FaultEntry, faultOf } from '../../crds/fault-schedule.ts';
import type { FaultKind, FaultRun, Need, Target } from '../../state-machines/contract.ts';
import { healUnfinished, runFault } from '../../state-machines/fault-runner.ts';
import { missingNeeds } from '../../state-machines/missing-needs.ts';
import { openMachines } from '../support/fault-lab.ts';
import type { Situation } from './situations.ts';
import type { StruckOptions } from './struck-controller.ts';

/** What became of one kind in one situation. */
export interface Cell {
  readonly kind: string;
  readonly situation: string;
  readonly ok: boolean;
  /** What is on a node that was not there before, and what else was not as promised. */
  readonly left: readonly string[];
}

interface Matrix {
  /** What the machines lack for a kind; it is proven elsewhere then, as by guest.test.ts. */
  lacks(kind: FaultKind): Promise<readonly Need[]>;
  run(kind: FaultKind, situation: Situation): Promise<Cell>;
  close(): Promise<void>;
}

const holdMs = 1_500;
/** As in runs of the operator. */
const graceMs = 30_000;
/** Promised beyond the deadline. */
const lateMs = 5_000;
const packageRoot = join(import.meta.dirname, '..', '..', '..');

/** A process that the examples' patterns match, beside the container's first one; both do next to nothing. */
const victim = `bash -c '(exec -a CoarseGrainedExecutorBackend sleep 3600) & exec sleep 3600'`;

/** Boots the machines on which cells are run one after another. */
export async function openMatrix(note: (line: string) => void): Promise<Matrix> {
  const closing: (() => Promise<void>)[] = [];
  const host = { comment: note, teardown: (work: () => Promise<void>) => void closing.push(work) };
  const lab = await openMachines(host, {
    cluster: 'matrix',
    subnet: '10.93.9.0/24',
    swarm: true,
    limitMs: 7_200_000,
  });
  const scriptsDir = join(packageRoot, 'state-machines');
  const nodes = ['node1', 'node2'];
  const traces = async () =>
    (await Promise.all(nodes.map((name) => lab.traces(name)))).join('\n').split('\n');
  // A bystander: the engine's own folders come with its first container, and its bridge is up as long as there is one.
  await lab.startTask('node2', '--memory 64m --restart always --stop-timeout 1');
  const options = '--name matrix_victim --stop-grace-period 1s --constraint node.hostname==node2';
  const create = `docker service create --quiet --detach --no-resolve-image ${options} debian:trixie-slim sleep 3600`;
  const serviceId = await lab.on('node1', create);
  const isWhole = async () => (await lab.on('node1', "docker service ls --format '{{.Replicas}}'")) === '1/1';
  await lab.until('the service runs', 60_000, isWhole);
  let runs = 0;

  /** The kind's own example, aimed at what the lab has of that sort. */
  const planned = async (kind: FaultKind): Promise<{ run: FaultRun; remove: () => Promise<unknown> }> => {
    const file = join(packageRoot, 'manifests', 'examples', 'faults', `${kebab(kind.name)}.yaml`);
    const { spec } = parse(await readFile(file, 'utf8')) as { spec: { faults: [FaultEntry] } };
    const params = kind.params.parse(faultOf(spec.faults[0]).params ?? {});
    const task =
      kind.targets.includes('tasks') && !kind.targets.includes('nodes')
        ? await lab.startTask('node2', '--memory 1g --stop-timeout 1', victim)
        : undefined;
    const service = { kind: 'service', service: 'matrix_victim', serviceId, replicated: true } as const;
    const node = { kind: 'node', node: 'node2' } as const;
    const target: Target = task ?? (kind.targets.includes('services') ? service : node);
    const steps = kind.plan(params, await lab.facts([target]));
    runs += 1;
    const named = { runId: `matrix-${runs}`, cluster: 'matrix', schedule: 'matrix', fault: kind.name };
    const { instant, needs } = kind;
    const run = { ...named, kind: kind.name, instant, needs, steps, holdMs: instant ? 0 : holdMs, graceMs };
    const remove = async () =>
      task && (await lab.on('node2', 'docker rm -f "$1" >/dev/null', task.containerId));
    return { run, remove };
  };

  const strike = async (
    run: FaultRun,
    { strike }: Situation,
    stateDir: string,
  ): Promise<string | undefined> => {
    const options: StruckOptions = { access: lab.access, stateDir, scriptsDir, run, strike };
    const script = join(import.meta.dirname, 'struck-controller.js');
    const child = spawn(process.execPath, [script, JSON.stringify(options)], {
      stdio: ['ignore', 'ignore', 'inherit'],
    });
    const ended = once(child, 'exit') as Promise<[number | null, string | null]>;
    if (strike.signal === 'SIGSTOP') {
      await untilStopped(child.pid!, ended);
      await lab.ports.clock.sleep(run.holdMs + run.graceMs + lateMs, lab.signal);
      child.kill('SIGCONT');
    }
    const [code, signal] = await ended;
    if (strike.signal === 'SIGSTOP')
      return code === 0 ? undefined : `the continued controller ended with ${code}`;
    return signal === 'SIGKILL' ? undefined : `the controller never came there: it ended with ${code}`;
  };

  const runCell = async (kind: FaultKind, situation: Situation, stateDir: string): Promise<string[]> => {
    await lab.until('the service runs', 60_000, isWhole);
    const before = new Set(await traces());
    const { run, remove } = await planned(kind);
    const missed = await strike(run, situation, stateDir);
    const problems = missed === undefined ? [] : [missed];
    if (situation.abandoned) {
      await lab.ports.clock.sleep(run.holdMs + run.graceMs + lateMs, lab.signal);
      for (const { node } of run.steps) {
        const healed = await lab.on(node, 'ls -d /var/lib/spark-failures/runs/*/healed 2>/dev/null | wc -l');
        if (healed === '0') problems.push(`${node} did not heal itself`);
      }
    }
    const journal = await openRunJournal(stateDir);
    const ports = { ...lab.ports, journal };
    await healUnfinished(ports, lab.signal);
    for (const { outcome } of await journal.runs())
      if (outcome !== 'Aborted' && outcome !== 'Healed' && outcome !== 'Refused')
        problems.push(`closed as ${outcome}`);
    await remove();
    const left = async () => (await traces()).filter((line) => !before.has(line));
    await lab
      .until('nothing is left', 30_000, async () => (await left()).length === 0)
      .catch(() => undefined);
    problems.push(...(await left()).map((line) => `left: ${line}`));
    const next = await planned(kind);
    const { outcome, message } = await runFault(next.run, ports, lab.signal);
    await next.remove();
    if (outcome !== 'Healed') problems.push(`the next run ended ${outcome}: ${message}`);
    return problems;
  };

  return {
    lacks: (kind) => missingNeeds(lab.node('node2'), kind.needs, lab.scripts, lab.signal),
    async run(kind, situation) {
      const stateDir = await mkdtemp(join(tmpdir(), 'sf-matrix-'));
      const left = await runCell(kind, situation, stateDir).catch((error: unknown) => [String(error)]);
      await rm(stateDir, { recursive: true, force: true });
      return { kind: kind.name, situation: situation.name, ok: left.length === 0, left };
    },
    async close() {
      for (const work of closing.reverse()) await work();
    },
  };
}

async function untilStopped(pid: number, ended: Promise<unknown>): Promise<void> {
  let over = false;
  void ended.then(() => (over = true));
  for (;;) {
    const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '');
    if (over || / T /.test(stat)) return;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

const kebab = (name: string) => name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
