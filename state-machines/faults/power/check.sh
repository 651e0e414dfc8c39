#!/bin/sh
# On a witness (SF_RUN_DIR is empty): active when the node's sshd does not answer: it is the first to go in a shutdown.
# On the node: active when it has been rebooted since inject.sh, or when it is another machine than the one that was armed;
# inactive when the machine and its engine run.
#   $1 reboot | off | interrupt | cut   on a witness $2 the node's address
# Says at which uptime it looked.
set -eu
read -r up _ </proc/uptime
if [ -z "${SF_RUN_DIR:-}" ]; then
  # shellcheck disable=SC2016 # $1 is the inner shell's
  if timeout 2 bash -c 'exec 3<>"/dev/tcp/$1/22"' bash "$2" 2>/dev/null; then word=inactive; else word=active; fi
elif [ "$1" = reboot ] && [ -e "$SF_RUN_DIR/boot" ] && [ "$(this_boot)" != "$(cat "$SF_RUN_DIR/boot")" ]; then
  word=active
elif [ "$1" = interrupt ] && [ ! -e "$SF_RUN_DIR" ]; then
  word=active
elif is_up; then
  word=inactive
else
  word=unknown
fi
echo "$word $up"
