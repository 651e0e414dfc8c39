#!/bin/sh
# What the scripts of this mechanism share: put before them, after ../common.sh.

# burner_name: names what this run burns with, a unit and a word in the environment of each process.
burner_name() {
  echo "sf-burn-$(run_number)"
}

# burners NAME: the processes of that name, wherever they have moved.
burners() {
  grep -lszx -e "SF_BURN=$1" /proc/[0-9]*/environ | cut -d/ -f3
}
