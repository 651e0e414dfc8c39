#!/bin/sh
# What the scripts of this mechanism share: put before them, after ../common.sh.

# is_up: whether the machine runs, its engine included, and is not about to go down.
is_up() {
  [ "$(systemctl is-system-running)" != stopping ] && systemctl --quiet is-active docker.service
}
