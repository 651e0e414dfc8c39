#!/bin/sh
# What this mechanism marks on a node, without any run's directory: files named .sf-fill-<number> at the top of a disk's
# file system.
#   $1 list: prints the marks that are in force, one a line; clear: removes them
set -u
status=0
tops=$(awk '$0 ~ / - [^ ]+ \/dev\// { print $5 }' /proc/self/mountinfo | sort -u)
while IFS= read -r top; do
  # The kernel writes a blank as \040.
  top=$(printf %b "$(printf %s "$top" | sed 's/\\\([0-7]\)/\\0\1/g')")
  for file in "${top%/}"/.sf-fill-[0-9]*; do
    [ -f "$file" ] || continue
    if [ "$1" = list ]; then
      echo "$file"
    else
      truncate -s 0 "$file"
      rm -f "$file" || status=1
    fi
  done
done <<END
$tops
END
exit "$status"
