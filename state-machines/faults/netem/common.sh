#!/bin/sh
# Put before this mechanism's scripts, after ../common.sh.

# queues NETWORK HANDLE: its root queues of that handle, and what is in them, with all of their parameters, as the kernel tells them.
queues() {
  nsenter --net="$1" tc qdisc show | grep -wF -e "$2" -e "${2}2"
}
