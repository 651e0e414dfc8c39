import { type SpawnSyncReturns, spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, rename, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { gatherPackageFacts, whyNoPackages } from '../../provisioners/shared/install-packages.ts';
import { CommandError, runCommand } from '../../provisioners/shared/run-command.ts';
import { packageRoot } from './examples.ts';

/** Runs promtool with these arguments to its end. */
export type Promtool = (args: readonly string[], input?: string) => SpawnSyncReturns<string>;

/**
 * This machine's promtool, or Debian's, unpacked into the cache: the package itself would start a server. Resolves to the
 * reason when there is none and none can be had here.
 */
export async function findPromtool(signal: AbortSignal): Promise<Promtool | { readonly missing: string }> {
  if (spawnSync('promtool', ['--version']).status === 0) return runner('promtool');
  const cached = join(packageRoot, '.cache', 'promtool');
  if (!existsSync(cached)) {
    const missing = whyNoPackages(['promtool'], await gatherPackageFacts());
    if (missing !== null) return { missing };
    await unpack(cached, signal);
  }
  return runner(cached);
}

function runner(file: string): Promtool {
  return (args, input = '') => spawnSync(file, args, { input, encoding: 'utf8' });
}

/** Takes the one program out of the package. */
const unpackHere =
  'dpkg-deb --fsys-tarfile prometheus_*.deb | tar -xf - --strip-components=3 ./usr/bin/promtool';

async function unpack(file: string, signal: AbortSignal): Promise<void> {
  await mkdir(dirname(file), { recursive: true });
  const cwd = await mkdtemp(`${file}-`);
  const run = (command: string, ...args: readonly string[]) => runCommand(command, args, { cwd }, signal);
  try {
    await run('apt-get', 'download', 'prometheus').catch(async (error: unknown) => {
      if (!(error instanceof CommandError)) throw error;
      await run('apt-get', '--quiet', 'update'); // the list that it has may be too old, or none
      await run('apt-get', 'download', 'prometheus');
    });
    await run('sh', '-c', unpackHere);
    await rename(join(cwd, 'promtool'), file);
  } finally {
    await rm(cwd, { recursive: true, force: true });
  }
}
