#!/bin/sh
# Active when the node is drained and no task is left there, as its manager sees it.
#   $1 the node's id in the swarm
set -eu
swarm_check availability "$1" drain
