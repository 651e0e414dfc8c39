#!/bin/sh
# What the scripts of this mechanism share: put before them, after ../common.sh.

# fill_file PATH: this run's file, at the top of the file system in which PATH lies, where sweep.sh finds it as well.
fill_file() {
  top=$(stat -c %m "$1")
  echo "${top%/}/.sf-fill-$(run_number)"
}

# free PATH: bytes that are free for everybody, as df shows them.
free() {
  stat -f -c '%S %a' "$1" | awk '{ printf "%.0f\n", $1 * $2 }'
}

# wanted_free PATH percent|leave AMOUNT: bytes that shall be free; 100 percent is what df means by it: reserved is not
# used.
wanted_free() {
  if [ "$2" = leave ]; then
    echo "$3"
  else
    stat -f -c '%S %b %f %a' "$1" | awk -v percent="$3" '{ printf "%.0f\n", $1 * ($2 - $3 + $4) * (100 - percent) / 100 }'
  fi
}

# takes_nothing FILE: whether there is no space for a small file; ends the script where it cannot be told.
takes_nothing() {
  said=$(dd if=/dev/zero of="$1" bs=4096 count=1 conv=fsync 2>&1) && status=0 || status=$?
  rm -f "$1"
  [ "$status" -ne 0 ] || return 1
  case $said in
    *'No space left'*) ;;
    *)
      echo "$said" >&2
      exit 1
      ;;
  esac
}
