#!/bin/sh
# Removes this run's queue, wherever it is, and nothing else: the kernel refuses to delete a root of another handle, and
# puts its own default back; so does this with the queue's length. Fails unless the queue is gone.
set -eu
handle=$(queue_handle)
for device in $(queue_devices "$handle"); do
  tc qdisc del dev "$device" root handle "$handle"
done
if [ -e "$SF_RUN_DIR/queue-length" ]; then
  read -r device length <"$SF_RUN_DIR/queue-length"
  now=$(cat "/sys/class/net/$device/tx_queue_len" 2>/dev/null) || now=$length # no such interface any more
  [ "$now" = "$length" ] || ip link set dev "$device" txqueuelen "$length"
fi
if [ -n "$(queue_devices "$handle")" ]; then
  echo "queue $handle is still in force" >&2
  exit 1
fi
