import { mkdir, readdir, realpath, rename, rm, symlink } from 'node:fs/promises';
import { join, sep } from 'node:path';
import { messageOf } from '../../../provisioners/contract.ts';
import { stableHash } from '../../stable-hash.ts';
import { type Git, type GitAccess, openGit } from './git-command.ts';
import { installSigners } from './signers.ts';
import { SourceError } from './source-error.ts';

/** One commit, as status and records name it. */
export interface Commit {
  readonly sha: string;
  /** `main@sha1:1f0c...`, as Flux writes it. */
  readonly revision: string;
  /** First line of its message. */
  readonly message: string;
  readonly author: string;
}

export interface RepositoryOptions {
  readonly stateDir: string;
  readonly access: GitAccess;
  /** Branch, tag or full ref; the remote's HEAD when absent. */
  readonly ref?: string;
  /** Files or folders of keys; when there are any, only commits that one of them signed are taken. */
  readonly verify: readonly string[];
}

/** Manifests and what they name; a repository of something else is refused before it fills the disk. */
const mostFiles = 20_000;
const mostBytes = 256 << 20;

const fetchedRef = 'refs/spark-failures/fetched';
const currentRef = 'refs/spark-failures/current';

/** Our copy of one ref of a repository, and a folder with the files of the commit in force. */
export class GitRepository {
  readonly #git: Git;
  readonly #options: RepositoryOptions;
  readonly #folder: string;
  #name: string;
  /** The id of the commit in force, as `currentRef` has it on the disk; undefined before the first. */
  #current: string | undefined;
  #before = '';
  /** Trees that are known to be complete: those of an earlier process may be torn by a power cut. */
  readonly #made = new Set<string>();

  private constructor(options: RepositoryOptions, folder: string, git: Git, current: string | undefined) {
    this.#options = options;
    this.#folder = folder;
    this.#name = options.ref ?? 'HEAD';
    this.#current = current;
    this.#git = git;
  }

  /** Rejects when git or a key cannot be used. What was taken from another URL or ref is not believed. */
  static async open(options: RepositoryOptions): Promise<GitRepository> {
    const { stateDir, access, ref = 'HEAD', verify } = options;
    const folder = join(stateDir, 'git', stableHash([access.url, ref]).slice(0, 16));
    const git = await openGit(folder, access);
    await installSigners(folder, verify, access.environment);
    const format = ['--format=%(objectname)', currentRef];
    const current = await git(['for-each-ref', ...format], new AbortController().signal);
    return new GitRepository(options, folder, git, current.trim() || undefined);
  }

  /** The folder of the commit in force; it is turned to another one in a single step. */
  get tree(): string {
    return join(this.#folder, 'tree');
  }

  /** The commit that was in force when the last process ended: it stays so though the repository may be out of reach. */
  async restore(signal: AbortSignal): Promise<Commit | undefined> {
    if (this.#current === undefined) return undefined;
    const { commit } = await this.#describe(this.#current, signal);
    await this.#verify(commit, signal);
    await this.#checkOut(commit, signal);
    return commit;
  }

  /** What the remote's ref points to now. An annotated tag is told by its own id: it changes with what it points to. */
  async head(signal: AbortSignal): Promise<string> {
    const { ref, access } = this.#options;
    const names = ref === undefined ? ['HEAD'] : [`refs/heads/${ref}`, `refs/tags/${ref}`, ref];
    const answer = await this.#git(['ls-remote', '--symref', '--', access.url, ...names], signal);
    const lines = answer.split('\n').map((line) => line.split('\t'));
    const symbolic = lines.find(([from, name]) => from?.startsWith('ref: ') && name === 'HEAD')?.[0];
    const found = names
      .map((name) => lines.find(([from, to]) => to === name && /^[0-9a-f]{40,64}$/.test(from ?? '')))
      .find((line) => line !== undefined);
    if (!found) throw new SourceError('RefNotFound', `the repository has no ${ref ?? 'HEAD'}`);
    this.#name = symbolic?.slice('ref: '.length) ?? found[1]!;
    return found[0]!;
  }

  /** Fetches and takes the commit that `head` spoke of; a newer one, when there is one by now. */
  async take(signal: AbortSignal): Promise<{ readonly commit: Commit; readonly isRewritten: boolean }> {
    const current = this.#current;
    const { url } = this.#options.access;
    const depth = current === undefined ? ['--depth=1'] : [];
    const flags = ['--quiet', '--no-tags', '--no-recurse-submodules', '--force', ...depth];
    // Its upkeep has time when the commit is in force.
    const fetch = ['fetch', '--no-auto-maintenance', ...flags];
    await this.#git([...fetch, '--', url, `+${this.#name}:${fetchedRef}`], signal);
    const { commit, parents } = await this.#describe(`${fetchedRef}^{commit}`, signal);
    await this.#verify(commit, signal);
    const follows = current === undefined || [commit.sha, ...parents].includes(current);
    const isRewritten = !follows && !(await this.#isAncestor(current, commit.sha, signal));
    // Who may write to the server, but has no key, could put an old signed commit back: that is no new one.
    if (isRewritten && this.#options.verify.length > 0) throw rewritten(commit, current, this.#folder);
    await this.#checkOut(commit, signal);
    return { commit, isRewritten };
  }

  /** From now on this commit is in force. Trees go that nobody names any more, but for the one before: it may be read still. */
  async keep({ sha }: Commit, isNamed: (tree: string) => boolean, signal: AbortSignal): Promise<void> {
    await this.#git(['update-ref', currentRef, sha], signal);
    this.#current = sha;
    const trees = join(this.#folder, 'trees');
    const others = (await readdir(trees)).filter((name) => name !== sha && name !== this.#before);
    const old = others.filter((name) => !isNamed(join(trees, name)));
    for (const name of old) {
      this.#made.delete(name);
      await rm(join(trees, name), { recursive: true, force: true });
    }
    this.#before = sha;
    // Git itself makes nothing of it when that fails after a fetch.
    await this.#git(['maintenance', 'run', '--auto', '--quiet'], signal).catch(() => signal.throwIfAborted());
  }

  async #isAncestor(older: string, newer: string, signal: AbortSignal): Promise<boolean> {
    const missing = await this.#git(['rev-list', '--max-count=1', older, '--not', newer], signal);
    return missing.trim() === '';
  }

  async #describe(of: string, signal: AbortSignal) {
    const line = await this.#git(['log', '-1', '--format=%H%x00%P%x00%an%x00%s', of, '--'], signal);
    const [sha = '', parents = '', author = '', message = ''] = line.trim().split('\0').map(printable);
    const ref = this.#name.replace(/^refs\/(heads|tags)\//, '');
    const commit: Commit = { sha, revision: `${ref}@sha1:${sha}`, author, message };
    return { commit, parents: parents.split(' ') };
  }

  async #verify({ sha, revision }: Commit, signal: AbortSignal): Promise<void> {
    if (this.#options.verify.length === 0) return;
    try {
      await this.#git(['verify-commit', '--raw', sha], signal);
    } catch (cause) {
      signal.throwIfAborted();
      const message = `${revision} bears no good signature of a given key`;
      throw new SourceError('CommitNotVerified', message, { revision, cause });
    }
  }

  /** Beside the tree in force, and in its place only when all of it is there. */
  async #checkOut({ sha, revision }: Commit, signal: AbortSignal): Promise<void> {
    const place = join(this.#folder, 'trees', sha);
    if (!this.#made.has(sha)) await this.#makeTree(place, { sha, revision }, signal);
    this.#made.add(sha);
    await rm(`${this.tree}.new`, { force: true });
    await symlink(place, `${this.tree}.new`);
    await rename(`${this.tree}.new`, this.tree);
  }

  async #makeTree(
    place: string,
    { sha, revision }: Pick<Commit, 'sha' | 'revision'>,
    signal: AbortSignal,
  ): Promise<void> {
    const made = `${place}.new`;
    const entries = await this.#entries(sha, revision, signal);
    const index = join(this.#folder, 'index');
    await Promise.all([made, index].map((path) => rm(path, { recursive: true, force: true })));
    await mkdir(made, { recursive: true });
    const at = { GIT_WORK_TREE: made, GIT_INDEX_FILE: index };
    await this.#git(['read-tree', '--reset', '-u', sha], signal, at);
    await refuseWayOut(made, entries, revision);
    await rm(place, { recursive: true, force: true });
    await rename(made, place);
  }

  /** Everything in a commit, once it is known to be of a size that we take. */
  async #entries(sha: string, revision: string, signal: AbortSignal): Promise<readonly TreeEntry[]> {
    const listing = await this.#git(['ls-tree', '-r', '-l', '-z', sha], signal);
    const entries = listing.split('\0').filter(Boolean).map(toEntry);
    const bytes = entries.reduce((sum, entry) => sum + entry.bytes, 0);
    if (entries.length > mostFiles || bytes > mostBytes) {
      const size = `${entries.length} files of ${Math.round(bytes / 2 ** 20)} MiB`;
      const limit = `${mostFiles} and ${mostBytes / 2 ** 20} MiB`;
      const message = `${revision} has ${size}, more than the ${limit} of a folder of manifests`;
      throw new SourceError('CommitRefused', message, { revision });
    }
    return entries;
  }
}

interface TreeEntry {
  readonly path: string;
  readonly isLink: boolean;
  readonly bytes: number;
}

/** `<mode> <type> <object> <size>\t<path>`; a submodule has no size, and is not fetched. */
function toEntry(line: string): TreeEntry {
  const [facts = '', path = ''] = line.split('\t');
  const [mode, , , size] = facts.split(/ +/);
  return { path, isLink: mode === '120000', bytes: Number(size) || 0 };
}

/** A link that leaves the tree would show files of this machine as the repository's. */
async function refuseWayOut(root: string, entries: readonly TreeEntry[], revision: string): Promise<void> {
  const real = await realpath(root);
  for (const { path, isLink } of entries) {
    if (!isLink) continue;
    const target = await realpath(join(root, path)).catch(() => undefined);
    if (target?.startsWith(real + sep)) continue;
    const why = target === undefined ? 'leads nowhere' : 'leads out of the repository';
    throw new SourceError('CommitRefused', `${path} of ${revision} is a link that ${why}`, { revision });
  }
}

function rewritten({ revision }: Commit, current: string, folder: string): SourceError {
  const message = `${revision} does not follow ${current}, which is in force; to take it all the same, end the controller and remove ${folder}`;
  return new SourceError('HistoryRewritten', message, { revision });
}

/** What a commit says goes to terminals and pages. */
function printable(text: string): string {
  return text
    .replaceAll(/\p{C}+/gu, ' ')
    .trim()
    .slice(0, 200);
}

/** An error as trouble of the source. */
export function asSourceError(error: unknown): SourceError {
  return error instanceof SourceError
    ? error
    : new SourceError('FetchFailed', messageOf(error), { cause: error });
}
