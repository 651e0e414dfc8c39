#!/bin/sh
# Run in a container with the host's / at /host: lays this image out as the root directory of a unit, so that the operator
# lives on when the engine that brought it does not. An operator that runs keeps its old files until it is restarted.
set -eu
root=/opt/spark-failures unit=/usr/local/lib/systemd/system/spark-failures.service
rm -rf "/host$root.new" "/host$root.old"
mkdir -p "/host$root.new"
for entry in /bin /etc /lib* /opt /sbin /usr /var; do cp -a "$entry" "/host$root.new/"; done
for folder in dev proc root run sys tmp; do mkdir "/host$root.new/$folder"; done
if [ -e "/host$root" ]; then mv "/host$root" "/host$root.old"; fi
mv "/host$root.new" "/host$root"
rm -rf "/host$root.old"
mkdir -p "/host${unit%/*}" /host/etc/spark-failures
cp "$unit" "/host$unit"
echo 'installed: put manifests into /etc/spark-failures, then: systemctl daemon-reload && systemctl enable --now spark-failures'
