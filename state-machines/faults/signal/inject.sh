#!/bin/sh
# Sends a signal to the first process of containers, by their exact ids. Straight through the kernel: the engine only
# learns that its container died, as in a crash, and `docker kill` would return long after the effect.
#   $1 signal   $2... container ids
set -eu
signal=$1
shift

pids=
for id; do
  pid=$(first_process "$id")
  # A replaced task has another id: that one was not chosen.
  if [ -z "$pid" ]; then
    echo "container $id is not running" >&2
    exit 1
  fi
  pids="$pids $pid"
done
# shellcheck disable=SC2086 # a list of numbers
kill -s "${signal#SIG}" $pids
