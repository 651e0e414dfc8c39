#!/bin/sh
# demote: makes it a manager again, from another one.
# leave: gives the engine its state back, which it reads only when it starts. Should somebody have made it a member
# anew, then that is what it stays.
#   $1 demote | leave   $2 the node's id in the swarm
set -eu
if [ "$1" = demote ]; then
  swarm_undo role "$2" worker
  exit
fi

[ -e "$SF_RUN_DIR/root" ] || exit 0
read -r root <"$SF_RUN_DIR/root"
kept=$(kept_in "$root")
if [ -d "$root/swarm/certificates" ] && [ -d "$kept" ]; then
  echo 'a member of a swarm by somebody else: what it was before is dropped' >&2
  rm -rf "$kept"
fi
if [ -d "$kept" ]; then
  await_given_up
  read -r units <"$SF_RUN_DIR/units"
  # shellcheck disable=SC2086 # a list of names
  systemctl stop $units
  rm -rf "$root/swarm"
  mv -T "$kept" "$root/swarm"
  sync "$root"
fi
start_engine
