#!/bin/sh
# Says something to a TCP port inside a container, from the node and without its engine: for a question that any client
# might ask. common.sh is put before this.
#   $1 container id   $2 port   $3 what ends the answer: `close`, or `size` when its first four bytes say how long it is
#   stdin: what is said
# Prints the answer in base64, on one line, without its size. Fails, with the reason on stderr, when there is none.
set -u
process=$(first_process "$1")
if [ -z "$process" ]; then
  echo 'the container is not running' >&2
  exit 1
fi
# shellcheck disable=SC2016 # the inner shell's
timeout 5 nsenter -t "$process" -n bash -c '
  set -euo pipefail
  exec 3<>"/dev/tcp/127.0.0.1/$1"
  cat >&3
  if [ "$2" = close ]; then
    head -c 1000000 <&3
  else
    read -r a b c d < <(head -c 4 <&3 | od -An -v -tu1)
    head -c "$((a << 24 | b << 16 | c << 8 | d))" <&3
  fi | base64 -w0
' bash "$2" "$3" 2>/dev/null || {
  echo "nothing answers at its port $2" >&2
  exit 1
}
