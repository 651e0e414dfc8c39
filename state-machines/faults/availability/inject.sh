#!/bin/sh
# Drains a node of the swarm, from a manager, and keeps what its availability was.
#   $1 the node's id in the swarm
set -eu
swarm_inject availability "$1" drain
