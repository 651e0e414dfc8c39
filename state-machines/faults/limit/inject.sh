#!/bin/sh
# Lowers a limit of containers' cgroups; refuses to raise one. Saves what it lowers, of all of them, before it begins.
#   $1 cpu, memory, pids or blkio   $2 thousandths of a core, bytes, processes, or bytes per second
#   $3... container ids
set -eu
resource=$1 limit=$2
shift 2

wanted=$(
  for id; do
    lines=$(container_limit "$id" "$resource" "$limit")
    [ -n "$lines" ] || refuse "container $id is not running, or on no disk that takes a limit"
    printf '%s\n' "$lines"
  done
)
printf '%s\n' "$wanted" | while read -r file value; do
  [ -e "$file" ] || refuse "there is no $file: the engine has not turned that controller on"
  present=$(present_limit "$file" "$value")
  ! raises "$present" "$value" || refuse "$file is at $present already: $value would raise it"
  echo "$file $present"
done >"$SF_RUN_DIR/saved.tmp"
mv "$SF_RUN_DIR/saved.tmp" "$SF_RUN_DIR/saved"

printf '%s\n' "$wanted" | while read -r file value; do
  if ! printf '%s\n' "$value" >"$file"; then
    # Version 1 takes no memory limit below what it cannot reclaim; version 2 takes it, and kills.
    echo "$file does not take $value" >&2
    exit 1
  fi
done
