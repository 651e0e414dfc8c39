#!/bin/sh
# Takes the interface up and gives back what it has lost: only what is missing, for others may have been quicker. A
# reboot has done all of that. Fails unless the saved IPv4 routes are in force.
set -eu
[ -e "$SF_RUN_DIR/device" ] || exit 0
systemctl --quiet stop "$(own_timer).timer" 2>/dev/null || true
[ "$(this_boot)" = "$(cat "$SF_RUN_DIR/boot")" ] || exit 0
read -r device <"$SF_RUN_DIR/device"
ip link set dev "$device" up

routes() {
  ip "-$1" -o route show table all dev "$device"
}

# Again for those that need another: a gateway has to be reachable first.
for family in 4 6 4 6; do
  while read -r address; do
    ip -o addr show dev "$device" | grep -qwF -e "$address" || ip addr add "$address" dev "$device" || true
  done <"$SF_RUN_DIR/addresses.$family"
  while read -r route; do
    # shellcheck disable=SC2086 # a route is many words
    routes "$family" | grep -qF -e "$route" || ip "-$family" route add $route dev "$device" || true
  done <"$SF_RUN_DIR/routes.$family"
done
while read -r route; do
  if ! routes 4 | grep -qF -e "$route"; then
    echo "$device is up, but without its route $route" >&2
    exit 1
  fi
done <"$SF_RUN_DIR/routes.4"
