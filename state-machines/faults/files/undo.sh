#!/bin/sh
# Puts back what inject.sh has taken, or lets it be gone for good, as asked. What somebody has written since is not
# ours: a job that has written one of the lost names anew has gone back behind it, and goes on from there; files of the
# future that it has not had yet would break it. Then nothing is put back, and it says how many files that are.
#   $1 checkpoint's folder on this node   $2 move | truncate   $3 (unused)   $4 restore | leave   $5... (unused)
set -eu
path=$1 how=$2 afterwards=$4
if is_removed "$path"; then exit 0; fi
cd "$path"
is_marked || exit 0
kept=$(kept)

# of WORD: the paths in whose place is that.
of() {
  places | sed -n "s/^$1 //p"
}

put_back() {
  case $how in
  move)
    (cd "$kept" && find . -type f ! -path ./list | to_folders .. mv -n)
    left=$(find "$kept" -type f ! -path "$kept/list")
    ;;
  truncate) # one that is absent was removed by the job
    of empty | (cd "$kept" && to_folders .. mv -f)
    left=$(of empty)
    ;;
  esac
  if [ -n "$left" ]; then
    printf 'still to be put back in %s:\n%s\n' "$path" "$left" >&2
    exit 1
  fi
}

# Without that list nothing was taken yet.
if [ "$afterwards" = restore ] && [ -e "$kept/list" ]; then
  # A truncated one that is kept no more is back already: its copy, by an undo that was cut off.
  anew=$(of anew | while read -r file; do [ ! -e "$kept/$file" ] || echo "$file"; done | wc -l)
  if [ "$anew" -eq 0 ]; then
    put_back
  else
    echo "$anew of $(wc -l <"$(list)") lost files of $path were written anew since: none is put back" >&2
  fi
fi
rm -rf "./$kept"
rm -f .spark-failures
