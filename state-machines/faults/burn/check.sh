#!/bin/sh
# Active when in the cgroup of each container a burner uses CPU time, or holds the memory, at this moment. A container
# that is gone, while the fault lasts, died under it: an outcome.
#   $1 cpu or memory   $2 workers, or bytes   $3 load (unused)   $4... container ids
set -eu
resource=$1 amount=$2
shift 3
all=$(burners "$(burner_name)")

# burners_in CONTAINER_ID: those that its cgroup governs.
burners_in() {
  for pid in $all; do
    case $(cgroup_of "$pid" "$resource" 2>/dev/null) in *"$1"*) echo "$pid" ;; esac
  done
}

ticks() {
  for pid in $1; do sed 's/.*) //' "/proc/$pid/stat" 2>/dev/null || true; done | awk '{ sum += $12 + $13 } END { print sum + 0 }'
}

# Throttled with its container, a burner may have to wait for its turn.
uses_cpu() {
  before=$(ticks "$1")
  for _ in 1 2 3 4 5; do
    sleep 0.1
    [ "$(ticks "$1")" -le "$before" ] || return 0
  done
  return 1
}

uses_memory() {
  for pid in $1; do cat "/proc/$pid/status" 2>/dev/null || true; done |
    awk -v bytes="$amount" '/^Vm(RSS|Swap):/ { sum += $2 * 1024 } END { exit !(sum >= bytes) }'
}

pressed=0 free=0
for id; do
  if [ -z "$(first_process "$id")" ]; then
    if [ -e "${SF_RUN_DIR:-}/burning" ]; then pressed=$((pressed + 1)); else free=$((free + 1)); fi
    continue
  fi
  pids=$(burners_in "$id")
  if [ -z "$pids" ]; then
    free=$((free + 1))
  elif "uses_$resource" "$pids"; then
    pressed=$((pressed + 1))
  fi
done
case $pressed/$free in
  "$#/0") echo active ;;
  "0/$#") if [ -z "$all" ]; then echo inactive; else echo unknown; fi ;;
  *) echo unknown ;;
esac
