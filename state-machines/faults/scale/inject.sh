#!/bin/sh
# Scales a service to zero, from a manager, and keeps the number of replicas that it had.
#   $1 the service's id in the swarm
set -eu
swarm_inject replicas "$1" 0
