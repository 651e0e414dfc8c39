#!/bin/sh
# Lets go what inject.sh has made stand still.
#   [process=<text of the command line>]   then container ids
set -eu
freeze_undo "$@"
