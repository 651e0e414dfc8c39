#!/bin/sh
# Makes containers stand still as a whole, by the freezer of their cgroups, or processes inside them, by SIGSTOP. Saves
# first what is to be let go, one a line: `inode directory` of a cgroup, `pid started` of a process.
#   [process=<text of the command line>]   then container ids
set -eu
text=
case $1 in process=*) text=${1#process=} && shift ;; esac
held=$SF_RUN_DIR/held

find_all() {
  for id; do
    if [ -n "$text" ]; then
      found=$(matching "$id" "$text")
      why="no process of container $id has \"$text\" in its command line"
    else
      dir=$(container_cgroup "$id" freezer)
      found=${dir:+"$(stat -c %i "$dir") $dir"}
      why="container $id is not running"
    fi
    if [ -n "$found" ]; then
      printf '%s\n' "$found"
    elif [ ! -e "$held" ]; then
      refuse "$why" # after that something stands still, and it is too late
    fi
  done
}

hold() {
  if [ -n "$text" ]; then
    # It may end by itself at any moment.
    [ -z "$(alive "$1" "$2")" ] || kill -s STOP "$1" || [ -z "$(alive "$1" "$2")" ]
  elif [ -e "$2/freezer.state" ]; then
    echo FROZEN >"$2/freezer.state"
  else
    echo 1 >"$2/cgroup.freeze"
  fi
}

# All that was found so far, on the disk before any of it stands still. What a process was stopped as is not always what
# it was found as: a child that has become another program since then is still to be let go.
save() {
  find_all "$@" >"$held.found"
  if [ -e "$held" ]; then cat "$held" >>"$held.found"; fi
  sort -u "$held.found" >"$held.new"
}

save "$@"
# Whoever is running may start others that match: until a look finds nobody new.
while ! cmp -s "$held.new" "$held"; do
  mv "$held.new" "$held"
  while read -r first second; do hold "$first" "$second"; done <"$held"
  save "$@"
done
