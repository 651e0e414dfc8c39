#!/bin/sh
# Undoes whatever is pending on this node, without a journal: at boot, and for `controller heal`. Marks of ours that
# belong to no run are removed too. Exits non-zero when something could not be undone.
set -u
root=/var/lib/spark-failures
failed=0

for dir in "$root"/runs/*/; do
  [ -d "$dir" ] || continue
  if [ -e "$dir/armed" ]; then
    sh "$dir/heal.sh" "$(basename "$dir")" || failed=1
  else
    # Died while it armed, unless it is arming now.
    # shellcheck disable=SC2016 # $1 is the inner shell's
    flock "$root/arming" sh -c '[ -e "$1/armed" ] || rm -rf "$1"' sh "$dir"
  fi
done

command -v iptables >/dev/null || exit "$failed"
rules=$(iptables -w 5 -S) || exit 1
for chain in $(printf '%s\n' "$rules" | sed -n 's/^-N \(SF-[0-9]*\)$/\1/p'); do
  for hook in INPUT OUTPUT FORWARD; do
    while iptables -w 5 -D "$hook" -j "$chain" 2>/dev/null; do :; done
  done
  iptables -w 5 -F "$chain" && iptables -w 5 -X "$chain" || failed=1
done
exit "$failed"
