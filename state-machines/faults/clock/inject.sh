#!/bin/sh
# Puts the machine's wall clock wrong: in one step, or evenly over some time, as a clock goes that drifts. Saves how it
# stood to the uptime, in which boot, and which services keep it, and stops these first: they would mend it, at once or
# some time later. What lets it drift is a unit of our name, which survives this script. It saves which process it is
# before it moves anything, and ends by itself at the offset, when the run is healed, or when its directory is lost.
#   $1 by how many milliseconds, ahead (positive) or back   $2 over how many milliseconds; absent: in one step
set -eu
if [ -z "${SF_DRIFT:-}" ]; then
  base=$(base)
  read -r boot </proc/sys/kernel/random/boot_id
  keepers=$(
    systemctl list-units --plain --no-legend --state=active systemd-timesyncd.service chrony.service chronyd.service \
      ntp.service ntpd.service ntpsec.service openntpd.service | cut -d' ' -f1 | xargs
  )
  printf '%s\n' "$base" "$boot" "$keepers" | save clock
  # shellcheck disable=SC2086 # a list of names
  [ -z "$keepers" ] || systemctl stop $keepers
  if [ $# -lt 2 ]; then
    set_base "$((base + $1 / 10))"
    exit
  fi
  name=$(drift_name)
  exec systemd-run --quiet --collect --unit="$name" --property=KillSignal=SIGKILL \
    --setenv=SF_DRIFT="$name" --setenv=SF_RUN_DIR="$SF_RUN_DIR" /bin/sh "$SF_RUN_DIR/inject.sh" "$@"
fi

# From here on, the unit. In small steps, and not by the frequency of the kernel's clock (adjtimex): that would bend the
# uptime as well, by which our switches, and the time itself, are told. Where the clock shall be is told anew each time,
# so that what a step misses is not added up.
offset=$(($1 / 10)) over=$(($2 / 10))
read -r base <"$SF_RUN_DIR/clock"
echo "$$ $(started $$)" | save drift
read -r up _ </proc/uptime
began=${up%.*}${up#*.} elapsed=0
while [ "$elapsed" -lt "$over" ]; do
  sleep 0.25
  # A heal that has begun counts too.
  if [ ! -e "$SF_RUN_DIR/drift" ] || [ -e "$SF_RUN_DIR/tombstone" ]; then break; fi
  read -r up _ </proc/uptime
  elapsed=$((${up%.*}${up#*.} - began))
  [ "$elapsed" -lt "$over" ] || elapsed=$over
  set_base "$((base + offset * elapsed / over))"
done
