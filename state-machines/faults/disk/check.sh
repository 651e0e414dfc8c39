#!/bin/sh
# Active when no more is free than was asked for; where that is nothing, when a small file cannot be written. Inactive
# as soon as our file is gone: how full the rest is, is not up to the undo.
#   $1 a folder on it   $2 percent or leave   $3 percentage, or bytes to be left free
set -eu
answer() {
  echo "$1"
  exit 0
}
if [ -e "${SF_RUN_DIR:-}/file" ]; then
  IFS= read -r file <"$SF_RUN_DIR/file"
  mountpoint -q "${file%/*}/" || answer unknown
else
  [ -d "$1" ] || answer inactive
  file=$(fill_file "$1")
fi
[ -e "$file" ] || answer inactive
wanted=$(wanted_free "$1" "$2" "$3")
if [ "$wanted" -eq 0 ]; then
  if takes_nothing "$file.probe"; then answer active; else answer unknown; fi
fi
# A hundredth of it, which others may have given back.
if [ "$(free "$1")" -le $((wanted + $(wanted_free "$1" percent 0) / 100)) ]; then answer active; else answer unknown; fi
