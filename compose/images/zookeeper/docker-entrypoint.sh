#!/usr/bin/env bash
# Becomes user zookeeper for the server, writes zoo.cfg and myid from ZOO_* unless they exist, then runs the command.
set -euo pipefail

if [[ "${1:-}" = zkServer.sh && $(id -u) = 0 ]]; then
  chown -R zookeeper "$ZOO_DATA_DIR" "$ZOO_DATA_LOG_DIR" "$ZOO_LOG_DIR"
  exec setpriv --reuid=zookeeper --regid=zookeeper --init-groups "$0" "$@"
fi

config=$ZOO_CONF_DIR/zoo.cfg
if [[ ! -f $config ]]; then
  # ZOO_SERVERS and ZOO_CFG_EXTRA are lists separated by blanks.
  # shellcheck disable=SC2086
  printf '%s\n' \
    "dataDir=$ZOO_DATA_DIR" \
    "dataLogDir=$ZOO_DATA_LOG_DIR" \
    "tickTime=$ZOO_TICK_TIME" \
    "initLimit=$ZOO_INIT_LIMIT" \
    "syncLimit=$ZOO_SYNC_LIMIT" \
    "autopurge.snapRetainCount=$ZOO_AUTOPURGE_SNAPRETAINCOUNT" \
    "autopurge.purgeInterval=$ZOO_AUTOPURGE_PURGEINTERVAL" \
    "maxClientCnxns=$ZOO_MAX_CLIENT_CNXNS" \
    "standaloneEnabled=$ZOO_STANDALONE_ENABLED" \
    "admin.enableServer=$ZOO_ADMINSERVER_ENABLED" \
    ${ZOO_SERVERS:-server.1=localhost:2888:3888;2181} \
    ${ZOO_4LW_COMMANDS_WHITELIST:+"4lw.commands.whitelist=$ZOO_4LW_COMMANDS_WHITELIST"} \
    ${ZOO_CFG_EXTRA:-} > "$config"
fi

[[ -f $ZOO_DATA_DIR/myid ]] || echo "${ZOO_MY_ID:-1}" > "$ZOO_DATA_DIR/myid"

exec "$@"
