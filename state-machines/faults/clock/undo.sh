#!/bin/sh
# Ends what lets the clock drift, sets the clock to what it would be by now, by the uptime, and starts what kept it. A
# clock that is right again already, and one that was started anew by a reboot, is left alone.
#   $1 (unused)   $2 over how many milliseconds; absent: in one step
set -eu
[ -e "$SF_RUN_DIR/clock" ] || exit 0
{
  read -r base
  read -r boot
  read -r keepers
} <"$SF_RUN_DIR/clock"

# The unit first, with what its process has just begun; it may not have saved yet which one that is.
end_drift() {
  systemctl --quiet stop "$(drift_name).service" 2>/dev/null || true
  for _ in 1 2 3 4 5; do
    drifter=$(drifter)
    [ -n "$drifter" ] || return 0
    kill -s KILL "$drifter" 2>/dev/null || true
    sleep 0.1
  done
  echo "process $drifter still moves the clock" >&2
  exit 1
}

read -r present </proc/sys/kernel/random/boot_id
if [ "$boot" = "$present" ]; then
  near=10
  if [ $# -gt 1 ]; then end_drift; fi
  # The little by which it may be off by now is ours as well, and not a keeper's that has mended it since.
  if [ -e "$SF_RUN_DIR/drift" ]; then near=1; fi
  off=$(($(base) - base))
  if [ "${off#-}" -gt "$near" ]; then set_base "$base"; fi
  rm -f "$SF_RUN_DIR/drift" || true
fi
# shellcheck disable=SC2086 # a list of names
[ -z "$keepers" ] || systemctl start $keepers
