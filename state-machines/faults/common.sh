#!/bin/sh
# Put before every mechanism's inject.sh, undo.sh and check.sh: how containers and processes are found on a node, without
# asking its engine.

# first_process CONTAINER_ID: the process that is number 1 in the container; nothing when none is left.
first_process() {
  grep -ls "$1" /proc/[0-9]*/cgroup | while IFS= read -r file; do
    status=${file%/cgroup}/status
    if grep -qsE '^NSpid:[[:space:]]+[0-9]+[[:space:]]+1$' "$status"; then
      pid=${file#/proc/}
      echo "${pid%/cgroup}"
      break
    fi
  done
}

# cgroup_of PID CONTROLLER: the cgroup directory that governs a process: of that controller (version 1), or its only one.
cgroup_of() {
  if [ -e /sys/fs/cgroup/cgroup.controllers ]; then
    path=$(sed -n 's/^0:://p' "/proc/$1/cgroup")
    echo "/sys/fs/cgroup$path"
  else
    path=$(awk -F: -v name="$2" 'index("," $2 ",", "," name ",") { print $3 }' "/proc/$1/cgroup")
    echo "/sys/fs/cgroup/$2$path"
  fi
}

# started PID: when a process started, in ticks since boot: with its pid it is that process and no later one.
started() {
  sed 's/.*) //' "/proc/$1/stat" 2>/dev/null | cut -d' ' -f20
}
