import { rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { writeDurably } from './write-durably.ts';

/** Enough for a few statuses of a large cluster. */
const BYTES = 256 * 1024;

/** Space of the state directory that is set aside, so that a full disk can still be told in a status. */
export class Reserve {
  readonly #path: string;
  #isThere = false;

  constructor(stateDir: string) {
    this.#path = join(stateDir, 'reserve');
  }

  /** Makes sure that it is there; rejects with StateError. Whatever is saved waits for it, or would use it up unseen. */
  async keep(): Promise<void> {
    if (this.#isThere) return;
    const size = await stat(this.#path).then(
      (found) => found.size,
      () => 0,
    );
    if (size !== BYTES) await writeDurably(this.#path, '\n'.repeat(BYTES));
    this.#isThere = true;
  }

  /** Gives it to whoever has to tell that the disk is full. */
  async spend(): Promise<void> {
    this.#isThere = false;
    await rm(this.#path, { force: true });
  }
}
