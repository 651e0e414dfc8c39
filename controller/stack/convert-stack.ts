import { createHash } from 'node:crypto';
import { CLUSTER_LABEL, SPEC_HASH_LABEL, STACK_LABEL } from '../swarm/labels.ts';
import { hashService } from '../swarm/normal-service.ts';
import type { ConfigSpec, NetworkSpec, SecretSpec, ServiceSpec } from '../swarm/swarm-types.ts';
import type { ComposeFile, ComposeModel, ComposeNetwork } from './compose-schema.ts';
import { convertService, type StackScope } from './convert-service.ts';
import { defined } from './defined.ts';

/** A stack as the swarm should hold it. Plain data: services name their networks, configs and secrets, no ids. */
export interface DesiredStack {
  readonly name: string;
  readonly networks: readonly NetworkSpec[];
  readonly configs: readonly ConfigSpec[];
  readonly secrets: readonly SecretSpec[];
  readonly services: readonly ServiceSpec[];
  /** Objects that must exist already and are never written or removed, by their swarm name. */
  readonly externals: {
    readonly networks: readonly string[];
    readonly configs: readonly string[];
    readonly secrets: readonly string[];
  };
}

/** What a compose file does not say of itself. */
export interface StackContext {
  readonly cluster: string;
  readonly stack: string;
  /** Contents of the files that configs and secrets name, by the path that they give. */
  readonly files: ReadonlyMap<string, Uint8Array>;
}

/**
 * The stack as the swarm should hold it, in the Engine API's own shape and as `docker stack deploy` would make it,
 * so that the docker CLI shows it as a stack. Pure.
 */
export function convertStack(model: ComposeModel, context: StackContext): DesiredStack {
  const labels = {
    [CLUSTER_LABEL]: context.cluster,
    [STACK_LABEL]: context.stack,
    'com.docker.stack.namespace': context.stack,
  };
  const configs = convertFiles(model.configs, context, labels);
  const secrets = convertFiles(model.secrets, context, labels);
  const byKind = { configs, secrets };
  const scope: StackScope = {
    labels,
    name: (short) => `${context.stack}_${short}`,
    target: (short, declared) =>
      declared?.name ?? (declared?.external === true ? short : `${context.stack}_${short}`),
    fileName: (kind, short) => byKind[kind].get(short)?.Name ?? model[kind][short]?.name ?? short,
  };
  const networks = usedNetworks(model);
  return {
    name: context.stack,
    networks: networks
      .filter(([, it]) => it.external !== true)
      .map(([name, it]) => convertNetwork(name, it, scope)),
    configs: [...configs.values()],
    secrets: [...secrets.values()],
    services: Object.entries(model.services).map(([name, it]) =>
      withHash(convertService(name, it, model, scope)),
    ),
    externals: {
      networks: networks.filter(([, it]) => it.external === true).map(([name, it]) => it.name ?? name),
      configs: externalNames(model.configs),
      secrets: externalNames(model.secrets),
    },
  };
}

const withHash = (spec: ServiceSpec): ServiceSpec => ({
  ...spec,
  Labels: { ...spec.Labels, [SPEC_HASH_LABEL]: hashService(spec) },
});

const externalNames = (files: Readonly<Record<string, ComposeFile>>): readonly string[] =>
  Object.entries(files).flatMap(([name, file]) => (file.external === true ? [file.name ?? name] : []));

/** What is declared, and `default`, declared or not, when a service says no network. */
function usedNetworks(model: ComposeModel): readonly (readonly [string, ComposeNetwork])[] {
  const needsDefault = Object.values(model.services).some(
    (it) => it.networks === undefined || 'default' in it.networks,
  );
  const implied = needsDefault && !('default' in model.networks) ? { default: {} } : {};
  return Object.entries({ ...model.networks, ...implied });
}

function convertNetwork(name: string, network: ComposeNetwork, scope: StackScope): NetworkSpec {
  const { ipam } = network;
  return {
    Name: scope.target(name, network),
    Driver: network.driver ?? 'overlay',
    Labels: { ...network.labels, ...scope.labels },
    Attachable: network.attachable ?? false,
    Internal: network.internal ?? false,
    ...defined({
      Options: network.driver_opts,
      IPAM:
        ipam &&
        defined({ Driver: ipam.driver, Config: ipam.config?.map(({ subnet }) => ({ Subnet: subnet })) }),
    }),
  };
}

function convertFiles(
  files: Readonly<Record<string, ComposeFile>>,
  context: StackContext,
  stackLabels: Readonly<Record<string, string>>,
): ReadonlyMap<string, ConfigSpec> {
  const own = Object.entries(files).filter(([, file]) => file.external !== true);
  return new Map(own.map(([name, file]) => [name, convertFile(name, file, context, stackLabels)]));
}

/**
 * Content cannot be changed under one name, so its hash is part of the name and a change makes a new object.
 * For secrets too: eight hex digits tell a guesser little, but a secret that can be guessed from a list is not safe.
 */
function convertFile(
  name: string,
  file: ComposeFile,
  context: StackContext,
  stackLabels: Readonly<Record<string, string>>,
): ConfigSpec {
  const content = file.content === undefined ? context.files.get(file.file ?? '') : Buffer.from(file.content);
  if (content === undefined) throw new RangeError(`the content of ${file.file} was not given`);
  const labels = JSON.stringify(Object.entries(file.labels ?? {}).sort());
  const hash = createHash('sha256').update(labels).update(content).digest('hex').slice(0, 8);
  return {
    Name: `${file.name ?? `${context.stack}_${name}`}-${hash}`,
    Labels: { ...file.labels, ...stackLabels },
    Data: Buffer.from(content).toString('base64'),
  };
}
