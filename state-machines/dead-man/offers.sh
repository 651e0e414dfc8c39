#!/bin/sh
# `offers <name>`: whether this node has what a fault of that need depends on. One branch per need that several
# mechanisms have; the rest is in their own offers.sh (put before this as `offers_<mechanism>`, their names in $offering).
offers() {
  case $1 in
    systemd) [ -d /run/systemd/system ] ;;
    iptables) command -v iptables >/dev/null && iptables -w -S >/dev/null 2>&1 ;;
    # That controller: of cgroup version 2, or of version 1.
    cgroup-*) grep -qsw "${1#cgroup-}" /sys/fs/cgroup/cgroup.controllers || [ -d "/sys/fs/cgroup/${1#cgroup-}" ] ;;
    # Limits and accounts of block I/O: a controller that has another name in each version.
    block-io) grep -qsw io /sys/fs/cgroup/cgroup.controllers || [ -e /sys/fs/cgroup/blkio/blkio.throttle.write_bps_device ] ;;
    ping) command -v ping >/dev/null ;;
    *)
      # shellcheck disable=SC2154 # put before this
      for mechanism in $offering; do
        if "offers_$mechanism" "$1"; then return; fi
      done
      return 1
      ;;
  esac
}
