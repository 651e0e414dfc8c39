#!/bin/sh
# Active when the checkpoint bears this run's mark and none of the chosen files is in its place as it was. Inactive when
# it bears no such mark and nothing is kept: undo.sh lets go of them only when each is where it belongs.
#   $1 checkpoint's folder on this node   $2... (unused)
set -eu
if is_removed "$1"; then
  echo inactive
  exit
fi
cd "$1"
if is_marked; then
  if [ -e "$(list)" ] && ! places | grep -q '^same'; then echo active; else echo unknown; fi
elif [ -e "$(kept)" ]; then
  echo unknown
else
  echo inactive
fi
