#!/bin/sh
# Lets the clients go on; their sessions stay expired, which is for them to find out.
#   $1 the servers' port (unused)   $2 process=<text of the command line>   $3... container ids
set -eu
shift
freeze_undo "$@"
