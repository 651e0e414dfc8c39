#!/bin/sh
# What only this mechanism needs of a node; succeeds when it is there.
#   $1 the need
case $1 in
  # A disk that it does not share: any, unless it is a container, which can have but a loop device of its own.
  bounded-disk) ! systemd-detect-virt --container --quiet || grep -q '^/dev/loop' /proc/self/mounts ;;
  *) exit 1 ;;
esac
