#!/bin/sh
# Active when the service wants no replica and no task of it is left, as the manager sees it.
#   $1 the service's id in the swarm
set -eu
swarm_check replicas "$1" 0
