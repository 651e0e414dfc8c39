#!/bin/sh
# What only this mechanism needs of a node; succeeds when it is there.
#   $1 the need
case $1 in
  # Tried out where it changes nothing: whether the kernel has them, or can load them, is not written anywhere.
  htb)
    unshare -n sh -e -c '
      tc qdisc add dev lo root handle 1: htb default 0
      tc class add dev lo parent 1: classid 1:2 htb rate 1mbit
      tc qdisc add dev lo parent 1:2 bfifo limit 10k
      tc filter add dev lo parent 1: protocol ip prio 1 u32 match ip dst 127.0.0.1/32 flowid 1:2' 2>/dev/null
    ;;
  *) exit 1 ;;
esac
