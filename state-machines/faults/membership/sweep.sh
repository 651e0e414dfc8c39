#!/bin/sh
# What this mechanism marks on a node, without any run's directory: the states of engines that have left their swarm.
#   $1 list: prints the marks that are in force, one a line; clear: gives them back to their engine
set -u
status=0
set_aside=$(sed -n 's/.*"data-root"[^"]*"\([^"]*\)".*/\1/p' /etc/docker/daemon.json 2>/dev/null)
for kept in "${set_aside:-/var/lib/docker}"/sf-swarm-*; do
  [ -d "$kept" ] || continue
  if [ "$1" = list ]; then
    basename "$kept"
    continue
  fi
  swarm=$(dirname "$kept")/swarm
  if [ -d "$swarm/certificates" ]; then
    rm -rf "$kept" # a member anew, by somebody else
  # An engine may have no socket unit; one that needs it starts it.
  elif ! { { systemctl stop docker.socket docker.service || [ -z "$(engine_units)" ]; } &&
    rm -rf "$swarm" && mv -T "$kept" "$swarm" && systemctl start docker.service; }; then
    status=1
  fi
done
exit "$status"
