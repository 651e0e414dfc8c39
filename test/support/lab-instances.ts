import { mkdir, rm, writeFile } from 'node:fs/promises';
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
import type { InstanceOrder, Machines } from './strict-aws.ts';

const image = 'spark-failures-test/cloud-image';

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
}

/** Machines behind instances: each boots Debian with cloud-init, which reads the user data that was ordered. */
export class LabInstances implements Machines {
  readonly #options: LabInstancesOptions;

  constructor(options: LabInstancesOptions) {
    this.#options = options;
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
  }

  async run({ id, address, userData, publicKey }: InstanceOrder): Promise<void> {
    const { docker, name } = this.#options;
    const seed = join(this.#folderOf(id), 'seed');
    const store = join(this.#folderOf(id), 'docker');
    await Promise.all([seed, store].map((folder) => mkdir(folder, { recursive: true })));
    const hostname = `ip-${address.replaceAll('.', '-')}`;
    const metadata = { 'instance-id': id, 'local-hostname': hostname, 'public-keys': [publicKey] };
    await writeFile(join(seed, 'meta-data'), JSON.stringify(metadata));
    await writeFile(join(seed, 'user-data'), userData);
    const config = labConfigSchema.parse({ memory: '1Gi', cpus: 1 });
    const container = await createContainer(docker, id, {
      Image: image,
      Hostname: hostname,
      Labels: { [labels.cluster]: name },
      HostConfig: {
        ...machineHostConfig(config, await readLabEngine(docker), [
          `${store}:/var/lib/docker`,
          `${seed}:/var/lib/cloud/seed/nocloud:ro`,
        ]),
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
    await removeContainer(this.#options.docker.getContainer(id));
    await rm(this.#folderOf(id), { recursive: true, force: true });
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
    await removeNetwork(docker, name);
    await rm(folder, { recursive: true, force: true });
  }

  #folderOf(id: string): string {
    return join(this.#options.folder, id);
  }
}
