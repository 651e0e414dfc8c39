#!/bin/sh
# Stops the engine and the socket that would start it at the next question, and keeps which of the two ran, and when.
# containerd stays: without an engine it starts nothing, and others may use it.
set -eu
note_engine
# Not waited for: containers have a grace period each, and check.sh says when the last one is gone.
# shellcheck disable=SC2086,SC2154 # a list of names, by note_engine
systemctl stop --no-block $units
