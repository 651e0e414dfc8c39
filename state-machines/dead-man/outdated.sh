#!/bin/sh
# Of several operators the one with the newest term acts. A node remembers the newest that it has heard of, so that one
# who was paused, or cut off, and does not know it yet, is refused here. Terms of another lease are another swarm's.
fence=/var/lib/spark-failures/fence
# outdated "<lease> <term>": whether a newer term of that lease was heard of; nobody's mandate is never outdated.
outdated() {
  [ -n "$1" ] && [ -e "$fence" ] || return 1
  read -r lease term <"$fence"
  [ "$lease" = "${1% *}" ] && [ "$term" -gt "${1#* }" ]
}
# hear_of "<lease> <term>": under the lock of arming, so that no older one arms meanwhile.
hear_of() {
  [ "$(cat "$fence" 2>/dev/null)" != "$1" ] || return 0
  printf '%s\n' "$1" >"$fence.new"
  mv "$fence.new" "$fence"
  sync "$fence"
}
