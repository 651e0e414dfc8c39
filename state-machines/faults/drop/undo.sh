#!/bin/sh
# Removes this run's chain and its hooks, and nothing else, from the node and from the containers' network namespaces that
# it keeps. Fails unless the rules that are in force show it gone.
set -eu
chain=SF-$(run_number)
# in_force NETWORK
in_force() {
  rules=$(nsenter --net="$1" iptables -w 5 -S)
  printf '%s\n' "$rules" | grep -qw -e "$chain"
}
for network in /proc/self/ns/net $(pinned_networks); do
  in_force "$network" || continue
  for hook in INPUT OUTPUT FORWARD; do
    while nsenter --net="$network" iptables -w 5 -D "$hook" -j "$chain" 2>/dev/null; do :; done
  done
  nsenter --net="$network" iptables -w 5 -F "$chain"
  nsenter --net="$network" iptables -w 5 -X "$chain"
  if in_force "$network"; then
    echo "$chain is still in force" >&2
    exit 1
  fi
done
unpin_networks
