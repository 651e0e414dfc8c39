import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, rename, rm } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { gatherPackageFacts, whyNoPackages } from '../../provisioners/shared/install-packages.ts';
import { CommandError, runCommand } from '../../provisioners/shared/run-command.ts';
import { packageRoot } from './examples.ts';

/** A program, and the variables that it needs to find its libraries. */
export interface DebianTool {
  readonly file: string;
  readonly environment: Readonly<Record<string, string>>;
}

/**
 * This machine's program, or Debian's, unpacked into the cache: installed, its package would start a server. `path` is
 * where the first of the packages has it. Resolves to the reason when there is none and none can be had here.
 */
export async function findTool(
  path: string,
  packages: readonly string[],
  signal: AbortSignal,
): Promise<DebianTool | { readonly missing: string }> {
  const name = basename(path);
  const here = spawnSync('sh', ['-c', `PATH=$PATH:${dirname(path)} command -v ${name}`], {
    encoding: 'utf8',
  });
  if (here.status === 0) return { file: here.stdout.trim(), environment: {} };
  const cached = join(packageRoot, '.cache', 'debian', name);
  if (!existsSync(cached)) {
    const missing = whyNoPackages([name], await gatherPackageFacts());
    if (missing !== null) return { missing };
    try {
      await unpack(cached, packages, signal);
    } catch (error) {
      if (error instanceof CommandError) return { missing: `${name} cannot be had here: ${error.message}` };
      throw error;
    }
  }
  const lib = join(cached, 'usr', 'lib');
  const folders = (await readdir(lib).catch(() => [])).map((folder) => join(lib, folder));
  return { file: join(cached, path), environment: { LD_LIBRARY_PATH: folders.join(':') } };
}

async function unpack(folder: string, packages: readonly string[], signal: AbortSignal): Promise<void> {
  await mkdir(dirname(folder), { recursive: true });
  const cwd = await mkdtemp(`${folder}-`);
  const run = (command: string, ...args: readonly string[]) => runCommand(command, args, { cwd }, signal);
  try {
    await run('apt-get', 'download', ...packages).catch(async (error: unknown) => {
      if (!(error instanceof CommandError)) throw error;
      await run('apt-get', '--quiet', 'update'); // the list that it has may be too old, or none
      await run('apt-get', 'download', ...packages);
    });
    await run('sh', '-c', 'for each in *.deb; do dpkg-deb --extract "$each" files; done');
    await rename(join(cwd, 'files'), folder);
  } finally {
    await rm(cwd, { recursive: true, force: true });
  }
}
