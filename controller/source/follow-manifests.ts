import { formatProblem, type Problem } from '../../crds/problem.ts';
import type { Clock } from '../../state-machines/contract.ts';
import { fileProblem, type LoadManifest } from './load-manifest.ts';
import type { ResourceStore, StoreListing } from './resource-store.ts';
import { type FolderLook, type LookAgain, watchFolder } from './watch-folder.ts';
import type { OpenHints } from './watch-hints.ts';

export interface FollowOptions {
  readonly root: string;
  readonly recursive: boolean;
  readonly load: LoadManifest;
  readonly store: ResourceStore;
  readonly clock: Clock;
  /** Gets everything that is wrong, whenever that changes; empty when all is well again. */
  readonly onProblems: (problems: readonly Problem[]) => void;
  readonly onWatchError: (error: unknown) => void;
  readonly openHints?: OpenHints;
}

/** Long enough for an editor to finish, short enough not to be felt. */
const DEBOUNCE_MS = 40;
/** A file younger than this is read again later; a little less than the debounce, which has passed by then. */
export const SETTLE_MS = 30;
/** Between two absences that make a deletion. */
export const CONFIRM_MS = 1000;
const RELIST_MS = 5000;

/** Keeps the store as the folder says, until the signal aborts: the source end of the line from an edit to the world. */
export async function followManifests(options: FollowOptions, signal: AbortSignal): Promise<void> {
  const { root, recursive, store, clock, onWatchError, openHints } = options;
  const report = onlyChanges(options.onProblems);
  const onLook = async (look: FolderLook): Promise<LookAgain> => {
    store.update(await readListing(look, options, signal));
    report(store.problems());
    const soon = store.hasUnconfirmed || 'error' in look;
    return { afterMs: soon ? CONFIRM_MS : RELIST_MS, alsoWatch: store.inputs() };
  };
  const watchOptions = { root, recursive, debounceMs: DEBOUNCE_MS, clock, onLook, onWatchError };
  await watchFolder({ ...watchOptions, ...(openHints && { openHints }) }, signal);
}

async function readListing(
  look: FolderLook,
  options: FollowOptions,
  signal: AbortSignal,
): Promise<StoreListing> {
  const atMs = options.clock.now();
  if ('error' in look) {
    const code = (look.error as NodeJS.ErrnoException).code;
    const reason =
      code === 'ENOENT' ? 'there is no such folder' : `cannot be listed (${code ?? String(look.error)})`;
    return {
      atMs,
      complete: false,
      files: [],
      problems: [fileProblem(options.root, `${reason}: all stays as it was`)],
    };
  }
  const files = await Promise.all(look.listing.paths.map((path) => options.load(path, signal)));
  return { atMs, complete: true, files, problems: [] };
}

function onlyChanges(report: (problems: readonly Problem[]) => void): (problems: readonly Problem[]) => void {
  let before = '';
  return (problems) => {
    const now = problems.map(formatProblem).join('\n');
    if (now !== before) report(problems);
    before = now;
  };
}
