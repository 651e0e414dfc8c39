import { createHash } from 'node:crypto';
import { resolve } from 'node:path';
import { formatProblem } from '../../crds/problem.ts';
import { stableHash } from '../stable-hash.ts';
import { CLUSTER_LABEL, SPEC_HASH_LABEL, STACK_LABEL } from '../swarm/labels.ts';
import { hashService } from '../swarm/normal-service.ts';
import type { ConfigSpec, NetworkSpec, SecretSpec, ServiceSpec } from '../swarm/swarm-types.ts';
import type { ComposeFile, ComposeModel, ComposeNetwork, ComposeService } from './compose-schema.ts';
import { convertService, networksOf, type StackScope } from './convert-service.ts';
import { defined } from './defined.ts';
import { resolveEnvironment } from './environment.ts';
import type { Variables } from './interpolate.ts';
import type { LoadedCompose } from './load-compose.ts';

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
  /** What the files say that has no effect: each with its place, for people. */
  readonly warnings: readonly string[];
  /** What services need of others before they are made or changed, all by their swarm names. */
  readonly dependencies: Readonly<Record<string, Readonly<Record<string, AwaitedState>>>>;
}

/** All tasks run, and are healthy where there is a check; or, of a job, all have succeeded. */
export type AwaitedState = 'running' | 'completed';

type ReadStack = Pick<LoadedCompose, 'model' | 'warnings'>;

/** What a compose file does not say of itself. */
export interface StackContext {
  readonly cluster: string;
  readonly stack: string;
  /** Contents of the files that the compose files name, by the path that they give. */
  readonly files: ReadonlyMap<string, Uint8Array>;
  /** To which paths are relative. */
  readonly folder: string;
  /** What a name without a value stands for. */
  readonly variables: Variables;
}

/**
 * The stack as the swarm should hold it, in the Engine API's own shape and as `docker stack deploy` would make it,
 * so that the docker CLI shows it as a stack. Pure.
 */
export function convertStack({ model, warnings }: ReadStack, context: StackContext): DesiredStack {
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
    environment: (parts) => resolveEnvironment(parts, context.files, context.variables),
    path: (written) =>
      resolve(
        context.folder,
        written.replace(/^~/, () => context.variables.HOME ?? '~'),
      ),
  };
  const networks = usedNetworks(model);
  return {
    name: context.stack,
    warnings: warnings.map(formatProblem),
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
    dependencies: Object.fromEntries(
      Object.entries(model.services).flatMap(([name, { depends_on }]) =>
        depends_on ? [[scope.name(name), awaitedStates(depends_on, model, scope)] as const] : [],
      ),
    ),
  };
}

/** An optional one that is not there is not awaited. */
function awaitedStates(
  needs: NonNullable<ComposeService['depends_on']>,
  { services }: ComposeModel,
  scope: StackScope,
): Readonly<Record<string, AwaitedState>> {
  const present = Object.entries(needs).filter(([name]) => Object.hasOwn(services, name));
  return Object.fromEntries(
    present.map(([name, { condition }]) => {
      const completed = condition === 'service_completed_successfully';
      return [scope.name(name), completed ? 'completed' : 'running'] as const;
    }),
  );
}

const withHash = (spec: ServiceSpec): ServiceSpec => ({
  ...spec,
  Labels: { ...spec.Labels, [SPEC_HASH_LABEL]: hashService(spec) },
});

const externalNames = (files: Readonly<Record<string, ComposeFile>>): readonly string[] =>
  Object.entries(files).flatMap(([name, file]) => (file.external === true ? [file.name ?? name] : []));

/** What services say, and `default`, declared or not, where one says nothing; nobody misses what is only declared. */
function usedNetworks(model: ComposeModel): readonly (readonly [string, ComposeNetwork])[] {
  const used = new Set(Object.values(model.services).flatMap(networksOf));
  return Object.entries({ default: {}, ...model.networks }).filter(([name]) => used.has(name));
}

function convertNetwork(name: string, network: ComposeNetwork, scope: StackScope): NetworkSpec {
  const { ipam } = network;
  return {
    Name: scope.target(name, network),
    Driver: network.driver ?? 'overlay',
    Labels: { ...network.labels, ...scope.labels },
    Attachable: network.attachable ?? false,
    Internal: network.internal ?? false,
    ...defined({ Options: network.driver_opts, IPAM: ipam && convertIpam(ipam) }),
  };
}

const convertIpam = ({ driver, options, config }: NonNullable<ComposeNetwork['ipam']>) =>
  defined({
    Driver: driver,
    Options: options,
    Config: config?.map((pool) =>
      defined({
        Subnet: pool.subnet,
        IPRange: pool.ip_range,
        Gateway: pool.gateway,
        AuxiliaryAddresses: pool.aux_addresses,
      }),
    ),
  });

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
  const content = contentOf(file, context);
  if (content === undefined) throw new RangeError(`the content of ${file.file} was not given`);
  const { driver, driver_opts, template_driver } = file;
  const labels = JSON.stringify(Object.entries(file.labels ?? {}).sort());
  const drivers = driver || template_driver ? stableHash({ driver, driver_opts, template_driver }) : '';
  const hash = createHash('sha256').update(labels).update(content).update(drivers).digest('hex').slice(0, 8);
  return {
    Name: `${shortened(file.name ?? `${context.stack}_${name}`)}-${hash}`,
    Labels: { ...file.labels, ...stackLabels },
    Data: Buffer.from(content).toString('base64'),
    ...defined({
      Driver: driver === undefined ? undefined : { Name: driver, ...defined({ Options: driver_opts }) },
      Templating: template_driver === undefined ? undefined : { Name: template_driver },
    }),
  };
}

/** Leaves space for a hash: the swarm takes 64 letters. */
const shortened = (name: string): string =>
  name.length <= 55 ? name : `${name.slice(0, 46)}-${stableHash(name).slice(0, 8)}`;

function contentOf(
  { content, environment, driver, file = '' }: ComposeFile,
  { files, variables }: StackContext,
): Uint8Array | undefined {
  if (driver !== undefined) return Buffer.from('');
  const text = environment === undefined ? content : variables[environment];
  return text === undefined ? files.get(file) : Buffer.from(text);
}
