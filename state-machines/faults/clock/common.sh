#!/bin/sh
# Time is told from the uptime, which nobody can set: on an undisturbed machine the two differ by a constant.

# base: the wall clock minus the uptime, in hundredths of a second. Read by one process that starts no other in between:
# on a busy machine a start takes longer than what is measured here.
base() {
  # shellcheck disable=SC2016 # the inner shell's
  bash -c 'read -r up _ </proc/uptime && echo "$EPOCHREALTIME $up"' | {
    read -r now up
    now=${now%.*}${now#*.}
    echo "$((now / 10000 - ${up%.*}${up#*.}))"
  }
}

# set_base HUNDREDTHS: steps the wall clock until it is that much ahead of the uptime, by differences, for the same
# reason.
set_base() {
  for _ in 1 2 3; do
    off=$(($1 - $(base))) sign=+
    [ "$off" -ge 0 ] || sign=-
    off=${off#-}
    [ "$off" -gt 1 ] || break
    date --utc --set "$sign$((off / 100)).$(printf %02d "$((off % 100))") seconds" >/dev/null
  done
}

# drift_name: names the unit in which this run's clock drifts.
drift_name() {
  echo "sf-drift-$(run_number)"
}

# drifter: the process that lets the clock drift, if it lives.
drifter() {
  { read -r pid start <"$SF_RUN_DIR/drift"; } 2>/dev/null || return 0
  [ -z "$(alive "$pid" "$start")" ] || echo "$pid"
}
