import { type ChildProcess, fork } from 'node:child_process';
import { mkdirSync, openSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { stringify } from 'yaml';
import { swarmGateway } from '../../controller/swarm/docker-gateways.ts';
import type { SwarmGateway } from '../../controller/swarm/swarm-gateway.ts';
import { API_VERSION } from '../../crds/group.ts';
import { runCommand } from '../../provisioners/shared/run-command.ts';
import { endController } from '../support/controller-process.ts';
import { findDockerCli } from '../support/docker-cli.ts';
import { type OwnEngine, startOwnEngine } from '../support/own-engine.ts';
import { ownMachineName } from '../support/own-machine.ts';
import { metricsPort } from './bench-lab.ts';
import { type BenchSite, until } from './bench-site.ts';

/** Whatever an operator over this cluster has to know. */
export interface OwnSite {
  readonly socket: string;
  /** The watched one. */
  readonly folder: string;
  readonly packageRoot: string;
  readonly stateDir: string;
  readonly cacheDir: string;
  readonly port: number;
}

const name = 'own';
/** What `sleeper` asks for, with nothing in it but that. */
const env = { GENERATOR_IMAGE: 'spark-failures/sleeper:own' };
const importImage = `
ldd /bin/sleep | grep -o '/[^ ]*' | xargs tar -chP /bin/sleep | "$0" -H "$1" import - "$2"`;

/** Gives a swarm of one node that nobody else sees, and takes it down whatever happens. */
export async function withOwnCluster<T>(
  site: BenchSite,
  use: (cluster: OwnCluster) => Promise<T>,
  signal: AbortSignal,
): Promise<T> {
  const engine = await startOwnEngine(signal);
  try {
    const cli = await findDockerCli(signal);
    await runCommand('sh', ['-c', importImage, cli, engine.host, env.GENERATOR_IMAGE], {}, signal);
    const cluster = new OwnCluster(engine, cli, site, signal);
    try {
      return await use(cluster);
    } finally {
      await cluster.unwatch();
      await cluster.clear();
    }
  } finally {
    await engine.stop();
  }
}

/** A cluster of one machine, its manifest, and the operator that watches it, which is a process of its own. */
export class OwnCluster {
  readonly site: OwnSite;
  readonly swarm: SwarmGateway;
  readonly manifest: string;
  /** Of the operator. */
  readonly log: string;
  readonly #engine: OwnEngine;
  readonly #cli: string;
  readonly #signal: AbortSignal;
  #operator: ChildProcess | undefined;

  constructor(
    engine: OwnEngine,
    cli: string,
    { workDir, packageRoot, cacheDir }: BenchSite,
    signal: AbortSignal,
  ) {
    const folder = join(workDir, name);
    mkdirSync(folder, { recursive: true });
    this.site = {
      ...{ socket: engine.host.replace('unix://', ''), folder, packageRoot, cacheDir, port: metricsPort },
      stateDir: `${folder}.state`,
    };
    this.manifest = join(folder, 'cluster.yaml');
    this.swarm = swarmGateway(engine.docker);
    this.#engine = engine;
    this.#cli = cli;
    this.#signal = signal;
    this.log = `${folder}.log`;
    this.save();
  }

  /** Saves the manifest with this stack alone, or with none: then its services go. */
  save(compose?: string): void {
    // The operator is bound to the machine, whatever is said here.
    const host = { host: this.#engine.node.address };
    const spec = {
      provisioner: { ssh: { trustOnFirstUse: true, hosts: { [ownMachineName]: host } } },
      nodes: [{ name: ownMachineName, role: 'manager' }],
      stacks: compose === undefined ? [] : [{ name, compose, env }],
    };
    const metadata = { name, annotations: { 'spark-failures.io/allow-prune': 'true' } };
    writeFileSync(this.manifest, stringify({ apiVersion: API_VERSION, kind: 'ClusterSpec', metadata, spec }));
  }

  /** Starts the operator; it ends with the cluster, or before. */
  watch(): void {
    const log = openSync(this.log, 'a');
    const script = join(import.meta.dirname, 'own-operator-child.js');
    const stdio = ['ignore', log, log, 'ipc'] as const;
    this.#operator = fork(script, [JSON.stringify(this.site)], { stdio: [...stdio] });
  }

  /** Keeps the operator from taking anything from its rival, or lets it go on. */
  signalOperator(signal: 'SIGSTOP' | 'SIGCONT'): void {
    this.#operator?.kill(signal);
  }

  /** `docker stack deploy` of the same file, as anybody would call it where no registry answers. */
  async deploy(compose: string): Promise<void> {
    await this.#docker('stack', 'deploy', '--detach', '--resolve-image', 'never', '-c', compose, name);
  }

  /** `docker stack rm`. */
  async remove(): Promise<void> {
    await this.#docker('stack', 'rm', name);
  }

  /** Waits until so many services are there, each with all of its tasks running. */
  async untilRunning(services: number): Promise<void> {
    const look = async () => {
      const listed = await this.swarm.listServices(this.#signal);
      const running = listed.filter(({ ServiceStatus }) => {
        return ServiceStatus && ServiceStatus.RunningTasks >= Math.max(1, ServiceStatus.DesiredTasks);
      });
      return running.length === services || undefined;
    };
    await until({ what: 'all tasks running', everyMs: 100, deadlineMs: 300_000 }, look, this.#signal);
  }

  /** Waits until so many services are there, whether or not they run. */
  async untilListed(services: number): Promise<void> {
    const look = async () => (await this.swarm.listServices(this.#signal)).length === services || undefined;
    await until({ what: 'all services', everyMs: 500, deadlineMs: 300_000 }, look, this.#signal);
  }

  /** `docker service rm`, until another one of its name is there, ms. */
  async msOfLoss(service: string): Promise<number> {
    const lost = await this.#find(`${name}_${service}`);
    const startMs = performance.now();
    await this.#docker('service', 'rm', `${name}_${service}`);
    const look = async () => {
      const there = await this.#find(`${name}_${service}`);
      return (there && there.ID !== lost?.ID) || undefined;
    };
    await until({ what: `${service} anew`, everyMs: 10, deadlineMs: 30_000 }, look, this.#signal);
    return Math.round(performance.now() - startMs);
  }

  /** A service like that one made by the same command, until it is there, ms; it does not stay. */
  async msOfBirth(service: string): Promise<number> {
    const twin = `twin-of-${service}`;
    const command = ['service', 'create', '--detach', '--no-resolve-image', '--name', twin];
    const startMs = performance.now();
    await this.#docker(...command, env.GENERATOR_IMAGE, 'sleep', 'infinity');
    await until({ what: twin, everyMs: 10, deadlineMs: 30_000 }, () => this.#find(twin), this.#signal);
    const ms = Math.round(performance.now() - startMs);
    await this.#docker('service', 'rm', twin);
    return ms;
  }

  async #docker(...args: readonly string[]): Promise<void> {
    const settings = Object.entries(env).map(([key, value]) => `${key}=${value}`);
    await runCommand('env', [...settings, this.#cli, '-H', this.#engine.host, ...args], {}, this.#signal);
  }

  async #find(service: string) {
    return (await this.swarm.listServices(this.#signal)).find(({ Spec }) => Spec.Name === service);
  }

  /** Waits until nothing is left of the stack. */
  async untilGone(): Promise<void> {
    const look = async () => {
      const networks = await this.swarm.listNetworks(this.#signal);
      const isThere = networks.some(({ Name }) => Name.startsWith(`${name}_`));
      return (!isThere && (await this.#isBare())) || undefined;
    };
    await until({ what: 'the stack gone', everyMs: 500, deadlineMs: 300_000 }, look, this.#signal);
  }

  async #isBare(): Promise<boolean> {
    const services = await this.swarm.listServices(this.#signal);
    return services.length === 0 && (await this.#engine.docker.listContainers({ all: true })).length === 0;
  }

  /** Removes all services: of containers that end with their engine, their cgroups would stay. */
  async clear(): Promise<void> {
    for (const { ID } of await this.swarm.listServices(this.#signal))
      await this.swarm.removeService(ID, this.#signal);
    const look = async () => (await this.#isBare()) || undefined;
    await until({ what: 'no container', everyMs: 500, deadlineMs: 120_000 }, look, this.#signal);
  }

  /** Ends the operator. */
  async unwatch(): Promise<void> {
    // One that is stopped would never hear it.
    this.signalOperator('SIGCONT');
    if (this.#operator) await endController(this.#operator, 'SIGTERM');
  }
}
