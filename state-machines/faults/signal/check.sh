#!/bin/sh
# Active when no process of the containers is left, or none of those inside them that were signalled: the kernel is
# asked, not the engine that learns of it later. A process that was started since then is another one.
#   $1 signal   [process=<text of the command line>]   then container ids
set -eu
shift
victims=${SF_RUN_DIR:-}/victims
word=active
case $1 in
process=*)
  if [ -e "$victims" ]; then
    while read -r pid start; do
      [ -z "$(alive "$pid" "$start")" ] || word=inactive
    done <"$victims"
  else
    word=inactive
  fi
  ;;
*)
  for id; do
    [ -z "$(pids_in "$id")" ] || word=inactive
  done
  ;;
esac
echo "$word"
