import { mkdir, readdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { simpleGit } from 'simple-git';
import { messageOf } from '../../../provisioners/contract.ts';
import { deadline } from '../../../provisioners/deadline.ts';
import { SourceError } from './source-error.ts';

/** How a repository is reached. Files hold what is secret: it stands in no URL, list of processes, log or status. */
export interface GitAccess {
  /** ssh, https or file; http only of this machine. */
  readonly url: string;
  readonly sshKeyFile?: string;
  /** Host keys that are believed; there are no others. */
  readonly knownHostsFile?: string;
  readonly tokenFile?: string;
  /** Of our own environment: PATH, and proxies. Nothing else of it reaches git. */
  readonly environment: Readonly<Record<string, string>>;
}

/** Runs git in our own bare repository, with none of the operator's settings; resolves to its standard output. */
export type Git = (
  args: readonly string[],
  signal: AbortSignal,
  environment?: Readonly<Record<string, string>>,
) => Promise<string>;

/** A repository too big to come within this time is one to ask for a smaller one. */
const commandLimitMs = 120_000;

/** Makes the repository below `folder` ready, with settings and an askpass of its own; nobody else may be at work there. */
export async function openGit(
  folder: string,
  access: GitAccess,
  limitMs: number = commandLimitMs,
): Promise<Git> {
  const repository = join(folder, 'repository');
  await mkdir(repository, { recursive: true, mode: 0o700 });
  await unlock(folder, repository);
  await writeFile(join(folder, 'config'), settings(folder, access.url));
  await writeFile(join(folder, 'askpass'), askpass, { mode: 0o700 });
  const base = { ...access.environment, ...environmentOf(folder, access) };
  const git: Git = async (args, signal, environment = {}) => {
    const env = { ...base, ...environment };
    const late = deadline(limitMs);
    const abort = AbortSignal.any([signal, late]);
    try {
      const instance = simpleGit({
        ...{ baseDir: repository, abort, allowEnvironment: Object.keys(env) },
        // By itself it takes a failure about which git says nothing, as that of an unsigned commit, for none.
        errors: (error, { exitCode, stdErr }) => error ?? failureOf(exitCode, stdErr),
        // Paths and programs in our own settings and environment; none comes from a repository.
        unsafe: {
          allowUnsafeSshCommand: true,
          allowUnsafeAskPass: true,
          allowUnsafeConfigPaths: true,
          allowUnsafeTemplateDir: true,
        },
      });
      return await instance
        .env(env)
        .outputHandler(endQuietly)
        .raw([...args]);
    } catch (cause) {
      signal.throwIfAborted();
      if (late.aborted)
        throw new SourceError('FetchFailed', `git ${args[0]} took longer than ${limitMs / 1000} s`);
      throw toSourceError(args[0]!, cause);
    }
  };
  // Without a template there are no hooks; those of a repository beside us are its own business.
  await git(['init', '--bare', '--quiet', '--template=', repository], new AbortController().signal);
  return git;
}

/** A git that was killed, or lost power, leaves its locks behind: each later one would fail on them. */
async function unlock(folder: string, repository: string): Promise<void> {
  const left = (await readdir(repository, { recursive: true })).filter((name) => name.endsWith('.lock'));
  const locks = [join(folder, 'index.lock'), ...left.map((name) => join(repository, name))];
  await Promise.all(locks.map((lock) => rm(lock, { force: true })));
}

/** It waits 50 ms more for one that has said nothing; half of what we ask has nothing to say. An empty word hastens it. */
function endQuietly(_command: string, stdout: NodeJS.ReadableStream): void {
  stdout.once('end', () => stdout.emit('data', Buffer.alloc(0)));
}

function failureOf(exitCode: number, stdErr: readonly Buffer[]): Error | undefined {
  if (exitCode === 0) return undefined;
  return new Error(Buffer.concat(stdErr).toString() || `ended with exit status ${exitCode}`);
}

/** What git says is told, without its advice; only that one of the two was not believed has a word of its own. */
function toSourceError(command: string, cause: unknown): SourceError {
  const lines = messageOf(cause)
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '' && !advice.test(line));
  const code = lines.some((line) => notBelieved.test(line)) ? 'AuthenticationFailed' : 'FetchFailed';
  return new SourceError(code, `git ${command}: ${lines.slice(-3).join('; ')}`, { cause });
}

const advice =
  /^(Please make sure you have the correct|and the repository exists|hint:|fatal: Could not read from remote)/;
const notBelieved =
  /Authentication failed|Permission denied|could not read (Username|Password)|error: 40[13]|Host key verification failed|certificate/i;

function environmentOf(folder: string, access: GitAccess): Record<string, string> {
  const { url, sshKeyFile, knownHostsFile, tokenFile, environment } = access;
  const { SSL_CERT_FILE: authorities } = environment;
  const protocol = new URL(url).protocol.slice(0, -1);
  return {
    ...{ HOME: folder, LC_ALL: 'C', GIT_TERMINAL_PROMPT: '0', GIT_LFS_SKIP_SMUDGE: '1' },
    ...{ GIT_CONFIG_NOSYSTEM: '1', GIT_CONFIG_GLOBAL: join(folder, 'config'), GIT_ATTR_NOSYSTEM: '1' },
    ...{ GIT_ALLOW_PROTOCOL: protocol, GNUPGHOME: join(folder, 'keyring') },
    // Of two libraries that git may be built with, only one knows it by that name.
    ...(authorities !== undefined && { GIT_SSL_CAINFO: authorities }),
    ...(tokenFile !== undefined && { GIT_ASKPASS: join(folder, 'askpass'), GIT_TOKEN_FILE: tokenFile }),
    ...(protocol === 'ssh' && { GIT_SSH_COMMAND: sshCommand(sshKeyFile, knownHostsFile) }),
  };
}

function sshCommand(keyFile: string | undefined, knownHostsFile = '/dev/null'): string {
  const options = [
    ...['BatchMode=yes', 'ConnectTimeout=10', 'IdentitiesOnly=yes', 'StrictHostKeyChecking=yes'],
    ...['ServerAliveInterval=10', 'GlobalKnownHostsFile=/dev/null', `UserKnownHostsFile="${knownHostsFile}"`],
  ];
  const words = ['ssh', '-F', '/dev/null', ...options.flatMap((option) => ['-o', option])];
  return [...words, ...(keyFile === undefined ? [] : ['-i', keyFile])].map(quoted).join(' ');
}

const quoted = (word: string): string => `'${word.replaceAll("'", `'\\''`)}'`;

/** Git gives the question as argument; the token goes to nobody's command line. */
const askpass = `#!/bin/sh
case "$1" in
Username*) echo git ;;
*) cat "$GIT_TOKEN_FILE" ;;
esac
`;

/** A redirect would carry the token to another host; helpers and other formats of signatures are not asked. */
function settings(folder: string, url: string): string {
  const isFile = url.startsWith('file:');
  const path = isFile ? decodeURIComponent(new URL(url).pathname) : '';
  return [
    '[http]\n\tfollowRedirects = false\n\tlowSpeedLimit = 1000\n\tlowSpeedTime = 30',
    '[fetch]\n\tfsckObjects = true\n\trecurseSubmodules = false',
    '[gc]\n\tautoDetach = false',
    '[init]\n\tdefaultBranch = main',
    '[user]\n\tname = spark-failures\n\temail = spark-failures@localhost',
    `[gpg "ssh"]\n\tallowedSignersFile = ${JSON.stringify(join(folder, 'allowed-signers'))}`,
    '[gpg "x509"]\n\tprogram = false',
    // A folder that the operator named may belong to somebody else.
    ...(isFile
      ? [`[safe]\n\tdirectory = ${JSON.stringify(path)}\n\tdirectory = ${JSON.stringify(join(path, '.git'))}`]
      : []),
    '',
  ].join('\n');
}
