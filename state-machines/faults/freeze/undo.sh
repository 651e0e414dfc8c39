#!/bin/sh
# Lets go exactly what inject.sh has saved. A cgroup with another inode, or a process with another start, has only the
# name in common with the one that was held: that one is gone, and the new one was never held.
#   [process=<text of the command line>]   then container ids
set -eu
held=$SF_RUN_DIR/held
[ -e "$held" ] || exit 0

is_there() {
  case $what in
  process) [ -n "$(alive "$1" "$2")" ] ;;
  *) [ "$(stat -c %i "$2" 2>/dev/null)" = "$1" ] ;;
  esac
}

let_go() {
  if [ "$what" = process ]; then
    kill -s CONT "$1"
  elif [ -e "$2/freezer.state" ]; then
    echo THAWED >"$2/freezer.state"
  else
    echo 0 >"$2/cgroup.freeze"
  fi
}

what=${1%%=*} failed=0
while read -r first second; do
  is_there "$first" "$second" || continue
  # It may go at any moment, too.
  let_go "$first" "$second" || ! is_there "$first" "$second" || failed=1
done <"$held"
exit "$failed"
