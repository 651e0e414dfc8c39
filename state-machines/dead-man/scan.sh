#!/bin/sh
# Lists what faults have left on this node, whoever made them, with or without a journal: one line each,
# `run <name> <armed|injected|healed> <target>` or `mark <mechanism> <name>` for a mark that is in force now.
set -eu
for dir in /var/lib/spark-failures/runs/*/; do
  [ -d "$dir" ] || continue
  state=armed
  [ ! -e "$dir/injected" ] || state=injected
  [ ! -e "$dir/healed" ] || state=healed
  target=
  [ ! -e "$dir/target" ] || read -r target <"$dir/target"
  printf 'run %s %s %s\n' "$(basename "$dir")" "$state" "$target"
done
if command -v iptables >/dev/null; then
  iptables -w 5 -S | sed -n 's/^-N \(SF-[0-9]*\)$/mark drop \1/p'
fi
