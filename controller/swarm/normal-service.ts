import { stableHash } from '../stable-hash.ts';
import { compact, type Tree } from './diff-trees.ts';
import { familiarImage } from './image-reference.ts';
import { SPEC_HASH_LABEL } from './labels.ts';
import type {
  ContainerSpec,
  MountedFile,
  NetworkAttachment,
  PublishedPort,
  RestartPolicy,
  ServiceMode,
  ServiceSpec,
  TaskSpec,
  UpdateConfig,
} from './swarm-types.ts';

const SECOND_NS = 1_000_000_000;
/** Engine defaults: swarmkit api/defaults/service.go. */
const STOP_GRACE_NS = 10 * SECOND_NS;
const RESTART: RestartPolicy = { Condition: 'any', Delay: 5 * SECOND_NS };
const UPDATE: UpdateConfig = {
  Parallelism: 1,
  FailureAction: 'pause',
  Monitor: 5 * SECOND_NS,
  Order: 'stop-first',
};
/** Fields in which zero (or false) is another wish than "as the engine does it". */
const ZERO_MEANS_SOMETHING = new Set([
  'Replicas',
  'Parallelism',
  'StopGracePeriod',
  'Delay',
  'Init',
  'SwapBytes',
  'MemorySwappiness',
]);

/**
 * A service in the one form in which wanted and live can be compared: engine defaults filled in, lists without
 * meaning in their order keyed by what names their members, networks by name, and left out what is not a wish
 * (ids, the ForceUpdate counter, the platforms of a resolved image).
 */
export function normalService(spec: ServiceSpec, networkNames: ReadonlyMap<string, string>): Tree {
  return compact(
    {
      ...spec,
      TaskTemplate: normalTask(spec.TaskTemplate, networkNames),
      Mode: normalMode(spec.Mode),
      UpdateConfig: normalUpdate(spec.UpdateConfig),
      RollbackConfig: normalUpdate(spec.RollbackConfig),
      EndpointSpec: {
        ...spec.EndpointSpec,
        Mode: spec.EndpointSpec?.Mode || 'vip',
        Ports: keyed(
          spec.EndpointSpec?.Ports?.map(normalPort).sort(byPublished),
          (port) => `${port.TargetPort}/${port.Protocol}`,
        ),
      },
    },
    ZERO_MEANS_SOMETHING,
  );
}

/** Hash of what is wanted, blind to how it is written down and to its own label. */
export function hashService(spec: ServiceSpec): string {
  const { [SPEC_HASH_LABEL]: _, ...Labels } = spec.Labels;
  return stableHash(normalService({ ...spec, Labels }, new Map()));
}

function normalMode(mode: ServiceMode): unknown {
  if ('Global' in mode) return 'global';
  if ('GlobalJob' in mode) return 'global-job';
  if ('Replicated' in mode) return { Replicas: mode.Replicated.Replicas ?? 1 };
  const { MaxConcurrent = 1, TotalCompletions = MaxConcurrent } = mode.ReplicatedJob;
  return { MaxConcurrent, TotalCompletions };
}

function normalTask(task: TaskSpec, networkNames: ReadonlyMap<string, string>): Tree {
  const { Condition, Delay, ...restart } = task.RestartPolicy ?? {};
  return {
    ...task,
    ContainerSpec: normalContainer(task.ContainerSpec),
    RestartPolicy: { ...restart, Condition: Condition || RESTART.Condition, Delay: Delay ?? RESTART.Delay },
    Placement: { ...task.Placement, Constraints: set(task.Placement?.Constraints), Platforms: undefined },
    Networks: keyed(
      task.Networks?.map((network) => normalNetwork(network, networkNames)),
      (network) => network.Target,
    ),
    ForceUpdate: undefined,
    Runtime: undefined,
  };
}

function normalContainer(container: ContainerSpec): Tree {
  return {
    ...container,
    Image: familiarImage(container.Image),
    Env: keyed(container.Env, (line) => line.split('=', 1)[0] ?? line),
    Mounts: keyed(container.Mounts, (mount) => mount.Target),
    Configs: keyed(container.Configs?.map(withoutId), fileName),
    Secrets: keyed(container.Secrets?.map(withoutId), fileName),
    Ulimits: keyed(container.Ulimits, (limit) => limit.Name),
    Hosts: set(container.Hosts),
    CapabilityAdd: set(container.CapabilityAdd),
    CapabilityDrop: set(container.CapabilityDrop),
    StopGracePeriod: container.StopGracePeriod ?? STOP_GRACE_NS,
    Isolation: container.Isolation === 'default' ? undefined : container.Isolation,
    Privileges: normalPrivileges(container),
  };
}

/** A credential spec's config by its name, as it is wanted. */
function normalPrivileges({ Privileges, Configs }: ContainerSpec): Tree | undefined {
  const { CredentialSpec, ...rest } = Privileges ?? {};
  if (!CredentialSpec) return rest;
  const { ConfigName = CredentialSpec.Config } =
    Configs?.find(({ ConfigID }) => ConfigID !== undefined && ConfigID === CredentialSpec.Config) ?? {};
  return { ...rest, CredentialSpec: { ...CredentialSpec, Config: ConfigName } };
}

const withoutId = <T extends { readonly File?: MountedFile }>(reference: T) => ({
  ...reference,
  ConfigID: undefined,
  SecretID: undefined,
});

const fileName = ({ File }: { readonly File?: MountedFile }): string => File?.Name ?? '';

const normalNetwork = (
  { Target, Aliases, ...rest }: NetworkAttachment,
  names: ReadonlyMap<string, string>,
) => ({
  ...rest,
  Target: names.get(Target) ?? Target,
  Aliases: set(Aliases),
});

const normalPort = (port: PublishedPort) => ({
  ...port,
  Protocol: port.Protocol || 'tcp',
  PublishMode: port.PublishMode || 'ingress',
});

const byPublished = (a: PublishedPort, b: PublishedPort): number =>
  (a.PublishedPort ?? 0) - (b.PublishedPort ?? 0) || a.PublishMode.localeCompare(b.PublishMode);

function normalUpdate(update: UpdateConfig | undefined): Tree {
  if (update === undefined || update === null) return { ...UPDATE, Delay: 0 };
  return {
    ...update,
    Parallelism: update.Parallelism ?? 0,
    Delay: update.Delay ?? 0,
    FailureAction: update.FailureAction || UPDATE.FailureAction,
    Monitor: update.Monitor || UPDATE.Monitor,
    Order: update.Order || UPDATE.Order,
  };
}

const set = (members: readonly string[] | null | undefined): Tree =>
  Object.fromEntries((members ?? []).map((member) => [member, true]));

/** A list as a map; a second member of the same key gets a number, so that nothing is lost. */
function keyed<T>(members: readonly T[] | null | undefined, keyOf: (member: T) => string): Tree {
  const map: Record<string, unknown> = {};
  for (const member of members ?? []) {
    const key = keyOf(member);
    let free = key;
    for (let n = 2; Object.hasOwn(map, free); n += 1) free = `${key}#${n}`;
    map[free] = typeof member === 'object' ? compactMember(member as object) : member;
  }
  return map;
}

const compactMember = (member: object): Tree => compact({ ...member });
