#!/usr/bin/env bash
# The part of ZooKeeper's own script that containers use: start-foreground, status, version.
set -euo pipefail

home=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
config=${ZOOCFGDIR:-/conf}/zoo.cfg
# JVMFLAGS holds several options. The agent, if any, is for the server alone: its port is taken in a second process.
read -ra server_flags <<< "-Xmx${ZK_SERVER_HEAP:-1000}m ${SERVER_JVMFLAGS:-} ${JVMFLAGS:-}"
java=(java -cp "$home/lib/*:${ZOOCFGDIR:-/conf}" "-Dzookeeper.log.dir=${ZOO_LOG_DIR:-/logs}")

case "${1:-}" in
  start-foreground)
    exec "${java[@]}" -XX:+HeapDumpOnOutOfMemoryError '-XX:OnOutOfMemoryError=kill -9 %p' \
      "${server_flags[@]}" -Dcom.sun.management.jmxremote -Dcom.sun.management.jmxremote.local.only=true \
      org.apache.zookeeper.server.quorum.QuorumPeerMain "$config"
    ;;
  status)
    port=$(sed -n -e 's/^clientPort=//p' -e 's/^server\.[0-9]*=.*;\(.*:\)\{0,1\}\([0-9]*\)$/\2/p' "$config" | head -n 1)
    echo "Client port found: ${port:=2181}. Client address: localhost."
    "${java[@]}" "${server_flags[@]}" org.apache.zookeeper.client.FourLetterWordMain localhost "$port" srvr 2> /dev/null \
      | grep Mode || { echo 'Error contacting service. It is probably not running.'; exit 1; }
    ;;
  version)
    exec "${java[@]}" org.apache.zookeeper.version.VersionInfoMain
    ;;
  *)
    echo "Usage: $0 {start-foreground|status|version}" >&2
    exit 1
    ;;
esac
