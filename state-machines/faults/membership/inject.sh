#!/bin/sh
# demote: makes a worker of a manager, from another one, and keeps that it was a manager.
# leave: lets this node's engine leave its swarm, by force as a manager must. Its state is moved away first, at once and
# whole, so that the engine deletes an empty folder: what it still writes while it stops goes into the files that it has
# open, wherever these are. So no join token is ever needed, and the node can come back as who it was.
#   $1 demote | leave   $2 the node's id in the swarm
set -eu
if [ "$1" = demote ]; then
  swarm_inject role "$2" worker
  exit
fi

format='{{.DockerRootDir}} {{.Swarm.LocalNodeState}} {{.Swarm.NodeID}} {{with .Swarm.Cluster}}'
format="$format{{.Spec.EncryptionConfig.AutoLockManagers}}{{end}}"
said=$(timeout 5 docker info --format "$format") || refuse 'the engine does not answer'
root=${said%% *} kept=$(kept_in "${said%% *}")
case ${said#* } in
"active $2 true") refuse 'the swarm locks its managers: without a key, an engine that starts anew stays out' ;;
"active $2 "*) ;;
*) refuse "the engine is not the member $2 of a swarm: $said" ;;
esac
# A folder on a file system of its own cannot be moved.
if mountpoint -q "$root/swarm"; then refuse "$root/swarm is a mount point"; fi
note_engine
printf '%s\n' "$root" | save root
mv -T "$root/swarm" "$kept"
mkdir -m 700 "$root/swarm"
sync "$root"
# An engine that is slow to end its tasks goes on without the one who asked.
timeout 7 docker swarm leave --force >/dev/null || [ $? -eq 124 ]
