import type { Readable } from 'node:stream';
import type {
  ConfigSpec,
  EngineEvent,
  EngineInfo,
  Labels,
  LiveConfig,
  LiveNetwork,
  LiveNode,
  LiveSecret,
  LiveService,
  LiveTask,
  NetworkSpec,
  NodeSpec,
  SecretSpec,
  ServiceSpec,
  SwarmInspect,
} from './swarm-types.ts';

interface InitSwarmOptions {
  /** The address that peers reach this manager by. */
  readonly advertiseAddr: string;
  /** Address pools of overlay networks, clear of the nodes' own network. */
  readonly defaultAddrPool: readonly string[];
  /** Prefix length of each overlay network. */
  readonly subnetSize: number;
}

interface JoinSwarmOptions {
  readonly advertiseAddr: string;
  /** `host:port` of managers. */
  readonly remoteAddrs: readonly string[];
  readonly token: string;
}

/** One engine's own API: any node answers it, in a swarm or not. */
export interface EngineGateway {
  info(signal: AbortSignal): Promise<EngineInfo>;
  initSwarm(options: InitSwarmOptions, signal: AbortSignal): Promise<void>;
  /** After 20 s the engine reports a time-out and keeps joining: `pending`, to be seen again by `info`. */
  joinSwarm(options: JoinSwarmOptions, signal: AbortSignal): Promise<'joined' | 'pending'>;
  leaveSwarm(options: { readonly force: boolean }, signal: AbortSignal): Promise<void>;
  /**
   * What the image is, by what containers that are made of it get, or undefined when the engine's store lacks it. The
   * engine's own id is of no use between engines: it depends on the kind of store (that of containerd since 29).
   */
  imageId(reference: string, signal: AbortSignal): Promise<string | undefined>;
  /** The ids of those that the engine's store holds, by reference: one question, as a rule. */
  imageIds(references: readonly string[], signal: AbortSignal): Promise<Readonly<Record<string, string>>>;
  /** Stores the images of a `docker save` stream; resolves when the engine has read all of it. */
  loadImages(archive: Readable, signal: AbortSignal): Promise<void>;
  /** Asks the engine to pull the image from its registry. */
  pullImage(reference: string, signal: AbortSignal): Promise<void>;
  /** Wake-ups only, until the signal or a lost connection ends it: the caller connects again and lists anew. */
  events(types: readonly string[], signal: AbortSignal): AsyncIterable<EngineEvent>;
}

/** All tasks, or those of services or a node (ids), in any state; or those that are meant to run. */
export interface TaskFilter {
  readonly services?: readonly string[];
  readonly node?: string;
  readonly desired?: 'running';
  /** Only those that their service's spec, as it is now, would not replace. */
  readonly upToDate?: true;
}

/** The swarm's API, as a manager answers it. Every write is one method, so that a fake can count them. */
export interface SwarmGateway {
  inspectSwarm(signal: AbortSignal): Promise<SwarmInspect>;

  listNodes(signal: AbortSignal): Promise<readonly LiveNode[]>;
  updateNode(live: Pick<LiveNode, 'ID' | 'Version'>, spec: NodeSpec, signal: AbortSignal): Promise<void>;
  removeNode(id: string, options: { readonly force: boolean }, signal: AbortSignal): Promise<void>;

  /** Networks of the swarm's scope. */
  listNetworks(signal: AbortSignal): Promise<readonly LiveNetwork[]>;
  createNetwork(spec: NetworkSpec, signal: AbortSignal): Promise<string>;
  removeNetwork(id: string, signal: AbortSignal): Promise<void>;

  listConfigs(signal: AbortSignal): Promise<readonly LiveConfig[]>;
  /** By id or name; undefined when there is none. */
  findConfig(idOrName: string, signal: AbortSignal): Promise<LiveConfig | undefined>;
  createConfig(spec: ConfigSpec, signal: AbortSignal): Promise<string>;
  /** Its labels: the engine lets nothing else of a config be changed. */
  labelConfig(live: LiveConfig, labels: Labels, signal: AbortSignal): Promise<void>;
  removeConfig(id: string, signal: AbortSignal): Promise<void>;

  listSecrets(signal: AbortSignal): Promise<readonly LiveSecret[]>;
  createSecret(spec: SecretSpec, signal: AbortSignal): Promise<string>;
  removeSecret(id: string, signal: AbortSignal): Promise<void>;

  /** With `ServiceStatus`. */
  listServices(signal: AbortSignal): Promise<readonly LiveService[]>;
  createService(spec: ServiceSpec, signal: AbortSignal): Promise<string>;
  /** Keeps the live ForceUpdate counter and registry credentials. */
  updateService(
    live: Pick<LiveService, 'ID' | 'Version' | 'Spec'>,
    spec: ServiceSpec,
    signal: AbortSignal,
  ): Promise<void>;
  /** Ends the tasks and starts them anew, from the spec as it is: the ForceUpdate counter alone counts on. */
  restartService(live: Pick<LiveService, 'ID' | 'Version' | 'Spec'>, signal: AbortSignal): Promise<void>;
  removeService(id: string, signal: AbortSignal): Promise<void>;

  listTasks(filter: TaskFilter, signal: AbortSignal): Promise<readonly LiveTask[]>;
}
