#!/bin/sh
# What only this mechanism needs of a node; succeeds when it is there.
#   $1 the need
case $1 in
  # Lists which process has which connection.
  ss) command -v ss >/dev/null ;;
  *) exit 1 ;;
esac
