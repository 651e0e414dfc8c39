import { execFile } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { access, mkdir, readdir, rename, rm, stat, symlink, utimes } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { Readable } from 'node:stream';
import { text } from 'node:stream/consumers';
import { pipeline } from 'node:stream/promises';
import { promisify } from 'node:util';
import type Docker from 'dockerode';
import { ProvisionError } from '../contract.ts';
import { createContainer, ignoring, removeContainer } from './engine-calls.ts';
import { labels } from './labels.ts';
import type { MachineHostConfig } from './node-container.ts';

const run = promisify(execFile);

/** What a seed store is made from. */
export interface SeedRequest {
  readonly docker: Docker;
  readonly cluster: string;
  readonly nodeImage: string;
  readonly images: readonly string[];
  /** The folder of all seed stores. */
  readonly folder: string;
  readonly hostConfig: (storeFolder: string) => MachineHostConfig;
  readonly progress: (line: string) => void;
}

/** dockerode has the call; its types do not. */
type ImageSource = Docker & { getImages(options: { readonly names: readonly string[] }): Promise<Readable> };

/** A prepared image store, as the nodes of any cluster share it. */
export interface Seed {
  readonly hash: string;
  readonly folder: string;
}

/** Where every node sees the layers of its seed, read-only; the store's layers are links to there. */
export const layersMount = '/var/lib/docker-layers';
/** Only what images are made of: identity, containers and volumes must never be shared between engines. */
const kept = ['image', 'overlay2'];
const keptSeeds = 3;
/** Of the files in a seed: another layout is another seed. */
const layout = 'layers apart';

/**
 * The store of an engine that holds exactly the images asked for: the cached one, or made by a passing node that loads
 * them and is stopped cleanly. Its layers are set apart in `layers`; `store` holds the rest, a few hundred small files.
 */
export const prepareSeed = async (request: SeedRequest): Promise<Seed> => {
  const hash = await hashOfImages(request);
  const seed = { hash, folder: join(request.folder, hash) };
  if (await exists(seed.folder)) {
    const now = new Date();
    await utimes(seed.folder, now, now);
    return seed;
  }
  await removeLeftovers(request);
  const startedAtMs = performance.now();
  const partial = join(request.folder, `${hash}.${request.cluster}.partial`);
  await mkdir(join(partial, 'store'), { recursive: true });
  await mkdir(join(partial, 'layers'));
  if (request.images.length > 0) await fillStore(request, hash, join(partial, 'store'));
  await setLayersApart(partial);
  await adopt(partial, seed.folder);
  const seconds = ((performance.now() - startedAtMs) / 1000).toFixed(0);
  request.progress(
    `prepared an image store of ${request.images.length} images for the nodes in ${seconds} s`,
  );
  await removeOldSeeds(request);
  return seed;
};

/** Gives a new node its store: copies of the small databases, links to the layers, which are never written. */
export const plantSeed = async (seed: Seed, store: string): Promise<void> => {
  await rm(store, { recursive: true, force: true });
  await mkdir(dirname(store), { recursive: true });
  await run('cp', ['-a', join(seed.folder, 'store'), store]);
};

/** What a node must see beside its own store. */
export const layersOf = (seed: Seed): string => join(seed.folder, 'layers');

/** The node image belongs to it: another engine version may write another format. */
const hashOfImages = async ({ docker, nodeImage, images }: SeedRequest): Promise<string> => {
  const names = [nodeImage, ...[...new Set(images)].sort()];
  const found = await Promise.all(names.map((name) => imageId(docker, name)));
  const missing = names.filter((_, index) => found[index] === undefined);
  if (missing.length > 0)
    throw new ProvisionError(missing.map((name) => `the local engine has no image ${name}`));
  const lines = [layout, ...names.map((name, index) => `${name}=${found[index]}`)];
  return createHash('sha256').update(lines.join('\n')).digest('hex').slice(0, 16);
};

const imageId = async (docker: Docker, name: string): Promise<string | undefined> => {
  return (await ignoring([404], docker.getImage(name).inspect()))?.Id;
};

const fillStore = async (request: SeedRequest, hash: string, store: string): Promise<void> => {
  const container = await createContainer(
    request.docker,
    `sf-seed-${hash}-${randomBytes(3).toString('hex')}`,
    {
      Image: request.nodeImage,
      Labels: { [labels.cluster]: request.cluster, [labels.seed]: hash },
      HostConfig: { ...request.hostConfig(store), NetworkMode: 'none' },
    },
  );
  try {
    await container.start();
    await loadImages(request, container);
    await container.stop({ t: 60 });
  } finally {
    await removeContainer(container);
  }
  const rest = (await readdir(store)).filter((name) => !kept.includes(name));
  await Promise.all(rest.map((name) => rm(join(store, name), { recursive: true, force: true })));
};

/** The kernel follows the links when it mounts a container's root; removing an image removes the link alone. */
const setLayersApart = async (folder: string): Promise<void> => {
  const store = join(folder, 'store', 'overlay2');
  const ids = (await readdir(store).catch(() => [])).filter((id) => id !== 'l');
  for (const id of ids) {
    if (!(await exists(join(store, id, 'diff')))) continue;
    await mkdir(join(folder, 'layers', id));
    await rename(join(store, id, 'diff'), join(folder, 'layers', id, 'diff'));
    await symlink(join(layersMount, id, 'diff'), join(store, id, 'diff'));
  }
};

const loadImages = async ({ docker, images }: SeedRequest, container: Docker.Container): Promise<void> => {
  const script = 'until docker info >/dev/null 2>&1; do sleep 0.1; done; exec docker load 2>&1';
  const exec = await container.exec({
    Cmd: ['sh', '-c', script],
    AttachStdin: true,
    AttachStdout: true,
    Tty: false,
  });
  const loading = await exec.start({ hijack: true, stdin: true });
  const archive = await (docker as ImageSource).getImages({ names: [...new Set(images)] });
  const said = text(loading);
  await pipeline(archive, loading, { end: true });
  const output = await said;
  const { ExitCode } = await exec.inspect();
  if (ExitCode !== 0)
    throw new ProvisionError([`images could not be loaded into the seed store: ${output.trim()}`]);
};

/** Another process may have been faster: then its seed is as good as ours. */
const adopt = async (partial: string, seed: string): Promise<void> => {
  try {
    await rename(partial, seed);
  } catch (error) {
    if (!(await exists(seed))) throw error;
    await rm(partial, { recursive: true, force: true });
  }
};

/** What a killed process of this cluster has left. */
export const removeLeftovers = async ({
  docker,
  cluster,
  folder,
}: Pick<SeedRequest, 'docker' | 'cluster' | 'folder'>) => {
  const filters = { label: [`${labels.cluster}=${cluster}`, labels.seed] };
  const left = await docker.listContainers({ all: true, filters });
  await Promise.all(left.map(({ Id }) => removeContainer(docker.getContainer(Id))));
  const names = (await readdir(folder).catch(() => [])).filter((name) =>
    name.endsWith(`.${cluster}.partial`),
  );
  await Promise.all(names.map((name) => rm(join(folder, name), { recursive: true, force: true })));
};

/** Old seeds go, but never one into which the store of a node points, whoever's node it is. */
const removeOldSeeds = async ({ docker, folder }: SeedRequest): Promise<void> => {
  const nodes = await docker.listContainers({ all: true, filters: { label: [labels.layers] } });
  const used = new Set(nodes.map(({ Labels }) => Labels[labels.layers]));
  const names = (await readdir(folder)).filter((name) => !name.endsWith('.partial') && !used.has(name));
  const aged = await Promise.all(
    names.map(async (name) => ({ name, usedAtMs: (await stat(join(folder, name))).mtimeMs })),
  );
  const old = aged.sort((a, b) => b.usedAtMs - a.usedAtMs).slice(keptSeeds);
  await Promise.all(old.map(({ name }) => rm(join(folder, name), { recursive: true, force: true })));
};

const exists = (path: string): Promise<boolean> =>
  access(path).then(
    () => true,
    () => false,
  );
