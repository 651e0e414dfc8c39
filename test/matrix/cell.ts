import { createHash } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pLimit from 'p-limit';
import { openRunJournal } from '../../controller/status/run-journal.ts';
import { type FaultKind, type FaultRun, RefusedError } from '../../state-machines/contract.ts';
import { healUnfinished, runFault } from '../../state-machines/fault-runner.ts';
import { loadScripts } from '../../state-machines/load-scripts.ts';
import { exampleOf, packageRoot } from '../support/examples.ts';
import { blows, iptables } from './blows.ts';
import { type Lane, openLane, openLanes } from './lane.ts';
import { type Blow, closings, type Situation } from './situations.ts';
import { startController } from './start-controller.ts';

/** What became of one kind in one situation. */
export interface Cell {
  readonly kind: string;
  readonly situation: string;
  readonly ok: boolean;
  /** What is on a node that was not there before, or the other way, and what else was not as promised. */
  readonly left: readonly string[];
  /** Why the nodes of this lab, or the plan, refuse the kind: then this is what was shown, and that nothing was touched. */
  readonly refused?: string;
  readonly tookMs: number;
}

interface Matrix {
  /** Cells run one after another on each lane. */
  run(kind: FaultKind, situation: Situation): Promise<Cell>;
  /** What the nodes are, for the record. */
  readonly about: string;
  close(): Promise<void>;
}

/** Of the clean run after each, and of one that is struck in it. */
const briefMs = 200;
/**
 * The deadline's distance where it is waited for. Shorter than the operator's 30 s, which changes nothing but the time
 * that it takes, and longer than the slowest undo waits by itself: stopEngine's, 18 s from the stop.
 */
const waited = { holdMs: 1_500, graceMs: 17_000 };
/** As the operator's, and a hold that somebody ends. */
const unhurried = { holdMs: 300_000, graceMs: 30_000 };
const timings: Readonly<Record<Blow, Pick<FaultRun, 'holdMs' | 'graceMs'>>> = {
  killed: { holdMs: briefMs, graceMs: 30_000 },
  'never-back': waited,
  stopped: waited,
  'cut-off': waited,
  'engine-restarted': unhurried,
  'target-restarted': unhurried,
  'leader-killed': unhurried,
  'node-rebooted': unhurried,
};
const signals: Readonly<Partial<Record<Blow, 'SIGKILL' | 'SIGSTOP'>>> = {
  ...{ killed: 'SIGKILL', 'never-back': 'SIGKILL', stopped: 'SIGSTOP' },
};
const settleMs = 90_000;
/** Plus the lane: no such group exists, so that its rule in the packet filter hits nobody else. */
const firstGroup = 93_900;
const scriptsDir = join(packageRoot, 'state-machines');

/** Boots that many lanes, at most four. */
export async function openMatrix(note: (line: string) => void, laneCount: number): Promise<Matrix> {
  const lanes = await openLanes(laneCount, note);
  for (const { number } of lanes) await iptables('-D', firstGroup + number).catch(() => undefined); // of a run cut off
  const free = [...lanes];
  const limit = pLimit(laneCount);
  const refusals = new Map<string, Promise<string | undefined>>();
  /** What follows work that left something gets new machines. */
  const onLane = <T extends { readonly left: readonly string[] }>(work: (lane: Lane) => Promise<T>) =>
    limit(async () => {
      const lane = free.shift()!;
      const found = await work(lane);
      if (found.left.length > 0) {
        await lane.close();
        lanes[lane.number] = await openLane(lane.number, note);
      }
      free.push(lanes[lane.number]!);
      return found;
    });

  /** The run that follows: clean, or refused. */
  const cleanRun = async (lane: Lane, kind: FaultKind) => {
    const stateDir = await mkdtemp(join(tmpdir(), 'sf-matrix-'));
    try {
      const run = await lane.plan(kind, timings.killed);
      const ports = { ...lane.lab.ports, journal: await openRunJournal(stateDir) };
      return await runFault(run, ports, lane.lab.signal);
    } catch (error) {
      if (!(error instanceof RefusedError)) throw error;
      return { outcome: 'Refused', message: error.message } as const;
    } finally {
      await rm(stateDir, { recursive: true, force: true });
    }
  };
  /** Whether a run that is not struck is refused here, and why: asked once. */
  const refusalOf = (lane: Lane, kind: FaultKind) => {
    const asked =
      refusals.get(kind.name) ??
      cleanRun(lane, kind).then(async (result) => {
        const left = await lane.settled(settleMs);
        if (left.length > 0) throw new Error(`a clean run left: ${left.join('; ')}`);
        return refusal(result);
      });
    refusals.set(kind.name, asked);
    asked.catch(() => refusals.delete(kind.name)); // told to whoever waits; asked again by the next
    return asked;
  };

  const runCell = async (lane: Lane, kind: FaultKind, situation: Situation, stateDir: string) => {
    const { strike, blow } = situation;
    const dirty = await lane.settled(settleMs);
    if (dirty.length > 0) return { left: ['before it: not as in the beginning', ...dirty] };
    // A refused run is not held, and its inject tells: whoever is killed at another script learns of no refusal.
    const isDeaf = strike !== 'hold' && !(strike.script === 'inject.sh' && strike.when === 'after');
    let refused = isDeaf ? await refusalOf(lane, kind) : undefined;
    const problems: string[] = [];
    const run = await lane.plan(kind, timings[blow]);
    const signal = signals[blow];
    const options = { access: lane.lab.access, stateDir, scriptsDir, run, strike, signal };
    const controller = startController(options, firstGroup + lane.number);
    const isStruck = await controller.struck;
    if (isStruck) problems.push(...(await blows[blow]({ lane, run, controller })));
    else refused ??= refusal(controller.result());
    if (!isStruck && refused === undefined)
      problems.push(`it never came there: ${JSON.stringify(controller.result())}`);
    const journal = await openRunJournal(stateDir);
    if (signal !== 'SIGKILL' && (await journal.unfinished()).length > 0)
      problems.push('the run was not closed');
    const ports = { ...lane.lab.ports, journal };
    await healUnfinished(ports, lane.lab.signal);
    for (const { outcome, message } of await journal.runs())
      if (!outcome || !(isStruck ? closings[blow] : ['Refused']).includes(outcome))
        problems.push(`closed as ${outcome}: ${message}`);
    problems.push(...(await lane.settled(settleMs)));
    const next = await cleanRun(lane, kind);
    if (next.outcome !== (refused === undefined ? 'Healed' : 'Refused'))
      problems.push(`the next run ended ${next.outcome}: ${next.message}`);
    return { ...(refused !== undefined && { refused }), left: problems };
  };

  return {
    about: await aboutOf(lanes[0]!),
    run: (kind, situation) =>
      onLane(async (lane) => {
        const startedMs = Date.now();
        const stateDir = await mkdtemp(join(tmpdir(), 'sf-matrix-'));
        const found = await runCell(lane, kind, situation, stateDir).catch((error: unknown) =>
          error instanceof RefusedError ? { refused: error.message, left: [] } : { left: [String(error)] },
        );
        await rm(stateDir, { recursive: true, force: true });
        const key = { kind: kind.name, situation: situation.name };
        return { ...key, ok: found.left.length === 0, ...found, tookMs: Date.now() - startedMs };
      }),
    async close() {
      await Promise.all(lanes.map((lane) => lane.close()));
    },
  };
}

function refusal(result?: { readonly outcome: string; readonly message?: string }): string | undefined {
  return result?.outcome === 'Refused' ? (result.message ?? 'no reason') : undefined;
}

let scripts: ReturnType<typeof loadScripts> | undefined;

/** Changes with whatever of a cell is run on nodes: what was shown before says nothing of it any more. */
export async function versionOf(kind: FaultKind, situation: Situation): Promise<string> {
  scripts ??= loadScripts(scriptsDir);
  const { deadMan: textOf, mechanism } = await scripts;
  const deadMan = ['inject.sh', 'look.sh', 'heal.sh', 'disarm.sh'].map((name) => textOf(name));
  const parts = [mechanism(kind.mechanism), deadMan, await exampleOf(kind), situation];
  return createHash('sha256').update(JSON.stringify(parts)).digest('hex').slice(0, 12);
}

async function aboutOf({ lab }: Lane): Promise<string> {
  const asked = `. /etc/os-release
    echo "Docker $(docker version --format '{{.Server.Version}}'), Linux $(uname -r), $PRETTY_NAME," \
    "cgroup v$([ -e /sys/fs/cgroup/cgroup.controllers ] && echo 2 || echo 1)"`;
  return lab.on('node1', asked);
}
