import { createHash } from 'node:crypto';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import pLimit from 'p-limit';
import type { Machine, MachineSpec, NodeHandle, Provisioner, ProvisionerContext } from '../contract.ts';
import { ExecError, ProvisionError } from '../contract.ts';
import { nodeAddress } from '../shared/addresses.ts';
import { inTurns } from '../shared/in-turns.ts';
import {
  generateKeyPair,
  type KeyPair,
  keepKeyPair,
  loadOrCreateKeyPair,
  readKeyPair,
} from '../shared/keys.ts';
import { provisioning } from '../shared/provisioning.ts';
import { connectAws } from './aws.ts';
import { explained } from './aws-errors.ts';
import { type Ec2Clock, lookAgainMs, systemClock } from './clock.ts';
import { type Ec2Config, subnetFor } from './config.ts';
import { enterMachine, logIn } from './enter-machine.ts';
import { Instances, isAlive, type SeenInstance } from './instances.ts';
import { machineMemory, partMemory } from './memory.ts';
import { bareKey } from './part.ts';
import { ensureParts, lackingParts, removeParts, type Shared } from './parts.ts';
import { endEc2Switch, throwEc2Switch } from './switches.ts';
import { cutOff, joinAgain } from './zone-acls.ts';

/** Orders that are under way at the same time: AWS takes a few a second. */
const mostAtOnce = 30;
const runMs = 600_000;
const stopMs = 300_000;
/** What machines share is looked at once for all that are made at the same time, and not for each. */
const sharedFreshMs = 30_000;
const lacksFreshMs = 60_000;

/** What tests have otherwise. */
export interface Ec2Tools {
  readonly clock: Ec2Clock;
  /** Makes a node of a machine that runs: logs in, gives it a host key of its own, brings the engine. */
  readonly enter: typeof enterMachine;
}

/** Instances in a network that is made for them; all state is read back from tags, which are mended. */
export const ec2Provisioner = (
  config: Ec2Config,
  context: ProvisionerContext,
  tools: Ec2Tools = { clock: systemClock, enter: enterMachine },
): Provisioner => new Ec2Provisioner(config, context, tools);

class Ec2Provisioner implements Provisioner {
  readonly name = 'ec2';
  readonly power = inTurns({
    off: (name, signal) => this.#powerOff(name, signal),
    on: (name, signal) => this.#powerOn(name, signal),
    offUntil: (name, untilMs, signal) => this.#powerOffUntil(name, untilMs, signal),
  });
  readonly zone = inTurns(
    {
      off: (name, signal) =>
        this.#switching(name, 'cut off', signal, async (seen, { aws }) =>
          cutOff(aws.ec2, seen.network, Number.MAX_SAFE_INTEGER, signal),
        ),
      on: (name, signal) => this.#joinZone(name, signal),
      offUntil: (name, untilMs, signal) =>
        this.#switching(name, 'cut off', signal, async ({ network, zone = name }) => {
          await throwEc2Switch(this.#config.region, { kind: 'zone', ...network }, untilMs);
          this.#context.progress(`cut off ${zone} until ${new Date(untilMs).toISOString()}`);
        }),
    },
    (name) => subnetFor(this.#config, name).part,
  );
  readonly spot = inTurns({
    off: (name, signal) => this.#takeBack(name, signal),
    on: (name, signal) => this.#isThere(name, signal),
    offUntil: async (name, untilMs, signal) => {
      if (this.#tools.clock.now() < untilMs) await this.#takeBack(name, signal);
    },
  });
  readonly shared = {
    lacks: (signal: AbortSignal) =>
      this.#asking('what the machines share could not be looked at', signal, () =>
        this.#lacksOfParts(signal),
      ),
    ensure: (signal: AbortSignal) =>
      this.#asking('what the machines share could not be made', signal, async () => {
        this.#parts = undefined;
        const { shared, instances } = await this.#open();
        await this.#ensureParts(shared, signal);
        await this.#mendAll((await instances.list(signal)).filter(isAlive), signal);
      }),
  };
  readonly #config: Ec2Config;
  readonly #context: ProvisionerContext;
  readonly #tools: Ec2Tools;
  readonly #limit = pLimit(mostAtOnce);
  #instances: Promise<{ readonly shared: Shared; readonly instances: Instances }> | undefined;
  #key: Promise<KeyPair> | undefined;
  #lacks: { readonly atMs: number; readonly lacks: readonly string[] } | undefined;
  #parts: { readonly atMs: number; readonly ids: Promise<ReadonlyMap<string, string>> } | undefined;

  constructor(config: Ec2Config, context: ProvisionerContext, tools: Ec2Tools) {
    this.#config = config;
    this.#context = context;
    this.#tools = tools;
  }

  settingsHash({ name }: MachineSpec): string {
    const { region, disk, user, image = 'debian-13' } = this.#config;
    const { zone, network: subnet } = subnetFor(this.#config, name);
    const { instanceType, isSpot } = this.#wanted(name);
    const settings = { region, zone, subnet, disk, user, image, instanceType, isSpot };
    return createHash('sha256').update(JSON.stringify(settings)).digest('hex').slice(0, 16);
  }

  shape({ name }: MachineSpec): string {
    const { instanceType, isSpot } = this.#wanted(name);
    return `${instanceType}${isSpot ? ', spot' : ''}`;
  }

  async list(signal: AbortSignal): Promise<readonly Machine[]> {
    return this.#asking('the machines could not be listed', signal, async () => {
      const { instances } = await this.#open();
      const seen = (await instances.list(signal)).filter(isAlive);
      const twice = seen.find((each, index) => seen.findIndex(({ node }) => node === each.node) !== index);
      if (twice) await instances.find(twice.node, signal); // says which, and rejects
      return seen.map(machineOf).sort((a, b) => a.name.localeCompare(b.name));
    });
  }

  create(spec: MachineSpec, signal: AbortSignal): Promise<void> {
    return this.#limit(() =>
      this.#asking(`${spec.name} could not be made`, signal, () => this.#make(spec, signal)),
    );
  }

  destroy(name: string, signal: AbortSignal): Promise<void> {
    return this.#asking(`${name} could not be removed`, signal, async () => {
      const { instances } = await this.#open();
      const ended = await instances.terminate(({ node }) => node === name, signal);
      await instances.forget(name);
      await rm(this.#bootKeys(name), { recursive: true, force: true });
      for (const { id } of ended) this.#context.progress(`removed ${name} (${id})`);
    });
  }

  async destroyShared(signal: AbortSignal): Promise<void> {
    const { stateDir, progress } = this.#context;
    await this.#asking('what the machines shared could not be removed', signal, async () => {
      const { shared, instances } = await this.#open();
      const endMachines = async () => void (await instances.terminate(() => true, signal));
      const left = await removeParts(shared, endMachines, signal);
      for (const reason of left) progress(reason);
      this.#parts = undefined;
      this.#instances = undefined;
      this.#key = undefined;
      await rm(stateDir, { recursive: true, force: true });
    });
  }

  async connect({ name }: Machine, signal: AbortSignal): Promise<NodeHandle> {
    const { shared, instances } = await this.#open();
    const seen = await instances.find(name, signal);
    if (!seen) throw new ExecError(name, 'there is no such machine');
    if (seen.state !== 'running') throw new ExecError(name, `the machine is ${seen.state}`);
    this.#mayEnter(seen, shared);
    return logIn(seen, await this.#identity(), signal);
  }

  async #make(spec: MachineSpec, signal: AbortSignal): Promise<void> {
    const { isSpot } = this.#wanted(spec.name);
    if (isSpot && spec.role === 'manager')
      throw new ProvisionError([`${spec.name} is a manager: only workers may be spot`], { needsHelp: true });
    const { instances, shared } = await this.#open();
    const ids = await this.#ensureParts(shared, signal);
    const isSettled = (each: SeenInstance | undefined) => each?.state !== 'stopping';
    const seen = await instances.until(spec.name, 'stopped', stopMs, isSettled, signal);
    if (!seen) await this.#order(spec, ids, signal);
    else if (seen.state === 'stopped') {
      await instances.start(seen, signal);
      this.#context.progress(`powered on ${spec.name}`);
    }
    const isRunning = (each: SeenInstance | undefined) => each?.state === 'running';
    const running = await instances.until(spec.name, 'running', runMs, isRunning, signal);
    this.#mayEnter(running!, shared);
    await this.#mend(running!, signal);
    await this.#tools.enter(
      running!,
      {
        ...{ identity: await this.#identity(), engine: this.#config.engine, clock: this.#tools.clock },
        ...{ progress: this.#context.progress, tag: (values) => instances.tag(running!, values, signal) },
      },
      signal,
    );
    await rm(this.#bootKeys(spec.name), { recursive: true, force: true });
  }

  #powerOff(name: string, signal: AbortSignal): Promise<void> {
    return this.#asking(`${name} could not be powered off`, signal, async () => {
      const { instances } = await this.#open();
      const seen = await this.#afterSwitch(name, signal);
      if (seen.state === 'running' || seen.state === 'pending') await instances.stop(seen, signal);
      await instances.until(name, 'stopped', stopMs, (each) => each?.state === 'stopped', signal);
      this.#context.progress(`powered off ${name}`);
    });
  }

  #powerOn(name: string, signal: AbortSignal): Promise<void> {
    return this.#asking(`${name} could not be powered on`, signal, async () => {
      if (this.#wanted(name).isSpot) return; // nobody can have stopped it
      const { instances } = await this.#open();
      await this.#afterSwitch(name, signal);
      const seen = await instances.until(
        name,
        'stopped',
        stopMs,
        (each) => each?.state !== 'stopping',
        signal,
      );
      if (seen?.state === 'stopped') await instances.start(seen, signal);
      await instances.until(name, 'running', runMs, (each) => each?.state === 'running', signal);
    });
  }

  /** By a process of the operator's machine: as long as that is up, the instance comes back. */
  #powerOffUntil(name: string, untilMs: number, signal: AbortSignal): Promise<void> {
    return this.#asking(`${name} could not be powered off`, signal, async () => {
      const { id: instanceId } = await this.#withPower(name, signal);
      signal.throwIfAborted();
      await throwEc2Switch(this.#config.region, { kind: 'power', instanceId }, untilMs);
      this.#context.progress(`powered off ${name} until ${new Date(untilMs).toISOString()}`);
    });
  }

  /** As it is once a switch that was thrown has put it on again. */
  async #afterSwitch(name: string, signal: AbortSignal): Promise<SeenInstance> {
    const { id: instanceId } = await this.#withPower(name, signal);
    await endEc2Switch({ kind: 'power', instanceId }, signal);
    return this.#withPower(name, signal);
  }

  #joinZone(name: string, signal: AbortSignal): Promise<void> {
    return this.#asking(`the zone of ${name} could not be joined again`, signal, async () => {
      const { instances, shared } = await this.#open();
      const seen = await instances.find(name, signal);
      // Without a machine nobody there misses the others; what is left in force is mended with what machines share.
      if (!seen) return;
      await endEc2Switch({ kind: 'zone', ...seen.network }, signal);
      await joinAgain(shared.aws.ec2, seen.network, signal);
    });
  }

  #takeBack(name: string, signal: AbortSignal): Promise<void> {
    return this.#switching(name, 'ended', signal, async (seen) => {
      const { instances } = await this.#open();
      if (!seen.isSpot) throw new ProvisionError([`${name} is no spot machine`], { needsHelp: true });
      await instances.end(seen, signal);
      this.#context.progress(`ended ${name} (${seen.id}), as AWS ends what is spot`);
    });
  }

  /** Rejects as long as no machine of that name runs. */
  #isThere(name: string, signal: AbortSignal): Promise<void> {
    return this.#switching(name, 'seen again', signal, async ({ state }) => {
      if (state !== 'running') throw new ProvisionError([`${name} is ${state}`]);
    });
  }

  #switching(
    name: string,
    verb: string,
    signal: AbortSignal,
    work: (seen: SeenInstance, shared: Shared) => Promise<void>,
  ): Promise<void> {
    return this.#asking(`${name} could not be ${verb}`, signal, async () => {
      const { instances, shared } = await this.#open();
      const seen = await instances.find(name, signal);
      if (!seen) throw new ProvisionError([`there is no machine ${name}`]);
      await work(seen, shared);
    });
  }

  async #withPower(name: string, signal: AbortSignal): Promise<SeenInstance> {
    const { instances } = await this.#open();
    const seen = await instances.find(name, signal);
    if (!seen) throw new ProvisionError([`there is no machine ${name}`]);
    if (!this.#wanted(name).isSpot) return seen;
    throw new ProvisionError([`${name} is spot, which AWS neither stops nor starts`], { needsHelp: true });
  }

  async #order(spec: MachineSpec, ids: ReadonlyMap<string, string>, signal: AbortSignal): Promise<void> {
    const { instances } = await this.#open();
    const { instanceType, isSpot, address = await this.#freeAddress(spec, signal) } = this.#wanted(spec.name);
    const { part: subnet } = subnetFor(this.#config, spec.name);
    // One that is going keeps its address until it is gone.
    await this.#awaitFree(address, signal);
    const bootKey = (life: number) =>
      loadOrCreateKeyPair(join(this.#bootKeys(spec.name), `${life}`), spec.name);
    await instances.order(
      { spec, address, subnet, instanceType, isSpot, settingsHash: this.settingsHash(spec), bootKey },
      ids,
      signal,
    );
    this.#context.progress(`ordered ${spec.name} at ${address} (${instanceType}${isSpot ? ', spot' : ''})`);
  }

  async #freeAddress({ name, index }: MachineSpec, signal: AbortSignal): Promise<string> {
    const { instances } = await this.#open();
    const taken = (await instances.list(signal)).filter(isAlive).map(({ address }) => address);
    const given = Object.values(this.#config.machines).flatMap(({ address }) => address ?? []);
    const { network } = subnetFor(this.#config, name);
    const address = nodeAddress(network, index, new Set([...taken, ...given]));
    if (address !== undefined) return address;
    throw new ProvisionError([`no address left for ${name} in ${network}`], { needsHelp: true });
  }

  async #awaitFree(address: string, signal: AbortSignal): Promise<void> {
    const { instances } = await this.#open();
    const { clock } = this.#tools;
    for (
      const untilMs = clock.now() + stopMs;
      clock.now() < untilMs;
      await clock.sleep(lookAgainMs, signal)
    ) {
      const going = (await instances.list(signal)).filter(({ state }) => state === 'shutting-down');
      if (going.every((each) => each.address !== address)) return;
    }
  }

  /** Each look is seven questions: not in every pass. */
  async #lacksOfParts(signal: AbortSignal): Promise<readonly string[]> {
    const nowMs = this.#tools.clock.now();
    if (this.#lacks && nowMs < this.#lacks.atMs + lacksFreshMs) return this.#lacks.lacks;
    const { shared, instances } = await this.#open();
    const machines = (await instances.list(signal)).filter(isAlive).flatMap(({ node, lacks, lost }) => {
      const names = [...Object.keys(lacks), ...lost];
      return names.length > 0 ? [`${node} lacks its tags ${names.join(', ')}`] : [];
    });
    const lacks = [...(await lackingParts(shared, signal)), ...machines];
    this.#lacks = { atMs: nowMs, lacks };
    return lacks;
  }

  /** Whatever is wrong with one of them, the others are mended. */
  async #mendAll(all: readonly SeenInstance[], signal: AbortSignal): Promise<void> {
    const mended = await Promise.allSettled(all.map((each) => this.#mend(each, signal)));
    signal.throwIfAborted();
    const errors = mended.flatMap((each) =>
      each.status === 'rejected' ? [explained(each.reason, 'tags could not be put on')] : [],
    );
    if (errors.length === 0) return;
    const problems = errors.flatMap((each) => each.problems);
    throw new ProvisionError(problems, { needsHelp: errors.some(({ needsHelp }) => needsHelp) });
  }

  async #mend(seen: SeenInstance, signal: AbortSignal): Promise<void> {
    const { instances } = await this.#open();
    await instances.mend(seen, signal);
    const names = Object.keys(seen.lacks);
    if (names.length > 0)
      this.#context.progress(`mended ${seen.node}, which lacked its tags ${names.join(', ')}`);
  }

  /** Looked at and mended once for all who ask at the same time. */
  #ensureParts(shared: Shared, signal: AbortSignal): Promise<ReadonlyMap<string, string>> {
    const nowMs = this.#tools.clock.now();
    if (this.#parts && nowMs < this.#parts.atMs + sharedFreshMs) return this.#parts.ids;
    this.#lacks = undefined;
    const ids = this.#keepClientKey().then(() => ensureParts(shared, signal));
    const parts = { atMs: nowMs, ids };
    this.#parts = parts;
    ids.catch(() => {
      if (this.#parts === parts) this.#parts = undefined;
    });
    return ids;
  }

  /** Whoever lost the key in the state directory gets into no machine that was made with it. */
  #mayEnter({ node, clientKey }: SeenInstance, shared: Shared): void {
    if (clientKey === bareKey(shared.clientKey)) return;
    throw new ProvisionError(
      [
        `${node} lets in another key than the one in the state directory: restore that, or let ${node} be replaced`,
      ],
      { needsHelp: true },
    );
  }

  #wanted(name: string): {
    readonly instanceType: string;
    readonly isSpot: boolean;
    readonly address?: string;
  } {
    const { machines, instanceType } = this.#config;
    const own = machines[name];
    return {
      ...{ instanceType: own?.instanceType ?? instanceType, isSpot: own?.spot ?? false },
      ...(own?.address !== undefined && { address: own.address }),
    };
  }

  async #identity() {
    const { privateKey } = await this.#clientKey();
    return { user: this.#config.user, privateKey };
  }

  /** Drawn where there is none; kept only once something is ordered with it, for who only looks writes nothing. */
  #clientKey(): Promise<KeyPair> {
    this.#key ??= readKeyPair(this.#keyFile).then(
      (found) => found ?? generateKeyPair(`sf-${this.#context.cluster}`),
    );
    return this.#key;
  }

  async #keepClientKey(): Promise<void> {
    await keepKeyPair(this.#keyFile, await this.#clientKey());
  }

  get #keyFile(): string {
    return join(this.#context.stateDir, 'id_ed25519');
  }

  #bootKeys(name: string): string {
    return join(this.#context.stateDir, 'boot-keys', name);
  }

  #open() {
    this.#instances ??= this.#clientKey().then(({ publicKey }) => {
      const { cluster, stateDir, progress } = this.#context;
      const shared = {
        ...{ aws: connectAws(this.#config.region), config: this.#config, clientKey: publicKey },
        ...{ cluster, memory: partMemory(stateDir), clock: this.#tools.clock, progress },
      };
      return { shared, instances: new Instances(shared, machineMemory(stateDir)) };
    });
    return this.#instances;
  }

  #asking<T>(what: string, signal: AbortSignal, work: () => Promise<T>): Promise<T> {
    return provisioning(what, signal, async () => {
      try {
        return await work();
      } catch (error) {
        if (signal.aborted) throw error;
        throw explained(error, what);
      }
    });
  }
}

function machineOf({ node, state, address, id, settingsHash, zone, isSpot }: SeenInstance): Machine {
  const power = state === 'running' || state === 'pending' ? 'on' : 'off';
  return {
    ...{ name: node, power, address, incarnation: id, settingsHash },
    ...(zone !== undefined && { zone }),
    ...(isSpot && { spot: true }),
  };
}
