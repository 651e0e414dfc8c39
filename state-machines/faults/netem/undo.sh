#!/bin/sh
# Removes this run's queues from the node, or from the network namespaces of its containers, and lets go of those.
#   $6... containers' ids
set -eu
shift 5
undo_queues "$@"
