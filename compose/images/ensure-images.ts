import { setMaxListeners } from 'node:events';
import { availableParallelism } from 'node:os';
import pLimit, { type LimitFunction } from 'p-limit';
import { messageOf, ProvisionError } from '../../provisioners/contract.ts';
import { buildRecipe } from './build-recipe.ts';
import type { DownloadSet } from './download-lock.ts';
import { type Download, fetchDownloads } from './fetch-downloads.ts';
import { createEnsureTool, type EnsureTool } from './host-tools.ts';
import { inspectImage, type PresentImage, pullImage, requireEngine } from './local-engine.ts';
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
 * Makes this machine's engine hold these images of the catalogue; resolves to their ids by name. What is there is used,
 * what a registry has is pulled, and what neither has is built. Rejects with a ProvisionError that lists each image that
 * could not be had.
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
    const work = underWay.get(tag) ?? ensureImage(catalogue.get(tag)!, ensure, site, stop);
    underWay.set(tag, work);
    return work;
  };

  const unknown = names.filter((name) => !catalogue.has(name));
  if (unknown.length > 0) throw new ProvisionError([`no recipe makes ${unknown.join(', ')}`]);
  const wanted = [...catalogue.keys()].filter((name) => names.includes(name));
  const results = await Promise.allSettled(wanted.map(ensure));
  signal.throwIfAborted();
  const ids = new Map<string, string>();
  const causes = new Set<unknown>();
  for (const [index, result] of results.entries()) {
    if (result.status === 'fulfilled') ids.set(wanted[index]!, result.value);
    else causes.add(result.reason);
  }
  if (causes.size > 0) throw new ProvisionError([...causes].map(messageOf), { cause: [...causes][0] });
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
    pull: askFirstOnce(options.progress),
    ensureTool: createEnsureTool(options.progress),
    builds: pLimit(availableParallelism()),
    fetches: { maven: pLimit(1), pip: pLimit(1) },
  };
}

/** The first name that is asked for decides whether a registry answers; where none does, nobody else waits for it. */
function askFirstOnce(progress: (line: string) => void): typeof pullImage {
  let first: Promise<boolean> | undefined;
  return async (tag, signal) => {
    if (first !== undefined) return (await first) && pullImage(tag, signal);
    first = pullImage(tag, signal);
    if (!(await first)) progress(`${tag} cannot be pulled: building stand-ins of official images`);
    return first;
  };
}

/** What we built serves while its recipe is the same; an official image serves under its own name whoever pulled it. */
export function mayUse(present: PresentImage, image: Image): boolean {
  return present.recipe === null ? image.standsInFor !== null : present.recipe === image.hash;
}

async function ensureImage(
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
  return site.builds(() => buildRecipe(image, files, site, signal));
}

/** One client runs at a time: two of them would write the same files of its own cache. */
function fetchInTurn(set: DownloadSet, site: Site, signal: AbortSignal): Promise<readonly Download[]> {
  return site.fetches[set.client](() => fetchDownloads(set, site, signal));
}
