#!/bin/sh
# What this mechanism marks on a node, without any run's directory: folders sf-link-<number> of /run, each with what one
# link has lost, and the undo that gives it back.
#   $1 list: prints the marks that are in force, one a line; clear: undoes what they stand for
set -u
status=0
for device in /run/sf-link-*/device; do
  [ -e "$device" ] || continue
  kept=${device%/device}
  if [ "$1" = list ]; then
    basename "$kept"
  else
    # It needs no more of the run's directory than the name.
    SF_RUN_DIR=$(cat "$kept/run") sh "$kept/undo.sh" || status=1
  fi
done
exit "$status"
