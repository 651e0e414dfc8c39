import { open, readFile, rename } from 'node:fs/promises';
import { dirname } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { isDeepStrictEqual } from 'node:util';
import type { Ledger } from '../records/ledger.ts';
import type { Catalogue } from '../records/record.ts';
import type { Schedule } from '../records/schedule.ts';

/** What a generator knows of itself and cannot read from the topic: what was acknowledged, and how its schedule began. */
export interface KeptLedger {
  readonly catalogue: Catalogue;
  readonly schedule: Schedule;
  readonly partitions: readonly { readonly partition: number; readonly ledger: Ledger }[];
}

const keepEveryMs = 1_000;

/** Null when there is no file; rejects when there is one that nobody wrote whole. */
export async function readLedger(path: string): Promise<KeptLedger | null> {
  try {
    return JSON.parse(await readFile(path, 'utf8')) as KeptLedger;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw error;
  }
}

/** Replaces the file as a whole, and resolves when it is on the disk: after a loss of power it is the old or the new. */
export async function writeLedger(path: string, kept: KeptLedger): Promise<void> {
  const temporary = `${path}.new`;
  await synced(temporary, 'w', JSON.stringify(kept));
  await rename(temporary, path);
  await synced(dirname(path), 'r');
}

/**
 * Keeps the ledger until the signal, and once after it: at most every second, and only when it has changed. So what is
 * acknowledged in the last second before a crash is not known to have been.
 */
export async function keepLedger(
  path: string,
  { now, onTrouble }: { now: () => KeptLedger; onTrouble: (error: unknown) => void },
  signal: AbortSignal,
): Promise<void> {
  let before: KeptLedger | null = null;
  for (let last = false; !last; ) {
    last = signal.aborted;
    const kept = now();
    try {
      if (!isDeepStrictEqual(kept, before)) await writeLedger(path, kept);
      before = kept;
    } catch (error) {
      onTrouble(error);
    }
    if (!last) await sleep(keepEveryMs, undefined, { signal }).catch(() => {});
  }
}

async function synced(path: string, flags: 'w' | 'r', text?: string): Promise<void> {
  const file = await open(path, flags);
  try {
    if (text !== undefined) await file.writeFile(text);
    await file.sync();
  } finally {
    await file.close();
  }
}
