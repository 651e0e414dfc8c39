#!/bin/sh
# Puts back the limits that inject.sh saved, in the reverse order. The path of a cgroup holds its container's id:
# without the directory that very container is gone, and its limit with it.
set -eu
saved=$SF_RUN_DIR/saved
[ -e "$saved" ] || exit 0
tac "$saved" | while read -r file value; do
  [ -d "${file%/*}" ] || continue
  # A disk that is gone takes none, and has none.
  [ "$(present_limit "$file" "$value")" != "$value" ] || continue
  printf '%s\n' "$value" >"$file"
  if [ "$(present_limit "$file" "$value")" != "$value" ]; then
    echo "$file is not $value again" >&2
    exit 1
  fi
done
# What a check that was cut short may have left.
for id; do
  store=$(container_store "$id")
  [ -z "$store" ] || rm -f "$store/.sf-probe-$(run_number)"
done
# Undone; check.sh tells by it. Nothing that a full disk may keep from healing.
rm -f "$saved" || true
