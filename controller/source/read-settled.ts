import { open } from 'node:fs/promises';
import type { Clock } from '../../state-machines/contract.ts';

/** Reads a whole text file; rejects with the system's error, or with one that says what is wrong with the content. */
export type ReadText = (path: string, signal: AbortSignal) => Promise<string>;

const MAX_BYTES = 1 << 20;
const MAX_TRIES = 40;

/**
 * A reader that waits until a file has not been written for `settleMs`: half a manifest can be a valid one with
 * fewer nodes, and acting on it would destroy machines. A file that never rests is an error.
 */
export function settledReader(settleMs: number, clock: Clock): ReadText {
  return async (path, signal) => {
    for (let attempt = 0; attempt < MAX_TRIES; attempt++) {
      const { text, ageMs } = await readWithAge(path, clock);
      if (text !== undefined && !(ageMs >= 0 && ageMs < settleMs)) return text;
      await clock.sleep(Math.max(settleMs - Math.max(ageMs, 0), 1), signal);
    }
    throw new Error('is still being written');
  };
}

/** No text when the file changed while it was read. A time stamp from the future (another machine's clock) is no age. */
async function readWithAge(path: string, clock: Clock): Promise<{ text?: string; ageMs: number }> {
  const file = await open(path);
  try {
    const before = await file.stat();
    if (!before.isFile()) throw new Error('is not a file');
    if (before.size > MAX_BYTES)
      throw new Error(`has ${before.size} bytes, more than the ${MAX_BYTES} of a manifest`);
    const bytes = await file.readFile();
    const after = await file.stat();
    const ageMs = clock.now() - after.mtimeMs;
    const changed = before.mtimeMs !== after.mtimeMs || bytes.length !== after.size;
    return changed ? { ageMs } : { text: decoded(bytes), ageMs };
  } finally {
    await file.close();
  }
}

function decoded(bytes: Uint8Array): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch (cause) {
    throw new Error('is not UTF-8 text', { cause });
  }
}
