import { readdir, realpath, stat } from 'node:fs/promises';
import { join } from 'node:path';

/** What a folder held at one moment. */
export interface FolderListing {
  /** The folder itself, symlinks resolved, with its identity: another one means that it was replaced. */
  readonly root: string;
  readonly identity: string;
  /** Manifest files, sorted, by the path through the folder as it was named. */
  readonly paths: readonly string[];
}

/** A file that is meant as a manifest: YAML, and not an editor's or a tool's own. */
const MANIFEST = /^[^.].*\.ya?ml$/;

/** Lists the manifests directly in `root`, or also below it; rejects when any part of it could not be read. */
export async function listFolder(root: string, recursive: boolean): Promise<FolderListing> {
  const real = await realpath(root);
  const { dev, ino } = await stat(real);
  const paths = await manifestsIn(root, recursive);
  return { root: real, identity: `${real}:${dev}:${ino}`, paths: paths.sort() };
}

async function manifestsIn(folder: string, recursive: boolean): Promise<string[]> {
  const entries = await readdir(folder, { withFileTypes: true });
  const found = entries.map(async (entry) => {
    const path = join(folder, entry.name);
    if (entry.name.startsWith('.')) return [];
    if (entry.isDirectory()) return recursive ? manifestsIn(path, recursive) : [];
    return MANIFEST.test(entry.name) ? [path] : [];
  });
  return (await Promise.all(found)).flat();
}
