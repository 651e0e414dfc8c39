#!/bin/sh
# What the scripts of this mechanism share: put before them, after ../common.sh.

# container_limit CONTAINER_ID RESOURCE VALUE: the files that hold a container's limit, and what they hold when the limit is
# VALUE (thousandths of a core, bytes with swap, processes): lines of file and words, in the order in which they may be
# lowered. Nothing when it does not run.
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
  esac
}
