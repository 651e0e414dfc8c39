#!/bin/sh
# What this mechanism marks, on the node and in the network namespaces of its containers, without any run's directory:
# chains named SF-<number>.
#   $1 list: prints the marks that are in force, one a line; clear: removes them
set -u
command -v iptables >/dev/null || exit 0
every_network | {
  status=0
  while read -r inode network; do
    if ! rules=$(nsenter --net="$network" iptables -w 5 -S); then
      [ ! -e "$network" ] || status=1 # or else gone meanwhile
      continue
    fi
    for chain in $(printf '%s\n' "$rules" | sed -n 's/^-N \(SF-[0-9]*\)$/\1/p'); do
      if [ "$1" = list ]; then
        echo "$chain$(place_of "$inode" "$network")"
        continue
      fi
      for hook in INPUT OUTPUT FORWARD; do
        while nsenter --net="$network" iptables -w 5 -D "$hook" -j "$chain" 2>/dev/null; do :; done
      done
      nsenter --net="$network" iptables -w 5 -F "$chain" && nsenter --net="$network" iptables -w 5 -X "$chain" || status=1
    done
  done
  exit "$status"
}
