import { setMaxListeners } from 'node:events';
import { link, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { dirname, join } from 'node:path';
import pLimit, { type LimitFunction } from 'p-limit';
import { ProvisionError } from '../../provisioners/contract.ts';
import { runCommand } from '../../provisioners/shared/run-command.ts';
import type { DownloadSet } from './download-lock.ts';
import { type Download, fetchDownloads } from './fetch-downloads.ts';
import { createEnsureTool, type EnsureTool } from './host-tools.ts';
import {
  buildImage,
  inspectImage,
  type PresentImage,
  pullImage,
  RECIPE_LABEL,
  requireEngine,
  STAND_IN_LABEL,
} from './local-engine.ts';
import { type Image, resolveImages } from './resolve-images.ts';

export interface ImageOptions {
  /** The package's root, below which the recipes lie. */
  readonly assetsDir: string;
  /** Downloads are kept here: may be deleted at any time at the price of time. */
  readonly cacheDir: string;
  /** One line for people per change made. */
  readonly progress: (line: string) => void;
}

/**
 * Makes this machine's engine hold the images; resolves to their ids by name. What is there is used, what a registry
 * has is pulled, and what neither has is built. Names outside the catalogue can only be present or pulled.
 * Rejects with a ProvisionError that lists each image that could not be had.
 */
export async function ensureImages(
  names: readonly string[],
  options: ImageOptions,
  signal: AbortSignal,
): Promise<Map<string, string>> {
  const stop = AbortSignal.any([signal]);
  setMaxListeners(0, stop); // as many as there are images at work
  await requireEngine(stop);
  const catalogue = new Map((await resolveImages(options.assetsDir)).map((image) => [image.tag, image]));
  const site = createSite(options);
  const underWay = new Map<string, Promise<string>>();
  const ensure = (tag: string): Promise<string> => {
    const image = catalogue.get(tag);
    const work =
      underWay.get(tag) ?? (image ? ensureListed(image, ensure, site, stop) : ensureForeign(tag, stop));
    underWay.set(tag, work);
    return work;
  };

  const wanted = inOrderOf([...catalogue.keys()], names);
  const results = await Promise.allSettled(wanted.map(ensure));
  signal.throwIfAborted();
  const ids = new Map<string, string>();
  const causes = new Set<unknown>();
  for (const [index, result] of results.entries()) {
    if (result.status === 'fulfilled') ids.set(wanted[index]!, result.value);
    else causes.add(result.reason);
  }
  if (causes.size > 0) throw new ProvisionError([...causes].map(problemOf), { cause: [...causes][0] });
  return ids;
}

/** The part of the world that all images of one call share. */
interface Site extends ImageOptions {
  readonly pull: typeof pullImage;
  readonly ensureTool: EnsureTool;
  readonly builds: LimitFunction;
  readonly fetches: Readonly<Record<'maven' | 'pip', LimitFunction>>;
}

function createSite(options: ImageOptions): Site {
  return {
    ...options,
    pull: askFirstOnce(pullImage),
    ensureTool: createEnsureTool(options.progress),
    builds: pLimit(availableParallelism()),
    fetches: { maven: pLimit(1), pip: pLimit(1) },
  };
}

/** The first name that is asked for decides whether a registry answers; where none does, nobody else waits for it. */
function askFirstOnce(pull: typeof pullImage): typeof pullImage {
  let first: Promise<boolean> | undefined;
  return async (tag, signal) => {
    if (first === undefined) {
      first = pull(tag, signal);
      return first;
    }
    return (await first) && pull(tag, signal);
  };
}

async function ensureForeign(tag: string, signal: AbortSignal): Promise<string> {
  const present = await inspectImage(tag, signal);
  if (present !== null) return present.id;
  if (!(await pullImage(tag, signal)))
    throw new ProvisionError([`${tag}: not here, not pulled, and no stand-in for it`]);
  return (await inspectImage(tag, signal))!.id;
}

/** What we built serves while its recipe is the same; an official image serves under its own name whoever pulled it. */
export function mayUse(present: PresentImage, image: Image): boolean {
  return present.recipe === null ? image.standsInFor !== null : present.recipe === image.hash;
}

async function ensureListed(
  image: Image,
  ensure: (tag: string) => Promise<string>,
  site: Site,
  signal: AbortSignal,
): Promise<string> {
  const present = await inspectImage(image.tag, signal);
  if (present !== null && mayUse(present, image)) return present.id;
  if (image.standsInFor !== null && (await site.pull(image.tag, signal))) {
    site.progress(`pulled ${image.tag}`);
    return (await inspectImage(image.tag, signal))!.id;
  }
  const downloads =
    image.downloadSet === null ? Promise.resolve([]) : fetchInTurn(image.downloadSet, site, signal);
  const tool = image.tool === null ? Promise.resolve() : site.ensureTool(image.tool, signal);
  const parent = image.parentTag === null ? Promise.resolve('') : ensure(image.parentTag);
  // To the end of each, even when one fails: no download or build goes on behind the caller's back.
  await Promise.allSettled([downloads, tool, parent]);
  await Promise.all([tool, parent]);
  const files = await downloads;
  return site.builds(() => build(image, files, site, signal));
}

/** One client runs at a time: two of them would write the same files of its own cache. */
function fetchInTurn(set: DownloadSet, site: Site, signal: AbortSignal): Promise<readonly Download[]> {
  return site.fetches[set.client](() => fetchDownloads(set, site, signal));
}

async function build(
  image: Image,
  downloads: readonly Download[],
  site: Site,
  signal: AbortSignal,
): Promise<string> {
  if (image.bundle !== null && !image.files.some(({ path }) => path === 'app.cjs')) {
    throw new ProvisionError([`${image.tag}: ${image.bundle} does not exist yet: run npm run build`]);
  }
  const started = performance.now();
  await mkdir(site.cacheDir, { recursive: true });
  const context = await mkdtemp(join(site.cacheDir, `build-${image.name}-`));
  try {
    await layOut(image, downloads, context, signal);
    const id = await buildImage(
      {
        tag: image.tag,
        context,
        buildArgs: image.parentTag === null ? [] : [`PARENT=${image.parentTag}`],
        labels: [`${RECIPE_LABEL}=${image.hash}`, `${STAND_IN_LABEL}=${image.standsInFor !== null}`],
      },
      signal,
    );
    const seconds = ((performance.now() - started) / 1000).toFixed(1);
    site.progress(`built ${image.tag}${image.standsInFor === null ? '' : ' as a stand-in'} in ${seconds} s`);
    return id;
  } finally {
    await rm(context, { recursive: true, force: true });
  }
}

/** Fills the build's folder: exactly the files that were hashed, the downloads as links, then what prepare.sh makes. */
async function layOut(
  image: Image,
  downloads: readonly Download[],
  context: string,
  signal: AbortSignal,
): Promise<void> {
  for (const { path, content, executable } of image.files) {
    await mkdir(dirname(join(context, path)), { recursive: true });
    await writeFile(join(context, path), content, { mode: executable ? 0o755 : 0o644 });
  }
  // Whatever this process's umask: users inside the image must be able to read what root put there.
  await runCommand('chmod', ['-R', 'u=rwX,go=rX', context], {}, signal);
  await mkdir(join(context, 'downloads'));
  await Promise.all(downloads.map((file) => link(file.cachePath, join(context, 'downloads', file.fileName))));
  if (image.files.some(({ path }) => path === 'prepare.sh')) {
    await runCommand('./prepare.sh', [], { cwd: context }, signal);
  }
}

function inOrderOf(order: readonly string[], names: readonly string[]): readonly string[] {
  const unique = new Set(names);
  return [...order.filter((name) => unique.delete(name)), ...unique];
}

function problemOf(cause: unknown): string {
  return cause instanceof Error ? cause.message : String(cause);
}
