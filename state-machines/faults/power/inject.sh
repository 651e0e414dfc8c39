#!/bin/sh
# reboot: orders one for in a moment: once this has ended its effect is looked for, for half a second, and told.
# The others: keeps only which life of the machine this is. It is the provisioner who throws the switch.
#   $1 reboot | off | interrupt | cut
set -eu
is_up || refuse 'the machine is going down, or its engine does not run'
this_boot | save boot
if [ "$1" = reboot ]; then
  systemd-run --quiet --collect --unit="sf-reboot-$(run_number)" --on-active=1s \
    --timer-property=AccuracySec=10ms systemctl reboot
fi
