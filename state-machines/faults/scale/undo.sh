#!/bin/sh
# Gives a stopped service its replicas back. How long they take to start is part of what is measured.
#   $1 the service's id in the swarm
set -eu
swarm_undo replicas "$1" 0
