#!/bin/sh
# Makes root.tar: Ubuntu without what has no use in a machine of the lab, and with what gets in apt's way on a server. The
# mirrors are mmdebstrap's defaults, the keys those that Debian has a package of; apt's own user must be able to read them.
set -eu
keys=$(mktemp -d)
trap 'rm -r "$keys"' EXIT
chmod 755 "$keys"
mmdebstrap --quiet --variant=extract --include=ubuntu-archive-keyring trixie "$keys"
mmdebstrap --quiet --variant=minbase --components=main,universe \
  --keyring="$keys/usr/share/keyrings/ubuntu-archive-keyring.gpg" \
  --include=apt,needrestart,unattended-upgrades \
  --aptopt='Acquire::Languages "none"' \
  --dpkgopt=force-unsafe-io \
  --dpkgopt='path-exclude=/usr/share/doc/*' \
  --dpkgopt='path-exclude=/usr/share/locale/*' \
  --dpkgopt='path-exclude=/usr/share/man/*' \
  noble root.tar
