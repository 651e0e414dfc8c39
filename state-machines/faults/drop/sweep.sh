#!/bin/sh
# What this mechanism marks on a node, without any run's directory: chains named SF-<number>.
#   $1 list: prints the marks that are in force, one a line; clear: removes them
set -u
rules=$(iptables -w 5 -S 2>/dev/null) || exit 0
chains=$(printf '%s\n' "$rules" | sed -n 's/^-N \(SF-[0-9]*\)$/\1/p')
for chain in $chains; do
  if [ "$1" = list ]; then
    echo "$chain"
    continue
  fi
  for hook in INPUT OUTPUT FORWARD; do
    while iptables -w 5 -D "$hook" -j "$chain" 2>/dev/null; do :; done
  done
  iptables -w 5 -F "$chain" && iptables -w 5 -X "$chain" || exit 1
done
