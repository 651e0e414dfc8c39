import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type Docker from 'dockerode';
import { ensureNetwork, removeNetwork } from '../../provisioners/lab/cluster-network.ts';
import { labConfigSchema } from '../../provisioners/lab/config.ts';
import { createContainer, ignoring, removeContainer } from '../../provisioners/lab/engine-calls.ts';
import { readLabEngine } from '../../provisioners/lab/lab-engine.ts';
import { labels, networkName } from '../../provisioners/lab/labels.ts';
import { machineHostConfig } from '../../provisioners/lab/node-container.ts';
import { runCommand } from '../../provisioners/shared/run-command.ts';
import { packageRoot } from './examples.ts';
import { InstanceMetadata } from './instance-metadata.ts';
import type { InstanceOrder, Machines } from './strict-aws.ts';

const image = 'spark-failures-test/cloud-image';
/** On the rules of a network ACL. */
const borderMark = 'sf-network-acl';

export interface LabInstancesOptions {
  readonly docker: Docker;
  /** The lab's own machine, from which that of a cloud is made. */
  readonly nodeImage: string;
  /** Names its network and its containers. */
  readonly name: string;
  /** That of the EC2 subnet: instances have the addresses that were ordered. */
  readonly subnet: string;
  /** What its machines keep on disk; removed in the end. */
  readonly folder: string;
  /** Of each. */
  readonly memory?: string;
}

/** Machines behind instances: each boots Debian with cloud-init, which asks the metadata service what it is to be. */
export class LabInstances implements Machines {
  readonly #options: LabInstancesOptions;
  readonly #metadata: InstanceMetadata;

  constructor(options: LabInstancesOptions) {
    this.#options = options;
    this.#metadata = new InstanceMetadata(this.gateway, options.subnet);
  }

  /** The address at which its machines reach this host. */
  get gateway(): string {
    return this.#options.subnet.replace(/0\/\d+$/, '1');
  }

  /** Builds the image and makes the network. */
  async prepare(signal: AbortSignal): Promise<void> {
    const { docker, nodeImage, name, subnet } = this.#options;
    const context = join(packageRoot, 'test', 'support', 'cloud-image');
    await runCommand(
      'docker',
      ['build', '--quiet', '--tag', image, '--build-arg', `PARENT=${nodeImage}`, context],
      {},
      signal,
    );
    await this.removeAll();
    await ensureNetwork(docker, name, subnet);
    await this.#metadata.open();
  }

  async run(order: InstanceOrder): Promise<void> {
    const { docker, name, memory = '1Gi' } = this.#options;
    const { id, address } = order;
    await this.#metadata.add(order);
    const store = join(this.#folderOf(id), 'docker');
    await mkdir(store, { recursive: true });
    const config = labConfigSchema.parse({ memory, cpus: 2 });
    const container = await createContainer(docker, id, {
      Image: image,
      Labels: { [labels.cluster]: name },
      HostConfig: {
        ...machineHostConfig(config, await readLabEngine(docker), [`${store}:/var/lib/docker`]),
        RestartPolicy: { Name: 'unless-stopped' },
        NetworkMode: networkName(name),
      },
      NetworkingConfig: {
        EndpointsConfig: { [networkName(name)]: { IPAMConfig: { IPv4Address: address } } },
      },
    });
    await container.start();
  }

  async stop(id: string): Promise<void> {
    await ignoring([409], this.#options.docker.getContainer(id).kill());
  }

  async start(id: string): Promise<void> {
    await ignoring([304], this.#options.docker.getContainer(id).start());
  }

  async terminate(id: string): Promise<void> {
    await this.#metadata.remove(id);
    await removeContainer(this.#options.docker.getContainer(id));
    await rm(this.#folderOf(id), { recursive: true, force: true });
  }

  /** As a network ACL does at the border of a subnet, from outside of the machine. */
  async confine(id: string, network: string | undefined): Promise<void> {
    const { Pid } = (await this.#options.docker.getContainer(id).inspect()).State;
    const inside = ['-t', `${Pid}`, '-n', 'iptables', '-w'];
    for (const [chain, way, end] of [
      ...[['INPUT', '-i', '-s'] as const, ['FORWARD', '-i', '-s'] as const],
      ...[['OUTPUT', '-o', '-d'] as const, ['FORWARD', '-o', '-d'] as const],
    ]) {
      const told = (
        await runCommand('nsenter', [...inside, '-S', chain], {}, AbortSignal.timeout(10_000))
      ).split('\n');
      const rules = told.filter((rule) => rule.includes(borderMark)).map((rule) => rule.split(' ').slice(1));
      const orders = network
        ? [
            [
              '-I',
              chain,
              way,
              'eth0',
              '!',
              end,
              network,
              '-j',
              'DROP',
              '-m',
              'comment',
              '--comment',
              borderMark,
            ],
          ]
        : rules.map((rule) => ['-D', ...rule]);
      for (const order of orders)
        await runCommand('nsenter', [...inside, ...order], {}, AbortSignal.timeout(10_000));
    }
  }

  /** Ids of machines that are there, whoever knows of them. */
  async list(): Promise<readonly string[]> {
    const { docker, name } = this.#options;
    const filters = { label: [`${labels.cluster}=${name}`] };
    const found = await docker.listContainers({ all: true, filters });
    return found.map(({ Names }) => Names[0]!.slice(1));
  }

  async removeAll(): Promise<void> {
    const { docker, name, folder } = this.#options;
    await Promise.all((await this.list()).map((id) => this.terminate(id)));
    await this.#metadata.close();
    await removeNetwork(docker, name);
    await rm(folder, { recursive: true, force: true });
  }

  #folderOf(id: string): string {
    return join(this.#options.folder, id);
  }
}
