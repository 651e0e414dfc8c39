import { createHash } from 'node:crypto';
import { readdir, readFile, stat } from 'node:fs/promises';
import { join, relative } from 'node:path';
import { IMAGES, type ImageRecipe } from './catalog.ts';
import { type DownloadSet, readDownloadLock } from './download-lock.ts';

/** A recipe with everything that follows from the files it is made of. */
export interface Image extends ImageRecipe {
  /** The name that compose files and engines know: the official one, or ours with the start of the hash. */
  readonly tag: string;
  /** Over the recipe's files, its parent's hash and the checksums of its downloads. */
  readonly hash: string;
  readonly parentTag: string | null;
  readonly downloadSet: DownloadSet | null;
  /** All that the build sees beside its downloads. */
  readonly files: readonly RecipeFile[];
  /** What it is made of and `npm run build` has not made yet: it can be named, not built. */
  readonly missing: readonly string[];
}

const HASH_LENGTH_IN_TAG = 8;

/** Full name of each image of the catalogue by its short name; asks no engine. */
export async function resolveImageNames(assetsDir: string): Promise<ReadonlyMap<string, string>> {
  const images = await resolveImages(assetsDir);
  return new Map(images.map(({ name, tag }) => [name, tag]));
}

/** The catalogue, in its order, with tags and content hashes. */
export async function resolveImages(assetsDir: string): Promise<readonly Image[]> {
  const lock = await readDownloadLock(assetsDir);
  const resolved = new Map<string, Image>();
  for (const recipe of IMAGES) {
    const parent = recipe.parent === null ? null : resolved.get(recipe.parent);
    const downloadSet = recipe.downloads === null ? null : lock[recipe.downloads];
    if (parent === undefined || downloadSet === undefined) {
      throw new Error(
        `catalog.ts: ${recipe.name} names a parent that does not precede it, or an unknown download set`,
      );
    }
    const { files, missing } = await recipeFiles(assetsDir, recipe);
    const hash = hashImage({ parent: parent?.hash ?? null, downloadSet, files });
    const tag = recipe.standsInFor ?? `spark-failures/${recipe.name}:${hash.slice(0, HASH_LENGTH_IN_TAG)}`;
    resolved.set(recipe.name, {
      ...recipe,
      tag,
      hash,
      parentTag: parent?.tag ?? null,
      downloadSet,
      files,
      missing,
    });
  }
  return [...resolved.values()];
}

/** One file of a recipe, as far as it matters to the image. */
export interface RecipeFile {
  readonly path: string;
  readonly executable: boolean;
  readonly content: Buffer;
}

/** The content hash of an image: the same in every checkout with the same files, whatever their dates and order. */
export function hashImage(made: {
  readonly parent: string | null;
  readonly downloadSet: DownloadSet | null;
  readonly files: readonly RecipeFile[];
}): string {
  const hash = createHash('sha256').update(`parent ${made.parent}\n`);
  for (const [coordinates, sum] of Object.entries(made.downloadSet?.sha256 ?? {}).sort()) {
    hash.update(`download ${coordinates} ${sum}\n`);
  }
  for (const file of [...made.files].sort((a, b) => (a.path < b.path ? -1 : 1))) {
    hash.update(`file ${file.path} ${file.executable} ${file.content.length}\n`).update(file.content);
  }
  return hash.digest('hex');
}

async function recipeFiles(
  assetsDir: string,
  { folder, bundle, assets }: ImageRecipe,
): Promise<Pick<Image, 'files' | 'missing'>> {
  const own = await readTree(join(assetsDir, 'compose', folder), '');
  const parts = [
    ...(bundle === null ? [] : [{ from: bundle, to: 'app.cjs' }]),
    ...assets.map((from) => ({ from, to: join('package', from) })),
  ];
  const read = await Promise.all(
    parts.map(({ from, to }) => readTree(join(assetsDir, from), to).catch(() => null)),
  );
  return {
    files: [...own, ...read.flatMap((files) => files ?? [])],
    missing: parts.flatMap(({ from }, index) => (read[index] === null ? [from] : [])),
  };
}

/** A file, or all files below a folder, under the name that they have in the build's folder. */
async function readTree(path: string, name: string): Promise<readonly RecipeFile[]> {
  if ((await stat(path)).isFile()) return [await readRecipeFile(path, name)];
  const entries = await readdir(path, { recursive: true, withFileTypes: true });
  const paths = entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
  return Promise.all(paths.map((file) => readRecipeFile(file, join(name, relative(path, file)))));
}

async function readRecipeFile(path: string, name: string): Promise<RecipeFile> {
  const [{ mode }, content] = await Promise.all([stat(path), readFile(path)]);
  return { path: name, executable: (mode & 0o100) !== 0, content };
}
