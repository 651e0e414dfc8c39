import type {
  ContainerSpec,
  HealthConfig,
  Labels,
  Mount,
  MountedFile,
  PublishedPort,
  Resources,
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
  MountedComposeFile,
  VolumeMount,
} from './compose-schema.ts';
import { defined } from './defined.ts';

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
}

const DEFAULT_MODE = 0o444;

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
    'com.docker.stack.image': service.image,
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
  const { placement, restart_policy: restart } = service.deploy ?? {};
  return defined({
    ContainerSpec: convertContainer(service, model, scope),
    Resources: convertResources(service.deploy),
    RestartPolicy:
      restart &&
      defined({
        Condition: restart.condition,
        Delay: restart.delay,
        MaxAttempts: restart.max_attempts,
        Window: restart.window,
      }),
    Placement: defined({
      Constraints: placement?.constraints,
      MaxReplicas: placement?.max_replicas_per_node,
    }),
    Networks: Object.entries(service.networks ?? { default: {} })
      .map(([network, { aliases, driver_opts }]) => ({
        Target: scope.target(network, model.networks[network]),
        // Containers find each other by the service's short name.
        Aliases: [...(aliases ?? []), name],
        ...defined({ DriverOpts: driver_opts }),
      }))
      .sort((a, b) => compare(a.Target, b.Target)),
    LogDriver: service.logging && defined({ Name: service.logging.driver, Options: service.logging.options }),
  });
}

function convertContainer(service: ComposeService, model: ComposeModel, scope: StackScope): ContainerSpec {
  const dns = defined({ Nameservers: service.dns, Search: service.dns_search });
  const added = capabilities(service.cap_add);
  return defined({
    Image: service.image,
    Labels: { ...service.labels, ...scope.labels },
    Command: service.entrypoint,
    Args: service.command,
    Hostname: service.hostname,
    Env: Object.entries(service.environment ?? {})
      .map(([key, value]) => `${key}=${value}`)
      .sort(compare),
    Dir: service.working_dir,
    User: service.user,
    Mounts: service.volumes?.map((mount) => convertMount(mount, model, scope)),
    StopGracePeriod: service.stop_grace_period,
    StopSignal: service.stop_signal,
    Healthcheck: convertHealthcheck(service.healthcheck),
    Hosts: service.extra_hosts,
    DNSConfig: Object.keys(dns).length > 0 ? dns : undefined,
    Configs: service.configs
      ?.map((it) => ({
        File: mountedFile(it),
        ConfigName: scope.fileName('configs', it.source),
      }))
      .sort((a, b) => compare(a.ConfigName, b.ConfigName)),
    Secrets: service.secrets
      ?.map((it) => ({ File: mountedFile(it), SecretName: scope.fileName('secrets', it.source) }))
      .sort((a, b) => compare(a.SecretName, b.SecretName)),
    ReadOnly: service.read_only,
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

/** One mount; a named volume brings its driver and labels along, since each node makes it on its own. */
function convertMount(mount: VolumeMount, model: ComposeModel, scope: StackScope): Mount {
  const plain = defined({
    Type: mount.type,
    Source: mount.source,
    Target: mount.target,
    ReadOnly: mount.read_only,
    BindOptions: mount.bind && defined({ Propagation: mount.bind.propagation }),
    TmpfsOptions: mount.tmpfs && defined({ SizeBytes: mount.tmpfs.size }),
  });
  if (mount.type !== 'volume' || mount.source === undefined) return plain;
  const volume = model.volumes[mount.source] ?? {};
  const Source = scope.target(mount.source, volume);
  const NoCopy = mount.volume?.nocopy;
  if (volume.external === true) return { ...plain, Source, ...(NoCopy && { VolumeOptions: { NoCopy } }) };
  const driver = defined({ Name: volume.driver, Options: volume.driver_opts });
  const DriverConfig = Object.keys(driver).length > 0 ? driver : undefined;
  const Labels = { ...volume.labels, ...scope.labels };
  return { ...plain, Source, VolumeOptions: { Labels, ...defined({ NoCopy, DriverConfig }) } };
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
      Retries: check.retries,
    })
  );
}

function convertResources(deploy: Deploy | undefined): Resources | undefined {
  const { limits, reservations } = deploy?.resources ?? {};
  if (limits === undefined && reservations === undefined) return undefined;
  return defined({
    Limits: limits && defined({ NanoCPUs: limits.cpus, MemoryBytes: limits.memory, Pids: limits.pids }),
    Reservations: reservations && defined({ NanoCPUs: reservations.cpus, MemoryBytes: reservations.memory }),
  });
}

function convertMode(deploy: Partial<Deploy>): ServiceMode {
  return deploy.mode === 'global' ? { Global: {} } : { Replicated: { Replicas: deploy.replicas ?? 1 } };
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
      Protocol: port.protocol,
      TargetPort: port.target,
      ...defined({ PublishedPort: port.published }),
      PublishMode: port.mode,
    }))
    .sort((a, b) => (a.PublishedPort ?? 0) - (b.PublishedPort ?? 0));
