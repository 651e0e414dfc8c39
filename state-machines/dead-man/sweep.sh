#!/bin/sh
# Clears marks of ours that belong to no run, by each mechanism's sweep.sh (put before this as `sweep_<mechanism>`, their
# names in $sweeps). Only where no run is armed, and while none can be: an active run's marks are its own.
# Answers `busy` when a run is armed here. Exits non-zero when something could not be cleared.
set -u
root=/var/lib/spark-failures
failed=0
mkdir -p "$root/runs"
exec 8>"$root/arming"
flock -w 5 8 || exit 1
for dir in "$root"/runs/*/; do
  if [ -e "$dir/armed" ] && [ ! -e "$dir/healed" ]; then
    echo busy
    exit 0
  fi
done
# shellcheck disable=SC2154 # put before this
for mechanism in $sweeps; do
  "sweep_$mechanism" clear 8>&- || failed=1
done
exit "$failed"
