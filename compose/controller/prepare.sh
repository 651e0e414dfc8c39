#!/bin/sh
# Fetches what the package needs at run time, as its lock file has it, with this machine's npm.
set -eu
cd package
npm ci --omit=dev --ignore-scripts --no-audit --no-fund
