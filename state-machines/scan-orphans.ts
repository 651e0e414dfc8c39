import { ExecError, type ExecResult, type NodeHandle } from '../provisioners/contract.ts';
import type { Scripts } from './load-scripts.ts';

/** Something of ours that is on a node: a run's directory, or a mark in force that may belong to none. */
export type Remnant =
  | {
      readonly kind: 'run';
      readonly node: string;
      readonly run: string;
      readonly state: 'armed' | 'injected' | 'healed';
      /** `pending`: the node's own switch will fire. `arming`: somebody arms it now, or died while doing so. */
      readonly life: 'arming' | 'pending' | 'over';
      readonly target: string;
    }
  | {
      /** `unlisted`: which marks there are could not be told, and why. */
      readonly kind: 'mark' | 'unlisted';
      readonly node: string;
      readonly mechanism: string;
      readonly mark: string;
    };

/** Lists what faults have left on a node, whoever made them, with or without a journal. */
export async function scanOrphans(
  node: NodeHandle,
  scripts: Scripts,
  signal: AbortSignal,
): Promise<readonly Remnant[]> {
  const { stdout, stderr } = await run(node, scripts.deadMan('scan.sh'), [], signal);
  return stdout
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => toRemnant(node.name, line.split(' '), stderr.trim()));
}

/** From here on the node takes nothing of an operator with an older term; what such a one has armed is an orphan. */
export async function fenceNode(
  node: NodeHandle,
  scripts: Scripts,
  mandate: string,
  signal: AbortSignal,
): Promise<void> {
  const { stdout } = await run(node, scripts.deadMan('fence.sh'), [mandate], signal);
  if (stdout.startsWith('refused')) throw new ExecError(node.name, stdout.trim());
}

/** Undoes everything of ours on a node, journal or not; resolves with what is still there afterwards. */
export async function healNode(
  node: NodeHandle,
  scripts: Scripts,
  signal: AbortSignal,
): Promise<readonly Remnant[]> {
  await run(node, scripts.deadMan('heal-all.sh'), [], signal);
  const runs = (await scanOrphans(node, scripts, signal)).filter((remnant) => remnant.kind === 'run');
  for (const { state, run: name } of runs) {
    // Without its directory a late inject is refused as well.
    if (state === 'healed') await run(node, scripts.deadMan('disarm.sh'), [name], signal);
  }
  return scanOrphans(node, scripts, signal);
}

/** What is known of a run: in progress or to be healed by its journal, ended, or somebody else's. */
export type Standing = 'ours' | 'closed' | 'unknown';

export interface OrphanPorts {
  readonly scripts: Scripts;
  /** Asked after the scan: a run that was armed meanwhile is known by then. */
  readonly standings: () => Promise<(runId: string) => Standing>;
  /** Runs that were being armed at the last look: one that still is has been left half-way. */
  readonly armedBefore: ReadonlySet<string>;
}

/** What a look at one node came to. */
export interface OrphanReport {
  readonly healed: readonly Remnant[];
  /** In force or about to be, and healed by no run of this process. */
  readonly left: readonly Remnant[];
  readonly arming: readonly string[];
}

/**
 * Heals what is on a node and belongs to no run in progress: what a closed run left, what nobody knows and nobody will
 * heal, marks without a run. Somebody else's run is left to its own switch as long as that is armed, but counts. Only what
 * is so at two looks is healed: a run that begins or ends while it is looked at is in one of them.
 */
export async function healOrphans(
  node: NodeHandle,
  ports: OrphanPorts,
  signal: AbortSignal,
): Promise<OrphanReport> {
  const { scripts } = ports;
  const first = await lookForOrphans(node, ports, signal);
  const second = first.hasWork ? await lookForOrphans(node, ports, signal) : first;
  const { found, kept, standingOf } = second;
  const wasThere = (remnant: Remnant) => first.found.some((before) => mayBe(remnant, before));
  const orphans = second.orphans.filter(({ run: name }) => first.orphans.some((each) => each.run === name));
  for (const { run: name, state } of orphans) await letGo(node, name, state, scripts, signal);
  const afterRuns = orphans.length > 0 ? await scanOrphans(node, scripts, signal) : found;
  // As long as a run is in force here its marks are its own; those of the ones just healed are gone with them.
  const marks = kept.length > 0 ? [] : afterRuns.filter((each) => each.kind === 'mark' && wasThere(each));
  if (marks.length > 0) await run(node, scripts.deadMan('sweep.sh'), [], signal).catch(ignoreFailure);
  const now = marks.length > 0 ? await scanOrphans(node, scripts, signal) : afterRuns;
  const isGone = (before: Remnant) => !now.some((still) => mayBe(still, before));
  const isLeft = (remnant: Remnant) =>
    remnant.kind === 'run'
      ? remnant.state !== 'healed' && standingOf(runIdOf(remnant.run)) !== 'ours' && remnant.life !== 'arming'
      : kept.length === 0;
  return {
    healed: [...orphans, ...marks].filter(isGone),
    left: now.filter(isLeft),
    arming: kept.filter(({ life }) => life === 'arming').map(({ run: name }) => name),
  };
}

type FoundRun = Extract<Remnant, { kind: 'run' }>;

/** What is on a node, and what of it is nobody's. */
async function lookForOrphans(
  node: NodeHandle,
  { scripts, standings, armedBefore }: OrphanPorts,
  signal: AbortSignal,
) {
  const found = await scanOrphans(node, scripts, signal);
  const standingOf: (runId: string) => Standing = found.length > 0 ? await standings() : () => 'unknown';
  const runs = found.flatMap((remnant): FoundRun[] => (remnant.kind === 'run' ? [remnant] : []));
  const kept = runs.filter(({ run: name, life }) => {
    const standing = standingOf(runIdOf(name));
    if (standing === 'ours') return true;
    if (life === 'arming') return !armedBefore.has(name);
    return standing === 'unknown' && life === 'pending';
  });
  const orphans = runs.filter((each) => !kept.includes(each));
  const hasWork = orphans.length > 0 || (kept.length === 0 && found.some(({ kind }) => kind === 'mark'));
  return { found, kept, orphans, standingOf, hasWork };
}

/** A run that is healed is not healed again: what it saved may be older than a later run's change. */
async function letGo(
  node: NodeHandle,
  name: string,
  state: 'armed' | 'injected' | 'healed',
  scripts: Scripts,
  signal: AbortSignal,
): Promise<void> {
  const call = (script: string) => run(node, scripts.deadMan(script), [name], signal);
  try {
    if (state !== 'healed') await call('heal.sh');
    await call('disarm.sh');
  } catch (error) {
    ignoreFailure(error);
  }
}

/** A script that failed shows in what the next scan finds; a node that is out of reach is the caller's. */
function ignoreFailure(error: unknown): void {
  if (!(error instanceof ScriptFailed)) throw error;
}

/** `<runId>.<n>`, as a run's directory is called. */
export function runIdOf(name: string): string {
  return name.replace(/\.\d+$/, '');
}

/** Where marks cannot be told, any that was there before may still be. */
function mayBe(still: Remnant, before: Remnant): boolean {
  if (still.kind === 'run') return before.kind === 'run' && still.run === before.run;
  if (before.kind === 'run' || still.mechanism !== before.mechanism) return false;
  return still.kind === 'unlisted' || still.mark === before.mark;
}

/** The node answered: its script did not do what it should. */
class ScriptFailed extends ExecError {}

async function run(
  node: NodeHandle,
  script: string,
  args: readonly string[],
  signal: AbortSignal,
): Promise<ExecResult> {
  const result = await node.exec(script, args, { lane: 'heal' }, signal);
  if (result.code !== 0)
    throw new ScriptFailed(node.name, `ended with ${result.code}: ${result.stderr.trim()}`);
  return result;
}

function toRemnant(node: string, [kind, ...words]: readonly string[], why: string): Remnant {
  if (kind === 'mark') return { kind, node, mechanism: words[0] ?? '', mark: words[1] ?? '' };
  if (kind === 'unlisted') return { kind, node, mechanism: words[0] ?? '', mark: `not listed: ${why}` };
  const state = words[1] === 'armed' || words[1] === 'healed' ? words[1] : 'injected';
  const life = words[2] === 'arming' || words[2] === 'pending' ? words[2] : 'over';
  return { kind: 'run', node, run: words[0] ?? '', state, life, target: words.slice(3).join(' ') };
}
