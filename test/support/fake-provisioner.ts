import type { Duplex } from 'node:stream';
import type { OpenEngine } from '../../controller/cluster/node-pool.ts';
import { EngineError } from '../../controller/swarm/engine-error.ts';
import {
  ExecError,
  type Machine,
  type MachineSpec,
  type NodeHandle,
  type Provisioner,
  type SharedInfrastructure,
} from '../../provisioners/contract.ts';
import type { FakeSwarm } from './fake-swarm.ts';

/**
 * Machines in memory, with engines in a FakeSwarm. Its writes go to the swarm's own list, so that one look tells
 * whether a pass changed anything at all.
 */
export class FakeProvisioner implements Provisioner {
  readonly name = 'lab';
  readonly machines = new Map<string, Machine>();
  /** Machines whose ssh does not answer. */
  readonly unreachable = new Set<string>();
  /** Machines to which a connection is never made, and never refused. */
  readonly silent = new Set<string>();
  /** No connection is made before this. */
  open: Promise<void> = Promise.resolve();
  /** Machines whose ssh answers, and whose engine does not. */
  readonly engineDown = new Set<string>();
  /** Of the manifest; machines keep the hash that they were made with. */
  settings = 'settings-1';
  shared?: SharedInfrastructure;
  shape?: (spec: MachineSpec) => string;
  noteImages?: NonNullable<Provisioner['noteImages']>;
  /** May throw what the real one would, by call: `create node4`. */
  beforeCall: (call: string) => void = () => {};
  connections = 0;
  readonly #swarm: FakeSwarm;
  #made = 0;

  constructor(swarm: FakeSwarm) {
    this.#swarm = swarm;
  }

  settingsHash(_spec: MachineSpec): string {
    return this.settings;
  }

  async list(signal: AbortSignal): Promise<readonly Machine[]> {
    signal.throwIfAborted();
    this.beforeCall('list');
    return [...this.machines.values()];
  }

  async create(spec: MachineSpec): Promise<void> {
    this.#swarm.write(`create ${spec.name}`);
    this.beforeCall(`create ${spec.name}`);
    const known = this.machines.get(spec.name);
    if (known) return void this.machines.set(spec.name, { ...known, power: 'on' });
    const address = `10.98.0.${10 + spec.index}`;
    this.#made += 1;
    const incarnation = `${spec.name}-${this.#made}`;
    const settingsHash = this.settingsHash(spec);
    this.machines.set(spec.name, { name: spec.name, power: 'on', address, incarnation, settingsHash });
    this.#swarm.engineState(spec.name, address);
  }

  async destroy(name: string): Promise<void> {
    this.#swarm.write(`destroy ${name}`);
    this.lose(name);
  }

  async destroyShared(): Promise<void> {
    this.#swarm.write('destroyShared');
    if (this.machines.size > 0) throw new Error('machines are left');
  }

  async connect(machine: Machine, signal: AbortSignal): Promise<NodeHandle> {
    this.connections += 1;
    if (this.silent.has(machine.name))
      await new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason)));
    await this.open;
    if (this.unreachable.has(machine.name)) throw new ExecError(machine.name, 'connect failed: timed out');
    return this.#handle(machine);
  }

  /** Somebody else's hand: the machine is gone, with its store and its place in the swarm. */
  lose(name: string): void {
    this.machines.delete(name);
    const engine = this.#swarm.engineState(name);
    const node = this.#swarm.nodes.get(engine.nodeId);
    if (node)
      this.#swarm.editNode(node.ID, (live) => ({ ...live, Status: { ...live.Status, State: 'down' } }));
    engine.state = 'inactive';
    engine.nodeId = '';
    engine.images.clear();
  }

  /** The engine of a machine, as the guarded client gives it. */
  readonly openEngine: OpenEngine = async (node) => {
    const engine = this.#swarm.engine(node.name, node.address);
    const alive = () => {
      if (this.unreachable.has(node.name)) throw new ExecError(node.name, 'dial failed: not connected');
      if (this.engineDown.has(node.name))
        throw new EngineError('UNAVAILABLE', 'GET /info: connection refused');
    };
    alive();
    return {
      engineId: `engine-${node.name}`,
      engine: {
        ...engine,
        info: async (signal) => {
          alive();
          return engine.info(signal);
        },
      },
      swarm: this.#swarm.gateway,
      close: () => {},
    };
  };

  #handle(machine: Machine): NodeHandle {
    const ask = () => {
      if (this.unreachable.has(machine.name)) throw new ExecError(machine.name, 'exec failed: not connected');
    };
    return {
      name: machine.name,
      address: machine.address,
      exec: async () => {
        ask();
        return { code: 0, signal: null, stdout: '', stderr: '' };
      },
      dial: async (): Promise<Duplex> => {
        throw new ExecError(machine.name, 'dial failed: a fake has no sockets');
      },
      controllerAddress: async () => {
        ask();
        return '10.98.0.1';
      },
      close: () => {},
    };
  }
}
