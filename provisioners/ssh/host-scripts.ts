import { apt, sources } from '../shared/engine-packages.ts';
import { adoptionFile, clusterLabel } from './labels.ts';

const root = '/var/lib/spark-failures';

/**
 * Puts what `edit` prints in the place of what the machine knows of its adoption: as a whole, and on the disk. One edit at a
 * time: apt may still be at work for an operator that was killed.
 */
const rewriteAdoption = (edit: string): string => `
set -eu
umask 077
mkdir -p ${root}
exec 7<${root}
flock 7
{
${edit}
} >${adoptionFile}.new
sync ${adoptionFile}.new
mv ${adoptionFile}.new ${adoptionFile}
sync ${root}`;

/** As JSON has them, without brackets. */
const noted = `sed -n 's/.*"installed":\\[\\([^]]*\\)].*/\\1/p' ${adoptionFile} 2>/dev/null`;

/** Keeps what the machine is to know of its adoption, from standard input; what it noted as installed is added to an empty list. */
export const keepAdoption = rewriteAdoption(`
noted=$(${noted}) || noted=
sed "s/\\"installed\\":\\[]/\\"installed\\":[$noted]/"`);

/** Adds what is about to come, and is not there, to what was installed; apt names the archives on standard input. */
export const noteComing = rewriteAdoption(`
coming=
while read -r archive; do
  name=\${archive##*/} name=\${name%%_*}
  dpkg-query -W -f '\${Status}' "$name" 2>/dev/null | grep -q ' installed$' || coming="$coming\\"$name\\","
done
sed "s/\\"installed\\":\\[/&$coming/; s/,]/]/" ${adoptionFile}`);

/** All of it came, and the engine ran. */
export const completeAdoption = rewriteAdoption(`
sed 's/"complete":false/"complete":true/' ${adoptionFile}`);

/** A line for each image that came, by name, with what that name stood for before, or \`-\`. */
const imagesFile = `${root}/images`;

/** Keeps what the names ($1...) of images that are about to come stand for; an engine that came with us takes all along. */
export const noteImages = `
set -eu
! grep -q '"docker\\(\\.io\\|-ce\\)"' ${adoptionFile} 2>/dev/null || exit 0
mkdir -p ${root}
touch ${imagesFile}
for name; do
  ! cut -d ' ' -f 1 ${imagesFile} | grep -qxF -e "$name" || continue
  was=$(docker image inspect --format '{{.Id}}' "$name" 2>/dev/null) || was=-
  echo "$name $was" >>${imagesFile}
done
sync ${imagesFile}`;

/** Gives back to an engine that stays what it had: of what came with us it keeps what others use by now, and says so. */
const clearEngine = `
for volume in $(docker volume ls --quiet --filter "$mine"); do
  docker volume rm "$volume" >/dev/null 2>&1 || echo "left volume $volume, which is in use"
done
[ "$bridge" != ours ] || docker network rm docker_gwbridge >/dev/null 2>&1 || true
touch ${imagesFile}
while read -r name was; do
  here=$(docker image inspect --format '{{.Id}}' "$name" 2>/dev/null) || continue
  [ "$here" != "$was" ] || continue
  users=$(docker ps --all --filter "ancestor=$here" --format '{{.Names}}' | xargs)
  if [ -n "$users" ]; then
    echo "left image $name, which $users needs"
  elif ! docker image tag "$was" "$name" 2>/dev/null; then
    docker image rm "$name" >/dev/null || true
  elif [ "$(docker image inspect --format '{{len .RepoTags}}' "$here")" = 0 ]; then
    docker image rm "$here" >/dev/null || true
  fi
done <${imagesFile}
docker version >/dev/null 2>&1 || echo 'left images and volumes as they are: its engine does not answer'`;

/**
 * Leaves the machine as it was found: out of the swarm, without containers and volumes of the cluster ($1), without exactly
 * the packages that came with us and, if the engine was one of them, without its store; settings in /etc/docker were
 * somebody's before. An engine that stays loses what came with us, the swarm's bridge if that is \`ours\` ($2). Refuses while
 * a fault is in force, and when something that came later needs one of those packages.
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
mine="label=${clusterLabel}=$1" bridge=$2
# The engine itself would leave their volumes behind.
docker ps --all --quiet --filter "$mine" 2>/dev/null | xargs -r docker rm --force --volumes >/dev/null || true
state=$(docker info --format '{{.Swarm.LocalNodeState}}' 2>/dev/null) || state=
if [ -n "$state" ] && [ "$state" != inactive ]; then docker swarm leave --force >/dev/null || exit 1; fi
${apt}
# Only now: apt may have been at work for an operator that was killed.
set -- $(${noted} | tr -d '"' | tr , ' ')
wanted=
for name; do
  if dpkg-query -W -f '\${Status}' "$name" 2>/dev/null | grep -q ' installed$'; then wanted="$wanted $name"; fi
done
all=" $* "
came() { case $all in *" $1 "* | *" $2 "*) ;; *) return 1 ;; esac; }
if ! came docker.io docker-ce; then
${clearEngine}
fi
if [ -n "$wanted" ]; then
  later=
  for name in $(apt-get -s -o APT::Get::HideAutoRemove=true --allow-change-held-packages purge $wanted |
    sed -n 's/^\\(Purg\\|Remv\\) \\([^ ]*\\).*/\\2/p'); do
    case " $wanted " in *" $name "*) ;; *) later="$later $name" ;; esac
  done
  [ -z "$later" ] || { echo "remove what came later, and needs what came with us:$later" >&2; exit 1; }
  if came docker.io docker-ce; then systemctl stop docker.socket docker.service 2>/dev/null || true; fi
  if came containerd containerd.io; then systemctl stop containerd.service 2>/dev/null || true; fi
  apt-mark unhold $wanted >/dev/null 2>&1 || true
  packages purge $wanted
fi
if came docker.io docker-ce && ! command -v dockerd >/dev/null; then
  clear /var/lib/docker
  for link in docker_gwbridge docker0; do ip link del "$link" 2>/dev/null || true; done
fi
if came containerd containerd.io && ! command -v containerd >/dev/null; then clear /var/lib/containerd; fi
rm -f ${sources}
unit=spark-failures-replay.service
rm -f "/etc/systemd/system/$unit" "/etc/systemd/system/multi-user.target.wants/$unit"
systemctl daemon-reload
clear ${root}`;
