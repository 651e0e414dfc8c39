#!/bin/sh
# Removes this run's chain and its hooks, and nothing else, from the node, or from the containers' network namespaces.
# Fails unless the rules that are in force show it gone.
#   $1 the controller's address, or ids of containers, joined by commas   $2... (unused)
set -eu
chain=SF-$(run_number)
# in_force NETWORK: where the rules are not told, it may be, and that ends the script.
in_force() {
  rules=$(nsenter --net="$1" iptables -w 5 -S) || exit 1
  printf '%s\n' "$rules" | grep -qw -e "$chain"
}
case $1 in *.*) ids= ;; *) ids=$(echo "$1" | tr , ' ') ;; esac
# shellcheck disable=SC2086 # a list of ids
for network in $(networks_of $ids); do
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
