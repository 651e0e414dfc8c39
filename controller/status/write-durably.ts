import { mkdir, open, rename, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { stateWriteError } from './state-error.ts';

/**
 * Replaces a file so that at any moment, power loss included, it holds either the old text or the new: temporary file,
 * fsync, rename, fsync of the folder. Resolves when the new text is on the disk. One caller per path at a time.
 * Rejects with StateError; the old text is then untouched.
 */
export async function writeDurably(path: string, text: string): Promise<void> {
  const temporary = temporaryPath(path);
  try {
    await mkdir(dirname(path), { recursive: true });
    await writeSynced(temporary, text);
    await rename(temporary, path);
    await syncFolder(dirname(path));
  } catch (cause) {
    await rm(temporary, { force: true }).catch(() => {}); // the next write overwrites it; the first error matters
    throw stateWriteError(path, cause);
  }
}

/** Where the text waits before the rename: a fixed name, so that what a crash leaves is overwritten, not piled up. */
export function temporaryPath(path: string): string {
  return `${path}.tmp`;
}

/** Makes a new, renamed or removed name in `folder` survive power loss. */
export async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

async function writeSynced(path: string, text: string): Promise<void> {
  const handle = await open(path, 'w');
  try {
    await handle.writeFile(text);
    await handle.sync();
  } finally {
    await handle.close();
  }
}
