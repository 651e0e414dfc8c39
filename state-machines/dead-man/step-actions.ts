import { createHash } from 'node:crypto';
import {
  ExecError,
  type ExecOptions,
  type NodeSwitch,
  type SwitchName,
} from '../../provisioners/contract.ts';
import {
  type Clock,
  type FaultStep,
  type Need,
  type Nodes,
  RefusedError,
  type Verdict3,
} from '../contract.ts';
import type { Scripts } from '../load-scripts.ts';
import { missingSwitch } from '../missing-needs.ts';

/** One step of a run: `name` is its directory on the node, `<runId>.<n>`. */
export interface StepRun {
  readonly name: string;
  readonly step: FaultStep;
}

/** What a check saw, and the interval of the controller's clock in which it looked. */
export interface Look {
  readonly verdict: Verdict3;
  readonly earliestMs: number;
  readonly latestMs: number;
}

/** Those of the machines' provisioner, if it has them. */
export type StepSwitches = { readonly [name in SwitchName]?: Pick<NodeSwitch, 'on' | 'offUntil'> };

export interface StepPorts extends StepSwitches {
  readonly nodes: Nodes;
  readonly clock: Clock;
  readonly scripts: Scripts;
  /**
   * Lease and term of this operator, where several might act: nodes refuse an older one. Asked right before whatever breaks
   * something; throws RefusedError when it may act no more. Absent: it is the only one.
   */
  readonly mandate?: () => string;
}

/** What breaks something, or prepares to. */
const breaking: readonly string[] = ['arm.sh', 'inject.sh'];

/** An answer later than this is none. The scripts' own limits are lower, a heal's undo (60 s) excepted. */
const answerLimitMs = 25_000;
const healLimitMs = 90_000;

interface Arming {
  /** Until the switch fires. */
  readonly fuseMs: number;
  /** As the run asks: for a victim that has to undo it by itself. */
  readonly holdMs?: number;
  /** How the names of those runs begin that may hold the same target. */
  readonly together?: string | undefined;
  readonly needs: readonly Need[];
}

/** Writes the step and its undo to the node's disk and arms the switch; the look is the one before the fault. */
export async function armStep(
  ports: StepPorts,
  run: StepRun,
  { fuseMs, holdMs = 0, together = '', needs }: Arming,
  signal: AbortSignal,
): Promise<Look> {
  const lacking = missingSwitch(run.step, ports);
  if (lacking !== undefined) throw new RefusedError(lacking);
  const lock = run.step.target.replaceAll(/[^\w.-]/g, '+');
  const version = replayVersion(ports.scripts);
  const mandate = ports.mandate?.() ?? '';
  const args = [run.name, lock, String(Math.ceil(fuseMs)), version, together, mandate, ...needs];
  const answer = await call(
    ports,
    run.step.node,
    'arm.sh',
    args,
    { stdin: bundle(ports.scripts, run.step, holdMs) },
    signal,
  );
  return answer.look();
}

/** The exit status of common.sh's `refuse`. */
const refusedStatus = '69';

/** What came of inject.sh: the effect began after `notBeforeMs`, and the node's own switch fires at `dueMs`. */
export interface Injection {
  readonly notBeforeMs: number;
  readonly dueMs: number;
  readonly look: Look;
}

/** Breaks it, if the node still allows; what its switch is for is broken only by `throwSwitch`. */
export async function injectStep(ports: StepPorts, run: StepRun, signal: AbortSignal): Promise<Injection> {
  const answer = await call(ports, run.step.node, 'inject.sh', [run.name], {}, signal);
  const failure = answer.value('failed');
  if (failure === refusedStatus) throw new RefusedError(`${run.step.node}: ${answer.stderr}`);
  if (failure !== undefined)
    throw new Error(`${run.step.node}: inject.sh failed (${failure}): ${answer.stderr}`);
  const dueMs = answer.interval('due').earliestMs;
  return { notBeforeMs: answer.interval('notbefore').earliestMs, dueMs, look: answer.look() };
}

/** Throws the switch that the step is about, if it is about one; the node has the same deadline on its own disk. */
export function throwSwitch(
  ports: StepPorts,
  run: StepRun,
  dueMs: number,
  signal: AbortSignal,
): Promise<void> {
  ports.mandate?.();
  return useSwitch(ports, run, (its, node, bounded) => its.offUntil(node, dueMs, bounded), signal);
}

/** Asks the check on the node, and on the witness if there is one: one look each. */
export async function lookAt(ports: StepPorts, run: StepRun, signal: AbortSignal): Promise<Look> {
  const stdin = ports.scripts.mechanism(run.step.mechanism).check;
  const answer = await call(ports, run.step.node, 'look.sh', [run.name, ...run.step.args], { stdin }, signal);
  return answer.look();
}

/** The same from a peer's point of view; undefined when the step names no witness. */
export async function lookFromWitness(
  ports: StepPorts,
  { step }: StepRun,
  signal: AbortSignal,
): Promise<Look | undefined> {
  if (!step.witness) return undefined;
  const stdin = ports.scripts.mechanism(step.mechanism).check;
  const answer = await call(
    ports,
    step.witness.node,
    'look.sh',
    ['', ...step.witness.args],
    { stdin },
    signal,
  );
  return answer.look();
}

/** Those of the containers that the step acts on that are gone. */
export async function goneContainers(
  ports: StepPorts,
  { step: { node, containers = [] } }: StepRun,
  signal: AbortSignal,
): Promise<readonly string[]> {
  if (containers.length === 0) return [];
  const { stdout } = await call(ports, node, 'gone.sh', containers, {}, signal);
  const gone = stdout.split('\n');
  return containers.filter((id) => gone.includes(id));
}

/** Undoes the step; idempotent, and right also when nothing was ever armed. Rejects when the undo failed. */
export async function healStep(ports: StepPorts, run: StepRun, signal: AbortSignal): Promise<void> {
  const stdin = ports.scripts.mechanism(run.step.mechanism).undo;
  const options = { stdin, lane: 'heal' } as const;
  await useSwitch(ports, run, (its, node, bounded) => its.on(node, bounded), signal);
  await call(ports, run.step.node, 'heal.sh', [run.name, ...run.step.args], options, signal);
}

/** Takes the switch away; only after the heal was verified. */
export async function disarmStep(ports: StepPorts, run: StepRun, signal: AbortSignal): Promise<void> {
  await call(ports, run.step.node, 'disarm.sh', [run.name], { lane: 'heal' }, signal);
}

async function useSwitch(
  ports: StepPorts,
  { step }: StepRun,
  work: (its: Pick<NodeSwitch, 'on' | 'offUntil'>, node: string, bounded: AbortSignal) => Promise<void>,
  signal: AbortSignal,
): Promise<void> {
  const its = step.switch && ports[step.switch];
  if (its) await within(ports.clock, answerLimitMs, signal, (bounded) => work(its, step.node, bounded));
}

/** A node whose replay has this version need not be given it again. */
function replayVersion(scripts: Scripts): string {
  const text = scripts.deadMan('heal-all.sh') + scripts.deadMan('replay.service');
  return createHash('sha256').update(text).digest('hex').slice(0, 12);
}

/** The run directory's files as arm.sh unpacks them: plain text, a marker line before each. */
function bundle(scripts: Scripts, step: FaultStep, holdMs: number): string {
  if (step.args.some((arg) => arg.includes('\n')))
    throw new RefusedError('an argument contains a line break');
  const { inject, undo, check } = scripts.mechanism(step.mechanism);
  const files = {
    'inject.sh': inject,
    'undo.sh': undo,
    'check.sh': check,
    'heal.sh': scripts.deadMan('heal.sh'),
    '.heal-all.sh': scripts.deadMan('heal-all.sh'),
    '.replay.service': scripts.deadMan('replay.service'),
    args: step.args.map((arg) => `${arg}\n`).join(''),
    hold: `${Math.ceil(holdMs)}\n`,
  };
  return Object.entries(files)
    .map(([name, text]) => `#sf-file ${name}\n${text}`)
    .join('');
}

interface Answer {
  readonly stdout: string;
  readonly stderr: string;
  value(key: string): string | undefined;
  /** Where on the controller's clock the node's instant `key` lies. */
  interval(key: string): { readonly earliestMs: number; readonly latestMs: number };
  look(): Look;
}

/** Runs one of dead-man's scripts within its time limit and reads its `key value` lines. */
async function call(
  { nodes, clock, scripts, mandate }: StepPorts,
  nodeName: string,
  script: string,
  args: readonly string[],
  options: ExecOptions,
  signal: AbortSignal,
): Promise<Answer> {
  const limitMs = options.lane === 'heal' ? healLimitMs : answerLimitMs;
  return within(clock, limitMs, signal, async (bounded) => {
    const node = await nodes(nodeName);
    if (breaking.includes(script)) mandate?.();
    const sentMs = clock.now();
    const result = await node.exec(scripts.deadMan(script), args, options, bounded);
    const stderr = result.stderr.trim();
    if (result.code !== 0) {
      throw new ExecError(nodeName, `${script} ended with ${result.signal ?? result.code}: ${stderr}`);
    }
    const answer = readAnswer(result.stdout, stderr, { sentMs, receivedMs: clock.now() });
    const refusal = answer.value('refused');
    if (refusal !== undefined) throw new RefusedError(`${nodeName}: ${refusal}`);
    return answer;
  });
}

function readAnswer(
  stdout: string,
  stderr: string,
  { sentMs, receivedMs }: { readonly sentMs: number; readonly receivedMs: number },
): Answer {
  const lines = new Map(stdout.split('\n').map((line) => splitOnce(line)));
  const uptimeMs = (seconds: string | undefined) => Number(seconds) * 1000;
  const [startedMs, endedMs] = [uptimeMs(lines.get('started')), uptimeMs(lines.get('ended'))];
  // Only differences of one node's clock are used: it ran between sending and receiving, whatever it calls that.
  const place = (atMs: number) => {
    const earliestMs = sentMs + (atMs - startedMs);
    return { earliestMs, latestMs: Math.max(earliestMs, receivedMs - (endedMs - atMs)) };
  };
  return {
    ...{ stdout, stderr },
    value: (key) => lines.get(key),
    interval: (key) => place(uptimeMs(lines.get(key))),
    look() {
      const [word, lookedAt] = splitOnce(lines.get('check') ?? '');
      return { verdict: toVerdict(word), ...place(lookedAt ? uptimeMs(lookedAt) : endedMs) };
    },
  };
}

function splitOnce(line: string): [string, string] {
  const space = line.indexOf(' ');
  return space < 0 ? [line, ''] : [line.slice(0, space), line.slice(space + 1)];
}

function toVerdict(word: string): Verdict3 {
  return word === 'active' || word === 'inactive' ? word : 'unknown';
}

/** Rejects when it takes longer, or is aborted, also where the work itself would not notice. */
export async function within<T>(
  clock: Clock,
  limitMs: number,
  signal: AbortSignal,
  work: (bounded: AbortSignal) => Promise<T>,
): Promise<T> {
  signal.throwIfAborted();
  const late = new AbortController();
  const done = new AbortController();
  void clock.sleep(limitMs, done.signal).then(
    () => late.abort(new Error(`no answer within ${limitMs} ms`)),
    () => undefined, // done before
  );
  const bounded = AbortSignal.any([signal, late.signal]);
  const ended = new Promise<never>((_resolve, reject) => {
    bounded.addEventListener('abort', () => reject(bounded.reason as Error), { once: true });
  });
  try {
    return await Promise.race([work(bounded), ended]);
  } finally {
    done.abort();
  }
}
