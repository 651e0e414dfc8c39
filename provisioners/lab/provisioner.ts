import { createHash } from 'node:crypto';
import { chmod, mkdir, rm } from 'node:fs/promises';
import { networkInterfaces } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type Docker from 'dockerode';
import type { Machine, MachineSpec, NodeHandle, Provisioner, ProvisionerContext } from '../contract.ts';
import { ExecError, ProvisionError } from '../contract.ts';
import { localDocker } from '../shared/docker-client.ts';
import { generateKeyPair, type KeyPair, loadOrCreateKeyPair, pinOf } from '../shared/keys.ts';
import { SshNode } from '../shared/ssh-node.ts';
import { untilAborted } from '../shared/until-aborted.ts';
import { nodeAddress, overlap, parseSubnet } from './addresses.ts';
import type { LabConfig } from './config.ts';
import { createContainer, createNetwork, ignoring, removeContainer } from './engine-calls.ts';
import { type LabEngine, readLabEngine } from './lab-engine.ts';
import { containerName, labels, networkName } from './labels.ts';
import { checkpointMount, machineHostConfig, nodeContainerOptions, operatorUser } from './node-container.ts';
import { plantSeed, prepareSeed, removeLeftovers } from './seed-store.ts';

const readyMs = 90_000;
const loginPauseMs = 100;

/** The lab of one cluster: systemd machines as containers of the local engine. */
export const labProvisioner = (config: LabConfig, context: ProvisionerContext): Provisioner =>
  new LabProvisioner(config, context);

class LabProvisioner implements Provisioner {
  readonly name = 'lab';
  readonly power = {
    off: (name: string, signal: AbortSignal) => this.#powerOff(name, signal),
    on: (name: string, signal: AbortSignal) => this.#powerOn(name, signal),
  };
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
    const { subnet, memory, cpus, pids, dns } = this.#config;
    const settings = { subnet, memory, cpus, pids, dns, image: this.#context.images.node };
    return createHash('sha256').update(JSON.stringify(settings)).digest('hex').slice(0, 16);
  }

  async list(signal: AbortSignal): Promise<readonly Machine[]> {
    const machines = (await this.#containers(signal)).map(machineOf);
    return machines.sort((a, b) => a.name.localeCompare(b.name));
  }

  async create(spec: MachineSpec, signal: AbortSignal): Promise<void> {
    await this.#wrap(`${spec.name} could not be made`, signal, async () => {
      const containers = await this.#containers(signal);
      const found = containers.find(({ Labels }) => Labels[labels.node] === spec.name);
      if (!found) await this.#make(spec, containers, signal);
      else if (found.State !== 'running') await this.#powerOn(spec.name, signal);
      await this.#awaitReady(spec.name, signal);
    });
  }

  async destroy(name: string, signal: AbortSignal): Promise<void> {
    await this.#wrap(`${name} could not be removed`, signal, async () => {
      const found = await this.#find(name, signal);
      if (found) await removeContainer(this.#docker.getContainer(found.Id));
      await rm(this.#storeOf(name), { recursive: true, force: true });
      if (found) this.#context.progress(`removed ${name}`);
    });
  }

  async destroyShared(signal: AbortSignal): Promise<void> {
    const { cluster, stateDir } = this.#context;
    await this.#wrap('what the nodes shared could not be removed', signal, async () => {
      await removeLeftovers({ docker: this.#docker, cluster, folder: this.#seedFolder });
      await ignoring([404], this.#docker.getNetwork(networkName(cluster)).remove());
      await rm(this.#storeFolder, { recursive: true, force: true });
      await rm(stateDir, { recursive: true, force: true });
    });
  }

  async connect(machine: Machine, signal: AbortSignal): Promise<NodeHandle> {
    const key = await this.#clientKey();
    const { Labels: found, State, NetworkSettings, Id } = await this.#inspect(machine.name, signal);
    if (!State.Running) throw new ExecError(machine.name, 'the machine is off');
    if (found[labels.clientKey] !== key.publicKey) await this.#authorize(Id, key.publicKey);
    const published = NetworkSettings.Ports['22/tcp']?.[0]?.HostPort;
    const node = new SshNode({
      name: machine.name,
      address: machine.address,
      host: published ? '127.0.0.1' : machine.address,
      port: published ? Number(published) : 22,
      user: operatorUser,
      privateKey: key.privateKey,
      hostKey: Buffer.from(found[labels.hostKey] ?? '', 'base64'),
    });
    try {
      await node.connect(signal);
      return node;
    } catch (error) {
      node.close();
      throw error;
    }
  }

  async #make(
    spec: MachineSpec,
    containers: readonly Docker.ContainerInfo[],
    signal: AbortSignal,
  ): Promise<void> {
    const address = nodeAddress(this.#config.subnet, spec.index, addressesOf(containers));
    if (!address) throw new ProvisionError([`no address left for ${spec.name} in ${this.#config.subnet}`]);
    const engine = await this.#once('engine', () => readLabEngine(this.#docker));
    const [key] = await untilAborted(
      Promise.all([
        this.#clientKey(),
        this.#ensureNetwork(),
        this.#ensureCheckpoint(),
        this.#plant(spec.name, engine),
      ]),
      signal,
    );
    const hostKey = generateKeyPair(spec.name);
    const binds = [`${this.#storeOf(spec.name)}:/var/lib/docker`, `${this.#checkpoint}:${checkpointMount}`];
    const options = nodeContainerOptions(
      {
        image: this.#context.images.node,
        hostname: spec.name,
        network: networkName(this.#context.cluster),
        address,
        authorizedKey: key.publicKey,
        hostPrivateKey: hostKey.privateKey,
        labels: {
          [labels.cluster]: this.#context.cluster,
          [labels.node]: spec.name,
          [labels.address]: address,
          [labels.settingsHash]: this.settingsHash(spec),
          [labels.hostKey]: pinOf(hostKey.publicKey).toString('base64'),
          [labels.clientKey]: key.publicKey,
        },
        hostConfig: machineHostConfig(this.#config, engine, binds),
      },
      !engine.reachable,
    );
    const container = await createContainer(
      this.#docker,
      containerName(this.#context.cluster, spec.name),
      options,
    );
    await container.start();
    this.#context.progress(`created ${spec.name} at ${address}`);
  }

  /** Refused connections are cheap and expected while a machine boots; a wrong key will not become right. */
  async #awaitReady(name: string, signal: AbortSignal): Promise<void> {
    const limit = AbortSignal.any([signal, AbortSignal.timeout(readyMs)]);
    const node = await this.#login(name, limit);
    try {
      const engine = await node.exec('systemctl start docker.service', [], {}, limit);
      if (engine.code !== 0)
        throw new ProvisionError([`${name}: its engine does not start: ${engine.stderr.trim()}`]);
    } finally {
      node.close();
    }
  }

  async #login(name: string, signal: AbortSignal): Promise<NodeHandle> {
    const machine = machineOf(await this.#get(name, signal));
    for (;;) {
      try {
        return await this.connect(machine, signal);
      } catch (error) {
        if (!isBooting(error)) throw error;
        await sleep(loginPauseMs, undefined, { signal });
      }
    }
  }

  async #powerOff(name: string, signal: AbortSignal): Promise<void> {
    const { Id } = await this.#get(name, signal);
    await ignoring([409], this.#docker.getContainer(Id).kill());
    this.#context.progress(`powered off ${name}`);
  }

  async #powerOn(name: string, signal: AbortSignal): Promise<void> {
    const { Id } = await this.#get(name, signal);
    await ignoring([304], this.#docker.getContainer(Id).start());
    this.#context.progress(`powered on ${name}`);
  }

  #containers(signal: AbortSignal): Promise<Docker.ContainerInfo[]> {
    const filters = { label: [`${labels.cluster}=${this.#context.cluster}`, labels.node] };
    return untilAborted(this.#docker.listContainers({ all: true, filters, abortSignal: signal }), signal);
  }

  async #find(name: string, signal: AbortSignal): Promise<Docker.ContainerInfo | undefined> {
    return (await this.#containers(signal)).find(({ Labels }) => Labels[labels.node] === name);
  }

  async #get(name: string, signal: AbortSignal): Promise<Docker.ContainerInfo> {
    const found = await this.#find(name, signal);
    if (!found) throw new ProvisionError([`there is no machine ${name}`]);
    return found;
  }

  async #inspect(name: string, signal: AbortSignal) {
    const { Id } = await this.#get(name, signal);
    const { Config, State, NetworkSettings } = await untilAborted(
      this.#docker.getContainer(Id).inspect(),
      signal,
    );
    return { Id, Labels: Config.Labels, State, NetworkSettings };
  }

  #clientKey(): Promise<KeyPair> {
    return this.#once('key', () =>
      loadOrCreateKeyPair(join(this.#context.stateDir, 'id_ed25519'), `sf-${this.#context.cluster}`),
    );
  }

  /** The state directory was lost while the machines live on: the engine lets a new key in, until the next boot. */
  async #authorize(containerId: string, publicKey: string): Promise<void> {
    const script = 'grep -qxF "$1" "$2" 2>/dev/null || printf "%s\\n" "$1" >> "$2"';
    const file = `/home/${operatorUser}/.ssh/authorized_keys`;
    const exec = await this.#docker
      .getContainer(containerId)
      .exec({ Cmd: ['sh', '-c', script, 'sh', publicKey, file], AttachStdout: true });
    const stream = await exec.start({});
    await new Promise((resolve) => stream.resume().once('close', resolve));
  }

  /** One network per cluster; one of another subnet is replaced as long as nothing is attached to it. */
  #ensureNetwork(): Promise<void> {
    return this.#once('network', async () => {
      const name = networkName(this.#context.cluster);
      const found = await ignoring([404], this.#docker.getNetwork(name).inspect());
      const subnet = found?.IPAM?.Config?.[0]?.Subnet;
      if (subnet === this.#config.subnet) return;
      if (found) await this.#docker.getNetwork(name).remove();
      this.#refuseForeignSubnet();
      await createNetwork(this.#docker, {
        Name: name,
        CheckDuplicate: true,
        Labels: { [labels.cluster]: this.#context.cluster },
        IPAM: { Driver: 'default', Config: [{ Subnet: this.#config.subnet }] },
      });
      this.#context.progress(`created network ${name} (${this.#config.subnet})`);
    });
  }

  #refuseForeignSubnet(): void {
    const wanted = parseSubnet(this.#config.subnet);
    for (const [device, addresses] of Object.entries(networkInterfaces())) {
      for (const { family, cidr, address } of addresses ?? []) {
        if (family !== 'IPv4' || !cidr) continue;
        const block = parseNetworkOf(address, cidr);
        if (block && overlap(wanted, block)) {
          throw new ProvisionError([
            `subnet ${this.#config.subnet} is in use on this host (${device} has ${cidr})`,
          ]);
        }
      }
    }
  }

  #ensureCheckpoint(): Promise<void> {
    return this.#once('checkpoint', async () => {
      await mkdir(this.#checkpoint, { recursive: true });
      // Spark runs as user 185 in its containers, which no host knows by name.
      await chmod(this.#checkpoint, 0o777);
    });
  }

  async #plant(name: string, engine: LabEngine): Promise<void> {
    const { cluster, images, progress } = this.#context;
    const seed = await this.#once('seed', () =>
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
    await plantSeed(seed, this.#storeOf(name));
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

  async #wrap<T>(what: string, signal: AbortSignal, work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      if (signal.aborted || error instanceof ProvisionError) throw error;
      throw new ProvisionError([`${what}: ${(error as Error).message.trim()}`], { cause: error });
    }
  }
}

const machineOf = (container: Docker.ContainerInfo): Machine => ({
  name: container.Labels[labels.node] ?? '',
  power: container.State === 'running' || container.State === 'paused' ? 'on' : 'off',
  address: container.Labels[labels.address] ?? '',
  incarnation: container.Id,
  settingsHash: container.Labels[labels.settingsHash] ?? '',
});

const addressesOf = (containers: readonly Docker.ContainerInfo[]): ReadonlySet<string> =>
  new Set(containers.map(({ Labels }) => Labels[labels.address] ?? ''));

const parseNetworkOf = (address: string, cidr: string) => {
  const bits = Number(cidr.split('/')[1]);
  if (bits < 8 || bits > 28) return undefined;
  const mask = (index: number) => Math.max(0, Math.min(8, bits - index * 8));
  const base = address.split('.').map((part, index) => Number(part) & (256 - 2 ** (8 - mask(index))));
  return parseSubnet(`${base.join('.')}/${bits}`);
};

const bootingCodes = new Set(['ECONNREFUSED', 'ECONNRESET', 'EHOSTUNREACH', 'ETIMEDOUT', 'EPIPE']);

const isBooting = (error: unknown): boolean => {
  if (!(error instanceof ExecError)) return false;
  const cause = error.cause as { code?: string; level?: string; message?: string } | undefined;
  return (
    bootingCodes.has(cause?.code ?? '') ||
    cause?.level === 'protocol' ||
    cause?.message === 'the connection was closed'
  );
};
