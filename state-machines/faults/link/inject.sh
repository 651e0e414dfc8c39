#!/bin/sh
# Takes the interface that leads to the peers down. The controller may come by it too: then nobody can tell the node to
# take it up again, and so a timer of its own runs the undo when the hold is over, without waiting for the dead-man's
# switch.
#   $1... peers' addresses
set -eu
device=$(only_device_to "$@")

# What the kernel forgets with the link, and does not make anew by itself.
for family in 4 6; do
  ip "-$family" -o addr show dev "$device" scope global permanent | awk '{ print $4 }' | save "addresses.$family"
  ip "-$family" -o route show table all dev "$device" |
    grep -vE '^(local|broadcast|multicast|anycast) |proto (kernel|ra)' | save "routes.$family"
done
this_boot | save boot
echo "$device" | save device

# The controller counts from when the effect was seen: a second later is sure to be after that.
read -r hold <"$SF_RUN_DIR/hold"
run=${SF_RUN_DIR##*/}
systemd-run --quiet --collect --unit="$(own_timer)" --on-active="$((hold + 1000))ms" --timer-property=AccuracySec=100ms \
  --property=Type=oneshot --property=Restart=on-failure --property=RestartSec=2 --property=StartLimitIntervalSec=0 \
  /bin/sh "$SF_RUN_DIR/heal.sh" "$run"
ip link set dev "$device" down
