#!/bin/sh
# Which life of the machine this is: a container's boot id is that of its host, and on any other machine process 1
# always starts at the same time.
this_boot() {
  read -r boot </proc/sys/kernel/random/boot_id
  echo "$boot $(started 1)"
}

# is_up: whether the machine runs, its engine included, and is not about to go down.
is_up() {
  [ "$(systemctl is-system-running)" != stopping ] && systemctl --quiet is-active docker.service
}
