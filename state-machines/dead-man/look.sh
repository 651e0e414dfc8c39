#!/bin/sh
# Asks a mechanism's check.sh, on the target or on a witness.
#   $1 run directory's name, empty on a witness   then check.sh's arguments; check.sh on stdin
# Answers `started`, `check`, `ended` lines (uptimes in seconds).
set -eu
run=$1
shift
read -r started _ </proc/uptime
word=$(SF_RUN_DIR=${run:+/var/lib/spark-failures/runs/$run} timeout 5 sh -s -- "$@") || word=unknown
read -r up _ </proc/uptime
printf 'started %s\ncheck %s\nended %s\n' "$started" "$word" "$up"
