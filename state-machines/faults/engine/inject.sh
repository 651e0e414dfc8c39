#!/bin/sh
# Stops the engine and the socket that would start it at the next question, and keeps which of the two ran, and when. containerd
# stays: without an engine it starts nothing, and others may use it.
set -eu
units=
for unit in docker.socket docker.service; do
  if systemctl --quiet is-active "$unit"; then units="$units $unit"; fi
done
case $units in
*docker.service) ;;
*)
  echo 'docker.service does not run' >&2
  exit 1
  ;;
esac
read -r up _ </proc/uptime
printf '%s\n' "$units" "${up%.*}" | save units
# Not waited for: containers have a grace period each, and check.sh says when the last one is gone.
# shellcheck disable=SC2086 # a list of names
systemctl stop --no-block $units
