#!/bin/sh
# Takes the interface up and gives back what it has lost: only what is missing, for others may have been quicker. Fails
# unless the saved IPv4 routes are in force.
set -eu
mark=$(own_mark)
kept=/run/$mark
if [ ! -e "$kept/device" ]; then
  rm -rf "$kept"
  exit 0
fi
systemctl --quiet stop "$mark.timer" 2>/dev/null || true
read -r device <"$kept/device"
ip link set dev "$device" up

routes() {
  ip "-$1" -o route show table all dev "$device"
}

# Again for those that need another: a gateway has to be reachable first.
for family in 4 6 4 6; do
  while read -r address; do
    ip -o addr show dev "$device" | grep -qwF -e "$address" || ip addr add "$address" dev "$device" || true
  done <"$kept/addresses.$family"
  while read -r route; do
    # shellcheck disable=SC2086 # a route is many words
    routes "$family" | grep -qF -e "$route" || ip "-$family" route add $route dev "$device" || true
  done <"$kept/routes.$family"
done
while read -r route; do
  if ! routes 4 | grep -qF -e "$route"; then
    echo "$device is up, but without its route $route" >&2
    exit 1
  fi
done <"$kept/routes.4"
# First what makes it a mark: whatever of the rest is left then stands for nothing.
rm -f "$kept/device"
rm -rf "$kept"
