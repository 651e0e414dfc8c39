#!/bin/sh
# What the scripts of this mechanism share: put before them, after ../common.sh.

# own_timer: the unit that undoes this run when its hold is over.
own_timer() {
  echo "sf-link-$(run_number)"
}
