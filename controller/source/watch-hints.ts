import { relative, sep } from 'node:path';
import { watch } from 'chokidar';

/** Something that calls back when files may have changed. It may miss changes and invent some: a look decides. */
export interface Hints {
  /** Watches these files too, and no others beside the folder any more. */
  alsoWatch(paths: readonly string[]): void;
  close(): Promise<void>;
}

/** What is watched, and who is told. */
interface HintOptions {
  readonly root: string;
  readonly recursive: boolean;
  readonly onHint: () => void;
  /** The watcher failed, for instance for want of inotify watches: looks go on by time alone. */
  readonly onError: (error: unknown) => void;
}

export type OpenHints = (options: HintOptions) => Hints;

/** Hints from inotify. No `awaitWriteFinish` and no folding of renames: whoever gets the hint waits for a quiet moment. */
export const openFileHints: OpenHints = ({ root, recursive, onHint, onError }) => {
  const watcher = watch(root, {
    ignoreInitial: true,
    atomic: false,
    ignored: (path) => isHidden(relative(root, path)),
    ...(recursive ? {} : { depth: 0 }),
  });
  watcher.on('all', onHint);
  // What changed while the watcher was setting itself up went unseen.
  watcher.on('ready', onHint);
  watcher.on('error', onError);
  let beside: ReadonlySet<string> = new Set();
  return {
    alsoWatch(paths) {
      const next = new Set(paths);
      const gone = [...beside].filter((path) => !next.has(path));
      const fresh = paths.filter((path) => !beside.has(path));
      if (gone.length > 0) watcher.unwatch(gone);
      if (fresh.length > 0) watcher.add(fresh);
      beside = next;
    },
    close: () => watcher.close(),
  };
};

/** Dot files and folders below the root, such as .git and our own state; what lies outside was asked for by name. */
function isHidden(path: string): boolean {
  return !path.startsWith('..') && path.split(sep).some((part) => part.startsWith('.'));
}
