import { createHash } from 'node:crypto';
import { chmod, mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type Docker from 'dockerode';
import { quantityBytes } from '../../crds/quantity.ts';
import type { Machine, MachineSpec, NodeHandle, Provisioner, ProvisionerContext } from '../contract.ts';
import { ExecError, ProvisionError } from '../contract.ts';
import { deadline } from '../deadline.ts';
import { nodeAddress } from '../shared/addresses.ts';
import { localDocker } from '../shared/docker-client.ts';
import { inTurns } from '../shared/in-turns.ts';
import { generateKeyPair, type KeyPair, loadOrCreateKeyPair, pinOf } from '../shared/keys.ts';
import { provisioning } from '../shared/provisioning.ts';
import { untilAborted } from '../shared/until-aborted.ts';
import { ensureNetwork, removeNetwork } from './cluster-network.ts';
import type { LabConfig } from './config.ts';
import { createContainer, ignoring, removeContainer, runInside, thawScript } from './engine-calls.ts';
import { type LabEngine, readLabEngine } from './lab-engine.ts';
import { containerName, labels, networkName } from './labels.ts';
import { accessOf, logIn, logInWhenBooted } from './node-access.ts';
import { checkpointMount, machineHostConfig, nodeContainerOptions } from './node-container.ts';
import { endPowerSwitch, throwPowerSwitch } from './power-switch.ts';
import { layersMount, layersOf, plantSeed, prepareSeed, removeLeftovers, type Seed } from './seed-store.ts';

/** From the start of a container to an engine that runs in it; seconds, unless the host is very busy. */
const bootMs = 120_000;
const thawMs = 5_000;

/** The lab of one cluster: systemd machines as containers of the local engine. */
export const labProvisioner = (config: LabConfig, context: ProvisionerContext): Provisioner =>
  new LabProvisioner(config, context);

class LabProvisioner implements Provisioner {
  readonly name = 'lab';
  readonly power = inTurns({
    off: (name, signal) => this.#powerOff(name, signal),
    on: (name, signal) => this.#powerOn(name, signal),
    offUntil: (name, untilMs, signal) => this.#powerOffUntil(name, untilMs, signal),
  });
  readonly #config: LabConfig;
  readonly #context: ProvisionerContext;
  readonly #docker: Docker;
  /** What several nodes need at the same time is done once for all who wait for it. */
  readonly #inFlight = new Map<string, Promise<unknown>>();

  constructor(config: LabConfig, context: ProvisionerContext) {
    this.#config = config;
    this.#context = context;
    this.#docker = localDocker();
  }

  settingsHash(_spec: MachineSpec): string {
    const { subnet, memory, cpus, disk, pids, dns } = this.#config;
    const settings = { subnet, memory, cpus, disk, pids, dns, image: this.#context.images.node };
    return createHash('sha256').update(JSON.stringify(settings)).digest('hex').slice(0, 16);
  }

  async list(signal: AbortSignal): Promise<readonly Machine[]> {
    const machines = (await this.#containers(signal)).map(machineOf);
    return machines.sort((a, b) => a.name.localeCompare(b.name));
  }

  async create(spec: MachineSpec, signal: AbortSignal): Promise<void> {
    await provisioning(`${spec.name} could not be made`, signal, async () => {
      const containers = await this.#containers(signal);
      const found = containers.find(({ Labels }) => Labels[labels.node] === spec.name);
      // One that was never started lost its maker on the way: nobody knows how much of its store is there.
      if (found?.State === 'created') await removeContainer(this.#docker.getContainer(found.Id));
      if (!found || found.State === 'created') await this.#make(spec, containers, signal);
      else if (found.State !== 'running') await this.#boot(found);
      await this.#awaitReady(spec.name, signal);
    });
  }

  async destroy(name: string, signal: AbortSignal): Promise<void> {
    await provisioning(`${name} could not be removed`, signal, async () => {
      const found = await this.#find(name, signal);
      if (found && isOn(found)) await this.#thaw(found);
      if (found) await removeContainer(this.#docker.getContainer(found.Id));
      if (found) await endPowerSwitch(found.Id, signal);
      await rm(this.#storeOf(name), { recursive: true, force: true });
      if (found) this.#context.progress(`removed ${name}`);
    });
  }

  async destroyShared(signal: AbortSignal): Promise<void> {
    const { cluster, stateDir } = this.#context;
    await provisioning('what the nodes shared could not be removed', signal, async () => {
      await removeLeftovers({ docker: this.#docker, cluster, folder: this.#seedFolder });
      await removeNetwork(this.#docker, cluster);
      await rm(this.#storeFolder, { recursive: true, force: true });
      await rm(stateDir, { recursive: true, force: true });
    });
  }

  async connect(machine: Machine, signal: AbortSignal): Promise<NodeHandle> {
    const [found, key] = await Promise.all([this.#find(machine.name, signal), this.#clientKey()]);
    if (!found) throw new ExecError(machine.name, 'there is no such machine');
    return logIn(accessOf(found, this.#docker, key), signal);
  }

  async #make(
    spec: MachineSpec,
    containers: readonly Docker.ContainerInfo[],
    signal: AbortSignal,
  ): Promise<void> {
    const address = nodeAddress(this.#config.subnet, spec.index, addressesOf(containers));
    if (!address) throw new ProvisionError([`no address left for ${spec.name} in ${this.#config.subnet}`]);
    const engine = await this.#engine();
    const seed = await untilAborted(this.#seed(engine), signal);
    const [container] = await untilAborted(
      Promise.all([
        this.#createContainer(spec, address, { engine, seed }),
        plantSeed(seed, this.#storeOf(spec.name)),
      ]),
      signal,
    );
    await container.start();
    this.#context.progress(`created ${spec.name} at ${address}`);
  }

  async #createContainer(
    spec: MachineSpec,
    address: string,
    { engine, seed }: { readonly engine: LabEngine; readonly seed: Seed },
  ): Promise<Docker.Container> {
    const { cluster, images } = this.#context;
    const [key] = await Promise.all([this.#clientKey(), this.#ensureNetwork(), this.#ensureCheckpoint()]);
    const hostKey = generateKeyPair(spec.name);
    const binds = [
      `${this.#storeOf(spec.name)}:/var/lib/docker`,
      `${layersOf(seed)}:${layersMount}:ro`,
      `${this.#checkpoint}:${checkpointMount}`,
    ];
    const node = {
      image: images.node,
      hostname: spec.name,
      network: networkName(cluster),
      address,
      authorizedKey: key.publicKey,
      hostPrivateKey: hostKey.privateKey,
      diskBytes: quantityBytes(this.#config.disk),
      labels: {
        [labels.cluster]: cluster,
        [labels.node]: spec.name,
        [labels.address]: address,
        [labels.settingsHash]: this.settingsHash(spec),
        [labels.hostKey]: pinOf(hostKey.publicKey).toString('base64'),
        [labels.clientKey]: key.publicKey,
        [labels.layers]: seed.hash,
      },
      hostConfig: machineHostConfig(this.#config, engine, binds),
    };
    return createContainer(
      this.#docker,
      containerName(cluster, spec.name),
      nodeContainerOptions(node, !engine.reachable),
    );
  }

  async #boot(container: Docker.ContainerInfo): Promise<void> {
    const made = this.#docker.getContainer(container.Id);
    await ignoring([304], container.State === 'paused' ? made.unpause() : made.start());
    this.#context.progress(`powered on ${container.Labels[labels.node]}`);
  }

  async #awaitReady(name: string, signal: AbortSignal): Promise<void> {
    const limit = AbortSignal.any([signal, deadline(bootMs)]);
    const [found, key] = await Promise.all([this.#get(name, limit), this.#clientKey()]);
    const node = await logInWhenBooted(accessOf(found, this.#docker, key), limit);
    try {
      // Joins the start job of the boot, if that is still under way, and returns when the engine says that it is up.
      const started = await node.exec('systemctl start docker.service', [], {}, limit);
      if (started.code !== 0)
        throw new ProvisionError([`${name}: its engine does not start: ${started.stderr.trim()}`]);
    } finally {
      node.close();
    }
  }

  async #powerOff(name: string, signal: AbortSignal): Promise<void> {
    const found = await this.#afterSwitch(name, signal);
    if (!isOn(found)) return;
    await this.#thaw(found);
    await ignoring([409], this.#docker.getContainer(found.Id).kill());
    this.#context.progress(`powered off ${name}`);
  }

  /** One that cannot be entered any more is ended all the same. */
  async #thaw({ Id }: Docker.ContainerInfo): Promise<void> {
    const limit = deadline(thawMs);
    await untilAborted(runInside(this.#docker.getContainer(Id), thawScript), limit).catch(() => undefined);
  }

  /** By a process of this host: as long as that is up, the machine comes back. */
  async #powerOffUntil(name: string, untilMs: number, signal: AbortSignal): Promise<void> {
    const { Id } = await this.#get(name, signal);
    signal.throwIfAborted();
    await throwPowerSwitch(Id, untilMs);
    this.#context.progress(`powered off ${name} until ${new Date(untilMs).toISOString()}`);
  }

  async #powerOn(name: string, signal: AbortSignal): Promise<void> {
    const found = await this.#afterSwitch(name, signal);
    if (!isOn(found)) await this.#boot(found);
  }

  /** As it is once a switch that was thrown has put it on again. */
  async #afterSwitch(name: string, signal: AbortSignal): Promise<Docker.ContainerInfo> {
    const { Id } = await this.#get(name, signal);
    await endPowerSwitch(Id, signal);
    return this.#get(name, signal);
  }

  #containers(signal: AbortSignal): Promise<Docker.ContainerInfo[]> {
    const filters = { label: [`${labels.cluster}=${this.#context.cluster}`, labels.node] };
    return untilAborted(this.#docker.listContainers({ all: true, filters }), signal);
  }

  async #find(name: string, signal: AbortSignal): Promise<Docker.ContainerInfo | undefined> {
    return (await this.#containers(signal)).find(({ Labels }) => Labels[labels.node] === name);
  }

  async #get(name: string, signal: AbortSignal): Promise<Docker.ContainerInfo> {
    const found = await this.#find(name, signal);
    if (!found) throw new ProvisionError([`there is no machine ${name}`]);
    return found;
  }

  #engine(): Promise<LabEngine> {
    return this.#once('engine', () => readLabEngine(this.#docker));
  }

  #clientKey(): Promise<KeyPair> {
    const path = join(this.#context.stateDir, 'id_ed25519');
    return this.#once('key', () => loadOrCreateKeyPair(path, `sf-${this.#context.cluster}`));
  }

  #ensureNetwork(): Promise<void> {
    return this.#once('network', async () => {
      const { cluster, progress } = this.#context;
      const outcome = await ensureNetwork(this.#docker, cluster, this.#config.subnet);
      if (outcome === 'made') progress(`created network ${networkName(cluster)} (${this.#config.subnet})`);
    });
  }

  #ensureCheckpoint(): Promise<void> {
    return this.#once('checkpoint', async () => {
      await mkdir(this.#checkpoint, { recursive: true });
      // Spark's containers run as user 185, whom no host knows.
      await chmod(this.#checkpoint, 0o777);
    });
  }

  #seed(engine: LabEngine): Promise<Seed> {
    const { cluster, images, progress } = this.#context;
    return this.#once('seed', () =>
      prepareSeed({
        docker: this.#docker,
        cluster,
        nodeImage: images.node,
        images: images.seed,
        folder: this.#seedFolder,
        hostConfig: (store) => machineHostConfig(this.#config, engine, [`${store}:/var/lib/docker`]),
        progress,
      }),
    );
  }

  get #seedFolder(): string {
    return join(this.#context.cacheDir, 'lab', 'seeds');
  }

  get #storeFolder(): string {
    return join(this.#context.cacheDir, 'lab', 'stores', this.#context.cluster);
  }

  #storeOf(name: string): string {
    return join(this.#storeFolder, name);
  }

  get #checkpoint(): string {
    return join(this.#context.stateDir, 'checkpoint');
  }

  #once<T>(what: string, work: () => Promise<T>): Promise<T> {
    const running = this.#inFlight.get(what) as Promise<T> | undefined;
    if (running) return running;
    const started = work().finally(() => this.#inFlight.delete(what));
    this.#inFlight.set(what, started);
    return started;
  }
}

/** A reboot is no loss of power. */
const isOn = ({ State }: Docker.ContainerInfo): boolean => State === 'running' || State === 'restarting';

const machineOf = (container: Docker.ContainerInfo): Machine => ({
  name: container.Labels[labels.node] ?? '',
  power: isOn(container) ? 'on' : 'off',
  address: container.Labels[labels.address] ?? '',
  incarnation: container.Id,
  settingsHash: container.Labels[labels.settingsHash] ?? '',
});

const addressesOf = (containers: readonly Docker.ContainerInfo[]): ReadonlySet<string> =>
  new Set(containers.map(({ Labels }) => Labels[labels.address] ?? ''));
