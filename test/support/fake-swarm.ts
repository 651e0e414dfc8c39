import type { Readable } from 'node:stream';
import { isDeepStrictEqual } from 'node:util';
import { mayRunOn } from '../../controller/stack/needed-images.ts';
import { ConflictError, EngineError } from '../../controller/swarm/engine-error.ts';
import type { EngineGateway, SwarmGateway } from '../../controller/swarm/swarm-gateway.ts';
import type {
  ContainerSpec,
  EngineEvent,
  LiveConfig,
  LiveNetwork,
  LiveNode,
  LiveSecret,
  LiveService,
  LiveTask,
  ServiceMode,
  ServiceSpec,
} from '../../controller/swarm/swarm-types.ts';

const CREATED_AT = '2026-01-01T00:00:00Z';

interface Engine {
  readonly name: string;
  readonly address: string;
  /** Reference -> id. */
  readonly images: Map<string, string>;
  nodeId: string;
  state: 'inactive' | 'active';
}

/**
 * A swarm in memory that refuses and fills in what the real one does: versions, taken names, objects in use,
 * network ids for names, defaults. `writes` holds each write call as `method name`, so a test can demand none.
 */
export class FakeSwarm {
  readonly id = 'fake-swarm';
  readonly writes: string[] = [];
  readonly nodes = new Map<string, LiveNode>();
  readonly networks = new Map<string, LiveNetwork>();
  readonly configs = new Map<string, LiveConfig>();
  readonly secrets = new Map<string, LiveSecret>();
  readonly services = new Map<string, LiveService>();
  /** May throw what the real engine would, by call: `createService streaming_kafka`. */
  beforeCall: (call: string) => void = () => {};
  /** What engines wait for before they tell their images. */
  lateImages: Promise<void> = Promise.resolve();
  /** Overrides the state of tasks; by default all run at once. */
  taskState: (task: { service: string; node: string; slot: number }) => string = () => 'running';
  /** What a task that does not run says of itself. */
  taskError: (service: string) => string = () => '';
  /** Services whose tasks are still those of the spec before. */
  readonly outdated = new Set<string>();
  /** Fields of a container that this engine is too old for: it drops them and says nothing. */
  readonly drops = new Set<string>();
  /** Tasks that ended. */
  readonly #history: LiveTask[] = [];
  readonly gateway: SwarmGateway;
  #restarts = new Map<string, number>();
  #engines = new Map<string, Engine>();
  #listeners = new Set<(event: EngineEvent) => void>();
  #counter = 0;

  constructor() {
    this.gateway = makeGateway(this);
  }

  /** The engine of a machine; made inactive, with an empty store, when it was not known. */
  engine(name: string, address = `10.0.0.${this.#engines.size + 1}`): EngineGateway {
    return makeEngine(this, this.engineState(name, address));
  }

  engineState(name: string, address = `10.0.0.${this.#engines.size + 1}`): Engine {
    const known = this.#engines.get(name);
    if (known !== undefined) return known;
    const made: Engine = { name, address, images: new Map(), nodeId: '', state: 'inactive' };
    this.#engines.set(name, made);
    return made;
  }

  /** Puts a node into the swarm at once, as a test's starting point; no write is counted. */
  addNode(
    name: string,
    role: 'manager' | 'worker' = 'worker',
    labels: Record<string, string> = {},
  ): LiveNode {
    const engine = this.engineState(name);
    engine.nodeId = this.nextId('node');
    engine.state = 'active';
    const node: LiveNode = {
      ID: engine.nodeId,
      Version: this.nextVersion(),
      CreatedAt: CREATED_AT,
      Spec: { Labels: labels, Role: role, Availability: 'active' },
      Description: { Hostname: name },
      Status: { State: 'ready', Addr: engine.address },
      ...(role === 'manager' && {
        ManagerStatus: {
          Leader: this.nodes.size === 0,
          Reachability: 'reachable',
          Addr: `${engine.address}:2377`,
        },
      }),
    };
    this.nodes.set(node.ID, node);
    return node;
  }

  /** Somebody else's hand: changes a node or a service without counting a write. */
  editNode(id: string, edit: (node: LiveNode) => LiveNode): void {
    this.nodes.set(id, { ...edit(this.must(this.nodes, id)), Version: this.nextVersion() });
  }

  editService(name: string, edit: (spec: ServiceSpec) => ServiceSpec): void {
    const live = [...this.services.values()].find((service) => service.Spec.Name === name);
    if (live === undefined) throw new Error(`no service ${name}`);
    this.services.set(live.ID, { ...live, Spec: edit(live.Spec), Version: this.nextVersion() });
  }

  /** What the engine does when a task of an update fails while it is watched. */
  failUpdate(name: string, action: 'pause' | 'rollback', Err: string): void {
    const live = [...this.services.values()].find((service) => service.Spec.Name === name);
    if (live === undefined) throw new Error(`no service ${name}`);
    const ID = this.nextId('task');
    const ended = { DesiredState: 'shutdown', CreatedAt: this.nextTime(), Status: { State: 'failed', Err } };
    this.#history.push({ ID, ServiceID: live.ID, Spec: live.Spec.TaskTemplate, ...ended });
    const Message = `update ${action === 'pause' ? 'paused' : 'rolled back'} due to failure or early termination of task ${ID}`;
    const State = action === 'pause' ? 'paused' : 'rollback_completed';
    const { PreviousSpec, ...rest } = live;
    this.services.set(live.ID, {
      ...(action === 'pause' ? live : { ...rest, Spec: PreviousSpec ?? live.Spec }),
      UpdateStatus: { State, StartedAt: this.nextTime(), Message },
      Version: this.nextVersion(),
    });
  }

  emit(event: Partial<EngineEvent>): void {
    for (const listener of this.#listeners)
      listener({ type: '', action: '', actor: '', timeNano: 0, ...event });
  }

  listen(listener: (event: EngineEvent) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  nextId(kind: string): string {
    this.#counter += 1;
    return `${kind}-id-${this.#counter}`;
  }

  nextTime(): string {
    this.#counter += 1;
    return new Date(Date.parse(CREATED_AT) + this.#counter * 1000).toISOString();
  }

  nextVersion(): { readonly Index: number } {
    this.#counter += 1;
    return { Index: this.#counter };
  }

  write(call: string): void {
    this.beforeCall(call);
    this.writes.push(call);
  }

  must<T>(map: ReadonlyMap<string, T>, id: string): T {
    const found = map.get(id);
    if (found === undefined) throw new EngineError('NOT_FOUND', `${id} not found`);
    return found;
  }

  /** What the engine stores of a spec: network ids for names, and defaults that nobody sent. */
  stored(spec: ServiceSpec): ServiceSpec {
    const byName = new Map([...this.networks.values()].map((network) => [network.Name, network.Id]));
    const { TaskTemplate } = spec;
    for (const { Target } of TaskTemplate.Networks ?? [])
      if (!byName.has(Target) && !this.networks.has(Target))
        throw new EngineError('NOT_FOUND', `network ${Target} not found`);
    this.#checkFiles(spec);
    return {
      ...spec,
      TaskTemplate: {
        ForceUpdate: 0,
        ...TaskTemplate,
        ...{ Runtime: 'container' },
        ContainerSpec: this.#kept({ ...TaskTemplate.ContainerSpec, ...{ Isolation: 'default' } }),
        Networks: (TaskTemplate.Networks ?? []).map((it) => ({
          ...it,
          Target: byName.get(it.Target) ?? it.Target,
        })),
      },
      Mode: storedMode(spec.Mode),
    };
  }

  #kept(container: ContainerSpec): ContainerSpec {
    return Object.fromEntries(
      Object.entries(container).filter(([key]) => !this.drops.has(key)),
    ) as unknown as ContainerSpec;
  }

  /** Every task of the service is another one, with another container, on the same node. */
  restartTasks(service: string): void {
    this.#restarts.set(service, (this.#restarts.get(service) ?? 0) + 1);
  }

  #checkFiles(spec: ServiceSpec): void {
    const { Configs, Secrets } = spec.TaskTemplate.ContainerSpec;
    for (const it of Configs ?? []) this.must(this.configs, it.ConfigID ?? '');
    for (const it of Secrets ?? []) this.must(this.secrets, it.SecretID ?? '');
  }

  tasks(): readonly LiveTask[] {
    return [...this.services.values()].flatMap((service) => this.#tasksOf(service));
  }

  /** With those that ended. */
  allTasks(): readonly LiveTask[] {
    return [...this.tasks(), ...this.#history];
  }

  isUpToDate({ ServiceID, Spec }: LiveTask): boolean {
    const service = this.services.get(ServiceID);
    if (service === undefined || this.outdated.has(service.Spec.Name)) return false;
    return isDeepStrictEqual(Spec.ContainerSpec, service.Spec.TaskTemplate.ContainerSpec);
  }

  #tasksOf({ ID, Spec }: LiveService): readonly LiveTask[] {
    const able = [...this.nodes.values()].filter(
      ({ Description, Spec: node, Status }) =>
        Status.State === 'ready' &&
        node.Availability === 'active' &&
        mayRunOn({ hostname: Description.Hostname, role: node.Role, labels: node.Labels }, Spec),
    );
    const count = countOf(Spec.Mode, able.length);
    return Array.from({ length: count }, (_, index) => {
      const node = able[index % Math.max(able.length, 1)];
      const slot = index + 1;
      const restarts = this.#restarts.get(Spec.Name);
      const id = `${ID}.${slot}${restarts === undefined ? '' : `.${restarts}`}`;
      const State =
        node === undefined
          ? 'pending'
          : this.taskState({ service: Spec.Name, node: node.Description.Hostname, slot });
      return {
        ID: id,
        ServiceID: ID,
        Slot: slot,
        ...(node && { NodeID: node.ID }),
        DesiredState: 'running',
        CreatedAt: CREATED_AT,
        Spec: { ContainerSpec: Spec.TaskTemplate.ContainerSpec },
        Status: {
          State,
          ...(State !== 'running' && { Err: this.taskError(Spec.Name) }),
          ContainerStatus: { ContainerID: `container-${id}` },
        },
        // All on one network.
        NetworksAttachments: [
          {
            ...(Spec.TaskTemplate.Networks?.[0] && { Network: { ID: Spec.TaskTemplate.Networks[0].Target } }),
            Addresses: [`10.99.${[...this.services.keys()].indexOf(ID) + 1}.${slot}/16`],
          },
        ],
      };
    });
  }
}

function storedMode(mode: ServiceMode): ServiceMode {
  if ('Replicated' in mode) return { Replicated: { Replicas: mode.Replicated.Replicas ?? 1 } };
  if (!('ReplicatedJob' in mode)) return mode;
  const { MaxConcurrent = 1, TotalCompletions = MaxConcurrent } = mode.ReplicatedJob;
  return { ReplicatedJob: { MaxConcurrent, TotalCompletions } };
}

function countOf(mode: ServiceMode, nodes: number): number {
  if ('Replicated' in mode) return mode.Replicated.Replicas ?? 1;
  return 'ReplicatedJob' in mode ? (mode.ReplicatedJob.MaxConcurrent ?? 1) : nodes;
}

function makeGateway(swarm: FakeSwarm): SwarmGateway {
  const checkVersion = (live: { Version: { Index: number } }, given: { Version: { Index: number } }) => {
    if (live.Version.Index !== given.Version.Index)
      throw new ConflictError('rpc error: code = Unknown desc = update out of sequence');
  };
  const refuseTaken = (name: string, taken: Iterable<string>) => {
    if ([...taken].includes(name)) throw new EngineError('NAME_TAKEN', `${name} already exists`);
  };
  const specs = () => [...swarm.services.values()].map((service) => service.Spec.TaskTemplate);
  const read = async <T>(call: string, answer: () => T): Promise<T> => {
    swarm.beforeCall(call);
    return answer();
  };
  const addFile = <T extends LiveConfig | LiveSecret>(
    kind: string,
    map: Map<string, T>,
    make: (id: string) => T,
  ): string => {
    const id = swarm.nextId(kind);
    const made = make(id);
    refuseTaken(
      made.Spec.Name,
      [...map.values()].map((it) => it.Spec.Name),
    );
    map.set(id, made);
    return id;
  };

  return {
    inspectSwarm: () =>
      read('inspectSwarm', () => ({
        ID: swarm.id,
        JoinTokens: { Manager: 'manager-token', Worker: 'worker-token' },
      })),
    listNodes: () => read('listNodes', () => [...swarm.nodes.values()]),
    async updateNode(given, spec) {
      const live = swarm.must(swarm.nodes, given.ID);
      swarm.write(`updateNode ${live.Description.Hostname}`);
      checkVersion(live, given);
      const address = `${live.Status.Addr ?? ''}:2377`;
      const { ManagerStatus: was, ...rest } = live;
      const ManagerStatus = was ?? { Leader: false, Reachability: 'reachable', Addr: address };
      swarm.nodes.set(live.ID, {
        ...rest,
        Spec: spec,
        Version: swarm.nextVersion(),
        ...(spec.Role === 'manager' && { ManagerStatus }),
      });
    },
    async removeNode(id, { force }) {
      const live = swarm.must(swarm.nodes, id);
      swarm.write(`removeNode ${live.Description.Hostname}`);
      if (live.Spec.Role === 'manager') throw new EngineError('REFUSED', 'node is a cluster manager');
      if (!force && live.Status.State !== 'down') throw new EngineError('REFUSED', `node ${id} is not down`);
      swarm.nodes.delete(id);
    },

    listNetworks: () => read('listNetworks', () => [...swarm.networks.values()]),
    async createNetwork(spec) {
      swarm.write(`createNetwork ${spec.Name}`);
      refuseTaken(
        spec.Name,
        [...swarm.networks.values()].map((network) => network.Name),
      );
      const Id = swarm.nextId('network');
      const Options = { ...spec.Options, 'com.docker.network.driver.overlay.vxlanid_list': '4097' };
      const IPAM = spec.IPAM ?? {
        Driver: 'default',
        Config: [{ Subnet: '10.0.9.0/24', Gateway: '10.0.9.1' }],
      };
      swarm.networks.set(Id, { ...spec, Id, Options, IPAM });
      return Id;
    },
    async removeNetwork(id) {
      const live = swarm.must(swarm.networks, id);
      swarm.write(`removeNetwork ${live.Name}`);
      if (specs().some((task) => task.Networks?.some(({ Target }) => Target === id)))
        throw new EngineError('REFUSED', `network ${id} is in use`);
      swarm.networks.delete(id);
    },

    listConfigs: () => read('listConfigs', () => [...swarm.configs.values()]),
    findConfig: (idOrName) =>
      read('findConfig', () =>
        [...swarm.configs.values()].find(({ ID, Spec }) => ID === idOrName || Spec.Name === idOrName),
      ),
    async labelConfig(given, Labels) {
      const live = swarm.must(swarm.configs, given.ID);
      swarm.write(`labelConfig ${live.Spec.Name}`);
      checkVersion(live, given);
      swarm.configs.set(live.ID, { ...live, Version: swarm.nextVersion(), Spec: { ...live.Spec, Labels } });
    },
    async createConfig(Spec) {
      swarm.write(`createConfig ${Spec.Name}`);
      return addFile('config', swarm.configs, (ID) => ({
        ID,
        Version: swarm.nextVersion(),
        CreatedAt: swarm.nextTime(),
        Spec,
      }));
    },
    async removeConfig(id) {
      const live = swarm.must(swarm.configs, id);
      swarm.write(`removeConfig ${live.Spec.Name}`);
      if (specs().some((task) => task.ContainerSpec.Configs?.some((it) => it.ConfigID === id)))
        throw new EngineError('REFUSED', `config ${live.Spec.Name} is in use`);
      swarm.configs.delete(id);
    },

    listSecrets: () => read('listSecrets', () => [...swarm.secrets.values()]),
    async createSecret({ Name, Labels }) {
      swarm.write(`createSecret ${Name}`);
      return addFile('secret', swarm.secrets, (ID) => ({
        ID,
        Version: swarm.nextVersion(),
        CreatedAt: swarm.nextTime(),
        Spec: { Name, Labels },
      }));
    },
    async removeSecret(id) {
      const live = swarm.must(swarm.secrets, id);
      swarm.write(`removeSecret ${live.Spec.Name}`);
      if (specs().some((task) => task.ContainerSpec.Secrets?.some((it) => it.SecretID === id)))
        throw new EngineError('REFUSED', `secret ${live.Spec.Name} is in use`);
      swarm.secrets.delete(id);
    },

    listServices: () =>
      read('listServices', () =>
        [...swarm.services.values()].map((service) => {
          const tasks = swarm.tasks().filter((task) => task.ServiceID === service.ID);
          const RunningTasks = tasks.filter((task) => task.Status.State === 'running').length;
          const CompletedTasks = tasks.filter((task) => task.Status.State === 'complete').length;
          return { ...service, ServiceStatus: { RunningTasks, DesiredTasks: tasks.length, CompletedTasks } };
        }),
      ),
    async createService(spec) {
      swarm.write(`createService ${spec.Name}`);
      refuseTaken(
        spec.Name,
        [...swarm.services.values()].map((service) => service.Spec.Name),
      );
      const ID = swarm.nextId('service');
      const Spec = swarm.stored(spec);
      swarm.services.set(ID, {
        ID,
        Version: swarm.nextVersion(),
        CreatedAt: CREATED_AT,
        Spec,
      });
      return ID;
    },
    async updateService(given, spec) {
      swarm.write(`updateService ${spec.Name}`);
      const live = swarm.must(swarm.services, given.ID);
      checkVersion(live, given);
      if (Object.keys(spec.Mode).join() !== Object.keys(live.Spec.Mode).join())
        throw new EngineError('REFUSED', 'service mode change is not allowed');
      const ForceUpdate = live.Spec.TaskTemplate.ForceUpdate ?? 0;
      const Spec = swarm.stored({ ...spec, TaskTemplate: { ...spec.TaskTemplate, ForceUpdate } });
      const { UpdateStatus: _, ...rest } = live;
      swarm.services.set(live.ID, { ...rest, Spec, PreviousSpec: live.Spec, Version: swarm.nextVersion() });
      if (!isDeepStrictEqual(Spec.TaskTemplate, live.Spec.TaskTemplate)) swarm.restartTasks(spec.Name);
    },
    async restartService(given) {
      const live = swarm.must(swarm.services, given.ID);
      swarm.write(`restartService ${live.Spec.Name}`);
      checkVersion(live, given);
      const { TaskTemplate } = live.Spec;
      const ForceUpdate = (TaskTemplate.ForceUpdate ?? 0) + 1;
      const Spec = { ...live.Spec, TaskTemplate: { ...TaskTemplate, ForceUpdate } };
      swarm.services.set(live.ID, { ...live, Spec, Version: swarm.nextVersion() });
      swarm.restartTasks(live.Spec.Name);
    },
    async removeService(id) {
      const live = swarm.must(swarm.services, id);
      swarm.write(`removeService ${live.Spec.Name}`);
      swarm.services.delete(id);
    },

    listTasks: ({ services, node, desired, upToDate }) =>
      read('listTasks', () =>
        swarm
          .allTasks()
          .filter((task) => services === undefined || services.includes(task.ServiceID))
          .filter((task) => upToDate === undefined || swarm.isUpToDate(task))
          .filter((task) => node === undefined || task.NodeID === node)
          .filter((task) => desired === undefined || task.DesiredState === desired),
      ),
  };
}

function makeEngine(swarm: FakeSwarm, engine: ReturnType<FakeSwarm['engineState']>): EngineGateway {
  const node = () => swarm.nodes.get(engine.nodeId);
  return {
    async info() {
      swarm.beforeCall(`info ${engine.name}`);
      const isManager = engine.state === 'active' && node()?.Spec.Role === 'manager';
      return {
        ID: `engine-${engine.name}`,
        Name: engine.name,
        Swarm: {
          NodeID: engine.state === 'active' ? engine.nodeId : '',
          LocalNodeState: engine.state,
          ControlAvailable: isManager,
          Error: '',
          RemoteManagers: null,
        },
      };
    },
    async initSwarm() {
      swarm.write(`initSwarm ${engine.name}`);
      if (engine.state === 'active')
        throw new EngineError('UNAVAILABLE', 'this node is already part of a swarm');
      swarm.addNode(engine.name, 'manager');
    },
    async joinSwarm({ token }) {
      swarm.write(`joinSwarm ${engine.name}`);
      if (engine.state === 'active')
        throw new EngineError('UNAVAILABLE', 'this node is already part of a swarm');
      if (token !== 'manager-token' && token !== 'worker-token')
        throw new EngineError('REFUSED', 'invalid join token');
      swarm.addNode(engine.name, token === 'manager-token' ? 'manager' : 'worker');
      return 'joined';
    },
    async leaveSwarm() {
      swarm.write(`leaveSwarm ${engine.name}`);
      engine.state = 'inactive';
      if (node() !== undefined)
        swarm.editNode(engine.nodeId, (live) => ({ ...live, Status: { ...live.Status, State: 'down' } }));
    },
    async imageId(reference) {
      swarm.beforeCall(`imageId ${engine.name} ${reference}`);
      return engine.images.get(reference);
    },
    async imageIds(references) {
      swarm.beforeCall(`imageIds ${engine.name}`);
      if (references.length > 0) await swarm.lateImages;
      return Object.fromEntries([...engine.images].filter(([reference]) => references.includes(reference)));
    },
    async loadImages(archive: Readable) {
      swarm.write(`loadImages ${engine.name}`);
      let text = '';
      for await (const chunk of archive) text += String(chunk);
      for (const line of text.split('\n').filter(Boolean)) {
        const [reference = '', id = ''] = line.split('=');
        engine.images.set(reference, id);
      }
    },
    async pullImage(reference) {
      swarm.beforeCall(`pullImage ${engine.name} ${reference}`);
      throw new EngineError('UNAVAILABLE', `pull ${reference}: no registry answers`);
    },
    async *events(_types, signal) {
      const queue: EngineEvent[] = [];
      let wake = () => {};
      const stop = swarm.listen((event) => {
        queue.push(event);
        wake();
      });
      const onAbort = () => wake();
      signal.addEventListener('abort', onAbort);
      try {
        while (!signal.aborted) {
          const next = queue.shift();
          if (next !== undefined) yield next;
          else await new Promise<void>((resolve) => (wake = resolve));
        }
      } finally {
        stop();
        signal.removeEventListener('abort', onAbort);
      }
    },
  };
}
