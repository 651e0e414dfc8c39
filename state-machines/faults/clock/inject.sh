#!/bin/sh
# Steps the machine's wall clock. Saves how it stood to the uptime, in which boot, and which services keep it, and stops
# these first: they would mend it, at once or some time later.
#   $1 by how many milliseconds, ahead (positive) or back
set -eu
base=$(base)
read -r boot </proc/sys/kernel/random/boot_id
keepers=$(
  systemctl list-units --plain --no-legend --state=active systemd-timesyncd.service chrony.service chronyd.service \
    ntp.service ntpd.service ntpsec.service openntpd.service | cut -d' ' -f1 | xargs
)
printf '%s\n' "$base" "$boot" "$keepers" | save clock
# shellcheck disable=SC2086 # a list of names
[ -z "$keepers" ] || systemctl stop $keepers
set_base "$((base + $1 / 10))"
