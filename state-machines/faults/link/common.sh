#!/bin/sh
# What the scripts of this mechanism share: put before them, after ../common.sh.

# own_mark: names what is this run's: the unit that undoes it when its hold is over, and the folder of /run that keeps
# what is to be given back, and how. Who has lost the run has not lost that; a reboot, which gives everything back, has.
own_mark() {
  echo "sf-link-$(run_number)"
}
