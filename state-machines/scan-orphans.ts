import { ExecError, type NodeHandle } from '../provisioners/contract.ts';
import type { Scripts } from './load-scripts.ts';

/** Something of ours that is on a node: a run's directory, or a mark in force that may belong to none. */
export type Remnant =
  | {
      readonly kind: 'run';
      readonly node: string;
      readonly run: string;
      readonly state: 'armed' | 'injected' | 'healed';
      readonly target: string;
    }
  | { readonly kind: 'mark'; readonly node: string; readonly mechanism: string; readonly mark: string };

/** Lists what faults have left on a node, whoever made them, with or without a journal. */
export async function scanOrphans(
  node: NodeHandle,
  scripts: Scripts,
  signal: AbortSignal,
): Promise<readonly Remnant[]> {
  const stdout = await run(node, scripts.deadMan('scan.sh'), [], signal);
  return stdout
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => toRemnant(node.name, line.split(' ')));
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

async function run(
  node: NodeHandle,
  script: string,
  args: readonly string[],
  signal: AbortSignal,
): Promise<string> {
  const { code, stdout, stderr } = await node.exec(script, args, { lane: 'heal' }, signal);
  if (code !== 0) throw new ExecError(node.name, `ended with ${code}: ${stderr.trim()}`);
  return stdout;
}

function toRemnant(node: string, [kind, ...words]: readonly string[]): Remnant {
  if (kind === 'mark') return { kind, node, mechanism: words[0] ?? '', mark: words[1] ?? '' };
  const state = words[1] === 'armed' || words[1] === 'healed' ? words[1] : 'injected';
  return { kind: 'run', node, run: words[0] ?? '', state, target: words.slice(2).join(' ') };
}
