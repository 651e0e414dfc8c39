#!/bin/sh
# What only this mechanism needs of a node; succeeds when it is there.
#   $1 the need
case $1 in
  # The cgroup freezer, and the CPU time by which it is judged; version 2 has both in every cgroup but the root.
  freezer)
    [ -w /sys/fs/cgroup/init.scope/cgroup.freeze ] ||
      { [ -w /sys/fs/cgroup/freezer/cgroup.procs ] && [ -r /sys/fs/cgroup/cpuacct/cpuacct.usage ]; }
    ;;
  *) exit 1 ;;
esac
