/**
 * The Engine API's shapes as far as we use them, in its own spelling.
 * `...Spec` is what we send and what the engine gives back under `Spec`; `Live...` is what a listing returns.
 */

/** How often an object has been written; an update must name the version it was computed from. */
interface ObjectVersion {
  readonly Index: number;
}

export type Labels = Readonly<Record<string, string>>;

export interface NetworkAttachment {
  /** In a desired spec the network's name, in a live one its id. */
  readonly Target: string;
  readonly Aliases?: readonly string[];
  readonly DriverOpts?: Labels;
}

export interface MountedFile {
  readonly Name: string;
  readonly UID: string;
  readonly GID: string;
  readonly Mode: number;
}

interface ConfigReference {
  readonly File?: MountedFile;
  /** Instead of a file: for the engine itself. */
  readonly Runtime?: object;
  /** Absent in a desired spec: `resolveReferences` fills it in just before the write. */
  readonly ConfigID?: string;
  readonly ConfigName: string;
}

interface SecretReference {
  readonly File: MountedFile;
  /** Absent in a desired spec: `resolveReferences` fills it in just before the write. */
  readonly SecretID?: string;
  readonly SecretName: string;
}

interface Driver {
  readonly Name?: string;
  readonly Options?: Labels;
}

export interface Mount {
  readonly Type: 'bind' | 'volume' | 'tmpfs' | 'npipe' | 'cluster';
  readonly Source?: string;
  readonly Target: string;
  readonly ReadOnly?: boolean;
  readonly BindOptions?: { readonly Propagation?: string };
  readonly VolumeOptions?: {
    readonly NoCopy?: boolean;
    readonly Subpath?: string;
    readonly Labels?: Labels;
    readonly DriverConfig?: Driver;
  };
  readonly TmpfsOptions?: { readonly SizeBytes?: number; readonly Mode?: number };
  readonly ClusterOptions?: object;
  readonly Consistency?: string;
}

/** Durations in nanoseconds. */
export interface HealthConfig {
  readonly Test?: readonly string[];
  readonly Interval?: number;
  readonly Timeout?: number;
  readonly StartPeriod?: number;
  readonly StartInterval?: number;
  readonly Retries?: number;
}

interface Ulimit {
  readonly Name: string;
  readonly Soft: number;
  readonly Hard: number;
}

export interface ContainerSpec {
  readonly Image: string;
  readonly Privileges?: {
    /** Its config by name in a desired spec, by id in a live one. */
    readonly CredentialSpec?: {
      readonly Config?: string;
      readonly File?: string;
      readonly Registry?: string;
    };
  };
  readonly Labels?: Labels;
  /** The entry point. */
  readonly Command?: readonly string[];
  readonly Args?: readonly string[];
  readonly Hostname?: string;
  readonly Env?: readonly string[];
  readonly Dir?: string;
  readonly User?: string;
  readonly Mounts?: readonly Mount[];
  /** Nanoseconds. */
  readonly StopGracePeriod?: number;
  readonly StopSignal?: string;
  readonly Healthcheck?: HealthConfig;
  readonly Hosts?: readonly string[];
  readonly DNSConfig?: {
    readonly Nameservers?: readonly string[];
    readonly Search?: readonly string[];
  };
  readonly Secrets?: readonly SecretReference[];
  readonly Configs?: readonly ConfigReference[];
  readonly ReadOnly?: boolean;
  readonly TTY?: boolean;
  readonly OpenStdin?: boolean;
  readonly Isolation?: string;
  readonly OomScoreAdj?: number;
  readonly Init?: boolean;
  readonly Sysctls?: Labels;
  readonly CapabilityAdd?: readonly string[];
  readonly CapabilityDrop?: readonly string[];
  readonly Ulimits?: readonly Ulimit[];
}

interface ResourceAmounts {
  readonly NanoCPUs?: number;
  readonly MemoryBytes?: number;
  readonly Pids?: number;
}

export interface Resources {
  readonly Limits?: ResourceAmounts;
  readonly Reservations?: Omit<ResourceAmounts, 'Pids'> & {
    readonly GenericResources?: readonly {
      readonly DiscreteResourceSpec?: { readonly Kind: string; readonly Value: number };
    }[];
  };
}

/** Delay and window in nanoseconds. */
export interface RestartPolicy {
  readonly Condition?: 'none' | 'on-failure' | 'any';
  readonly Delay?: number;
  readonly MaxAttempts?: number;
  readonly Window?: number;
}

interface Placement {
  readonly Constraints?: readonly string[];
  readonly Preferences?: readonly { readonly Spread: { readonly SpreadDescriptor: string } }[];
  readonly MaxReplicas?: number;
}

export interface TaskSpec {
  readonly ContainerSpec: ContainerSpec;
  readonly Resources?: Resources;
  readonly RestartPolicy?: RestartPolicy;
  readonly Placement?: Placement;
  readonly Networks?: readonly NetworkAttachment[];
  readonly LogDriver?: Driver;
  /** A counter that restarts tasks when it moves; never ours to reset. */
  readonly ForceUpdate?: number;
}

export type ServiceMode =
  | { readonly Replicated: { readonly Replicas?: number } }
  | { readonly Global: Readonly<Record<string, never>> }
  | { readonly ReplicatedJob: { readonly MaxConcurrent?: number; readonly TotalCompletions?: number } }
  | { readonly GlobalJob: Readonly<Record<string, never>> };

/** Delay and monitor in nanoseconds. */
export interface UpdateConfig {
  readonly Parallelism?: number;
  readonly Delay?: number;
  readonly FailureAction?: 'continue' | 'pause' | 'rollback';
  readonly Monitor?: number;
  readonly MaxFailureRatio?: number;
  readonly Order?: 'stop-first' | 'start-first';
}

export interface PublishedPort {
  readonly Protocol: 'tcp' | 'udp' | 'sctp';
  readonly TargetPort: number;
  readonly PublishedPort?: number;
  readonly PublishMode: 'ingress' | 'host';
}

export interface ServiceSpec {
  readonly Name: string;
  readonly Labels: Labels;
  readonly TaskTemplate: TaskSpec;
  readonly Mode: ServiceMode;
  readonly UpdateConfig?: UpdateConfig;
  readonly RollbackConfig?: UpdateConfig;
  readonly EndpointSpec: { readonly Mode: 'vip' | 'dnsrr'; readonly Ports?: readonly PublishedPort[] };
}

export interface LiveService {
  readonly ID: string;
  readonly Version: ObjectVersion;
  readonly CreatedAt: string;
  readonly Spec: ServiceSpec;
  /** What an update replaced, for a rollback. */
  readonly PreviousSpec?: ServiceSpec;
  readonly ServiceStatus?: {
    readonly RunningTasks: number;
    readonly DesiredTasks: number;
    /** Of jobs. */
    readonly CompletedTasks?: number;
  };
  readonly UpdateStatus?: {
    /** updating, paused, completed, rollback_started, rollback_paused, rollback_completed. */
    readonly State: string;
    readonly StartedAt?: string;
    readonly Message?: string;
  };
  readonly Endpoint?: {
    readonly VirtualIPs?: readonly { readonly NetworkID?: string; readonly Addr?: string }[] | null;
    /** With the ports that the swarm has chosen itself. */
    readonly Ports?: readonly PublishedPort[] | null;
  };
}

export interface NetworkSpec {
  readonly Name: string;
  readonly Driver: string;
  readonly Labels: Labels;
  readonly Attachable: boolean;
  readonly Internal: boolean;
  readonly EnableIPv6?: boolean;
  readonly Options?: Labels;
  readonly IPAM?: {
    readonly Driver?: string;
    readonly Options?: Labels;
    readonly Config?: readonly {
      readonly Subnet?: string;
      readonly IPRange?: string;
      readonly Gateway?: string;
      readonly AuxiliaryAddresses?: Labels;
    }[];
  };
}

export interface LiveNetwork extends NetworkSpec {
  readonly Id: string;
}

/** `Data` is base64. */
export interface ConfigSpec {
  readonly Name: string;
  readonly Labels: Labels;
  readonly Data: string;
  readonly Templating?: Driver;
}

/** `Data` is base64; the engine never gives it back. With a driver, each task asks that for it. */
export interface SecretSpec extends ConfigSpec {
  readonly Driver?: Driver;
}

export interface LiveConfig {
  readonly ID: string;
  readonly Version: ObjectVersion;
  readonly CreatedAt: string;
  readonly Spec: ConfigSpec;
}

export interface LiveSecret {
  readonly ID: string;
  readonly Version: ObjectVersion;
  readonly CreatedAt: string;
  readonly Spec: Omit<SecretSpec, 'Data'>;
}

export interface NodeSpec {
  readonly Name?: string;
  readonly Labels: Labels;
  readonly Role: 'manager' | 'worker';
  readonly Availability: 'active' | 'pause' | 'drain';
}

export interface LiveNode {
  readonly ID: string;
  readonly Version: ObjectVersion;
  readonly CreatedAt: string;
  readonly Spec: NodeSpec;
  readonly Description: { readonly Hostname: string };
  readonly Status: {
    readonly State: 'unknown' | 'down' | 'ready' | 'disconnected';
    readonly Addr?: string;
    readonly Message?: string;
  };
  readonly ManagerStatus?: {
    readonly Leader?: boolean;
    readonly Reachability: 'unknown' | 'unreachable' | 'reachable';
    readonly Addr: string;
  };
}

export interface LiveTask {
  readonly ID: string;
  readonly ServiceID: string;
  readonly NodeID?: string;
  readonly Slot?: number;
  readonly DesiredState: string;
  readonly CreatedAt: string;
  readonly Spec: { readonly ContainerSpec?: ContainerSpec; readonly ForceUpdate?: number };
  readonly Status: {
    /** new, pending, assigned, accepted, preparing, starting, running, complete, shutdown, failed, rejected, orphaned, remove. */
    readonly State: string;
    /** By its node's clock. */
    readonly Timestamp?: string;
    /** Why it does not run. */
    readonly Err?: string;
    readonly ContainerStatus?: { readonly ContainerID?: string };
  };
  readonly NetworksAttachments?:
    | readonly {
        readonly Network?: { readonly ID: string };
        readonly Addresses?: readonly string[] | null;
      }[]
    | null;
}

export interface SwarmInspect {
  /** The cluster's identity: machines of another one are never touched. */
  readonly ID: string;
  readonly JoinTokens: { readonly Manager: string; readonly Worker: string };
}

/** What one engine says about itself and its place in a swarm. */
export interface EngineInfo {
  readonly ID: string;
  readonly Name: string;
  readonly Swarm: {
    readonly NodeID: string;
    readonly LocalNodeState: 'inactive' | 'pending' | 'active' | 'error' | 'locked';
    readonly ControlAvailable: boolean;
    readonly Error: string;
    readonly RemoteManagers?: readonly { readonly NodeID: string; readonly Addr: string }[] | null;
  };
}

/** A wake-up: something of this type changed; what it is now must be read anew. */
export interface EngineEvent {
  readonly type: string;
  readonly action: string;
  readonly actor: string;
  readonly timeNano: number;
}
