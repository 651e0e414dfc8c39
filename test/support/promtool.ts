import { type SpawnSyncReturns, spawnSync } from 'node:child_process';
import { findTool } from './debian-tool.ts';

/** Runs promtool with these arguments to its end. */
export type Promtool = (args: readonly string[], input?: string) => SpawnSyncReturns<string>;

/** Resolves to the reason when there is none and none can be had here. */
export async function findPromtool(signal: AbortSignal): Promise<Promtool | { readonly missing: string }> {
  const found = await findTool('/usr/bin/promtool', ['prometheus'], signal);
  if ('missing' in found) return found;
  return (args, input = '') => spawnSync(found.file, args, { input, encoding: 'utf8' });
}
