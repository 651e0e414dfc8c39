#!/bin/sh
# Active when the clients stand still and, once their sessions must have expired, no server lists them any more.
# Inactive when none stands still: what became of the sessions is the effect, and stays. Says at which uptime it looked.
#   $1 the servers' port   $2 process=<text of the command line>   $3... container ids
set -eu
port=$1
shift
seen=$(freeze_check "$@")
word=${seen% *} up=${seen#* }
if [ "$word" = active ] && [ -e "$SF_RUN_DIR/expired" ]; then
  read -r expired <"$SF_RUN_DIR/expired"
  if [ "${up%.*}${up#*.}" -ge "$expired" ]; then
    while read -r pid server session _; do
      [ -d "/proc/$pid" ] || continue # gone, and with it the way to its server
      [ "$(lists "$pid" "$server" "$port" "$session")" = no ] || word=unknown
    done <"$SF_RUN_DIR/sessions"
  fi
fi
echo "$word $up"
