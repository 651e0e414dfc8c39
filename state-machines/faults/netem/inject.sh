#!/bin/sh
# A queue of our own at the root of each interface that leads to the destinations: what goes to them passes the kernel's
# network emulator (netem) in the second of two bands; all else, and the controller's ssh in any case, passes by the
# first. On a node that is also what its containers and overlay networks send; given containers, it is done in their
# network namespaces instead, which are pinned.
#   $1 controller's address, whose ssh stays as it was; - inside containers, where there is none
#   $2 the effect, in netem's own words   $3 packets that may wait in it at once
#   $4 destinations, addresses or subnets, by commas   $5 addresses by which it is measured (unused)
#   $6... containers' ids
set -eu
handle=$(queue_handle)
controller=$1 effect=$2 limit=$3 destinations=$(echo "$4" | tr , ' ')
shift 5

# ways NETWORK: `device destination`, one a line. A subnet that it is not attached to must not be looked for elsewhere.
ways() {
  for destination in $destinations; do
    case $destination in
    */*) device=$(nsenter --net="$1" ip -4 route show exact "$destination" | sed -n 's/.* dev \([^ ]*\).*/\1/p') ;;
    *) device=$(device_to "$destination" "$1") ;;
    esac
    echo "$device $destination"
  done
}

# devices NETWORK: those that lead to any destination.
devices() {
  cut -d' ' -f1 "$SF_RUN_DIR/ways.${1##*/}" | sort -u
}

for id; do pin_network "$id"; done
for network in $(networks_of "$@"); do
  ways "$network" >"$SF_RUN_DIR/ways.${network##*/}"
  ! grep '^ ' "$SF_RUN_DIR/ways.${network##*/}" >&2 || refuse 'not reached by any interface'
  for device in $(devices "$network"); do save_queue "$network" "$device"; done
done

for network in $(networks_of "$@"); do
  devices "$network" | while read -r device; do
    echo "qdisc add dev $device root handle $handle prio bands 2 priomap 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0"
    echo "qdisc add dev $device parent ${handle}2 netem limit $limit $effect"
    # shellcheck disable=SC2046 # words
    lead "$device" "$handle" "$controller" $(sed -n "s,^$device ,,p" "$SF_RUN_DIR/ways.${network##*/}")
  done | nsenter --net="$network" tc -batch -
  queues "$network" "$handle" >"$SF_RUN_DIR/in-force.${network##*/}"
done
