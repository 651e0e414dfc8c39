#!/bin/sh
# Active when the limit is in force and the containers keep to it. One that demands less than its limit is not hindered:
# then that it uses no more, measured, is all that can be said. One that is gone, while the fault lasts, died under its
# limit: an outcome, as when memory runs out.
#   $1 cpu, memory, pids or blkio   $2 thousandths of a core, bytes, processes, or bytes per second
#   $3... container ids
set -eu
resource=$1 limit=$2
shift 2

in_force() {
  lines=$(container_limit "$1" "$resource" "$limit")
  if [ -z "$lines" ]; then
    [ -e "${SF_RUN_DIR:-}/saved" ]
    return
  fi
  printf '%s\n' "$lines" | while read -r file value; do
    [ "$(present_limit "$file" "$value")" = "$value" ] || exit 1
  done
}

# CPU time that containers have used, in microseconds.
cpu_time() {
  for id; do
    dir=$(container_cgroup "$id" cpuacct)
    if [ -e "$dir/cpuacct.usage" ]; then
      echo "$(($(cat "$dir/cpuacct.usage") / 1000))"
    elif [ -n "$dir" ]; then
      sed -n 's/^usage_usec //p' "$dir/cpu.stat"
    fi
  done | awk '{ sum += $1 } END { printf "%.0f\n", sum }'
}

# They may use two periods (of 100 ms) more than the time allows, and what they had been given before.
keeps_cpu() {
  read -r up _ </proc/uptime
  before=$(cpu_time "$@") start=${up%.*}${up#*.}
  sleep 0.3
  after=$(cpu_time "$@")
  read -r up _ </proc/uptime
  elapsed=$(((${up%.*}${up#*.} - start) * 10000))
  [ "$((after - before))" -le "$(($# * (limit * (elapsed + 200000) / 1000 + 20000)))" ]
}

keeps_memory() {
  for id; do
    dir=$(container_cgroup "$id" memory)
    [ -n "$dir" ] || continue
    used=$(cat "$dir/memory.current" 2>/dev/null || cat "$dir/memory.usage_in_bytes")
    [ "$used" -le "$limit" ] || return 1
  done
}

# Where the limit is reached, a process that joins cannot start another.
keeps_pids() {
  for id; do
    dir=$(container_cgroup "$id" pids)
    if [ -z "$dir" ] || [ "$(cat "$dir/pids.current")" -lt "$limit" ]; then continue; fi
    # shellcheck disable=SC2016 # $1 is the inner shell's
    said=$(timeout 0.5 sh -c 'echo 0 >"$1/cgroup.procs" && (true) && echo started' sh "$dir" 2>/dev/null) || true
    [ -z "$said" ] || return 1
  done
}

# writes_fast CONTAINER_ID: a process that joins writes half a second's bytes past the cache sooner than it may. The
# file has no name once it is open. What takes too long, behind what the container itself writes, is not too fast.
writes_fast() {
  dir=$(container_cgroup "$1" blkio) store=$(container_store "$1")
  [ -n "$dir" ] && [ -n "$store" ] || return 1
  read -r up _ </proc/uptime
  start=${up%.*}${up#*.} status=0
  # shellcheck disable=SC2016 # the inner shell's
  timeout -s KILL 2.5 sh -e -c '
    exec 3>"$2"
    rm -f "$2"
    echo 0 >"$1/cgroup.procs"
    dd if=/dev/zero of=/proc/self/fd/3 bs=64k count="$3" oflag=direct' \
    sh "$dir" "$store/.sf-probe-$(run_number)" $((limit / 131072)) 2>/dev/null || status=$?
  read -r up _ </proc/uptime
  case $status in
    0) ;;
    137) return 1 ;;
    *) return 0 ;; # could not be measured
  esac
  # 150 ms for what it had been given before, and for the clock.
  [ $((limit / 2)) -gt $((limit * (${up%.*}${up#*.} - start + 15) / 100)) ]
}

keeps_blkio() {
  fast=$(
    for id; do
      if writes_fast "$id"; then echo "$id"; fi &
    done
    wait
  )
  [ -z "$fast" ]
}

held=0
for id; do
  if in_force "$id"; then held=$((held + 1)); fi
done
case $held in
  0) echo inactive ;;
  "$#") if "keeps_$resource" "$@"; then echo active; else echo unknown; fi ;;
  *) echo unknown ;;
esac
