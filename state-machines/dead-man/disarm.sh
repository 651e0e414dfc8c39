#!/bin/sh
# Takes a step's switch away once it is healed and verified; nothing of the run stays on the node.
#   $1 run directory's name
set -eu
run=$1
dir=/var/lib/spark-failures/runs/$run
[ -d "$dir" ] || exit 0
if [ ! -e "$dir/healed" ]; then
  echo "$run is not healed: its switch stays" >&2
  exit 1
fi
# The service too: it may be waiting to try a failed undo again.
systemctl --quiet stop "sf-$run.timer" "sf-$run.service" 2>/dev/null || true
rm -rf "$dir"
