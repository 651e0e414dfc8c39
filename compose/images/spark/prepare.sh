#!/bin/sh
# Takes what the official image holds out of PyPI's pyspark, which contains a whole distribution of Spark.
# Left out: examples, data, R, Kubernetes files, scripts for Windows.
set -eu
umask 022
archive=$(echo downloads/pyspark-*.tar.gz)
mkdir -p spark/work-dir
chmod 0775 spark/work-dir
tar -xzf "$archive" -C spark --no-same-owner --exclude='*.cmd' --wildcards --no-wildcards-match-slash \
  --transform='s,^[^/]*/deps/,,' --transform='s,^pyspark-[^/]*/,python/,' \
  'pyspark-*/deps/bin' 'pyspark-*/deps/sbin' 'pyspark-*/deps/jars' 'pyspark-*/pyspark' 'pyspark-*/lib'
basename "$archive" .tar.gz > spark/RELEASE
rm "$archive"
