#!/bin/sh
# On the node: whether the kernel leads packets to every peer, of the node itself and of one of its containers, into
# the bucket of this run, by the bucket's own counters; few packets, since the link may be all that the victim has left.
# On a witness (SF_RUN_DIR is empty): the rate at which the node answers a third of a second of floods.
#   $1 controller's address (unused)   $2 bits per second   $3... peers' addresses, on a witness the node's
# Says at which uptime it looked.
set -eu
rate=$2
shift 2
read -r up _ </proc/uptime

# Answers of 1442 bytes on the wire, 100 of them asked for at once. At most 20 ms and 5 packets are not throttled. By
# the clock: ping's own time ends when it asks for the last one.
measure() {
  began=$(date +%s%N)
  said=$(timeout -s INT 0.8 ping -q -n -f -l 100 -s 1400 -c $((rate / 3 / 8 / 1442 + 100)) "$1") || true
  took_ms=$((($(date +%s%N) - began) / 1000000))
  printf '%s\n' "$said" | sed -n 's/.* \([0-9]*\) received.*/\1/p' | awk -v rate="$rate" -v took_ms="$took_ms" '
    { bits = $1 * 1442 * 8; most = rate * (took_ms * 1.2 + 20) / 1000 + 5 * 1442 * 8 }
    $1 > 0 && bits <= most { word = "active" }
    bits > 1.5 * most { word = "inactive" }
    END { print word ? word : "unknown" }'
}

if [ -z "${SF_RUN_DIR:-}" ]; then
  echo "$(measure "$1") $up"
  exit 0
fi

node=/proc/self/ns/net handle=$(queue_handle)
devices=$(queue_devices $node "$handle")
if [ -z "$devices" ]; then
  # Whoever put a queue of his own there would lose it, or throttle otherwise than we say: not ours to judge.
  if has_no_queue $node "$(device_to "$1")"; then echo "inactive $up"; else echo "unknown $up"; fi
  exit 0
fi

# Port 9 is discard; "$@" is put before the command that sends.
# shellcheck disable=SC2016 # $1 is the inner shell's
send() {
  for peer in $peers; do "$@" bash -c 'echo >"/dev/udp/$1/9"' bash "$peer" 2>/dev/null || true; done
}

peers=$* expected=$#
before=$(led $node "$handle")
send env
pid=$(forwarded_process)
if [ -n "$pid" ]; then
  send nsenter -t "$pid" -n
  expected=$((2 * $#))
fi
for _ in 1 2 3 4 5 6 7 8 9 10; do
  if [ $(($(led $node "$handle") - before)) -ge "$expected" ]; then
    echo "active $up"
    exit 0
  fi
  sleep 0.01
done
echo "unknown $up"
