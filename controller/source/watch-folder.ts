import type { Clock } from '../../state-machines/contract.ts';
import { type FolderListing, listFolder } from './list-folder.ts';
import { type Hints, type OpenHints, openFileHints } from './watch-hints.ts';

/** The folder's content, or why it could not be listed. */
export type FolderLook = { readonly listing: FolderListing } | { readonly error: unknown };

/** What the one who looked asks for. */
export interface LookAgain {
  /** Look again after this time, if nothing hints at a change before. */
  readonly afterMs: number;
  /** Files outside the folder that matter too. */
  readonly alsoWatch: readonly string[];
}

export interface WatchFolderOptions {
  readonly root: string;
  readonly recursive: boolean;
  /** How long no hint may come before the folder is looked at. */
  readonly debounceMs: number;
  readonly clock: Clock;
  readonly onLook: (look: FolderLook) => Promise<LookAgain>;
  readonly onWatchError: (error: unknown) => void;
  readonly openHints?: OpenHints;
}

/** A burst of changes that never ends is looked at in its midst. */
const MAX_DEBOUNCES = 20;

/**
 * Looks at a folder at once, after every hint, and by time, until the signal aborts (then it resolves). Only what is
 * found there counts; hints make it fast, time makes it right.
 */
export async function watchFolder(options: WatchFolderOptions, signal: AbortSignal): Promise<void> {
  const watch = new FolderWatch(options);
  try {
    while (!signal.aborted) {
      const hintsBefore = watch.hints;
      const again = await watch.look();
      if (watch.hints === hintsBefore) await watch.pause(again.afterMs, signal);
      await watch.quiet(signal);
    }
  } catch (error) {
    if (!signal.aborted) throw error;
  } finally {
    await watch.close();
  }
}

/** Owns the watcher of the folder that is there now. */
class FolderWatch {
  /** How many hints have come. */
  hints = 0;
  readonly #options: WatchFolderOptions;
  #wake: () => void = () => {};
  #open: { readonly identity: string; readonly hints: Hints } | undefined;

  constructor(options: WatchFolderOptions) {
    this.#options = options;
  }

  async look(): Promise<LookAgain> {
    const { root, recursive, onLook } = this.#options;
    // Watched before it is listed, or a change between the two would be seen by neither.
    const before = await this.#list(root, recursive);
    const moved = 'listing' in before && before.listing.identity !== this.#open?.identity;
    if (moved) await this.#rewatch(before.listing);
    if ('error' in before) await this.close();
    const look = moved ? await this.#list(root, recursive) : before;
    const again = await onLook(look);
    this.#open?.hints.alsoWatch(again.alsoWatch);
    return again;
  }

  /** Until the time is over, a hint comes or the signal aborts. */
  async pause(ms: number, signal: AbortSignal): Promise<void> {
    const cut = new AbortController();
    const end = () => cut.abort();
    this.#wake = end;
    signal.addEventListener('abort', end, { once: true });
    try {
      if (!signal.aborted) await this.#options.clock.sleep(ms, cut.signal).catch(() => undefined);
    } finally {
      signal.removeEventListener('abort', end);
    }
  }

  /** Until no hint has come for a while. */
  async quiet(signal: AbortSignal): Promise<void> {
    for (let turn = 0; turn < MAX_DEBOUNCES && !signal.aborted; turn++) {
      const before = this.hints;
      await this.pause(this.#options.debounceMs, signal);
      if (this.hints === before) return;
    }
  }

  async close(): Promise<void> {
    const open = this.#open;
    this.#open = undefined;
    await open?.hints.close();
  }

  async #list(root: string, recursive: boolean): Promise<FolderLook> {
    try {
      return { listing: await listFolder(root, recursive) };
    } catch (error) {
      return { error };
    }
  }

  async #rewatch({ root, identity }: FolderListing): Promise<void> {
    await this.close();
    const { recursive, onWatchError, openHints = openFileHints } = this.#options;
    const onHint = () => {
      this.hints += 1;
      this.#wake();
    };
    this.#open = { identity, hints: openHints({ root, recursive, onHint, onError: onWatchError }) };
  }
}
