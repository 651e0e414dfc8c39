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

# On a full or read-only disk the marks fail; the undo must not. (Not `:`, whose failed redirection ends the shell.)
true >tombstone || echo 'no tombstone' >&2
if [ -e lock ]; then
  exec 9<lock
  flock -w 15 9 || echo 'healing without the lock' >&2
else
  exec 9</dev/null
fi
# Only an armed run can have been injected; what died while it armed may lack any of its files.
if [ -e armed ]; then
  set --
  while IFS= read -r arg; do set -- "$@" "$arg"; done <args
  SF_RUN_DIR=$dir timeout -k 2 60 sh ./undo.sh "$@" >&2 9>&- </dev/null
fi
true >healed || echo 'not marked as healed' >&2
for lock in "$root"/locks/*; do
  if [ "$(readlink "$lock")" = "$run" ]; then rm -f "$lock" || true; fi
done
echo healed
