import { readFileSync } from 'node:fs';
import { ensureImages } from '../compose/images/ensure-images.ts';
import { type ClusterSpec, provisionerOf } from '../crds/cluster-spec.ts';
import { ProvisionError } from '../provisioners/contract.ts';
import { ensureLocalEngine, startInstalledEngine } from '../provisioners/shared/install-engine.ts';
import type { ClusterDeps } from './cluster/cluster-session.ts';

interface ImageSite {
  /** The catalogue: full names by short ones. */
  readonly names: ReadonlyMap<string, string>;
  /** Root of the installed package, below which recipes lie. */
  readonly packageRoot: string;
  readonly cacheDir: string;
  readonly progress: (line: string) => void;
}

/** `spark-kafka` as `SPARK_KAFKA_IMAGE`, for compose files. */
export function imageVariables(names: ReadonlyMap<string, string>): Readonly<Record<string, string>> {
  return Object.fromEntries([...names].map(([name, tag]) => [variableOf(name), tag]));
}

const variableOf = (name: string): string => `${name.toUpperCase().replaceAll('-', '_')}_IMAGE`;

/**
 * Those of the catalogue that a cluster's compose files ask for, by variable or by full name: what nobody runs is not built.
 * A file that cannot be read asks for none: whoever loads the stack says so.
 */
export function stackImages(
  { spec: { stacks } }: ClusterSpec,
  names: ReadonlyMap<string, string>,
): readonly string[] {
  const asked = stacks.map(({ compose, env }) => ({
    text: [readText(compose), ...Object.values(env)].join('\n'),
    env,
  }));
  return [...names.keys()].filter((name) => {
    const variable = variableOf(name);
    const byVariable = new RegExp(`\\$\\{?${variable}\\b`);
    return asked.some(
      ({ text, env }) =>
        text.includes(names.get(name)!) || (env[variable] === undefined && byVariable.test(text)),
    );
  });
}

function readText(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}

/** Once per process: an engine on this machine, and the images that nodes may not be able to pull. */
export function imagePreparer(site: ImageSite): ClusterDeps['prepare'] {
  const ready = new Set<string>();
  let hasEngine = false;
  return async (cluster, deleting, signal) => {
    if (deleting) {
      if (provisionerOf(cluster).name !== 'lab') return;
      // After a reboot of this machine its engine may not run: what is to be destroyed is there all the same.
      if (!(await startInstalledEngine(site.progress, signal)))
        throw new ProvisionError([
          'no Docker engine is installed here: there is no lab that could be destroyed',
        ]);
      return;
    }
    const machines = provisionerOf(cluster).name === 'lab' ? ['node'] : [];
    const wanted = [...machines, ...stackImages(cluster, site.names)].filter((name) => !ready.has(name));
    // Whatever a stack runs is first looked for in the engine here, and only then left to the nodes.
    const needsEngine = machines.length + cluster.spec.stacks.length > 0;
    if (wanted.length === 0 && (hasEngine || !needsEngine)) return;
    await ensureHere(wanted, site, signal);
    hasEngine = true;
    for (const name of wanted) ready.add(name);
  };
}

/** Makes this machine's engine, which is installed and started where need be, hold images; resolves to their full names. */
export async function ensureHere(
  names: readonly string[],
  { names: catalogue, packageRoot, cacheDir, progress }: ImageSite,
  signal: AbortSignal,
): Promise<readonly string[]> {
  await ensureLocalEngine(progress, signal);
  const wanted = names.map((name) => catalogue.get(name)!);
  await ensureImages(wanted, { assetsDir: packageRoot, cacheDir, progress }, signal);
  return wanted;
}
