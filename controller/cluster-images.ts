import { ensureImages } from '../compose/images/ensure-images.ts';
import { resolveImageNames } from '../compose/images/resolve-images.ts';
import { type ClusterSpec, provisionerOf } from '../crds/cluster-spec.ts';
import { ProvisionError } from '../provisioners/contract.ts';
import { ensureLocalEngine, startInstalledEngine } from '../provisioners/shared/install-engine.ts';
import type { ClusterDeps } from './cluster/cluster-session.ts';

interface ImageSite {
  /** Root of the installed package, below which recipes lie. */
  readonly packageRoot: string;
  readonly cacheDir: string;
  readonly progress: (line: string) => void;
}

/** `spark-kafka` as `SPARK_KAFKA_IMAGE`, for compose files. */
export function imageVariables(names: ReadonlyMap<string, string>): Readonly<Record<string, string>> {
  const variable = (name: string) => `${name.toUpperCase().replaceAll('-', '_')}_IMAGE`;
  return Object.fromEntries([...names].map(([name, tag]) => [variable(name), tag]));
}

/** What runs in the stacks of this package; the rest of the catalogue is what these are built from. */
const WORKLOAD_IMAGES = [
  'spark-kafka',
  'kafka-jmx',
  'zookeeper',
  'generator',
  'observer',
  'prometheus',
  'node-exporter',
];

/** What runs on a cluster; a checkpoint that is a service runs an image more. */
export function stackImages({ spec: { stacks, checkpoint } }: ClusterSpec): readonly string[] {
  if (stacks.length === 0) return [];
  return [...WORKLOAD_IMAGES, ...(checkpoint?.hdfs ? ['hadoop'] : [])];
}

/** Once per process: an engine on this machine, and the images that nodes may not be able to pull. */
export function imagePreparer(site: ImageSite): ClusterDeps['prepare'] {
  const ready = new Set<string>();
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
    const wanted = [...machines, ...stackImages(cluster)].filter((name) => !ready.has(name));
    if (wanted.length === 0) return;
    await ensureHere(wanted, site, signal);
    for (const name of wanted) ready.add(name);
  };
}

/** Makes this machine's engine, which is installed and started where need be, hold images; resolves to their full names. */
export async function ensureHere(
  names: readonly string[],
  { packageRoot, cacheDir, progress }: ImageSite,
  signal: AbortSignal,
): Promise<readonly string[]> {
  await ensureLocalEngine(progress, signal);
  const tags = await resolveImageNames(packageRoot);
  const wanted = names.map((name) => tags.get(name)!);
  await ensureImages(wanted, { assetsDir: packageRoot, cacheDir, progress }, signal);
  return wanted;
}
