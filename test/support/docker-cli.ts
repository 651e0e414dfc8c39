import { spawnSync } from 'node:child_process';
import { cp, mkdir, mkdtemp, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { CommandError, runCommand } from '../../provisioners/shared/run-command.ts';
import { packageRoot } from './examples.ts';

/** Older ones do not know version 3.13 of the schema. */
const oldest = 28;
const pinned = '28.5.2';

/**
 * The path of a docker CLI with `stack deploy` as it is today: this machine's, or the pinned one, built by Go into the cache. Rejects
 * where there is neither: a comparison that did not happen must not look like one that found nothing.
 */
export async function findDockerCli(signal: AbortSignal): Promise<string> {
  const cached = join(packageRoot, '.cache', `docker-cli-${pinned}`);
  const onPath = spawnSync('sh', ['-c', 'command -v docker'], { encoding: 'utf8' }).stdout.trim();
  const found = [onPath, cached].find((file) => file !== '' && majorVersion(file) >= oldest);
  if (found !== undefined) return found;
  await build(cached, signal);
  return cached;
}

function majorVersion(file: string): number {
  const { stdout } = spawnSync(file, ['--version'], { encoding: 'utf8' });
  return Number(/version (\d+)/.exec(stdout ?? '')?.[1] ?? 0);
}

async function build(file: string, signal: AbortSignal): Promise<void> {
  await mkdir(join(packageRoot, '.cache'), { recursive: true });
  const cwd = await mkdtemp(`${file}-`);
  const go = (...args: readonly string[]) =>
    runCommand('env', ['CGO_ENABLED=0', 'go', ...args], { cwd }, signal);
  try {
    const module = `github.com/docker/cli@v${pinned}+incompatible`;
    const { Dir } = JSON.parse(await go('mod', 'download', '-json', module)) as { Dir: string };
    await cp(Dir, cwd, { recursive: true });
    await runCommand('chmod', ['-R', 'u+w', cwd], {}, signal);
    // It is a module in all but the name of this file; what it vendors does not come with a module.
    await writeFile(join(cwd, 'go.mod'), await readFile(join(cwd, 'vendor.mod')));
    await writeFile(join(cwd, 'go.sum'), await readFile(join(cwd, 'vendor.sum')));
    await rm(join(cwd, 'vendor'), { recursive: true });
    const version = `-X github.com/docker/cli/cli/version.Version=${pinned}`;
    await go('build', '-trimpath', '-ldflags', `-w ${version}`, '-o', 'docker', './cmd/docker');
    await rename(join(cwd, 'docker'), file);
  } catch (error) {
    if (!(error instanceof CommandError)) throw error;
    const advice = `install docker-ce-cli ${oldest} or newer, or Go 1.23 or newer`;
    throw new Error(`stack files cannot be compared without a docker CLI of today: ${advice}`, {
      cause: error,
    });
  } finally {
    await rm(cwd, { recursive: true, force: true });
  }
}
