import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { buildRecipe } from '../../compose/images/build-recipe.ts';
import { createEnsureTool } from '../../compose/images/host-tools.ts';
import { inspectImage } from '../../compose/images/local-engine.ts';
import {
  hashImage,
  type Image,
  type RecipeFile,
  resolveImages,
} from '../../compose/images/resolve-images.ts';
import { packageRoot } from './examples.ts';

/** The lab's machine on Ubuntu: the recipe of the one on Debian, over another root. Resolves to its name; it is built once. */
export async function ensureUbuntuNode(
  options: { readonly cacheDir: string; readonly progress: (line: string) => void },
  signal: AbortSignal,
): Promise<string> {
  const node = (await resolveImages(packageRoot)).find(({ name }) => name === 'node')!;
  const root = await rootImage(node);
  const image = imageOf(node, 'ubuntu-node', node.files.map(asOnUbuntu), root);
  const isThere = async ({ tag }: Image) => (await inspectImage(tag, signal)) !== null;
  if (await isThere(image)) return image.tag;
  await createEnsureTool(options.progress)('mmdebstrap', signal);
  if (!(await isThere(root))) await buildRecipe(root, [], options, signal);
  await buildRecipe(image, [], options, signal);
  return image.tag;
}

async function rootImage(node: Image): Promise<Image> {
  const files = ['Dockerfile', 'prepare.sh'].map(async (path) => ({
    ...{ path, executable: path.endsWith('.sh') },
    content: await readFile(join(packageRoot, 'test', 'support', 'ubuntu', path)),
  }));
  return imageOf(node, 'ubuntu', await Promise.all(files));
}

function imageOf(node: Image, name: string, files: readonly RecipeFile[], parent?: Image): Image {
  const hash = hashImage({ parent: parent?.hash ?? null, downloadSet: null, files });
  const tag = `spark-failures-test/${name}:${hash.slice(0, 8)}`;
  return { ...node, name, files, hash, tag, parentTag: parent?.tag ?? null };
}

/** Its docker.io has the client in it, and its sshd is older than the penalties. */
function asOnUbuntu(file: RecipeFile): RecipeFile {
  const text = file.content
    .toString()
    .replace(' docker-cli ', ' ')
    .replace(/^PerSourcePenalties .*\n/m, '');
  return { ...file, content: Buffer.from(text) };
}
