#!/bin/sh
# Undoes whatever is pending on this node, without a journal: at boot, and for `controller heal`. Marks of ours that
# belong to no run are removed too, by each mechanism's sweep.sh, which is put before this as `sweep_<mechanism>`, with
# their names in $sweeps. Exits non-zero when something could not be undone.
set -u
root=/var/lib/spark-failures
failed=0

for dir in "$root"/runs/*/; do
  [ -d "$dir" ] || continue
  if [ ! -e "$dir/armed" ]; then
    # Died while it armed, unless it is arming now: that one is waited for, and has a switch then.
    # shellcheck disable=SC2016 # $1 is the inner shell's
    flock "$root/arming" sh -c '[ -e "$1/armed" ] || rm -rf "$1"' sh "$dir"
  fi
  [ ! -e "$dir/armed" ] || sh "$dir/heal.sh" "$(basename "$dir")" || failed=1
done

# shellcheck disable=SC2154 # put before this
for mechanism in $sweeps; do
  "sweep_$mechanism" clear || failed=1
done
exit "$failed"
