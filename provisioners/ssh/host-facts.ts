import { type NodeHandle, ProvisionError } from '../contract.ts';
import { enginePackages, tools } from '../shared/engine-packages.ts';
import { type Adoption, adoptionFile } from './labels.ts';

/** What a machine is like before anything is done to it. */
export interface HostFacts {
  /** `debian 13`, as its /etc/os-release says. */
  readonly distribution: string;
  /** As the kernel says: x86_64. */
  readonly architecture: string;
  readonly hostname: string;
  /** /etc/machine-id: what two installations never share. */
  readonly machineId: string;
  readonly addresses: readonly string[];
  readonly hasSystemd: boolean;
  readonly hasOverlay: boolean;
  readonly hasVxlan: boolean;
  /** Free for the engine's store. */
  readonly diskBytes: number;
  /** The machine's clock minus ours, as sharp as the question took. */
  readonly clockMs: { readonly offset: number; readonly bound: number };
  /** Version of the running engine; `stopped` when it is installed and does not answer; null: not installed. */
  readonly engine: string | null;
  /** Of the engine's membership in a swarm; null when it is in none. */
  readonly swarm: string | null;
  /** A swarm has been on it: its bridge is there. */
  readonly hasBridge: boolean;
  /** Something lies where an engine would keep its images and volumes. */
  readonly hasStore: boolean;
  /** Ports of a swarm on which something listens, `tcp/2377`. */
  readonly ports: readonly string[];
  /** Packages of those that a machine needs which it has. */
  readonly packages: readonly string[];
  readonly adoption?: Adoption;
}

/** One line per fact: a name, a blank, the value. A name may come more than once. */
const script = `
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin
[ -r /etc/os-release ] && . /etc/os-release
echo "distribution \${ID-} \${VERSION_ID-}"
echo "architecture $(uname -m)"
echo "hostname $(uname -n)"
echo "machine $(cat /etc/machine-id 2>/dev/null)"
echo "clock $(date +%s%N)"
ip -4 -o addr show scope global 2>/dev/null | while read -r _ _ _ address _; do echo "address \${address%/*}"; done
[ -d /run/systemd/system ] && echo 'systemd yes'
if grep -qw overlay /proc/filesystems || modprobe -n overlay 2>/dev/null; then echo 'overlay yes'; fi
unshare -n ip link add sf-probe type vxlan id 1 dstport 4789 2>/dev/null && echo 'vxlan yes'
store=/var/lib/docker
[ -d "$store" ] || store=/var/lib
echo "disk $(df -kP "$store" | tail -n 1 | tr -s ' ' | cut -d ' ' -f 4)"
if version=$(docker version --format '{{.Server.Version}}' 2>/dev/null) && [ -n "$version" ]; then echo "engine $version"
elif command -v dockerd >/dev/null; then echo 'engine stopped'; fi
[ -n "$(find /var/lib/docker -xdev ! -type d 2>/dev/null | head -n 1)" ] && echo 'store yes'
# A stopped engine is a member all the same.
[ -e /var/lib/docker/swarm/docker-state.json ] &&
  echo "swarm $(docker info --format '{{.Swarm.NodeID}}' 2>/dev/null || cat /var/lib/docker/swarm/docker-state.json)"
[ -e /sys/class/net/docker_gwbridge ] && echo 'bridge yes'
ss -Hlnut 2>/dev/null | while read -r kind _ _ _ local _; do
  case \${local##*:} in 2377 | 7946 | 4789) echo "port $kind/\${local##*:}" ;; esac
done
for name; do
  dpkg-query -W -f '\${Status}' "$name" 2>/dev/null | grep -q ' installed$' && echo "package $name"
done
[ -r ${adoptionFile} ] && echo "adoption $(tr -d '\\n' <${adoptionFile})"
true`;

/** Asks a machine, in one round trip. Rejects with an ExecError when it cannot be asked. */
export async function readHostFacts(
  node: NodeHandle,
  now: () => number,
  signal: AbortSignal,
): Promise<HostFacts> {
  const askedMs = now();
  const { code, stdout, stderr } = await node.exec(
    script,
    [...Object.values(enginePackages).flat(), ...tools],
    {},
    signal,
  );
  if (code !== 0) {
    const said = stderr.trim();
    const why = said.startsWith('sudo:')
      ? `its user is not root, and ${said}`
      : `the facts script ended with ${code}: ${said}`;
    throw new ProvisionError([`${node.name}: ${why}`], { needsHelp: true });
  }
  return parseHostFacts(stdout, { askedMs, answeredMs: now() });
}

/** Reads the script's answer; the clock is true of some instant between the two. */
export function parseHostFacts(
  answer: string,
  { askedMs, answeredMs }: { readonly askedMs: number; readonly answeredMs: number },
): HostFacts {
  const lines = answer.split('\n').map((line) => /^(\S+) (.*)$/.exec(line));
  const all = (name: string) => lines.flatMap((line) => (line?.[1] === name ? [(line[2] ?? '').trim()] : []));
  const one = (name: string) => all(name)[0];
  const adoption = one('adoption');
  const bound = (answeredMs - askedMs) / 2;
  return {
    distribution: one('distribution') ?? '',
    architecture: one('architecture') ?? '',
    hostname: one('hostname') ?? '',
    machineId: one('machine') ?? '',
    addresses: all('address'),
    hasSystemd: one('systemd') === 'yes',
    hasOverlay: one('overlay') === 'yes',
    hasVxlan: one('vxlan') === 'yes',
    diskBytes: Number(one('disk') ?? 0) * 1024,
    clockMs: { offset: Math.round(Number(one('clock') ?? 0) / 1e6) - askedMs - bound, bound },
    engine: one('engine') ?? null,
    swarm: one('swarm') ?? null,
    hasBridge: one('bridge') === 'yes',
    hasStore: one('store') === 'yes',
    ports: [...new Set(all('port'))],
    packages: all('package'),
    ...(adoption !== undefined && { adoption: JSON.parse(adoption) as Adoption }),
  };
}

const gibibyte = 1 << 30;
/** Images of the streaming job take two and a half. */
const leastDiskBytes = 6 * gibibyte;
/** A swarm's certificates, and instants of machines that are compared, bear no more. */
const mostClockMs = 5_000;

/** Why a machine cannot be adopted, all reasons at once; empty when it can. */
export function whyNotAdopted(
  facts: HostFacts,
  { cluster, node, address }: { readonly cluster: string; readonly node: string; readonly address: string },
): readonly string[] {
  const { adoption, clockMs } = facts;
  const isOurs = adoption?.cluster === cluster && adoption.node === node;
  const isKnown = /^(debian|ubuntu) /.test(facts.distribution);
  const problems = [
    !isKnown && `runs ${facts.distribution || 'an unknown system'}: only Debian and Ubuntu are supported`,
    facts.architecture !== 'x86_64' && `is ${facts.architecture}: the images are for x86_64`,
    !facts.hasSystemd && 'has no systemd, which undoes faults when nobody else does',
    !facts.hasOverlay && 'its kernel has no overlay file system',
    !facts.hasVxlan && 'its kernel has no vxlan, over which the swarm connects containers',
    facts.hostname !== node && `calls itself ${facts.hostname}: name it so in the manifest`,
    !facts.addresses.includes(address) &&
      `has no address ${address}, but ${facts.addresses.join(', ') || 'none at all'}`,
    adoption &&
      !isOurs &&
      `is adopted by cluster ${adoption.cluster} as ${adoption.node}: release it there first`,
    !isOurs &&
      facts.engine === null &&
      facts.hasStore &&
      'has files in /var/lib/docker, though no engine is installed: whose are they?',
    !isOurs && facts.swarm !== null && 'is in a swarm already: let it leave that first',
    !isOurs &&
      facts.swarm === null &&
      facts.ports.length > 0 &&
      `something else listens on ${facts.ports.join(', ')}`,
    !isOurs &&
      facts.diskBytes < leastDiskBytes &&
      `has ${(facts.diskBytes / gibibyte).toFixed(1)} GiB free for images, needs ${leastDiskBytes / gibibyte}`,
    Math.abs(clockMs.offset) > mostClockMs + clockMs.bound &&
      `its clock is ${(clockMs.offset / 1_000).toFixed(1)} s off: let NTP keep it`,
  ];
  return problems.filter((problem): problem is string => typeof problem === 'string');
}
