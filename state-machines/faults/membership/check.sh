#!/bin/sh
# demote: on a manager, active when the managers do not count the node as one of them; on the node itself, as its own
# witness (SF_RUN_DIR is empty), when its engine manages nothing any more, and its certificate says worker: one that is
# restarted before that begins as a manager without its log, and can be broken for good.
# leave: on the node, active when its engine is in no swarm; on a witness (SF_RUN_DIR is empty), when the managers have
# given it up, or, as their new leader, have not heard of it yet: it gives nobody up before half a minute.
#   $1 demote | leave   $2 the node's id in the swarm
set -eu
if [ "$1" = demote ]; then
  if [ -n "${SF_RUN_DIR:-}" ]; then
    swarm_check role "$2" worker
    exit
  fi
  said=$(timeout 4 docker info --format '{{.DockerRootDir}} {{.Swarm.NodeID}} {{.Swarm.ControlAvailable}}' 2>/dev/null)
  case ${said#* } in
  "$2 true") echo inactive ;;
  "$2 false")
    if sed '/-----/d' "${said%% *}/swarm/certificates/swarm-node.crt" | base64 -d | grep -qaw swarm-worker; then
      echo active
    else
      echo unknown
    fi
    ;;
  *) echo unknown ;;
  esac
  exit
fi
if [ -n "${SF_RUN_DIR:-}" ]; then
  state=$(timeout 4 docker info --format '{{.Swarm.LocalNodeState}}' 2>/dev/null) || state=
else
  state=$(timeout 4 docker node inspect --format '{{.Status.State}}' "$2" 2>/dev/null) || state=
fi
case $state in
inactive | down | unknown | disconnected) echo active ;;
active | ready) echo inactive ;;
*) echo unknown ;;
esac
