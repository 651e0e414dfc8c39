#!/bin/sh
# Time is told from the uptime, which nobody can set: on an undisturbed machine the two differ by a constant.

# base: the wall clock minus the uptime, in hundredths of a second.
base() {
  read -r up _ </proc/uptime
  now=$(date +%s%N)
  echo "$((now / 10000000 - ${up%.*}${up#*.}))"
}

# set_base HUNDREDTHS: sets the wall clock so that it is that much ahead of the uptime.
set_base() {
  read -r up _ </proc/uptime
  at=$(($1 + ${up%.*}${up#*.}))
  date --set "@$((at / 100)).$(printf %02d "$((at % 100))")" >/dev/null
}
