#!/bin/sh
# Fills a file system with one file of our name, at its top; refuses where its size is not this node's own affair.
#   $1 a folder on it   $2 percent or leave   $3 percentage, or bytes to be left free
set -eu
path=$1 how=$2 amount=$3
[ -d "$path" ] || refuse "$path is no folder"
file=$(fill_file "$path")
device=$(findmnt -n -o SOURCE --mountpoint "$(stat -c %m "$path")" | tail -n 1)
case $device in
  # A node that is a container has its disk, though not its loop devices, from a host that others share.
  /dev/loop*) ;;
  /dev/*) ! systemd-detect-virt --container --quiet || refuse "$path is on $device, which other machines share" ;;
  # Memory, the network, layers over another one: its size says nothing, or its files would take something else.
  *) refuse "$path is on no disk of its own: $device" ;;
esac
wanted=$(wanted_free "$path" "$how" "$amount") size=$(free "$path")
[ "$size" -gt "$wanted" ] || refuse "$path has $size bytes free already: that is not above $wanted"
[ ! -e "$file" ] || refuse "$file exists"
printf '%s\n' "$file" | save file
true >"$file" || refuse "$file cannot be written"

size=$((size - wanted))
if fallocate -l "$size" "$file"; then
  # What is kept for root, and what is too scattered for one piece.
  if [ "$wanted" -eq 0 ]; then
    piece=$size
    while [ "$piece" -ge 4096 ]; do
      if fallocate -o "$size" -l "$piece" "$file" 2>/dev/null; then size=$((size + piece)); else piece=$((piece / 2)); fi
    done
  fi
elif [ "$wanted" -eq 0 ]; then
  # A file system without fallocate, written byte by byte. That it ends with an error is the purpose.
  dd if=/dev/zero of="$file" bs=1M oflag=append conv=notrunc,fsync 2>/dev/null || true
  dd if=/dev/zero of="$file" bs=4096 oflag=append conv=notrunc,fsync 2>/dev/null || true
else
  rm -f "$file"
  head -c "$size" /dev/zero >"$file"
fi
sync "$file"
