#!/bin/sh
# reboot: orders one for in a moment, so that there is time to answer.
# off: keeps only which life of the machine this is. It is the provisioner who pulls the plug.
#   $1 reboot | off
set -eu
is_up || refuse 'the machine is going down, or its engine does not run'
this_boot | save boot
if [ "$1" = reboot ]; then
  systemd-run --quiet --collect --unit="sf-reboot-$(run_number)" --on-active=200ms \
    --timer-property=AccuracySec=10ms systemctl reboot
fi
