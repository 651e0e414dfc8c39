#!/bin/sh
# Active when all that was chosen stands still, inactive when none of it does. Says at which uptime it looked.
#   [process=<text of the command line>]   then container ids
set -eu
freeze_check "$@"
