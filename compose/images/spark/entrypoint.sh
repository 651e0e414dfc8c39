#!/usr/bin/env bash
# Runs any command as it is; the Kubernetes commands `driver` and `executor` are not part of the stand-in.
set -euo pipefail

export PYSPARK_PYTHON=${PYSPARK_PYTHON:-python3} PYSPARK_DRIVER_PYTHON=${PYSPARK_DRIVER_PYTHON:-python3}
case "${1:-}" in
  driver | executor)
    echo "$0: this image runs Spark standalone only" >&2
    exit 64
    ;;
  *) exec "$@" ;;
esac
