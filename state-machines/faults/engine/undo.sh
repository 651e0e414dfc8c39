#!/bin/sh
# Starts what inject.sh found running, and waits until the engine answers. Any number of times: what runs is left alone.
set -eu
[ -e "$SF_RUN_DIR/units" ] || exit 0
start_engine
