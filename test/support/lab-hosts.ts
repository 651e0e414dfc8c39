import { mkdtemp, rm } from 'node:fs/promises';
import { homedir, tmpdir } from 'node:os';
import { join } from 'node:path';
import { ensureImages } from '../../compose/images/ensure-images.ts';
import { resolveImageNames } from '../../compose/images/resolve-images.ts';
import type { MachineSpec, NodeHandle, Provisioner } from '../../provisioners/contract.ts';
import { labConfigSchema } from '../../provisioners/lab/config.ts';
import { labels } from '../../provisioners/lab/labels.ts';
import { labProvisioner } from '../../provisioners/lab/provisioner.ts';
import { localDocker } from '../../provisioners/shared/docker-client.ts';
import { packageRoot } from './examples.ts';
import { ensureUbuntuNode } from './ubuntu-node.ts';

export interface HostsOptions {
  /** Names the machines' containers and network. */
  readonly name: string;
  /** That no other lab on this machine uses. */
  readonly subnet: string;
  readonly specs: readonly MachineSpec[];
  /** Names of those that run Ubuntu; the others run Debian. */
  readonly ubuntu?: readonly string[];
  readonly memory?: string;
  /** Short names of images of the catalogue that are made ready, and that machines hold from the beginning. */
  readonly seed?: readonly string[];
  /** Short names of images that are only made ready. */
  readonly images?: readonly string[];
  readonly progress: (line: string) => void;
}

/** Machines of a lab that nobody told an operator about: what a rack of servers is to the provisioner for ssh. */
export class LabHosts {
  readonly name: string;
  /** For whatever the caller keeps on disk; removed in the end. */
  readonly work: string;
  readonly lab: Provisioner;
  /** Full names by short ones. */
  readonly images: ReadonlyMap<string, string>;
  /** As `provisioner.ssh.hosts` in a manifest has them, once they were made. */
  hosts: Readonly<Record<string, { readonly host: string; readonly hostKey: string }>> = {};
  readonly #signal: AbortSignal;

  private constructor(made: Pick<LabHosts, 'name' | 'work' | 'lab' | 'images'>, signal: AbortSignal) {
    this.name = made.name;
    this.work = made.work;
    this.lab = made.lab;
    this.images = made.images;
    this.#signal = signal;
  }

  /** Makes the machines; in the place of those that an earlier run left behind. */
  static async open(
    { name, subnet, specs, ubuntu = [], memory = '1Gi', seed = [], images = [], progress }: HostsOptions,
    signal: AbortSignal,
  ): Promise<LabHosts> {
    const work = await mkdtemp(join(tmpdir(), `sf-${name}-`));
    const names = await resolveImageNames(packageRoot);
    const tags = (short: readonly string[]) => short.map((each) => names.get(each)!);
    const cacheDir = join(process.env.XDG_CACHE_HOME ?? join(homedir(), '.cache'), 'spark-failures');
    await ensureImages(
      tags(['node', ...seed, ...images]),
      { assetsDir: packageRoot, cacheDir, progress },
      signal,
    );
    const labOf = (node: string) =>
      labProvisioner(labConfigSchema.parse({ subnet, memory, cpus: 2 }), {
        ...{ cluster: name, stateDir: join(work, 'lab'), cacheDir: join(work, 'cache'), progress },
        images: { node, seed: tags(seed) },
      });
    const lab = labOf(names.get('node')!);
    const ubuntuLab = ubuntu.length > 0 ? labOf(await ensureUbuntuNode({ cacheDir, progress }, signal)) : lab;
    const made = new LabHosts({ name, work, lab, images: names }, signal);
    await made.#takeDown();
    const make = (from: Provisioner, those: readonly MachineSpec[]) =>
      Promise.all(those.map((spec) => from.create(spec, signal)));
    const runsUbuntu = ({ name: node }: MachineSpec) => ubuntu.includes(node);
    await make(
      lab,
      specs.filter((spec) => !runsUbuntu(spec)),
    );
    await make(ubuntuLab, specs.filter(runsUbuntu));
    made.hosts = await hostsOf(name);
    return made;
  }

  /** Who they are logged in to as, with sudo, and by which key. */
  get login(): { readonly user: string; readonly keyFile: string } {
    return { user: 'operator', keyFile: join(this.work, 'lab', 'id_ed25519') };
  }

  async on<T>(name: string, use: (node: NodeHandle) => Promise<T>): Promise<T> {
    const machine = (await this.lab.list(this.#signal)).find((each) => each.name === name)!;
    const node = await this.lab.connect(machine, this.#signal);
    try {
      return await use(node);
    } finally {
      node.close();
    }
  }

  /** What a script of root's says there; rejects with what it complained of. */
  output(name: string, script: string, ...args: string[]): Promise<string> {
    return this.on(name, async (node) => {
      const { code, stdout, stderr } = await node.exec(script, args, {}, this.#signal);
      if (code !== 0) throw new Error(`${script} ended with ${code}: ${stderr}`);
      return stdout.trim();
    });
  }

  async close(): Promise<void> {
    await this.#takeDown();
    await rm(this.work, { recursive: true, force: true });
  }

  async #takeDown(): Promise<void> {
    const left = await this.lab.list(this.#signal);
    await Promise.all(left.map(({ name }) => this.lab.destroy(name, this.#signal)));
    await this.lab.destroyShared(this.#signal);
  }
}

async function hostsOf(name: string): Promise<LabHosts['hosts']> {
  const containers = await localDocker().listContainers({
    filters: { label: [`${labels.cluster}=${name}`, labels.node] },
  });
  return Object.fromEntries(
    containers.map(({ Labels }) => [
      Labels[labels.node],
      { host: Labels[labels.address]!, hostKey: `ssh-ed25519 ${Labels[labels.hostKey]}` },
    ]),
  );
}

/** Takes the engine away from a machine of the lab, and leaves behind what somebody else's packages would. */
export const withoutEngine = `
systemctl stop docker.socket docker.service containerd.service
apt-get -q -y purge $(dpkg-query -W -f '\${Package} ' docker.io docker-cli containerd runc 2>/dev/null) >/dev/null
apt-get -q -y autoremove --purge >/dev/null
find /var/lib/docker -mindepth 1 -xdev -delete 2>/dev/null
ip link del docker0 2>/dev/null
# Apt would clear this away if it were asked to clean up.
apt-get -q update >/dev/null
apt-get -q -y install --no-install-recommends tree >/dev/null
apt-mark auto tree >/dev/null
! command -v dockerd`;

/** What somebody would look at who gets a server back. */
export const inventory = `
dpkg-query -W -f '\${Package} \${Version} \${Status}\\n'
apt-mark showhold
ls -A /etc/apt/sources.list.d /etc/systemd/system /etc/docker /var/lib/spark-failures /var/lib/docker 2>/dev/null
ip -o link show | cut -d: -f2 | cut -d@ -f1`;
