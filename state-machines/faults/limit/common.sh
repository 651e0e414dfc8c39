#!/bin/sh
# What the scripts of this mechanism share: put before them, after ../common.sh.

# container_limit CONTAINER_ID RESOURCE VALUE: the files that hold a container's limit, and what they hold when the
# limit is VALUE (thousandths of a core, bytes with swap, processes, bytes per second): lines of file and words, in the
# order in which they may be lowered. Nothing when it does not run.
container_limit() {
  dir=$(container_cgroup "$1" "$2")
  [ -n "$dir" ] || return 0
  case $2 in
    cpu)
      # The period stays as it is: one write, which is done or not done.
      if [ -e "$dir/cpu.max" ]; then
        read -r _ period <"$dir/cpu.max"
        echo "$dir/cpu.max $(($3 * period / 1000)) $period"
      else
        read -r period <"$dir/cpu.cfs_period_us"
        echo "$dir/cpu.cfs_quota_us $(($3 * period / 1000))"
      fi
      ;;
    memory)
      if [ -e "$dir/memory.max" ]; then
        [ ! -e "$dir/memory.swap.max" ] || echo "$dir/memory.swap.max 0"
        echo "$dir/memory.max $3"
      else
        echo "$dir/memory.limit_in_bytes $3"
        [ ! -e "$dir/memory.memsw.limit_in_bytes" ] || echo "$dir/memory.memsw.limit_in_bytes $3"
      fi
      ;;
    pids) echo "$dir/pids.max $3" ;;
    blkio)
      for device in $(container_disks "$1"); do
        if [ -e "$dir/io.max" ]; then
          echo "$dir/io.max $device rbps=$3 wbps=$3"
        else
          echo "$dir/blkio.throttle.read_bps_device $device $3"
          echo "$dir/blkio.throttle.write_bps_device $device $3"
        fi
      done
      ;;
  esac
}

# container_disks CONTAINER_ID: the disks (major:minor) under its root and its volumes; whole ones, since a part of one
# takes no limit.
container_disks() {
  process=$(first_process "$1")
  {
    stat -c %d "$(container_store "$1")" |
      awk '{ printf "%d:%d\n", int($1 / 256) % 4096, $1 % 256 + int($1 / 1048576) * 256 }'
    awk '/ - [^ ]+ \/dev\// { print $3 }' "/proc/$process/mountinfo"
  } | sort -u | while read -r device; do
    [ -d "/sys/dev/block/$device" ] || continue
    if [ -e "/sys/dev/block/$device/partition" ]; then cat "/sys/dev/block/$device/../dev"; else echo "$device"; fi
  done | sort -u
}

# present_limit FILE VALUE: what the file holds where VALUE would be: all of it, or the line of VALUE's disk.
present_limit() {
  case $1 in
    */io.max)
      awk -v disk="${2%% *}" '
        $1 == disk { r = $2; w = $3 }
        END { print disk, r ? r : "rbps=max", w ? w : "wbps=max" }' "$1"
      ;;
    */blkio.*) awk -v disk="${2%% *}" '$1 == disk { n = $2 } END { print disk, n + 0 }' "$1" ;;
    *) cat "$1" ;;
  esac
}

# raises PRESENT VALUE: whether a word of VALUE is more than PRESENT allows: no limit is max, -1, or 0 for a disk.
raises() {
  printf '%s\n' "$1" "$2" | awk '
    NR == 1 { split($0, present); next }
    {
      for (i = 1; i <= NF; i++) {
        old = present[i]
        if (old ~ /:/) { disk = 1; continue }
        new = $i
        sub(/^[a-z]+=/, "", old)
        sub(/^[a-z]+=/, "", new)
        if (old != "max" && old != -1 && !(disk && old == 0) && new + 0 > old + 0) raised = 1
      }
    }
    END { exit !raised }'
}
