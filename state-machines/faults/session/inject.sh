#!/bin/sh
# Makes clients of ZooKeeper stand still until their sessions have expired. Refuses unless a server answers for each,
# and unless the hold is long enough: 1.5 times the longest negotiated timeout, since a server expires sessions a tick
# late and a tick is half a timeout at most; and 7 s, in which check.sh is asked twice whether it has.
#   $1 the servers' port   $2 process=<text of the command line>   $3... container ids
set -eu
port=$1
shift
text=${1#process=}
longest=0

found=$(
  for id in $(shift && echo "$@"); do
    sessions=$(
      matching "$id" "$text" | while read -r pid _; do
        sessions "$pid" "$port" | sed "s/^/$pid /"
      done
    )
    [ -n "$sessions" ] || refuse "no server on port $port tells a session of \"$text\" in container $id" \
      '(4lw.commands.whitelist has to have cons and dump)'
    printf '%s\n' "$sessions"
  done
)
while read -r pid server session timeout; do
  [ "$(lists "$pid" "$server" "$port" "$session")" = yes ] || refuse "$server does not list session $session"
  [ "$timeout" -le "$longest" ] || longest=$timeout
done <<END
$found
END
needed=$((longest * 3 / 2 + 7000))
read -r hold <"$SF_RUN_DIR/hold"
[ "$hold" -ge "$needed" ] || refuse "a session lasts $longest ms: the hold has to be $needed ms at least"

read -r up _ </proc/uptime
# Expired by then, in hundredths of a second of uptime.
printf '%s\n' "$((${up%.*}${up#*.} + longest * 3 / 20))" >"$SF_RUN_DIR/expired"
printf '%s\n' "$found" >"$SF_RUN_DIR/sessions"
freeze_inject "$@"
