#!/bin/sh
# Put before this mechanism's scripts, after ../common.sh.

# queues NETWORK: this run's queues with all of their parameters, as the kernel tells them.
queues() {
  nsenter --net="$1" tc qdisc show | grep -wF -e "$(queue_handle)" -e "$(queue_handle)2"
}
