#!/usr/bin/env bash
# ZooKeeper's shell: zkCli.sh -server HOST:PORT [command].
set -euo pipefail

home=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
read -ra client_flags <<< "-Xmx${ZK_CLIENT_HEAP:-256}m ${CLIENT_JVMFLAGS:-} ${JVMFLAGS:-}"
exec java -cp "$home/lib/*:${ZOOCFGDIR:-/conf}" "${client_flags[@]}" org.apache.zookeeper.ZooKeeperMain "$@"
