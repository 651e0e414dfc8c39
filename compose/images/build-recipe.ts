import { link, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { ProvisionError } from '../../provisioners/contract.ts';
import { runCommand } from '../../provisioners/shared/run-command.ts';
import type { Download } from './fetch-downloads.ts';
import { buildImage, RECIPE_LABEL, STAND_IN_LABEL } from './local-engine.ts';
import type { Image } from './resolve-images.ts';

/** Builds one image from its recipe, when its parent and its downloads are there; resolves to its id. */
export async function buildRecipe(
  image: Image,
  downloads: readonly Download[],
  options: { readonly cacheDir: string; readonly progress: (line: string) => void },
  signal: AbortSignal,
): Promise<string> {
  if (image.missing.length > 0) {
    throw new ProvisionError([`${image.tag}: not there yet: ${image.missing.join(', ')}: run npm run build`]);
  }
  const started = performance.now();
  await mkdir(options.cacheDir, { recursive: true });
  const context = await mkdtemp(join(options.cacheDir, `build-${image.name}-`));
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
    options.progress(
      `built ${image.tag}${image.standsInFor === null ? '' : ' as a stand-in'} in ${seconds} s`,
    );
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
    await runCommand('sh', ['prepare.sh'], { cwd: context }, signal);
  }
}
