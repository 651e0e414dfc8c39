#!/bin/sh
# What the scripts of this mechanism share: put before them, after ../common.sh.

# own_timer: the unit that undoes this run when its hold is over.
own_timer() {
  echo "sf-link-$(run_number)"
}

# this_boot: differs after a reboot, also where machines share a kernel, and with it the boot id.
this_boot() {
  echo "$(cat /proc/sys/kernel/random/boot_id) $(started 1)"
}
