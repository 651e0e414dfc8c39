import {
  ExecError,
  type Machine,
  messageOf,
  type NodeHandle,
  type Provisioner,
} from '../../provisioners/contract.ts';
import { deadline } from '../../provisioners/deadline.ts';
import type { Clock } from '../../state-machines/contract.ts';
import type { EngineGateway, SwarmGateway } from '../swarm/swarm-gateway.ts';
import type { EngineFacts, MachineState } from './plan-context.ts';

/** The engine of one node, as its client gives it. */
interface EngineConnection {
  readonly engineId: string;
  readonly engine: EngineGateway;
  readonly swarm: SwarmGateway;
  close(): void;
}

/**
 * Makes the client of a node's engine. Rejects when the engine does not answer, or is another one than expected.
 */
export type OpenEngine = (
  node: NodeHandle,
  expectedEngineId: string | undefined,
  signal: AbortSignal,
) => Promise<EngineConnection>;

/** A machine with everything through which it is reached. */
interface NodeConnection extends EngineConnection {
  readonly machine: Machine;
  readonly handle: NodeHandle;
}

interface NodePoolOptions {
  readonly provisioner: Pick<Provisioner, 'connect'>;
  readonly openEngine: OpenEngine;
  readonly clock: Clock;
}

/** How long a look waits for what is not known yet; after that it goes on in the background. */
const patienceMs = 3_000;
/** How long a look waits for an engine that was up and is doubted. */
const doubtMs = 1_000;
const attemptMs = 12_000;
const engineCallMs = 5_000;
/**
 * What nobody doubts is asked anew this often; the swarm's own list, read in each pass, raises doubts. Often enough
 * that the connection, which is closed when it idles for 30 s, is there when something has to be asked at once.
 */
const factsAgeMs = 20_000;
const firstRetryMs = 500;
const lastRetryMs = 4_000;

interface Entry {
  machine: Machine;
  handle?: NodeHandle;
  engine?: EngineConnection;
  engineId?: string;
  facts?: EngineFacts;
  factsAtMs: number;
  doubted: boolean;
  look?: Promise<MachineState>;
  last?: MachineState;
  failures: number;
  retryAfterMs: number;
}

/**
 * The connections to a cluster's machines, one per machine, made when first needed and made anew after a loss. A
 * machine that is known not to answer costs a pass no time: it is tried again in the background, with backoff.
 */
export class NodePool {
  readonly #options: NodePoolOptions;
  readonly #entries = new Map<string, Entry>();
  readonly #closed = new AbortController();
  #images: readonly string[] = [];

  constructor(options: NodePoolOptions) {
    this.#options = options;
  }

  /** The machines that exist now: connections to others, and to earlier ones of the same name, are closed. */
  sync(machines: readonly Machine[]): void {
    const names = new Set(machines.map(({ name }) => name));
    for (const name of this.#entries.keys()) if (!names.has(name)) this.drop(name);
    for (const machine of machines) this.adopt(machine);
  }

  /** A machine that was just made, or seen again. */
  adopt(machine: Machine): void {
    const entry = this.#entries.get(machine.name);
    if (entry && entry.machine.incarnation === machine.incarnation && entry.machine.power === machine.power) {
      entry.machine = machine;
      return;
    }
    this.drop(machine.name);
    this.#entries.set(machine.name, { machine, factsAtMs: 0, doubted: false, failures: 0, retryAfterMs: 0 });
  }

  has(name: string): boolean {
    return this.#entries.has(name);
  }

  machine(name: string): Machine | undefined {
    return this.#entries.get(name)?.machine;
  }

  drop(name: string): void {
    const entry = this.#entries.get(name);
    this.#entries.delete(name);
    if (entry) disconnect(entry);
  }

  close(): void {
    this.#closed.abort(new Error('the pool is closed'));
    for (const name of [...this.#entries.keys()]) this.drop(name);
  }

  /** The images whose presence each engine's facts tell; true when they are others than before: facts are old then. */
  watchImages(references: readonly string[]): boolean {
    if (references.length === this.#images.length && references.every((name) => this.#images.includes(name)))
      return false;
    this.#images = references;
    this.doubtAll();
    return true;
  }

  /** What is believed of every machine is asked anew. */
  doubtAll(): void {
    for (const entry of this.#entries.values()) entry.doubted = true;
  }

  /** Something suggests that what is known of a machine is no longer so: the next look asks it. */
  doubt(name: string): void {
    const entry = this.#entries.get(name);
    if (entry) entry.doubted = true;
  }

  /** What is known of a machine, asked anew when that is needed. Never rejects but for the signal. */
  async look(name: string, signal: AbortSignal): Promise<MachineState> {
    const entry = this.#entry(name);
    if (entry.machine.power === 'off') return { state: 'off' };
    const ageMs = this.#options.clock.now() - entry.factsAtMs;
    // Below nothing when the clock was set back: who knows then how old that is.
    const isYounger = (limitMs: number) => ageMs >= 0 && ageMs < limitMs;
    const { last } = entry;
    if (last?.state === 'up') {
      const { doubted } = entry;
      if (!doubted && isYounger(factsAgeMs)) return last;
      const asked = this.#ask(entry);
      return doubted ? this.#within(asked, doubtMs, last, signal) : last;
    }
    // Known not to answer: reported at once, asked again behind our back.
    if (last && isYounger(entry.retryAfterMs)) return last;
    const asked = this.#ask(entry);
    if (last) return last;
    const look = await this.#within(asked, patienceMs, { state: 'connecting' }, signal);
    entry.last ??= look; // patience is spent once
    return look;
  }

  /** Waits for all questions that are under way, however long a pass would have waited. */
  async settled(signal: AbortSignal): Promise<void> {
    await untilAborted(Promise.all([...this.#entries.values()].flatMap(({ look }) => look ?? [])), signal);
  }

  /** What was last known of a machine, without asking it. */
  lastLook(name: string): MachineState | undefined {
    return this.#entries.get(name)?.last;
  }

  /** Waits until the machine's engine has answered; rejects with what is wrong with it. */
  async reach(name: string, signal: AbortSignal): Promise<EngineFacts> {
    const entry = this.#entry(name);
    entry.doubted = true;
    await entry.look;
    const look = await untilAborted(this.#ask(entry), signal);
    if (look.state === 'up') return look;
    throw new Error('message' in look ? look.message : `${name} is ${look.state}`);
  }

  /** The connection to a machine whose engine answers. */
  async connection(name: string, signal: AbortSignal): Promise<NodeConnection> {
    const entry = this.#entry(name);
    if (!entry.engine || !entry.handle) await this.reach(name, signal);
    const { machine, handle, engine } = entry;
    if (!handle || !engine) throw new Error(`${name} is not connected`);
    return { ...engine, machine, handle };
  }

  /** The connection to a machine over ssh, whatever its engine does. */
  async handle(name: string, signal: AbortSignal): Promise<NodeHandle> {
    const entry = this.#entry(name);
    await untilAborted(this.#connect(entry), signal);
    if (!entry.handle) throw new Error(`${name} is not connected`);
    return entry.handle;
  }

  /** A machine as those see it who keep it for long: each call goes over whatever connection there is then. */
  async node(name: string, ended: AbortSignal): Promise<NodeHandle> {
    const { address } = await this.handle(name, ended);
    const current = async (signal: AbortSignal): Promise<NodeHandle> => {
      try {
        return await this.handle(name, signal);
      } catch (error) {
        if (signal.aborted || error instanceof ExecError) throw error;
        throw new ExecError(name, messageOf(error), { cause: error });
      }
    };
    return {
      name,
      address,
      exec: async (script, args, options, signal) =>
        (await current(signal)).exec(script, args, options, signal),
      dial: async (target, signal) => (await current(signal)).dial(target, signal),
      controllerAddress: async (signal) => (await current(signal)).controllerAddress(signal),
      close: () => {}, // the pool's own
    };
  }

  /** Machines whose engine last said that it manages a swarm; the one that last answered first. */
  managers(): readonly string[] {
    return [...this.#entries.values()]
      .filter(({ last, engine }) => engine && last?.state === 'up' && last.info.Swarm.ControlAvailable)
      .map(({ machine }) => machine.name);
  }

  #entry(name: string): Entry {
    const entry = this.#entries.get(name);
    if (!entry) throw new Error(`the cluster has no machine ${name}`);
    return entry;
  }

  /** One question at a time per machine. */
  #ask(entry: Entry): Promise<MachineState> {
    entry.look ??= this.#question(entry).finally(() => {
      delete entry.look;
    });
    return entry.look;
  }

  async #question(entry: Entry): Promise<MachineState> {
    entry.doubted = false;
    const look = await this.#examine(entry);
    // Removed while it was asked: what was opened meanwhile would stay open.
    if (this.#entries.get(entry.machine.name) !== entry) disconnect(entry);
    entry.last = look;
    entry.factsAtMs = this.#options.clock.now();
    entry.failures = look.state === 'up' ? 0 : entry.failures + 1;
    entry.retryAfterMs = Math.min(lastRetryMs, firstRetryMs * 2 ** (entry.failures - 1));
    return look;
  }

  async #examine(entry: Entry): Promise<MachineState> {
    try {
      await this.#connect(entry);
    } catch (error) {
      return { state: 'unreachable', message: messageOf(error) };
    }
    try {
      return { state: 'up', ...(await this.#readFacts(entry)) };
    } catch (error) {
      return this.#diagnose(entry, messageOf(error));
    }
  }

  /** A handle mends its own connection; after a failure a new one is made, as the way to the machine may have moved. */
  async #connect(entry: Entry): Promise<void> {
    if (!entry.handle || entry.last?.state === 'unreachable') {
      const handle = await this.#options.provisioner.connect(entry.machine, this.#limit(attemptMs));
      disconnect(entry);
      entry.handle = handle;
    }
    if (this.#entries.get(entry.machine.name) !== entry) {
      disconnect(entry);
      throw new Error(`${entry.machine.name} was removed meanwhile`);
    }
  }

  async #readFacts(entry: Entry): Promise<EngineFacts> {
    const signal = this.#limit(engineCallMs);
    entry.engine ??= await this.#options.openEngine(entry.handle!, entry.engineId, signal);
    const { engine, engineId } = entry.engine;
    entry.engineId = engineId;
    const info = await engine.info(signal);
    // One after the other: each connection is a process on the node, and takes longer to make than an answer.
    return { info, images: await engine.imageIds(this.#images, signal) };
  }

  /** The engine did not answer: is it the engine, or the machine? */
  async #diagnose(entry: Entry, message: string): Promise<MachineState> {
    entry.engine?.close();
    delete entry.engine;
    try {
      await entry.handle?.exec('true', [], {}, this.#limit(engineCallMs));
      return { state: 'engine-down', message };
    } catch (error) {
      return { state: 'unreachable', message: messageOf(error) };
    }
  }

  #limit(ms: number): AbortSignal {
    return AbortSignal.any([this.#closed.signal, deadline(ms)]);
  }

  async #within(
    asked: Promise<MachineState>,
    ms: number,
    otherwise: MachineState,
    signal: AbortSignal,
  ): Promise<MachineState> {
    const enough = new AbortController();
    const timer = this.#options.clock.sleep(ms, AbortSignal.any([signal, enough.signal]));
    try {
      return await Promise.race([asked, timer.then(() => otherwise)]);
    } finally {
      enough.abort();
      timer.catch(() => {}); // ended by `enough`
    }
  }
}

/** Stops waiting, not the work: what a pass gives up on may still help the next one. */
function untilAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const abort = () => reject(signal.reason as Error);
    if (signal.aborted) abort();
    signal.addEventListener('abort', abort, { once: true });
    work.then(resolve, reject).finally(() => signal.removeEventListener('abort', abort));
  });
}

function disconnect(entry: Entry): void {
  entry.engine?.close();
  entry.handle?.close();
  delete entry.engine;
  delete entry.handle;
}
