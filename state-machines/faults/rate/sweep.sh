#!/bin/sh
# What this mechanism marks on a node, without any run's directory: root queues with a handle from 5f00: to 5fff:.
#   $1 list: prints the marks that are in force, one a line; clear: removes them
set -u
sweep_queues htb "$1"
