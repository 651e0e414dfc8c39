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
    ping) command -v ping >/dev/null ;;
    # Tried out where it changes nothing: whether the kernel has them, or can load them, is not written anywhere.
    htb)
      unshare -n sh -e -c '
        tc qdisc add dev lo root handle 1: htb default 0
        tc class add dev lo parent 1: classid 1:2 htb rate 1mbit
        tc qdisc add dev lo parent 1:2 bfifo limit 10k
        tc filter add dev lo parent 1: protocol ip prio 1 u32 match ip dst 127.0.0.1/32 flowid 1:2' 2>/dev/null
      ;;
    docker-unit) [ "$(systemctl show --property=LoadState --value docker.service 2>/dev/null)" = loaded ] ;;
    *) return 1 ;;
  esac
}
