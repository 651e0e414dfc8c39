import { apt, sources } from '../shared/engine-packages.ts';
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
