#!/bin/sh
# Makes root.tar, a minimal Debian system like debian:trixie-slim: no documentation but licences, no languages, no
# package caches. The mirror is mmdebstrap's default for Debian.
set -eu
# The hooks run with the new root as $1.
# shellcheck disable=SC2016
exec mmdebstrap --quiet --variant=minbase \
  --aptopt='Acquire::Languages "none"' \
  --dpkgopt=force-unsafe-io \
  --dpkgopt='path-exclude=/usr/share/doc/*' \
  --dpkgopt='path-include=/usr/share/doc/*/copyright' \
  --dpkgopt='path-exclude=/usr/share/groff/*' \
  --dpkgopt='path-exclude=/usr/share/info/*' \
  --dpkgopt='path-exclude=/usr/share/lintian/*' \
  --dpkgopt='path-exclude=/usr/share/locale/*' \
  --dpkgopt='path-exclude=/usr/share/man/*' \
  --customize-hook='copy-in 90slim /etc/apt/apt.conf.d' \
  --customize-hook='rm -f "$1"/etc/hostname "$1"/etc/resolv.conf "$1"/var/cache/apt/*.bin' \
  trixie root.tar
