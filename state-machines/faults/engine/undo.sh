#!/bin/sh
# Starts what inject.sh found running, and waits until the engine answers. Any number of times: what runs is left alone.
set -eu
[ -e "$SF_RUN_DIR/units" ] || exit 0
{
  read -r units
  read -r stopped
} <"$SF_RUN_DIR/units"

# Managers give a node up 10 to 16 s after its engine has stopped to report. One that registers anew at that very moment
# may be listed as Down for good, although it works: so not before it is over. (More is left only after a reboot.)
read -r up _ </proc/uptime
left=$((stopped + 18 - ${up%.*}))
if [ "$left" -gt 0 ] && [ "$left" -le 18 ] && ! systemctl --quiet is-active docker.service; then sleep "$left"; fi

# Its unit may be started three times a minute, whoever does it: that count must not outlast the fault.
# shellcheck disable=SC2086 # a list of names
systemctl reset-failed $units 2>/dev/null || true
# shellcheck disable=SC2086
systemctl start $units
