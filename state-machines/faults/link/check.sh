#!/bin/sh
# On the node: whether the interface is up, and then whether any peer answers. On a witness (SF_RUN_DIR is empty):
# whether the node answers; of a node that nobody reaches, this is the only voice there is.
#   $1... peers' addresses, on a witness the node's
# Says at which uptime it looked.
set -eu
read -r up _ </proc/uptime
if [ -n "${SF_RUN_DIR:-}" ]; then
  device=$(cat "/run/$(own_mark)/device" 2>/dev/null || device_to "$1")
  # The lowest bit: an administrator has it up.
  if [ $(($(cat "/sys/class/net/$device/flags") & 1)) -eq 0 ]; then
    echo "active $up"
    exit 0
  fi
fi
answers=$(
  for peer; do
    { ping -q -n -c 2 -i 0.2 -W 1 "$peer" >/dev/null 2>&1 && echo yes; } &
  done
  wait
)
if [ -n "$answers" ]; then
  echo "inactive $up"
elif [ -z "${SF_RUN_DIR:-}" ]; then
  echo "active $up"
else
  echo "unknown $up"
fi
