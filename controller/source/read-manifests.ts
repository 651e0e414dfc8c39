import { stat } from 'node:fs/promises';
import type { Clock } from '../../state-machines/contract.ts';
import { listFolder } from './list-folder.ts';
import { fileProblem, type LoadManifest } from './load-manifest.ts';
import type { StoreListing } from './resource-store.ts';

/** One look at the files and folders that a command line names, for the verbs with `-f`. */
export async function readManifests(
  named: readonly string[],
  {
    load,
    recursive,
    clock,
  }: { readonly load: LoadManifest; readonly recursive: boolean; readonly clock: Clock },
  signal: AbortSignal,
): Promise<StoreListing> {
  const found = await Promise.all(named.map((path) => manifestsAt(path, recursive)));
  const paths = [...new Set(found.flat())];
  const files = await Promise.all(paths.map((path) => load(path, signal)));
  const empty = named.filter((_, index) => found[index]!.length === 0);
  const problems = empty.map((path) => fileProblem(path, 'no *.yaml or *.yml file in this folder'));
  return { atMs: clock.now(), complete: true, files, problems };
}

/** A path that cannot be looked at is left to the loader, which says why. */
async function manifestsAt(path: string, recursive: boolean): Promise<readonly string[]> {
  const isFolder = await stat(path).then(
    (found) => found.isDirectory(),
    () => false,
  );
  return isFolder ? (await listFolder(path, recursive)).paths : [path];
}
