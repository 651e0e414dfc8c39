#!/bin/bash
# when-ready.sh <host:port | host:port/path=word>... -- <command>
# Waits until each port accepts a connection, or each page holds the word, then becomes the command. Spark's own
# retries are 5 to 20 s apart, which would be most of a cold start.
set -u

answers() {
  local address=${1%%/*}
  case $1 in
    */*=*)
      local page=/${1#*/}
      exec 3<>"/dev/tcp/${address%:*}/${address##*:}" || return
      printf 'GET %s HTTP/1.0\r\n\r\n' "${page%=*}" >&3
      grep -q -- "${page##*=}" <&3
      ;;
    *) : <>"/dev/tcp/${address%:*}/${address##*:}" ;;
  esac
}
export -f answers

while [ "$1" != -- ]; do
  # A silent host must not hold the shell for the minutes that a TCP connect may take.
  until timeout 2 bash -c "answers ${1@Q}" 2>/dev/null; do sleep 0.5; done
  shift
done
shift
exec "$@"
