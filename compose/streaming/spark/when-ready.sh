#!/bin/bash
# when-ready.sh <host:port | host:port/path=word | folder | hdfs://host... | s3a://bucket...>... -- <command>
# Waits until each port accepts a connection, each page holds the word, each folder is there, and each HDFS may be
# written to, then becomes the command. Spark's own retries are 5 to 20 s apart, which would be most of a cold start.
set -u

answers() {
  local address=${1%%/*}
  case $1 in
    hdfs://*)
      # Its NameNode is in safe mode until the DataNodes have told what they have.
      address=${1#hdfs://}
      answers "${address%%[:/]*}:9870/jmx?qry=Hadoop:service=NameNode,name=FSNamesystemState=Operational"
      ;;
    # Who writes there asks again and again by itself.
    s3a://*) ;;
    /*) [ -d "$1" ] ;;
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
  # shellcheck disable=SC2016 # it is for the inner shell to expand
  until timeout 2 bash -c 'answers "$1"' - "$1" 2>/dev/null; do sleep 0.5; done
  shift
done
shift
exec "$@"
