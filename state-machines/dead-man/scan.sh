#!/bin/sh
# Lists what faults have left on this node, whoever made them, with or without a journal: one line each.
#   run <name> <armed|injected|healed> <arming|pending|over> <target>   (pending: its switch will fire, and nobody has
#     taken over from its operator, by outdated.sh, which is put before this)
#   mark <mechanism> <name>   in force now, as each mechanism's sweep.sh lists them (put before this as
#     `sweep_<mechanism>`, their names in $sweeps)
#   unlisted <mechanism>   its sweep.sh failed, and says why on stderr: what it has not listed may be in force
set -u
for dir in /var/lib/spark-failures/runs/*/; do
  [ -d "$dir" ] || continue
  state=armed
  [ ! -e "$dir/injected" ] || state=injected
  [ ! -e "$dir/healed" ] || state=healed
  life=over
  [ -e "$dir/armed" ] || life=arming
  [ ! -e "/run/systemd/transient/sf-$(basename "$dir").timer" ] || life=pending
  mandate=
  [ ! -e "$dir/mandate" ] || read -r mandate <"$dir/mandate"
  ! outdated "$mandate" || life=over
  target=
  [ ! -e "$dir/target" ] || read -r target <"$dir/target"
  printf 'run %s %s %s %s\n' "$(basename "$dir")" "$state" "$life" "$target"
done
# shellcheck disable=SC2154 # put before this
for mechanism in $sweeps; do
  marks=$("sweep_$mechanism" list) || echo "unlisted $mechanism"
  [ -z "$marks" ] || printf '%s\n' "$marks" | sed "s/^/mark $mechanism /"
done
