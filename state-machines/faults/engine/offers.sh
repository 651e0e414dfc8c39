#!/bin/sh
# What only this mechanism needs of a node; succeeds when it is there.
#   $1 the need
case $1 in
  docker-unit) [ "$(systemctl show --property=LoadState --value docker.service 2>/dev/null)" = loaded ] ;;
  *) exit 1 ;;
esac
