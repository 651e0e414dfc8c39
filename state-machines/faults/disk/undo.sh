#!/bin/sh
# Removes the file that fills the file system. Emptied first: a file that somebody has open would keep its space.
# Without its directory the run's own name says which file it is. What others have written since is theirs.
#   $1 a folder on it   $2 percent or leave (unused)   $3 amount (unused)
set -eu
if [ -e "$SF_RUN_DIR/file" ]; then
  IFS= read -r file <"$SF_RUN_DIR/file"
  if ! mountpoint -q "${file%/*}/"; then
    echo "${file%/*} is not mounted: $file stays there" >&2
    exit 1
  fi
else
  [ -d "$1" ] || exit 0
  file=$(fill_file "$1")
fi
[ ! -e "$file" ] || truncate -s 0 "$file" || true
rm -f "$file" "$file.probe"
sync "${file%/*}/"
