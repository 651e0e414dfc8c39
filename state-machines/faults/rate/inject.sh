#!/bin/sh
# A queue of our own at the root of the interface that leads to the peers: what goes to them, also from containers and
# overlay networks, passes a token bucket (htb); all else (`default 0`), and the controller's ssh in any case, passes
# beside it and first.
#   $1 controller's address, whose ssh is never throttled   $2 bits per second   $3... peers' addresses
# The bucket holds 10 ms of the rate and at least two whole packets. The queue holds 100 ms, and at least the ten
# packets with which a connection begins, and drops what is above that: a longer one, as the default of 1000 packets,
# would add seconds of delay; a shorter one would keep a connection from reaching the rate.
set -eu
handle=$(queue_handle)
controller=$1 rate=$2
shift 2
device=$(only_device_to "$@")
read -r mtu <"/sys/class/net/$device/mtu"
packet=$((mtu + 18))
burst=$((rate / 800)) limit=$((rate / 80))
[ "$burst" -ge $((2 * packet)) ] || burst=$((2 * packet))
[ "$limit" -ge $((10 * packet)) ] || limit=$((10 * packet))

save_queue /proc/self/ns/net "$device"
{
  echo "qdisc add dev $device root handle $handle htb default 0"
  echo "class add dev $device parent $handle classid ${handle}2 htb rate ${rate}bit ceil ${rate}bit" \
    "burst $burst cburst $burst quantum 10000"
  echo "qdisc add dev $device parent ${handle}2 bfifo limit $limit"
  lead "$device" "$handle" "$controller" "$@"
} | tc -batch -
