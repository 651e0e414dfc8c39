#!/bin/sh
# Sets the clock to what it would be by now, by the uptime, and starts what kept it. A clock that is right again
# already, and one that was started anew by a reboot, is left alone.
#   $1 (unused)
set -eu
[ -e "$SF_RUN_DIR/clock" ] || exit 0
{
  read -r base
  read -r boot
  read -r keepers
} <"$SF_RUN_DIR/clock"
read -r present </proc/sys/kernel/random/boot_id
if [ "$boot" = "$present" ]; then
  off=$(($(base) - base))
  if [ "${off#-}" -gt 10 ]; then set_base "$base"; fi
fi
# shellcheck disable=SC2086 # a list of names
[ -z "$keepers" ] || systemctl start $keepers
