#!/bin/sh
# Gives a drained node its availability back. Tasks that went elsewhere do not return by themselves.
#   $1 the node's id in the swarm
set -eu
swarm_undo availability "$1" drain
