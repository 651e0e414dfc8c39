import { createHash, randomUUID } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import pLimit from 'p-limit';
import type { Machine, MachineSpec, NodeHandle, Provisioner, ProvisionerContext } from '../contract.ts';
import { ExecError, messageOf, ProvisionError } from '../contract.ts';
import { deadline } from '../deadline.ts';
import {
  askedOfApt,
  enginePackages,
  installPackages,
  readPackageLists,
  startEngine,
  tools,
} from '../shared/engine-packages.ts';
import { fingerprintOf, pinOf } from '../shared/keys.ts';
import { provisioning } from '../shared/provisioning.ts';
import { runOnNode } from '../shared/run-on-node.ts';
import {
  isOtherKey,
  offeredHostKey,
  openSshNode,
  type SshDoor,
  type SshIdentity,
  type SshNode,
  type SshTarget,
} from '../shared/ssh-node.ts';
import { untilAborted } from '../shared/until-aborted.ts';
import type { SshConfig } from './config.ts';
import { type HostFacts, readHostFacts, whyNotAdopted } from './host-facts.ts';
import { type HostRecord, HostRecords } from './host-records.ts';
import { completeAdoption, keepAdoption, noteComing, noteImages, release } from './host-scripts.ts';
import type { Adoption } from './labels.ts';

/** Machines that are worked on at the same time. */
const mostAtOnce = 30;
/** A machine that answers takes a second. */
const recoverMs = 10_000;

/** Machines that exist: adopted into the cluster, and released again. */
export const sshProvisioner = (config: SshConfig, context: ProvisionerContext): Provisioner =>
  new SshProvisioner(config, context);

class SshProvisioner implements Provisioner {
  readonly name = 'ssh';
  readonly #config: SshConfig;
  readonly #context: ProvisionerContext;
  readonly #records: HostRecords;
  readonly #limit = pLimit(mostAtOnce);
  /** Machines without a record that were asked whether they are ours: once is enough. */
  readonly #asked = new Map<string, Promise<void>>();

  constructor(config: SshConfig, context: ProvisionerContext) {
    this.#config = config;
    this.#context = context;
    this.#records = new HostRecords(context.stateDir);
  }

  settingsHash({ name }: MachineSpec): string {
    const { host, address = host } = this.#config.hosts[name] ?? { host: '' };
    return createHash('sha256').update(JSON.stringify({ host, address })).digest('hex').slice(0, 16);
  }

  async list(signal: AbortSignal): Promise<readonly Machine[]> {
    const known = (await this.#records.list()).flatMap(machineOf).map(({ name }) => name);
    const unknown = Object.keys(this.#config.hosts).filter((name) => !known.includes(name));
    await untilAborted(Promise.all(unknown.map((name) => this.#askWhetherOurs(name))), signal);
    const machines = (await this.#records.list()).flatMap(machineOf);
    return machines.sort((a, b) => a.name.localeCompare(b.name));
  }

  create(spec: MachineSpec, signal: AbortSignal): Promise<void> {
    return this.#limit(() =>
      provisioning(`${spec.name} could not be adopted`, signal, () => this.#adopt(spec, signal)),
    );
  }

  destroy(name: string, signal: AbortSignal): Promise<void> {
    return this.#limit(() =>
      provisioning(`${name} could not be released`, signal, () => this.#release(name, signal)),
    );
  }

  async noteImages(node: NodeHandle, references: readonly string[], signal: AbortSignal): Promise<void> {
    await runOnNode(node, 'noting the images that come', noteImages, references, signal);
  }

  async destroyShared(_signal: AbortSignal): Promise<void> {
    await this.#records.removeAll();
  }

  async connect({ name }: Machine, signal: AbortSignal): Promise<NodeHandle> {
    const record = await this.#records.get(name);
    if (!record) throw new ExecError(name, 'there is no such machine');
    return this.#logIn(this.#pinned(record), signal);
  }

  /** With the key that the manifest says now, as long as it speaks of the same place. */
  #pinned(record: HostRecord): HostRecord {
    const { hosts, port: portOfAll } = this.#config;
    const { host, port = portOfAll, hostKey } = hosts[record.node] ?? {};
    const isSame = host === record.host && port === record.port;
    return isSame && hostKey !== undefined ? { ...record, hostKey: rawKey(hostKey) } : record;
  }

  /** The state directory may be lost while the machines live on. Never rejects: one that does not answer is adopted anew. */
  #askWhetherOurs(name: string): Promise<void> {
    const asking = this.#asked.get(name) ?? this.#limit(() => this.#recover(name)).catch(() => undefined);
    this.#asked.set(name, asking);
    return asking;
  }

  async #recover(name: string): Promise<void> {
    const limit = deadline(recoverMs);
    if (this.#config.hosts[name]?.hostKey === undefined && !(await this.#records.get(name))) return;
    const record = await this.#recordOf(name, limit);
    const node = await this.#logIn(record, limit);
    try {
      const { adoption } = await readHostFacts(node, Date.now, limit);
      if (!this.#isOurs(adoption, name) || !adoption.complete) return;
      const { incarnation, settingsHash } = adoption;
      await this.#records.write({ ...record, incarnation, settingsHash });
    } finally {
      node.close();
    }
  }

  #isOurs(adoption: Adoption | undefined, name: string): adoption is Adoption {
    return adoption?.cluster === this.#context.cluster && adoption.node === name;
  }

  async #adopt(spec: MachineSpec, signal: AbortSignal): Promise<void> {
    const record = await this.#recordOf(spec.name, signal);
    const node = await this.#logIn(record, signal);
    try {
      const facts = await readHostFacts(node, Date.now, signal);
      const { cluster } = this.#context;
      const problems = whyNotAdopted(facts, { cluster, node: spec.name, address: record.address });
      if (problems.length > 0) throw helpless(problems.map((problem) => `${spec.name} ${problem}`));
      const adoption = await this.#install(node, facts, this.settingsHash(spec), signal);
      const { incarnation, settingsHash } = adoption;
      await this.#records.write({ ...record, incarnation, settingsHash });
    } finally {
      node.close();
    }
  }

  /** What comes with us is noted on the machine before it comes, so that it goes again whenever this is cut off. */
  async #install(
    node: NodeHandle,
    { adoption: before, engine, packages, hasBridge }: HostFacts,
    settingsHash: string,
    signal: AbortSignal,
  ): Promise<Pick<Adoption, 'incarnation' | 'settingsHash'>> {
    const { package: enginePackage, repository = '' } = this.#config.engine;
    const engineIsOurs = engine === null || before?.installed.includes(enginePackage);
    const wanted = [...(engineIsOurs ? enginePackages[enginePackage] : []), ...tools];
    const lacking = wanted.filter((name) => !packages.includes(name));
    const asked = askedOfApt(this.#config.engine, lacking);
    const run = (doing: string, script: string, args: readonly string[] = [], stdin = '') =>
      runOnNode(node, doing, script, args, signal, stdin);
    if (asked.length > 0) await run('reading the lists of packages', readPackageLists, asked, repository);
    const adoption: Adoption = {
      ...{ cluster: this.#context.cluster, node: node.name, settingsHash },
      incarnation: before?.incarnation ?? randomUUID(),
      installed: [],
      bridgeIsOurs: before ? (before.bridgeIsOurs ?? false) : !hasBridge,
      complete: false,
    };
    await run('noting the adoption', keepAdoption, [], JSON.stringify(adoption));
    if (!before) this.#context.progress(`adopted ${node.name} at ${node.address}`);
    if (asked.length > 0) {
      this.#context.progress(`installing on ${node.name}: ${lacking.join(' ')}`);
      await run(`installing ${asked.join(' ')}`, installPackages, asked, noteComing);
    }
    await run('starting the engine', startEngine);
    await run('noting the adoption', completeAdoption);
    return adoption;
  }

  async #release(name: string, signal: AbortSignal): Promise<void> {
    const record = await this.#records.get(name);
    if (!record) return;
    const node = await this.#logIn(this.#pinned(record), signal);
    try {
      const { adoption } = await readHostFacts(node, Date.now, signal);
      const isOurs = this.#isOurs(adoption, name);
      const left = isOurs ? await this.#leave(node, adoption, signal) : '';
      await this.#records.remove(name);
      if (!isOurs) return;
      this.#context.progress(`released ${name}`);
      for (const line of left.split('\n').filter((each) => each !== ''))
        this.#context.progress(`${name}: ${line}`);
    } finally {
      node.close();
    }
  }

  /** Resolves with a line for each thing that came with us, and has to stay. */
  #leave(node: NodeHandle, { bridgeIsOurs }: Adoption, signal: AbortSignal): Promise<string> {
    const args = [this.#context.cluster, bridgeIsOurs ? 'ours' : 'theirs'];
    return runOnNode(node, 'releasing it', release, args, signal);
  }

  /** Where a machine is by the manifest, with the key that it has to show. */
  async #recordOf(name: string, signal: AbortSignal): Promise<HostRecord> {
    const { hosts, user, port, trustOnFirstUse } = this.#config;
    const wanted = hosts[name];
    if (!wanted) throw helpless([`${name} has no entry in spec.provisioner.ssh.hosts`]);
    const known = await this.#records.get(name);
    const place = { node: name, host: wanted.host, port: wanted.port ?? port, user: wanted.user ?? user };
    const address = wanted.address ?? wanted.host;
    const isSame = known?.host === place.host && known.port === place.port;
    const record = { ...(isSame && known), ...place, address };
    if (wanted.hostKey !== undefined) return { ...record, hostKey: rawKey(wanted.hostKey), isTrusted: false };
    if (isSame) return { ...record, hostKey: known.hostKey };
    const bastion = await this.#bastion();
    const offered = await offeredHostKey(name, { ...place, ...(bastion && { bastion }) }, signal);
    if (!trustOnFirstUse) {
      throw helpless([
        `${name} has no hostKey; what answers at ${place.host} port ${place.port} shows ${fingerprintOf(offered)}: compare, and pin it, or allow trustOnFirstUse`,
      ]);
    }
    const trusted = { ...record, hostKey: offered.toString('base64'), isTrusted: true };
    await this.#records.write(trusted);
    this.#context.progress(`trusted ${name} at first use: ${fingerprintOf(offered)}`);
    return trusted;
  }

  async #logIn(record: HostRecord, signal: AbortSignal): Promise<SshNode> {
    const bastion = await this.#bastion();
    const hostKey = Buffer.from(record.hostKey, 'base64');
    const target: SshTarget = {
      ...{ name: record.node, address: record.address, hostKey },
      ...{ host: record.host, port: record.port, user: record.user },
      ...(await this.#identity()),
      ...(bastion && { bastion }),
    };
    try {
      return await openSshNode(target, signal);
    } catch (error) {
      if (!isOtherKey(error)) throw error;
      throw helpless(
        [
          `${record.node} does not show the host key that it is pinned to, ${fingerprintOf(hostKey)}: it may be another machine`,
        ],
        error,
      );
    }
  }

  async #bastion(): Promise<SshDoor | undefined> {
    const { bastion, user, port } = this.#config;
    if (!bastion) return undefined;
    const { host, hostKey } = bastion;
    return {
      ...{ host, port: bastion.port ?? port, user: bastion.user ?? user, hostKey: pinOf(hostKey) },
      ...(await this.#identity()),
    };
  }

  async #identity(): Promise<SshIdentity> {
    const { keyFile } = this.#config;
    if (keyFile !== undefined) {
      try {
        return { privateKey: await readFile(keyFile.replace(/^~(?=\/)/, homedir()), 'utf8') };
      } catch (error) {
        throw helpless([`the key cannot be read: ${messageOf(error)}`], error);
      }
    }
    const agent = process.env.SSH_AUTH_SOCK;
    if (agent) return { agent };
    throw helpless(['there is neither a keyFile nor an ssh agent (SSH_AUTH_SOCK)']);
  }
}

/** As records have it. */
function rawKey(hostKey: string): string {
  return pinOf(hostKey).toString('base64');
}

/** What somebody must mend. */
function helpless(problems: readonly string[], cause?: unknown): ProvisionError {
  return new ProvisionError(problems, { cause, needsHelp: true });
}

function machineOf({ node, address, incarnation, settingsHash, ...pin }: HostRecord): readonly Machine[] {
  if (incarnation === undefined || settingsHash === undefined) return [];
  const trusted = pin.isTrusted && { trustedKey: fingerprintOf(Buffer.from(pin.hostKey, 'base64')) };
  return [{ name: node, power: 'on', address, incarnation, settingsHash, ...trusted }];
}
