import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { chmod, mkdir, mkdtemp, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { ProvisionError } from '../../provisioners/contract.ts';
import { runCommand } from '../../provisioners/shared/run-command.ts';
import { type DownloadSet, downloadFileName } from './download-lock.ts';
import type { EnsureTool } from './host-tools.ts';

/** A file of a set: where the cache keeps it, and what it must contain. */
export interface Download {
  readonly coordinates: string;
  readonly fileName: string;
  readonly sha256: string;
  /** Named for the checksum, so that another version never takes its place. */
  readonly cachePath: string;
}

export interface FetchOptions {
  readonly cacheDir: string;
  readonly progress: (line: string) => void;
  readonly ensureTool: EnsureTool;
}

/**
 * Resolves to the files of a set, each verified by checksum: from the cache, or fetched by the client, which reads its
 * own configuration for where from. A corrupt file of the cache is fetched again.
 */
export async function fetchDownloads(
  set: DownloadSet,
  options: FetchOptions,
  signal: AbortSignal,
): Promise<readonly Download[]> {
  const downloads = listDownloads(set, options.cacheDir);
  const cached = await fileSums(
    downloads.map(({ cachePath }) => cachePath),
    signal,
  );
  const missing = downloads.filter(({ sha256 }, index) => cached[index] !== sha256);
  if (missing.length === 0) return downloads;

  await mkdir(options.cacheDir, { recursive: true });
  const folder = await mkdtemp(join(options.cacheDir, 'fetch-'));
  try {
    options.progress(`downloading ${missing.length} file(s) by ${set.client}`);
    await CLIENTS[set.client](missing, folder, options.ensureTool, signal);
    await moveVerified(missing, folder, signal);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
  return downloads;
}

/** Moves fetched files into the cache, all or none; the message of a mismatch holds what the lock would have to say. */
async function moveVerified(
  downloads: readonly Download[],
  folder: string,
  signal: AbortSignal,
): Promise<void> {
  const fetched = await fileSums(
    downloads.map(({ fileName }) => join(folder, fileName)),
    signal,
  );
  const problems = downloads.flatMap(({ coordinates, sha256 }, index) =>
    fetched[index] === sha256
      ? []
      : `${coordinates}: downloads.json wants sha256 ${sha256}, fetched was ${fetched[index] ?? 'nothing'}`,
  );
  if (problems.length > 0) throw new ProvisionError(problems);
  for (const { fileName, cachePath } of downloads) {
    await chmod(join(folder, fileName), 0o644);
    await rename(join(folder, fileName), cachePath);
  }
}

function listDownloads(set: DownloadSet, cacheDir: string): readonly Download[] {
  return Object.entries(set.sha256).map(([coordinates, sha256]) => {
    const fileName = downloadFileName(set.client, coordinates);
    return { coordinates, fileName, sha256, cachePath: join(cacheDir, `${sha256.slice(0, 16)}-${fileName}`) };
  });
}

function fileSums(paths: readonly string[], signal: AbortSignal): Promise<readonly (string | null)[]> {
  return Promise.all(paths.map((path) => fileSum(path, signal)));
}

/** Checksum of a file; null when it cannot be read. */
async function fileSum(path: string, signal: AbortSignal): Promise<string | null> {
  const hash = createHash('sha256');
  try {
    await pipeline(createReadStream(path), hash, { signal });
    return hash.digest('hex');
  } catch {
    signal.throwIfAborted();
    return null;
  }
}

type Client = (
  downloads: readonly Download[],
  folder: string,
  ensureTool: EnsureTool,
  signal: AbortSignal,
) => Promise<void>;

const CLIENTS: Readonly<Record<DownloadSet['client'], Client>> = {
  async pip(downloads, folder, ensureTool, signal) {
    await ensureTool('pip', signal);
    const args = ['-m', 'pip', '--quiet', 'download', '--no-deps', '--dest', folder];
    await runCommand('python3', [...args, ...downloads.map(({ coordinates }) => coordinates)], {}, signal);
  },
  async maven(downloads, folder, ensureTool, signal) {
    await ensureTool('maven', signal);
    await writeFile(join(folder, 'pom.xml'), copyPom(downloads));
    await runCommand(
      'mvn',
      ['--batch-mode', '--quiet', COPY_GOAL, '-DoutputDirectory=.'],
      { cwd: folder },
      signal,
    );
  },
};

const COPY_GOAL = 'org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy';

/** A project that copies exactly these files: their versions are locked, so nothing is resolved from their own poms. */
function copyPom(downloads: readonly Download[]): string {
  const items = downloads.map(({ coordinates }) => {
    const [groupId, artifactId, version, classifier] = coordinates.split(':');
    const optional = classifier === undefined ? '' : `<classifier>${classifier}</classifier>`;
    const item = `<groupId>${groupId}</groupId><artifactId>${artifactId}</artifactId><version>${version}</version>`;
    return `<artifactItem>${item}${optional}</artifactItem>`;
  });
  return `<project><modelVersion>4.0.0</modelVersion>
<groupId>spark-failures</groupId><artifactId>downloads</artifactId><version>1</version><packaging>pom</packaging>
<build><plugins><plugin><artifactId>maven-dependency-plugin</artifactId><configuration><artifactItems>
${items.join('\n')}
</artifactItems></configuration></plugin></plugins></build></project>
`;
}
