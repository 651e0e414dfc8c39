#!/bin/sh
# Makes containers stand still as a whole, or processes inside them.
#   [process=<text of the command line>]   then container ids
set -eu
freeze_inject "$@"
