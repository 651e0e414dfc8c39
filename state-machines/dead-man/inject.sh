#!/bin/sh
# Runs an armed step's inject.sh, then looks at once. Refuses whatever would break something that nobody would mend:
# a paused controller or a slow connection must not inject after the heal, nor once another one leads (outdated.sh is put
# before this).
#   $1 run directory's name
# Answers `refused <why>`, or `started`, `due`, `notbefore`, `failed` or `check`, `ended` lines (uptimes in seconds):
# the switch fires at `due`, and the effect began after `notbefore`.
set -eu
run=$1
dir=/var/lib/spark-failures/runs/$run
read -r started _ </proc/uptime

refuse() {
  printf 'refused %s\n' "$*"
  exit 0
}

[ -e "$dir/armed" ] || refuse 'the run is not armed on this node'
cd "$dir"
exec 9<lock
flock -w 5 9 || refuse 'the run is being healed'
[ ! -e tombstone ] || refuse 'the run is healed already'
operator=
[ ! -e mandate ] || read -r operator <mandate
! outdated "$operator" || refuse 'another operator leads by now'
# systemd keeps a transient timer's file exactly as long as the timer. It survives no reboot, so this also tells that
# the deadline counts from the present boot.
[ -e "/run/systemd/transient/sf-$run.timer" ] || refuse 'the switch is not armed'
read -r due <deadline
read -r up _ </proc/uptime
[ "${up%.*}${up#*.}" -lt "$due" ] || refuse 'the deadline has passed'

set --
while IFS= read -r arg; do set -- "$@" "$arg"; done <args
: >injected
printf 'started %s\ndue %s.%02d\n' "$started" $((due / 100)) $((due % 100))
before=$up status=0
# Bounded, so that the heal, which waits for this lock, is bounded too.
SF_RUN_DIR=$dir timeout -k 1 10 sh ./inject.sh "$@" >&2 9>&- || status=$?
exec 9>&-
if [ "$status" -ne 0 ]; then
  word="failed $status"
else
  # Some effects take a moment; a few looks here are finer than one per round trip.
  until=$((${up%.*}${up#*.} + 50))
  while :; do
    read -r up _ </proc/uptime
    word=$(SF_RUN_DIR=$dir timeout 5 sh ./check.sh "$@") || word=unknown
    case $word in active*) break ;; esac
    before=$up
    [ "${up%.*}${up#*.}" -lt "$until" ] || break
    sleep 0.01
  done
  word="check $word"
fi
read -r up _ </proc/uptime
printf 'notbefore %s\n%s\nended %s\n' "$before" "$word" "$up"
