import { chmod, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, dirname, join, relative } from 'node:path';
import { create } from 'tar';
import { messageOf } from '../../provisioners/contract.ts';
import { deadline } from '../../provisioners/deadline.ts';
import type { Operator } from '../operator.ts';
import { eventLogPaths } from '../status/event-log.ts';
import { journalPath } from '../status/run-journal.ts';
import { redactJson, redactLines, redactText, redactTree, redactYaml } from './redact.ts';

export interface BundleOptions {
  readonly file: string;
  readonly version: string;
  readonly stateDir: string;
  /** Where an operator on this machine would serve. */
  readonly port: number;
  /** What an operator has logged, if that was kept in a file. */
  readonly logFile?: string;
  /** Files of manifests that the command line names. */
  readonly manifests: readonly string[];
  /** Every node of every cluster that is known. */
  readonly nodes: readonly { readonly cluster: string; readonly node: string }[];
  /** What the doctor found. */
  readonly findings: unknown;
  readonly operator: Operator;
}

/** A file of the bundle; without text it could not be had, and why is noted. */
interface Piece {
  readonly name: string;
  readonly text?: string;
  readonly missing?: string;
}

/** Of a log or journal its end counts. */
const mostBytes = 2 << 20;
const nodeMs = 20_000;
const httpMs = 3_000;

/**
 * Writes a gzipped tar with what somebody else needs to understand what goes on here. Each of its files is named below; the
 * folders of keys and the files of secrets and configs are never opened, and what is read goes through `redact`. What cannot
 * be had within its time is noted in the bundle.
 */
export async function writeBundle(options: BundleOptions, signal: AbortSignal): Promise<void> {
  const parts = await Promise.all([
    statePieces(options.stateDir),
    manifestPieces(options),
    logPieces(options),
    httpPieces(options, signal),
    nodePieces(options, signal),
  ]);
  const pieces = [...about(options), ...parts.flat()];
  const notes = pieces.flatMap(({ name, missing }) => (missing === undefined ? [] : [`${name}: ${missing}`]));
  const folder = await mkdtemp(join(tmpdir(), 'spark-failures-bundle-'));
  try {
    for (const { name, text } of [
      ...pieces,
      { name: 'notes.txt', text: redactText(`${notes.join('\n')}\n`) },
    ]) {
      if (text === undefined) continue;
      await mkdir(dirname(join(folder, name)), { recursive: true });
      await writeFile(join(folder, name), text);
    }
    await writeFile(options.file, '', { mode: 0o600 });
    await chmod(options.file, 0o600);
    await create({ gzip: true, portable: true, cwd: folder, file: options.file }, await readdir(folder));
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

function about({ version, stateDir, findings }: BundleOptions): readonly Piece[] {
  const { platform, arch, versions } = process;
  const said = {
    version,
    node: versions.node,
    platform,
    arch,
    stateDir,
    writtenAt: new Date().toISOString(),
  };
  return [
    { name: 'about.json', text: JSON.stringify(redactTree(said), undefined, 2) },
    { name: 'doctor.json', text: JSON.stringify(redactTree(findings), undefined, 2) },
  ];
}

async function statePieces(stateDir: string): Promise<readonly Piece[]> {
  const statuses = await Promise.all(
    ['status', 'accepted'].map((folder) =>
      readdir(join(stateDir, folder), { recursive: true }).catch(() => []),
    ),
  );
  const jsons = [
    ...statuses[0]!.map((name) => join('status', name)),
    ...statuses[1]!.map((name) => join('accepted', name)),
  ].filter((name) => name.endsWith('.json'));
  const { newest, before } = eventLogPaths(stateDir);
  const lines = [journalPath(stateDir), before, newest].map((path) => relative(stateDir, path));
  return Promise.all([
    ...jsons.map((name) => piece(`state/${name}`, join(stateDir, name), redactJson)),
    ...lines.map((name) => piece(`state/${name}`, join(stateDir, name), redactLines)),
  ]);
}

/** Manifests, and the compose files of every cluster that is known; none of the files that these name. */
function manifestPieces({ manifests, operator }: BundleOptions): Promise<readonly Piece[]> {
  const stacks = operator.store.list().flatMap(({ name, resource }) => {
    if (resource?.kind !== 'ClusterSpec') return [];
    return resource.spec.stacks.flatMap((stack) =>
      [stack.compose, ...stack.overrides].map((path, index) => ({
        name: `compose/${name}/${stack.name}/${index}-${basename(path)}`,
        path,
      })),
    );
  });
  const named = manifests.map((path, index) => ({ name: `manifests/${index}-${basename(path)}`, path }));
  return Promise.all([...named, ...stacks].map(({ name, path }) => piece(name, path, redactYaml)));
}

async function logPieces({ logFile }: BundleOptions): Promise<readonly Piece[]> {
  if (logFile === undefined) return [{ name: 'operator.log', missing: 'no --log names a file' }];
  return [await piece('operator.log', logFile, redactLines)];
}

async function piece(
  name: string,
  path: string,
  redact: (text: string) => string | undefined,
): Promise<Piece> {
  try {
    const text = redact(endOf(await readFile(path, 'utf8'), redact === redactLines));
    return text === undefined
      ? { name, missing: 'not understood, so what is secret in it cannot be told' }
      : { name, text };
  } catch (error) {
    return { name, missing: messageOf(error) };
  }
}

/** Cut at a line's beginning: half a line may begin within a secret. */
function endOf(text: string, isLines: boolean): string {
  if (!isLines || text.length <= mostBytes) return text;
  const end = text.slice(-mostBytes);
  return end.slice(end.indexOf('\n') + 1);
}

function httpPieces({ port }: BundleOptions, signal: AbortSignal): Promise<readonly Piece[]> {
  return Promise.all(
    ['metrics', 'healthz', 'readyz'].map(async (path): Promise<Piece> => {
      const name = `operator/${path}.txt`;
      try {
        const within = AbortSignal.any([signal, deadline(httpMs)]);
        const response = await fetch(`http://127.0.0.1:${port}/${path}?verbose`, { signal: within });
        return { name, text: redactText(await response.text()) };
      } catch (error) {
        return { name, missing: `no operator answers on port ${port}: ${messageOf(error)}` };
      }
    }),
  );
}

/** Columns, not commands: arguments of processes hold secrets, too. Whatever hangs is ended. */
const nodeScript = `
section() { printf '\\n== %s\\n' "$*"; timeout 8 "$@" 2>&1; }
section uname -a
section uptime
section cat /etc/os-release
section df -h
section cat /proc/meminfo
section cat /proc/pressure/cpu /proc/pressure/memory /proc/pressure/io
section docker version
section docker info
section docker ps -a --no-trunc --format 'table {{.ID}}\\t{{.Image}}\\t{{.Status}}\\t{{.Names}}'
section docker node ls
section docker service ls
section docker network ls
section journalctl -u docker -n 200 --no-pager
exit 0`;

function nodePieces({ operator, nodes }: BundleOptions, signal: AbortSignal): Promise<readonly Piece[]> {
  return Promise.all(
    nodes.map(async ({ cluster, node }): Promise<Piece> => {
      const name = `nodes/${cluster}/${node}.txt`;
      const within = AbortSignal.any([signal, deadline(nodeMs)]);
      try {
        const handle = await inTime(operator.access(cluster).nodes(node), within);
        const { stdout } = await handle.exec(nodeScript, [], {}, within);
        return { name, text: redactText(stdout) };
      } catch (error) {
        return { name, missing: messageOf(error) };
      }
    }),
  );
}

/** Connections that are made have more patience than who waits for a bundle. */
function inTime<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    signal.addEventListener('abort', () => reject(new Error(`not within ${nodeMs / 1000} s`)), {
      once: true,
    });
    work.then(resolve, reject);
  });
}
