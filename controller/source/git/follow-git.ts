import { realpath } from 'node:fs/promises';
import { join, relative, resolve, sep } from 'node:path';
import { formatProblem, type Problem } from '../../../crds/problem.ts';
import type { Clock } from '../../../state-machines/contract.ts';
import { listFolder } from '../list-folder.ts';
import {
  fileProblem,
  type LoadedDocument,
  type LoadedFile,
  type LoadManifest,
  problemAt,
} from '../load-manifest.ts';
import type { ResourceStore } from '../resource-store.ts';
import { asSourceError, type Commit, type GitRepository } from './git-repository.ts';
import type { Nudge } from './nudge.ts';
import { SourceError } from './source-error.ts';

export interface FollowGitOptions {
  readonly repository: GitRepository;
  /** Of the repository, without what could be secret in it. */
  readonly name: string;
  /** Folder of manifests in the repository. */
  readonly path: string;
  readonly recursive: boolean;
  readonly intervalMs: number;
  readonly nudge: Nudge;
  readonly load: LoadManifest;
  readonly store: ResourceStore;
  readonly clock: Clock;
  /** Our own compose files, which a manifest may come to name, too. */
  readonly composeDir: string;
  /** In [0, 1). */
  readonly random: () => number;
  readonly onProblems: (problems: readonly Problem[]) => void;
  readonly onCommit: (commit: Commit, isRewritten: boolean) => void;
}

const firstRetryMs = 1_000;

/**
 * Keeps the store as the newest commit says, until the signal aborts. A commit is taken as a whole or not at all; whatever
 * is wrong with repository or commit is told, and what was in force stays so.
 */
export async function followGit(options: FollowGitOptions, signal: AbortSignal): Promise<void> {
  const { repository, intervalMs, nudge, clock, random } = options;
  let judged: string | undefined;
  let failures = 0;
  const attempt = async (work: () => Promise<void>): Promise<void> => {
    try {
      await work();
      failures = 0;
    } catch (error) {
      signal.throwIfAborted();
      failures++;
      tell(options, asSourceError(error));
    }
  };
  await attempt(async () => {
    const commit = await repository.restore(signal);
    if (commit) await show(options, commit, signal);
  });
  while (!signal.aborted) {
    await attempt(async () => {
      const head = await repository.head(signal);
      if (head === judged && failures === 0) return;
      try {
        const { commit, isRewritten } = await repository.take(signal);
        options.onCommit(commit, isRewritten);
        await show(options, commit, signal);
      } catch (error) {
        // The verdict on a commit stands; everything else is tried again.
        if (!(error instanceof SourceError) || error.revision === undefined) throw error;
        tell(options, error);
      }
      judged = head;
    });
    // Several operators must not ask in step; soon after a failure, then ever later.
    const waitMs = failures === 0 ? intervalMs : Math.min(intervalMs, firstRetryMs * 2 ** (failures - 1));
    await nudge.sleep(waitMs * (0.95 + 0.1 * random()), clock, signal);
  }
}

/** Hands all files of a commit to the store at once: what it lacks is gone, for nobody writes half a commit. */
async function show(options: FollowGitOptions, commit: Commit, signal: AbortSignal): Promise<void> {
  const { repository, path, recursive, load, store, clock, composeDir } = options;
  const { revision, message, author } = commit;
  const root = repository.tree;
  const listing = await listFolder(join(root, path), recursive).catch((cause: unknown) => {
    throw new SourceError('CommitRefused', `${revision} has no folder ${path}`, { revision, cause });
  });
  if (listing.paths.length === 0)
    throw new SourceError('CommitRefused', `${revision} has no manifest in ${path}`, { revision });
  const allowed = await Promise.all([realpath(root), realpath(composeDir)]);
  const files = await Promise.all(
    listing.paths.map(async (file) => {
      const loaded = await load(file, signal);
      return asInRepository(await withoutForeignFiles(loaded, allowed), root);
    }),
  );
  store.update({
    ...{ atMs: clock.now(), complete: true, files, problems: [] },
    source: { commit: { revision, message, author } },
  });
  options.onProblems(store.problems());
  // A resource whose newest text is bad still names files of the commit that it was good in.
  const named = JSON.stringify(store.list().map(({ resource }) => resource));
  await repository.keep(commit, (tree) => named.includes(tree), signal);
}

/** Nothing is lost from sight by a trouble of the source: the listing says nothing but that. */
function tell({ store, name, clock, onProblems }: FollowGitOptions, error: SourceError): void {
  const { code, message, revision } = error;
  const problems = [fileProblem(name, `${message}: all stays as it was`)];
  const trouble = { reason: code, message, ...(revision !== undefined && { revision }) };
  const before = store.problems().map(formatProblem).join('\n');
  store.update({ atMs: clock.now(), complete: false, files: [], problems, source: { trouble } });
  if (store.problems().map(formatProblem).join('\n') !== before) onProblems(store.problems());
}

/** A commit must not show files of this machine as configs of a service. */
async function withoutForeignFiles(file: LoadedFile, allowed: readonly string[]): Promise<LoadedFile> {
  const found = await Promise.all(file.documents.map((document) => foreignFiles(document, allowed)));
  return { ...file, problems: [...file.problems, ...found.flat()] };
}

async function foreignFiles(document: LoadedDocument, allowed: readonly string[]): Promise<Problem[]> {
  const problems = document.inputs.map(async (input): Promise<Problem[]> => {
    const real = await realpath(input).catch(() => resolve(input));
    if (allowed.some((root) => real.startsWith(root + sep))) return [];
    return [problemAt(document, ['spec', 'stacks'], `${input} lies outside of the repository`)];
  });
  return (await Promise.all(problems)).flat();
}

/** By the names that the repository gives them. */
function asInRepository(file: LoadedFile, root: string): LoadedFile {
  const named = (path: string) => relative(root, path);
  return {
    path: named(file.path),
    documents: file.documents.map((document) => ({ ...document, file: named(document.file) })),
    problems: file.problems.map((problem) => ({ ...problem, file: named(problem.file) })),
  };
}
