import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Git } from './git-command.ts';
import { SourceError } from './source-error.ts';

export interface Results {
  readonly git: Git;
  readonly url: string;
  readonly branch: string;
  /** For files on their way into the repository. */
  readonly folder: string;
  /** Text by path in the branch; what else is there stays. */
  readonly files: ReadonlyMap<string, string>;
  readonly message: string;
}

/** Somebody else may push at the same time, again and again. */
const mostTries = 5;
const resultsRef = 'refs/spark-failures/results';

/** Adds a commit with these files to a branch, without force; none when the branch has them already. True: pushed. */
export async function pushResults(results: Results, signal: AbortSignal): Promise<boolean> {
  await mkdir(results.folder, { recursive: true });
  for (let attempt = 1; ; attempt++) {
    const commit = await commitOnTop(results, signal);
    if (commit === undefined) return false;
    try {
      const { git, url, branch } = results;
      await git(['push', '--quiet', '--', url, `${commit}:refs/heads/${branch}`], signal);
      return true;
    } catch (error) {
      const isOvertaken =
        error instanceof SourceError && /fetch first|non-fast-forward|rejected/.test(error.message);
      if (!isOvertaken || attempt === mostTries) throw error;
    }
  }
}

async function commitOnTop(results: Results, signal: AbortSignal): Promise<string | undefined> {
  const { git, folder, files, message } = results;
  const parent = await fetchTip(results, signal);
  const index = { GIT_INDEX_FILE: join(folder, 'index') };
  await git(['read-tree', parent ?? '--empty'], signal, index);
  for (const [path, text] of files) {
    const file = join(folder, 'file');
    await writeFile(file, text);
    const blob = (await git(['hash-object', '-w', '--no-filters', '--', file], signal)).trim();
    await git(['update-index', '--add', '--cacheinfo', `100644,${blob},${path}`], signal, index);
  }
  const tree = (await git(['write-tree'], signal, index)).trim();
  if (parent !== undefined && (await git(['rev-parse', `${parent}^{tree}`], signal)).trim() === tree)
    return undefined;
  const parents = parent === undefined ? [] : ['-p', parent];
  return (await git(['commit-tree', tree, ...parents, '-m', message], signal)).trim();
}

/** Undefined when there is no such branch yet. */
async function fetchTip({ git, url, branch }: Results, signal: AbortSignal): Promise<string | undefined> {
  const ref = `refs/heads/${branch}`;
  if ((await git(['ls-remote', '--', url, ref], signal)).trim() === '') return undefined;
  await git(
    ['fetch', '--quiet', '--no-tags', '--force', '--depth=1', '--', url, `+${ref}:${resultsRef}`],
    signal,
  );
  return (await git(['rev-parse', '--verify', resultsRef], signal)).trim();
}
