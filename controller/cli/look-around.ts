import { createOperator, type Operator } from '../operator.ts';
import type { StoredResource } from '../source/resource-store.ts';
import type { CliContext } from './cli-context.ts';
import { type FileOptions, readFiles } from './read-files.ts';
import type { ServeOptions } from './watch.ts';

/** Every node of every cluster that is known. */
export function clusterNodes({
  store,
}: Operator): readonly { readonly cluster: string; readonly node: string }[] {
  return store
    .list()
    .flatMap(({ name, resource }) =>
      resource?.kind === 'ClusterSpec'
        ? resource.spec.nodes.map((node) => ({ cluster: name, node: node.name }))
        : [],
    );
}

/** Builds the parts for a verb that only looks: no lock, nothing saved. Gives what the files, if any, hold. */
export async function lookAround<T>(
  context: CliContext,
  { port, log }: ServeOptions,
  files: FileOptions,
  look: (operator: Operator, resources: readonly StoredResource[]) => Promise<T>,
): Promise<T> {
  const { packageRoot, stateDir, cacheDir, note, signal } = context;
  const operator = await createOperator({ packageRoot, stateDir, cacheDir, port, log, progress: note });
  try {
    return await look(operator, files.files.length > 0 ? await readFiles(operator, files, signal) : []);
  } finally {
    operator.clusters.close();
  }
}
