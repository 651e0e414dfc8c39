#!/bin/sh
# Put before this mechanism's scripts, after ../common.sh.

# queues NETWORK HANDLE: the root queues of that handle, and those in them, with all parameters, as the kernel tells
# them.
queues() {
  nsenter --net="$1" tc qdisc show | grep -wF -e "$2" -e "${2}2"
}
