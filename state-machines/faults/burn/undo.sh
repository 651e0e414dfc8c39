#!/bin/sh
# Ends what burns, wherever it is: by its unit, and by the name in its environment, since in cgroup version 2 it has left
# its unit's cgroup. Fails while something of it is left.
set -eu
rm -f "$SF_RUN_DIR/burning" || true
name=$(burner_name)
systemctl --quiet stop "$name.service" 2>/dev/null || true
for _ in 1 2 3 4 5 6 7 8 9 10; do
  pids=$(burners "$name")
  [ -n "$pids" ] || exit 0
  # shellcheck disable=SC2086 # a list of numbers
  kill -s KILL $pids 2>/dev/null || true
  sleep 0.1
done
echo "$name still burns" >&2
exit 1
