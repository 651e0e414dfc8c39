#!/bin/sh
# `offers <name>`: whether this node has what a fault of that need depends on. One branch per need of a fault kind.
offers() {
  case $1 in
    systemd) [ -d /run/systemd/system ] ;;
    iptables) command -v iptables >/dev/null && iptables -w -S >/dev/null 2>&1 ;;
    # The cgroup freezer, and the CPU time by which it is judged; version 2 has both in every cgroup but the root.
    freezer)
      [ -w /sys/fs/cgroup/init.scope/cgroup.freeze ] ||
        { [ -w /sys/fs/cgroup/freezer/cgroup.procs ] && [ -r /sys/fs/cgroup/cpuacct/cpuacct.usage ]; }
      ;;
    # That controller: of cgroup version 2, or of version 1.
    cgroup-*) grep -qsw "${1#cgroup-}" /sys/fs/cgroup/cgroup.controllers || [ -d "/sys/fs/cgroup/${1#cgroup-}" ] ;;
    *) return 1 ;;
  esac
}
