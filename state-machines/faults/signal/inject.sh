#!/bin/sh
# Sends a signal to the first process of containers, by their exact ids, or to processes inside them. Straight through
# the kernel: the engine only learns that its container died, as in a crash, and `docker kill` would return long after
# the effect.
#   $1 signal   [process=<text of the command line>]   then container ids
set -eu
signal=$1 text=
shift
case $1 in process=*) text=${1#process=} && shift ;; esac

pids=
for id; do
  if [ -n "$text" ]; then
    found=$(matching "$id" "$text")
    [ -n "$found" ] || refuse "no process of container $id has \"$text\" in its command line"
    # What check.sh looks for.
    printf '%s\n' "$found" >>"$SF_RUN_DIR/victims"
  else
    found=$(first_process "$id")
    # A replaced task has another id: that one was not chosen.
    [ -n "$found" ] || refuse "container $id is not running"
  fi
  pids="$pids $(printf '%s\n' "$found" | cut -d' ' -f1)"
done
for pid in $pids; do
  # It may end by itself at any moment, as a child does that is about to become another program.
  kill -s "${signal#SIG}" "$pid" || [ ! -e "/proc/$pid" ]
done
