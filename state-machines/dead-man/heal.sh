#!/bin/sh
# Undoes one step: called by the timer, at boot, and by the controller; any number of times, in any order. It needs
# no network, no engine and no registry, only this directory. The tombstone comes first: no inject after it.
#   $1 run directory's name   then undo.sh's arguments, with undo.sh on stdin: used when the directory is not there
# Answers `healed`; a non-zero exit means that undo.sh failed and must be tried again.
set -eu
run=$1
root=/var/lib/spark-failures
dir=$root/runs/$run

if ! cd "$dir" 2>/dev/null; then
  shift
  SF_RUN_DIR=$dir timeout -k 2 60 sh -s -- "$@"
  echo healed
  exit 0
fi

# On a full disk these marks may fail; the undo must not.
: >tombstone || true
exec 9>lock
flock -w 15 9 || true
set --
while IFS= read -r arg; do set -- "$@" "$arg"; done <args
SF_RUN_DIR=$dir timeout -k 2 60 sh ./undo.sh "$@" >&2 9>&- </dev/null
: >healed || true
read -r held <target
if [ "$(readlink "$root/locks/$held")" = "$run" ]; then rm -f "$root/locks/$held"; fi
echo healed
