#!/bin/sh
# Active when both units are down, nobody listens on the engine's socket, so that a client is refused, and no container
# is left. The kernel is asked who listens: a connection would start the engine by its socket unit.
set -eu
service=$(systemctl is-active docker.service) || true
socket=$(systemctl is-active docker.socket) || true

# 00010000 marks a socket that accepts connections.
listens=$(awk '$4 == "00010000" && $NF ~ "^(/var)?/run/docker[.]sock$" { print "listens"; exit }' /proc/net/unix)

case $service/$socket/$listens in
active/*/listens) echo inactive ;;
inactive/active/* | failed/active/*) echo unknown ;;
inactive/*/ | failed/*/)
  if [ -n "$(container_processes)" ]; then echo unknown; else echo active; fi
  ;;
*) echo unknown ;;
esac
