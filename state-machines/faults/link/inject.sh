#!/bin/sh
# Takes the interface that leads to the peers down. The controller may come by it too: then nobody can tell the node to
# take it up again, and so a timer of its own runs the undo when the hold is over, without waiting for the dead-man's
# switch.
#   $1... peers' addresses
set -eu
device=$(only_device_to "$@")
mark=$(own_mark) run=${SF_RUN_DIR##*/}
kept=/run/$mark
mkdir -p "$kept"

# What the kernel forgets with the link, and does not make anew by itself.
for family in 4 6; do
  ip "-$family" -o addr show dev "$device" scope global permanent | awk '{ print $4 }' >"$kept/addresses.$family"
  ip "-$family" -o route show table all dev "$device" |
    sed -E '/^(local|broadcast|multicast|anycast) |proto (kernel|ra)/d' >"$kept/routes.$family"
done
cp "$SF_RUN_DIR/heal.sh" "$SF_RUN_DIR/undo.sh" "$kept"
echo "$run" >"$kept/run"
# Last, and at once: from here on it is a mark.
echo "$device" >"$kept/.device"
mv "$kept/.device" "$kept/device"

# The controller counts from when the effect was seen: a second later is sure to be after that.
read -r hold <"$SF_RUN_DIR/hold"
# shellcheck disable=SC2016 # $1 is the inner shell's
systemd-run --quiet --collect --unit="$mark" --on-active="$((hold + 1000))ms" --timer-property=AccuracySec=100ms \
  --property=Type=oneshot --property=Restart=on-failure --property=RestartSec=2 --property=StartLimitIntervalSec=0 \
  /bin/sh -c '[ ! -e "$1/device" ] || exec sh "$1/heal.sh" "$2" <"$1/undo.sh"' sh "$kept" "$run"
ip link set dev "$device" down
