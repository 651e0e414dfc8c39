#!/bin/sh
# Removes this run's chain and its hooks, and nothing else. Fails unless the rules that are in force show it gone.
set -eu
chain=SF-$(run_number)
in_force() {
  rules=$(iptables -w 5 -S)
  printf '%s\n' "$rules" | grep -qw -e "$chain"
}
in_force || exit 0
for hook in INPUT OUTPUT FORWARD; do
  while iptables -w 5 -D "$hook" -j "$chain" 2>/dev/null; do :; done
done
iptables -w 5 -F "$chain"
iptables -w 5 -X "$chain"
if in_force; then
  echo "$chain is still in force" >&2
  exit 1
fi
