#!/bin/sh
# `offers <name>`: whether this node has what a fault of that need depends on. One branch per need of a fault kind.
offers() {
  case $1 in
    systemd) [ -d /run/systemd/system ] ;;
    iptables) command -v iptables >/dev/null && iptables -w -S >/dev/null 2>&1 ;;
    *) return 1 ;;
  esac
}
