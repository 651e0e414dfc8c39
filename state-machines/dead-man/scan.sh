#!/bin/sh
# Lists what faults have left on this node, whoever made them, with or without a journal: one line each,
# `run <name> <armed|injected|healed> <target>`, or `mark <mechanism> <name>` for a mark that is in force now, as each
# mechanism's sweep.sh lists them (put before this as `sweep_<mechanism>`, their names in $sweeps).
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
# shellcheck disable=SC2154 # put before this
for mechanism in $sweeps; do
  "sweep_$mechanism" list | sed "s/^/mark $mechanism /"
done
