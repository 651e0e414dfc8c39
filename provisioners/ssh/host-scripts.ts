import { adoptionFile } from './labels.ts';

const root = '/var/lib/spark-failures';

/** Keeps what the machine is to know of its adoption, from standard input; whole or not at all. */
export const keepAdoption = `
set -eu
umask 077
mkdir -p ${root}
cat >${adoptionFile}.new
sync ${adoptionFile}.new
mv ${adoptionFile}.new ${adoptionFile}`;

/** Apt is asked by one of us at a time, and waits for whoever else installs; what a lost connection left half done is done. */
const apt = `
set -eu
export DEBIAN_FRONTEND=noninteractive PATH=$PATH:/usr/sbin:/sbin
exec 9>/run/lock/spark-failures-apt
flock -w 300 9 || { echo 'somebody else has been installing for five minutes' >&2; exit 1; }
packages() {
  apt-get -q -y -o DPkg::Lock::Timeout=300 -o Dpkg::Options::=--force-confold "$@" >/dev/null
}
dpkg --configure -a >/dev/null`;

const sources = '/etc/apt/sources.list.d/spark-failures.sources';

/** Of the packages that are asked for ($1..., one perhaps as NAME=VERSION) those that this release has. */
const choose = `
for name; do
  # Not every release has it.
  if [ "$name" = docker-cli ] && ! apt-cache show docker-cli >/dev/null 2>&1; then continue; fi
  wanted="\${wanted-} $name"
done`;

/**
 * Prints the packages that would be new on the machine if those were installed ($1...), what they depend on included; apt is
 * told by standard input where else to look.
 */
export const foreseePackages = `${apt}
cat >${sources}
[ -s ${sources} ] || rm ${sources}
packages update
${choose}
apt-get -s install --no-install-recommends $wanted | sed -n 's/^Inst \\([^ ]*\\) (.*/\\1/p'`;

/** Installs packages ($1...). An engine that came so is held at its version. */
export const installPackages = `${apt}
${choose}
packages install --no-install-recommends $wanted
for name; do
  case $name in docker*) apt-mark hold "\${name%%=*}" >/dev/null 2>&1 || true ;; esac
done`;

/** Resolves when the engine says that it is up, and lets it come with the machine. */
export const startEngine = `
set -eu
systemctl --quiet enable docker.service
systemctl start docker.service
docker version --format '{{.Server.Version}}'`;

/**
 * Leaves the machine as it was found: out of the swarm, without exactly the packages that came with us ($1...) and, if the
 * engine was one of them, without its store; settings in /etc/docker were somebody's before. Refuses while a fault is in
 * force, and when something that came later needs one of those packages.
 */
export const release = `
# What somebody has mounted there is not ours.
clear() {
  find "$1" -xdev -depth -mindepth 1 -delete 2>/dev/null || true
  rmdir "$1" 2>/dev/null || true
}
for run in ${root}/runs/*/; do
  if [ -e "$run/armed" ] && [ ! -e "$run/healed" ]; then
    echo "a fault is in force: \${run%/}" >&2
    exit 1
  fi
done
state=$(docker info --format '{{.Swarm.LocalNodeState}}' 2>/dev/null) || state=
if [ -n "$state" ] && [ "$state" != inactive ]; then docker swarm leave --force >/dev/null || exit 1; fi
${apt}
for name; do
  dpkg-query -W -f '\${Status}' "$name" 2>/dev/null | grep -q ' installed$' && wanted="\${wanted-} $name"
done
if [ -n "\${wanted-}" ]; then
  later=
  for name in $(apt-get -s -o APT::Get::HideAutoRemove=true --allow-change-held-packages purge $wanted |
    sed -n 's/^\\(Purg\\|Remv\\) \\([^ ]*\\).*/\\2/p'); do
    case " $wanted " in *" $name "*) ;; *) later="$later $name" ;; esac
  done
  [ -z "$later" ] || { echo "remove what came later, and needs what came with us:$later" >&2; exit 1; }
  case " $wanted " in *' docker.io '* | *' docker-ce '*)
    systemctl stop docker.socket docker.service containerd.service 2>/dev/null || true
    engine=ours ;;
  esac
  apt-mark unhold $wanted >/dev/null 2>&1 || true
  packages purge $wanted
  if [ -n "\${engine-}" ]; then
    for folder in /var/lib/docker /var/lib/containerd; do clear "$folder"; done
    for link in docker_gwbridge docker0; do ip link del "$link" 2>/dev/null || true; done
  fi
fi
rm -f ${sources}
unit=spark-failures-replay.service
rm -f "/etc/systemd/system/$unit" "/etc/systemd/system/multi-user.target.wants/$unit"
systemctl daemon-reload
clear ${root}`;
