#!/bin/sh
# What this mechanism marks on a node, without any run's directory: units and processes named sf-burn-<number>.
#   $1 list: prints the marks that are in force, one a line; clear: removes them
set -u
# Names that live processes carry in their environment.
names() {
  grep -hsozx -e 'SF_BURN=sf-burn-[0-9]*' /proc/[0-9]*/environ | tr '\0' '\n' | sed 's/^SF_BURN=//' | sort -u
}
for name in $(names); do
  if [ "$1" = list ]; then
    echo "$name"
    continue
  fi
  systemctl --quiet stop "$name.service" 2>/dev/null
  grep -lszx -e "SF_BURN=$name" /proc/[0-9]*/environ | cut -d/ -f3 | xargs -r kill -s KILL 2>/dev/null
done
[ "$1" = list ] || [ -z "$(sleep 0.1 && names)" ]
