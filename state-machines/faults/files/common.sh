#!/bin/sh
# What was lost is kept inside the checkpoint itself: on its file system a rename is atomic and needs no space, and a
# link there, made in one call, keeps two runs apart that reach one shared folder from two nodes: .spark-failures, which
# leads to the folder of what is kept. No job reads either name.

# kept: the folder of what this run keeps.
kept() {
  echo ".spark-failures-${SF_RUN_DIR##*/}"
}

# is_marked: whether the working directory, a checkpoint, bears this run's mark.
is_marked() {
  [ "$(readlink .spark-failures)" = "$(kept)" ]
}

# list: the file of what inject.sh chose, `inode size ./path` a line. There is one beside what is kept, too: who has
# lost the run has not lost the files.
list() {
  if [ -e "$SF_RUN_DIR/lost" ]; then echo "$SF_RUN_DIR/lost"; else echo "$(kept)/list"; fi
}

# is_removed PATH: succeeds when somebody has removed that checkpoint. One that merely cannot be reached now, since its
# file system is not mounted, ends the script.
is_removed() {
  if [ -e "$SF_RUN_DIR/mount" ]; then
    read -r mount <"$SF_RUN_DIR/mount"
    if [ "$mount" != / ] && ! mountpoint -q "$mount"; then
      echo "$mount is not mounted" >&2
      exit 1
    fi
  fi
  [ ! -d "$1" ]
}

# chosen HOW NEWEST PART...: `inode size ./path` of files below the working directory: of each part those that belong to
# its NEWEST highest numbers, whatever else their names have (12, .12.crc, 12.delta, 12_<id>.zip), or all. What a writer
# has not yet renamed is no file of the checkpoint; a checksum beside a file goes where its file goes, and stays with a
# truncated one, as after a torn write.
chosen() {
  lost_how=$1 lost_newest=$2
  shift 2
  for part; do
    find "./$part" "./.$part.crc" -type f ! -name '*.tmp' ! -path '*[!A-Za-z0-9._/-]*' -printf '%i %s %p\n' 2>/dev/null |
      awk -v how="$lost_how" -v newest="$lost_newest" '
        how == "truncate" && ($2 == 0 || /[.]crc$/) { next }
        {
          name = $3
          sub(/.*\/[.]?/, "", name)
          line[NR] = $0
          number[NR] = name ~ /^[0-9]+([._]|$)/ ? name + 0 : -1
        }
        END {
          least = newest == "all" ? -1 : 1e18
          for (; newest + 0 > 0; newest--) {
            lower = -1
            for (i in number) if (number[i] < least && number[i] > lower) lower = number[i]
            if (lower < 0) break
            least = lower
          }
          for (i in line) if (number[i] >= least) print line[i]
        }'
  done
}

# places: what is in the place of each file of the list, `<word> ./path`: absent (nothing), same (the file, as it was),
# empty (the file, without its content), or anew (what somebody has written since).
places() {
  {
    find . -path './.spark-failures*' -prune -o -type f -printf 'now %i %s %p\n' 2>/dev/null
    sed 's/^/was /' "$(list)"
  } | awk '
    $1 == "now" { inode[$4] = $2; size[$4] = $3; next }
    !($4 in inode) { print "absent", $4; next }
    (inode[$4] "") != $2 { print "anew", $4; next } # as text: numbers have but 53 bits here
    size[$4] == $3 { print "same", $4; next }
    { print (size[$4] == 0 ? "empty" : "anew"), $4 }'
}

# to_folders ROOT COMMAND...: runs the command for each folder of the paths on standard input: with `-t <folder below
# ROOT>` and the paths.
to_folders() {
  root=$1
  shift
  paths=$(awk '{ folder = $1; sub(/\/[^\/]*$/, "", folder); print folder, $1 }' | sort)
  for folder in $(printf '%s\n' "$paths" | cut -d' ' -f1 | uniq); do
    mkdir -p "$root/$folder"
    printf '%s\n' "$paths" | awk -v folder="$folder" '$1 == folder { print $2 }' |
      xargs -d '\n' -r "$@" -t "$root/$folder" --
  done
}
