import { resolveImageNames } from '../../compose/images/resolve-images.ts';
import { ensureHere, stackImages } from '../cluster-images.ts';
import { answer, type CliContext, type ExitCode } from './cli-context.ts';
import { lookAround } from './look-around.ts';
import type { FileOptions } from './read-files.ts';
import type { ServeOptions } from './watch.ts';

/**
 * `controller images [-f ...]`: what an operator on another machine needs there, built or pulled here: its own image, and
 * those of the clusters that the manifests name. Prints their names for `docker save`.
 */
export function images(context: CliContext, serve: ServeOptions, files: FileOptions): Promise<ExitCode> {
  const { packageRoot, cacheDir, note: progress, signal } = context;
  return lookAround(context, serve, files, async (_operator, resources) => {
    const names = await resolveImageNames(packageRoot);
    const ofClusters = resources.flatMap(({ resource }) =>
      resource?.kind === 'ClusterSpec' ? stackImages(resource, names) : [],
    );
    const site = { names, packageRoot, cacheDir, progress };
    const made = await ensureHere(['controller', ...new Set(ofClusters)], site, signal);
    answer(context, made, (all) => all.join('\n'));
    return 0 as const;
  });
}
