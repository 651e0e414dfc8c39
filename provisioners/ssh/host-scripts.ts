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

/**
 * Installs packages ($1..., one of them perhaps as NAME=VERSION), also from where standard input tells apt to look. An engine
 * that came so is held at its version.
 */
export const installPackages = `${apt}
cat >${sources}
[ -s ${sources} ] || rm ${sources}
packages update
for name; do
  # Not every release has it.
  if [ "$name" = docker-cli ] && ! apt-cache show docker-cli >/dev/null 2>&1; then continue; fi
  wanted="\${wanted-} $name"
done
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
 * Leaves the machine as it was found: out of the swarm, without the packages that came with us ($1...) and, if the engine
 * was one of them, without its store; settings in /etc/docker were somebody's before. Refuses while a fault is in force.
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
  case " $wanted " in *' docker.io '* | *' docker-ce '*)
    systemctl stop docker.socket docker.service containerd.service 2>/dev/null || true
    engine=ours ;;
  esac
  apt-mark unhold $wanted >/dev/null 2>&1 || true
  packages purge $wanted
  packages autoremove --purge
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
