#!/bin/sh
# Ends what burns, wherever it is: by its unit, and by the name in its environment, since in cgroup version 2 it has
# left its unit's cgroup. Fails while something of it is left.
#   $1 $2 $3 (unused)   $4... container ids
set -eu
rm -f "$SF_RUN_DIR/burning" || true
name=$(burner_name)
# What one that was ended before its file had lost its name has left; without the container it is gone as well.
forget_files() {
  for id; do
    store=$(container_store "$id")
    [ -z "$store" ] || rm -f "$store/.$name".*
  done
}
# An engine does not wait for what burns in a container's cgroups to leave them, and then forgets them; the kernel removes
# none in which anything lives.
forget_cgroups() {
  for id; do
    [ -n "$(first_process "$id")" ] || find /sys/fs/cgroup -depth -type d -name "*$id*" -exec rmdir {} + 2>/dev/null || true
  done
}
systemctl --quiet stop "$name.service" 2>/dev/null || true
for _ in 1 2 3 4 5 6 7 8 9 10; do
  pids=$(burners "$name")
  if [ -z "$pids" ]; then
    shift $(($# < 3 ? $# : 3))
    forget_files "$@"
    forget_cgroups "$@"
    exit 0
  fi
  # shellcheck disable=SC2086 # a list of numbers
  kill -s KILL $pids 2>/dev/null || true
  sleep 0.1
done
echo "$name still burns" >&2
exit 1
