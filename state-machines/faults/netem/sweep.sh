#!/bin/sh
# What this mechanism marks, without any run's directory: root queues with a handle from 5f00: to 5fff:.
#   $1 list: prints the marks that are in force, one a line; clear: removes them
set -u
sweep_queues prio "$1"
