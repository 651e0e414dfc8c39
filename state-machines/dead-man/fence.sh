#!/bin/sh
# Tells this node who leads from now on: what an operator of an older term has armed is over, and it arms and injects no
# more. Undoes nothing: a script that injects at this moment is waited for by the heal that follows.
#   $1 lease and term, as outdated.sh (which is put before this) has them
# Answers `refused <why>` when a newer one leads already.
set -eu
umask 077
root=/var/lib/spark-failures
mkdir -p "$root/runs" "$root/locks"
exec 8>"$root/arming"
flock -w 5 8
if outdated "$1"; then
  printf 'refused %s leads here\n' "$(cat "$root/fence")"
else
  hear_of "$1"
fi
