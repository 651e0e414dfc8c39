#!/bin/sh
# By how much the wall clock, as every process here reads it, is off what it was before by the uptime, to a quarter of a
# second: active when by what was asked, or on the way there, as long as the process lives that lets it drift; inactive
# when by less than that.
#   $1 by how many milliseconds, ahead (positive) or back   $2 (unused)
set -eu
if [ ! -e "$SF_RUN_DIR/clock" ]; then
  echo inactive # nothing was begun
  exit
fi
{
  read -r base
  read -r boot
} <"$SF_RUN_DIR/clock"
read -r present </proc/sys/kernel/random/boot_id
if [ "$boot" != "$present" ]; then
  echo inactive # the machine has its time from elsewhere since
  exit
fi
# Before the clock is read: who ends meanwhile has reached the offset.
drifter=$(drifter)
asked=$(($1 / 10)) off=$(($(base) - base))
if [ "$asked" -lt 0 ]; then asked=$((-asked)) off=$((-off)); fi
missed=$((off - asked))
if [ "${missed#-}" -le 25 ]; then
  echo active
elif [ "${off#-}" -le 25 ]; then
  echo inactive
elif [ -n "$drifter" ] && [ "$off" -gt 0 ] && [ "$off" -lt "$asked" ]; then
  echo active
else
  echo unknown
fi
