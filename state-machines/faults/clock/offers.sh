#!/bin/sh
# What only this mechanism needs of a node; succeeds when it is there.
#   $1 the need
case $1 in
  # A wall clock that is this machine's alone, and may be set. A container's is its host's: setting it, where that is
  # permitted, would move the time of every machine there.
  own-clock)
    ! systemd-detect-virt --quiet --container && [ ! -e /.dockerenv ] || exit 1
    mask=$(sed -n 's/^CapBnd:[[:space:]]*//p' /proc/self/status)
    # CAP_SYS_TIME is number 25; bash is how the clock is read (common.sh).
    # shellcheck disable=SC2016 # bash's own variable
    [ $((0x$mask >> 25 & 1)) -eq 1 ] && bash -c '[ -n "$EPOCHREALTIME" ]'
    ;;
  *) exit 1 ;;
esac
