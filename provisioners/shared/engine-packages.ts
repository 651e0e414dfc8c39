import { z } from 'zod';

/** The Docker engine that a machine without one gets. */
export const engineField = () =>
  z
    .strictObject({
      package: z
        .enum(['docker.io', 'docker-ce'])
        .default('docker.io')
        .describe("where there is none yet: Debian's and Ubuntu's own package, or Docker's"),
      version: z
        .string()
        .min(1)
        .exactOptional()
        .describe('version of that package, as apt tells it; by default the newest, which is then held'),
      repository: z
        .string()
        .regex(/^Types:/, 'must be what apt reads from a file *.sources: Types, URIs, Suites, ...')
        .exactOptional()
        .describe('where apt is to find it, besides where it looks anyway: a deb822 stanza, key included'),
    })
    .prefault({})
    .describe('the Docker engine that a machine without one gets');

/** An engine, with what it needs that its package does not bring everywhere. */
export const enginePackages = {
  // Debian 13 has the client in a package of its own, earlier releases have it in docker.io.
  'docker.io': ['docker.io', 'docker-cli'],
  'docker-ce': ['docker-ce', 'docker-ce-cli', 'containerd.io'],
} as const;
/** Packages as apt takes them: the engine's with the version that was asked for, if one was. */
export function askedOfApt(
  engine: z.output<ReturnType<typeof engineField>>,
  lacking: readonly string[],
): readonly string[] {
  const { package: enginePackage, version } = engine;
  return lacking.map((name) => (name === enginePackage && version ? `${name}=${version}` : name));
}

/** What a swarm member of ours needs beside the engine: faults and their checks are made with it. */
export const tools = ['iproute2', 'iptables', 'procps'] as const;

/** Apt is asked by one of us at a time, and waits for whoever else installs; what a lost connection left half done is done. */
export const apt = `
set -eu
export DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=1 PATH=$PATH:/usr/sbin:/sbin
exec 9>/run/lock/spark-failures-apt
flock -w 300 9 || { echo 'somebody else has been installing for five minutes' >&2; exit 1; }
# Unattended upgrades hold one of three locks; apt by itself can wait for one of them only.
while_locked() {
  for _ in $(seq 100); do
    said=$(LC_ALL=C "$@" 2>&1 >/dev/null) && return
    case $said in *'lock was locked'* | *'Could not get lock'*) sleep 3 ;; *) break ;; esac
  done
  printf '%s\\n' "$said" >&2
  return 1
}
packages() {
  while_locked apt-get -q -y -o Dpkg::Options::=--force-confold "$@"
}
while_locked dpkg --configure -a`;

/** Where apt is told to look besides. */
export const sources = '/etc/apt/sources.list.d/spark-failures.sources';

/**
 * Reads the lists of packages; apt is told by standard input where else to look. That is asked alone first: what is wrong with
 * it is an error, and what is wrong with another list of the machine's is not. Of the packages that are asked for ($1...) a
 * version must be there that one is to have. Nothing is left where this fails.
 */
export const readPackageLists = `${apt}
trap '[ $? = 0 ] || rm -f ${sources}' EXIT
cat >${sources}
if [ ! -s ${sources} ]; then
  rm ${sources}
elif ! packages -o Dir::Etc::SourceList=${sources} -o Dir::Etc::SourceParts=/dev/null -o APT::Get::List-Cleanup=false \\
  -o APT::Update::Error-Mode=any -o Acquire::Retries=0 -o Acquire::http::Timeout=15 update; then
  echo 'mend engine.repository in the manifest, its key or its server' >&2
  exit 1
fi
packages update
for name; do
  case $name in *=*) ;; *) continue ;; esac
  versions=$(apt-cache madison "\${name%%=*}" | cut -d '|' -f 2 | xargs)
  case " $versions " in *" \${name#*=} "*) continue ;; esac
  echo "choose another engine.version in the manifest: of \${name%%=*} there is \${versions:-none}, and no \${name#*=}" >&2
  exit 1
done`;

/**
 * Installs packages ($1...), those of them that this release has. Standard input may be a script: it gets the archives of all
 * that is about to come, one a line, before any of them is unpacked, and nothing comes when it fails. An engine that came so
 * is held at its version. Apt is asked once: it may take a second of processor time to read its lists, whatever it is asked.
 */
export const installPackages = `${apt}
hook=/run/spark-failures-hook
trap 'rm -f $hook' EXIT
cat >$hook
is_known() {
  /usr/lib/apt/apt-helper cat-file /var/lib/apt/lists/*_Packages* 2>/dev/null | grep -qx "Package: $1"
}
for name; do
  # Not every release has it.
  [ "$name" != docker-cli ] || is_known docker-cli || continue
  wanted="\${wanted-} $name"
done
[ -n "\${wanted-}" ] || exit 0
set --
[ ! -s $hook ] || set -- -o DPkg::Pre-Install-Pkgs::="sh $hook"
packages "$@" install --no-install-recommends $wanted
for name in $wanted; do
  case $name in docker*) echo "\${name%%=*} hold" ;; esac
done | dpkg --set-selections`;

/** Resolves when the engine says that it is up, and lets it come with the machine. */
export const startEngine = `
set -eu
systemctl --quiet enable docker.service
systemctl start docker.service
docker version --format '{{.Server.Version}}'`;
