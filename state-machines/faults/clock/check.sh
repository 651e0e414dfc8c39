#!/bin/sh
# By how much the wall clock, as every process here reads it, is off what it was before by the uptime: active when by
# what was asked, to a quarter of a second; inactive when by less than that.
#   $1 by how many milliseconds, ahead (positive) or back
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
off=$(($(base) - base))
missed=$((off - $1 / 10))
if [ "${missed#-}" -le 25 ]; then
  echo active
elif [ "${off#-}" -le 25 ]; then
  echo inactive
else
  echo unknown
fi
