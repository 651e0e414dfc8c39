import type { ClusterSpec } from '../../crds/cluster-spec.ts';
import { ManifestError } from '../../crds/problem.ts';
import type { Provisioner } from '../../provisioners/contract.ts';
import { checkpointStore, checkpointVariables } from '../stack/checkpoint.ts';
import type { DesiredStack } from '../stack/convert-stack.ts';
import type { SourcedImage } from '../stack/deliver-images.ts';
import type { LoadStack } from '../stack/load-stack.ts';
import type { BrokenStack, DesiredCluster } from './plan-context.ts';

/** Lets one prune remove more than half of the services. */
const ALLOW_PRUNE = 'spark-failures.io/allow-prune';

interface DesiredSources {
  readonly provisioner: Pick<Provisioner, 'settingsHash' | 'shape'>;
  readonly loadStack: LoadStack;
  /** What compose files see beside their own `env` and the checkpoint's. */
  readonly variables: Readonly<Record<string, string>>;
  /** Those of the images that nodes cannot be left to pull. */
  readonly deliverable: (
    references: readonly string[],
    signal: AbortSignal,
  ) => Promise<readonly SourcedImage[]>;
}

/** A ClusterSpec with its compose files read: what cannot be used of them is told in `brokenStacks`. */
export async function loadDesired(
  { metadata, spec }: ClusterSpec,
  { provisioner, loadStack, variables, deliverable }: DesiredSources,
  signal: AbortSignal,
): Promise<DesiredCluster> {
  const cluster = metadata.name;
  const loaded = await Promise.all(
    spec.stacks.map(({ name, compose: path, overrides, env }) =>
      loadOrExplain(
        loadStack,
        {
          cluster,
          name,
          path,
          overrides,
          variables: { ...variables, ...checkpointVariables(spec), CLUSTER: cluster, ...env },
        },
        signal,
      ),
    ),
  );
  const stacks = loaded.flatMap((result) => ('stack' in result ? [result.stack] : []));
  const checkpoint = checkpointStore(spec);
  const services = stacks.flatMap((stack) => stack.services);
  const references = [
    ...new Set(services.map(({ TaskTemplate }) => TaskTemplate.ContainerSpec.Image)),
  ].sort();
  return {
    name: cluster,
    nodes: spec.nodes.map(({ name, role, labels }, index) => {
      const machine = { name, role, index };
      const shape = provisioner.shape?.(machine);
      const settingsHash = provisioner.settingsHash(machine);
      return { name, role, labels, settingsHash, ...(shape !== undefined && { shape }) };
    }),
    stacks,
    brokenStacks: loaded.flatMap((result) => ('broken' in result ? [result.broken] : [])),
    ...(checkpoint && { checkpoint }),
    images: await deliverable(references, signal),
    prune: spec.prune,
    allowLargePrune: isSet(metadata.annotations?.[ALLOW_PRUNE]),
    mayReplace: spec.replace === 'allow',
  };
}

type Loaded = { readonly stack: DesiredStack } | { readonly broken: BrokenStack };

async function loadOrExplain(
  loadStack: LoadStack,
  source: Parameters<LoadStack>[0],
  signal: AbortSignal,
): Promise<Loaded> {
  try {
    const stack = await loadStack(source, signal);
    if (stack.services.length > 0) return { stack };
    return { broken: { name: source.name, problems: [`${source.path}: asks for no service at all`] } };
  } catch (error) {
    if (!(error instanceof ManifestError)) throw error;
    return { broken: { name: source.name, problems: error.message.split('\n') } };
  }
}

const isSet = (annotation: string | undefined): boolean => annotation === 'true';
