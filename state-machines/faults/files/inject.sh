#!/bin/sh
# Takes files away from the checkpoint of a streaming job, or their content: as a disk or an operator loses them.
#   $1 checkpoint's folder on this node   $2 move | truncate   $3 how many of the newest numbers, or all
#   $4 restore | leave, for undo.sh   $5... parts: metadata, offsets, commits, sources, state
set -eu
path=$1 how=$2 newest=$3
shift 4
real=$(realpath -e "$path" 2>/dev/null) || refuse "this node has no $path"
[ "$real" = "$path" ] || refuse "$path leads to $real: that is to be named"
cd "$path"
# A wrong path must not cost anybody their files.
for part in metadata offsets commits; do [ -e "$part" ] || refuse "$path has no $part: it is no checkpoint"; done
for part; do
  [ ! -e "$part" ] || [ "$(stat -c %d "$part")" = "$(stat -c %d .)" ] || refuse "$path/$part is another file system"
done
if holder=$(readlink .spark-failures); then refuse "$path has lost files already: they are in $holder"; fi
lost=$(chosen "$how" "$newest" "$@" | sort -k 3)
[ -n "$lost" ] || refuse "$path has no such file of $*"

kept=$(kept)
stat -c %m . | save mount
printf '%s\n' "$lost" | save lost
if ! ln -sT "$kept" .spark-failures; then
  rm -f "$SF_RUN_DIR/lost"
  refuse "$path is just being marked by another run"
fi
mkdir "$kept"
cp "$SF_RUN_DIR/lost" "$kept/list"
sync "$kept/list" "$kept" .

paths() { printf '%s\n' "$lost" | cut -d' ' -f3; }
case $how in
move)
  # The job may have purged one of them meanwhile.
  paths | to_folders "$kept" mv || true
  ;;
truncate)
  paths | to_folders "$kept" cp -p
  (cd "$kept" && paths | xargs -d '\n' sync --)
  paths | xargs -d '\n' truncate --no-create --size=0 --
  ;;
esac
if places | grep -q '^same'; then
  echo 'not all of it could be taken away' >&2
  exit 1
fi
