#!/bin/sh
# Waits for the machine: done when it runs, with its engine, be it again or still. A reboot that was ordered and has not
# begun is called off; one that has is not over before the next life of the machine. Who was ended has another one in its
# place, where nothing is armed.
#   $1 reboot | off | interrupt | cut
set -eu
[ -e "$SF_RUN_DIR/boot" ] || [ "$1" = interrupt ] || exit 0
reboot=sf-reboot-$(run_number)
systemctl --quiet stop "$reboot.timer" "$reboot.service" 2>/dev/null || true
if [ "$(systemctl is-system-running)" = stopping ]; then
  echo 'the machine is going down' >&2
  exit 1
fi
# Joins the start job of the boot, if that is still under way.
timeout 50 systemctl start docker.service
