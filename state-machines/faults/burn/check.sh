#!/bin/sh
# Active when in the cgroup of each container a burner uses CPU time or the disk, or holds the memory, at this moment. A
# container that is gone, while the fault lasts, died under it: an outcome.
#   $1 cpu, memory or blkio   $2 workers, or bytes   $3 load, or bytes (unused)   $4... container ids
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
  for pid in $1; do sed 's/.*) //' "/proc/$pid/stat" 2>/dev/null || true; done |
    awk '{ sum += $12 + $13 } END { print sum + 0 }'
}

# Of processes that have ended, too: who started them has inherited it. The counters of a cgroup of version 1 stand
# still as long as nothing is limited there.
disk_bytes() {
  for pid in $1; do cat "/proc/$pid/io" 2>/dev/null || true; done |
    awk '/^(read|write)_bytes:/ { sum += $2 } END { printf "%.0f\n", sum }'
}

# grows COUNTER PIDS: throttled with its container, a burner may have to wait for its turn.
grows() {
  before=$("$1" "$2")
  for _ in 1 2 3 4 5; do
    sleep 0.1
    [ "$("$1" "$2")" -le "$before" ] || return 0
  done
  return 1
}

uses_cpu() { grows ticks "$1"; }

uses_blkio() { grows disk_bytes "$1"; }

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
