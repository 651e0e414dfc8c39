import { familiarImage } from '../swarm/image-reference.ts';
import type {
  ContainerSpec,
  HealthConfig,
  Labels,
  Mount,
  MountedFile,
  NetworkAttachment,
  PublishedPort,
  Resources,
  RestartPolicy,
  ServiceMode,
  ServiceSpec,
  TaskSpec,
  UpdateConfig,
} from '../swarm/swarm-types.ts';
import type {
  ComposeModel,
  ComposeService,
  ComposeUpdateConfig,
  Deploy,
  EnvironmentPart,
  MountedComposeFile,
} from './compose-schema.ts';
import { defined } from './defined.ts';
import type { VolumeMount } from './read-volume.ts';

/** How names of a compose file become names of the swarm. */
export interface StackScope {
  /** On every object that the stack makes. */
  readonly labels: Labels;
  /** `<stack>_<name>`. */
  name(short: string): string;
  /** The name of a network or volume: its own when it says one, or is external. */
  target(
    short: string,
    declared: { readonly name?: string; readonly external?: boolean } | undefined,
  ): string;
  /** The name of a config or secret, its content's hash included. */
  fileName(kind: 'configs' | 'secrets', short: string): string;
  /** What the parts of an environment come to. */
  environment(parts: readonly EnvironmentPart[]): Readonly<Record<string, string | null>>;
  /** An absolute path of a node, from one that may be relative to the compose file or begin with `~`. */
  path(written: string): string;
}

const DEFAULT_MODE = 0o444;
/** Networks that each node has by itself. */
const NODES_OWN = ['bridge', 'host', 'none'];

/**
 * A service as `docker stack deploy` sends it (docker/cli cli/compose/convert/service.go), lists sorted as there;
 * networks, configs and secrets by the names that they have in the swarm.
 */
export function convertService(
  name: string,
  service: ComposeService,
  model: ComposeModel,
  scope: StackScope,
): ServiceSpec {
  const deploy: Partial<Deploy> = service.deploy ?? {};
  const Labels: Labels = {
    ...deploy.labels,
    ...scope.labels,
    // Shown by the docker CLI, which resolves digests into the image itself.
    'com.docker.stack.image': service.image ?? '',
  };
  return {
    Name: scope.name(name),
    Labels,
    TaskTemplate: convertTask(name, service, model, scope),
    Mode: convertMode(deploy),
    ...defined({
      UpdateConfig: convertUpdate(deploy.update_config),
      RollbackConfig: convertUpdate(deploy.rollback_config),
    }),
    // An empty mode made old engines assign two addresses: it is always said.
    EndpointSpec: { Mode: deploy.endpoint_mode ?? 'vip', Ports: convertPorts(service) },
  };
}

function convertTask(
  name: string,
  service: ComposeService,
  model: ComposeModel,
  scope: StackScope,
): TaskSpec {
  const { placement } = service.deploy ?? {};
  return defined({
    ContainerSpec: convertContainer(service, model, scope),
    Resources: convertResources(service.deploy),
    RestartPolicy: convertRestart(service),
    Placement: defined({
      Constraints: placement?.constraints,
      Preferences: placement?.preferences?.map(({ spread }) => ({ Spread: { SpreadDescriptor: spread } })),
      MaxReplicas: placement?.max_replicas_per_node,
    }),
    Networks: convertNetworks(name, service, model, scope),
    LogDriver: service.logging && defined({ Name: service.logging.driver, Options: service.logging.options }),
  });
}

/** The networks that it says, by their names in the file, or that of those who say none. */
export function networksOf({ networks = {} }: ComposeService): readonly string[] {
  const names = Object.keys(networks);
  return names.length === 0 ? ['default'] : names;
}

const convertNetworks = (
  name: string,
  service: ComposeService,
  model: ComposeModel,
  scope: StackScope,
): readonly NetworkAttachment[] =>
  networksOf(service)
    .map((network) => {
      const { aliases = [], driver_opts } = service.networks?.[network] ?? {};
      const Target = scope.target(network, model.networks[network]);
      // Containers find each other by the service's short name, though not in a network that is the node's own.
      const short = NODES_OWN.includes(Target) ? [] : [name];
      return { Target, Aliases: [...aliases, ...short], ...defined({ DriverOpts: driver_opts }) };
    })
    .sort((a, b) => compare(a.Target, b.Target));

function convertContainer(service: ComposeService, model: ComposeModel, scope: StackScope): ContainerSpec {
  const dns = defined({ Nameservers: service.dns, Search: service.dns_search });
  const added = capabilities(service.cap_add);
  return defined({
    Image: familiarImage(service.image ?? ''),
    // Though empty, it is said, as the CLI says it: to the engine a spec without is another one.
    Privileges: convertPrivileges(service, scope),
    Labels: { ...service.labels, ...scope.labels },
    Command: service.entrypoint,
    Args: service.command,
    Hostname: service.hostname,
    Env: Object.entries(scope.environment(service.environment ?? []))
      .map(([key, value]) => (value === null ? key : `${key}=${value}`))
      .sort(compare),
    Dir: service.working_dir,
    User: service.user,
    Mounts: [...(service.volumes ?? []), ...(service.tmpfs ?? [])].map((mount) =>
      convertMount(mount, model, scope),
    ),
    StopGracePeriod: service.stop_grace_period,
    StopSignal: service.stop_signal,
    Healthcheck: convertHealthcheck(service.healthcheck),
    Hosts: service.extra_hosts?.map((it) => it.replace(/^([^:]*):(.*)$/, '$2 $1')),
    DNSConfig: Object.keys(dns).length > 0 ? dns : undefined,
    Configs: convertConfigs(service, scope),
    Secrets: service.secrets
      ?.map((it) => ({ File: mountedFile(it), SecretName: scope.fileName('secrets', it.source) }))
      .sort((a, b) => compare(a.SecretName, b.SecretName)),
    ReadOnly: service.read_only,
    TTY: service.tty,
    OpenStdin: service.stdin_open,
    Isolation: service.isolation,
    OomScoreAdj: service.oom_score_adj,
    Init: service.init,
    Sysctls: service.sysctls,
    CapabilityAdd: added,
    CapabilityDrop: capabilities(service.cap_drop)?.filter((it) => added?.includes(it) !== true),
    Ulimits:
      service.ulimits &&
      Object.entries(service.ulimits)
        .map(([Name, { soft, hard }]) => ({ Name, Soft: soft, Hard: hard }))
        .sort((a, b) => compare(a.Name, b.Name)),
  });
}

type Configs = NonNullable<ContainerSpec['Configs']>;

/** Those that are mounted, and the one that the engine itself reads: a credential spec. */
function convertConfigs(
  { configs, credential_spec }: ComposeService,
  scope: StackScope,
): Configs | undefined {
  const mounted = configs?.map((it) => ({
    File: mountedFile(it),
    ConfigName: scope.fileName('configs', it.source),
  }));
  const ofRuntime =
    credential_spec?.config === undefined
      ? []
      : [{ Runtime: {}, ConfigName: scope.fileName('configs', credential_spec.config) }];
  const all = [...(mounted ?? []), ...ofRuntime];
  return mounted || ofRuntime.length > 0
    ? all.sort((a, b) => compare(a.ConfigName, b.ConfigName))
    : undefined;
}

/** Empty, but said: for the engine it is not the same as nothing, and a stack that changes hands would start anew. */
function convertPrivileges({ credential_spec: spec }: ComposeService, scope: StackScope) {
  if (spec === undefined) return {};
  const { config, file, registry } = spec;
  const Config = config === undefined ? undefined : scope.fileName('configs', config);
  return { CredentialSpec: defined({ Config, File: file, Registry: registry }) };
}

/** What `deploy` says; else what `restart` would mean to one engine. */
function convertRestart({ restart = '', deploy }: ComposeService): RestartPolicy | undefined {
  const policy = deploy?.restart_policy;
  if (policy)
    return defined({
      Condition: policy.condition,
      Delay: policy.delay,
      MaxAttempts: policy.max_attempts,
      Window: policy.window,
    });
  if (restart === 'always' || restart === 'unless-stopped') return { Condition: 'any' };
  const [, attempts] = /^on-failure(?::(\d+))?$/.exec(restart) ?? [];
  if (!restart.startsWith('on-failure')) return undefined;
  return { Condition: 'on-failure', MaxAttempts: Number(attempts ?? 0) };
}

/** One mount; a named volume brings its driver and labels along, since each node makes it on its own. */
function convertMount(mount: VolumeMount, model: ComposeModel, scope: StackScope): Mount {
  const { type, source } = mount;
  const plain = defined({
    Type: type,
    Source: type === 'bind' && source !== undefined ? scope.path(source) : source,
    Target: mount.target,
    ReadOnly: mount.read_only,
    Consistency: mount.consistency,
    BindOptions: mount.bind && defined({ Propagation: mount.bind.propagation }),
    TmpfsOptions: mount.tmpfs && defined({ SizeBytes: mount.tmpfs.size, Mode: mount.tmpfs.mode }),
  });
  if (source === undefined || (type !== 'volume' && type !== 'cluster')) return plain;
  const volume = (Object.hasOwn(model.volumes, source) ? model.volumes[source] : undefined) ?? {};
  if (type === 'cluster') {
    const isGroup = source.startsWith('group:');
    return { ...plain, Source: isGroup ? source : scope.target(source, volume), ClusterOptions: {} };
  }
  const Source = scope.target(source, volume);
  const options = defined({ NoCopy: mount.volume?.nocopy, Subpath: mount.volume?.subpath });
  if (volume.external === true) return { ...plain, Source, VolumeOptions: options };
  const driver = defined({ Name: volume.driver, Options: volume.driver_opts });
  const DriverConfig = Object.keys(driver).length > 0 ? driver : undefined;
  const Labels = { ...volume.labels, ...scope.labels };
  return { ...plain, Source, VolumeOptions: { Labels, ...options, ...defined({ DriverConfig }) } };
}

const compare = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);

/** Without a target, a config lies in the root folder and a secret in /run/secrets: the engine puts them there. */
const mountedFile = (file: MountedComposeFile): MountedFile => ({
  Name: file.target ?? file.source,
  UID: file.uid ?? '0',
  GID: file.gid ?? '0',
  Mode: file.mode ?? DEFAULT_MODE,
});

/** As the engine stores them: upper case with the prefix, sorted, each once. */
function capabilities(names: readonly string[] | undefined): readonly string[] | undefined {
  const normal = names
    ?.map((name) => name.toUpperCase())
    .map((it) => (it === 'ALL' ? it : `CAP_${it.replace(/^CAP_/, '')}`));
  return normal && [...new Set(normal)].sort(compare);
}

function convertHealthcheck(check: ComposeService['healthcheck']): HealthConfig | undefined {
  if (check?.disable === true) return { Test: ['NONE'] };
  return (
    check &&
    defined({
      Test: check.test,
      Interval: check.interval,
      Timeout: check.timeout,
      StartPeriod: check.start_period,
      StartInterval: check.start_interval,
      Retries: check.retries,
    })
  );
}

function convertResources(deploy: Deploy | undefined): Resources {
  const { limits, reservations } = deploy?.resources ?? {};
  const generic = reservations?.generic_resources?.map(({ discrete_resource_spec: { kind, value } }) => ({
    DiscreteResourceSpec: { Kind: kind, Value: value },
  }));
  return defined({
    Limits: limits && defined({ NanoCPUs: limits.cpus, MemoryBytes: limits.memory, Pids: limits.pids }),
    Reservations:
      reservations &&
      defined({ NanoCPUs: reservations.cpus, MemoryBytes: reservations.memory, GenericResources: generic }),
  });
}

function convertMode({ mode = 'replicated', replicas }: Deploy): ServiceMode {
  switch (mode) {
    case 'replicated':
      return { Replicated: { Replicas: replicas ?? 1 } };
    case 'global':
      return { Global: {} };
    case 'replicated-job':
      return { ReplicatedJob: defined({ MaxConcurrent: replicas, TotalCompletions: replicas }) };
    case 'global-job':
      return { GlobalJob: {} };
    default:
      return mode satisfies never;
  }
}

function convertUpdate(update: ComposeUpdateConfig | undefined): UpdateConfig | undefined {
  return (
    update &&
    defined({
      Parallelism: update.parallelism ?? 1,
      Delay: update.delay,
      FailureAction: update.failure_action,
      Monitor: update.monitor,
      MaxFailureRatio: update.max_failure_ratio,
      Order: update.order,
    })
  );
}

const convertPorts = (service: ComposeService): readonly PublishedPort[] =>
  (service.ports ?? [])
    .map((port) => ({
      Protocol: port.protocol ?? 'tcp',
      TargetPort: port.target,
      ...defined({ PublishedPort: port.published }),
      PublishMode: port.mode ?? 'ingress',
    }))
    .sort((a, b) => (a.PublishedPort ?? 0) - (b.PublishedPort ?? 0));
