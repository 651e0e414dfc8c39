#!/bin/sh
# Judged by connecting, not only by reading rules: from the node itself, and from inside one of its containers, whose
# traffic is forwarded. A refused connection is an answer too, unless it is our own rules that refuse. Port 7946 is the
# swarm's gossip, open on every node. What cannot be felt, the fate of a datagram and who refused, is told by the rules
# in force: they must have counted all that was sent here.
#   $1 controller's address (unused)   $2 drop | reject   $3 both | in | out, as seen from here
#   $4 all, or protocol/port,...   $5... addresses to connect to
# On a witness SF_RUN_DIR is empty, and only the connections count. Says at which uptime the packets were sent.
set -eu
action=$2 direction=$3 service=$4
shift 4
peers=$* protocol=tcp ports=7946
if [ "$service" != all ]; then
  protocol=${service%%/*} ports=$(echo "${service#*/}" | tr , ' ')
  # Blocked ports of this node are felt elsewhere: by the witness.
  [ "$direction" != in ] || peers=
fi

# Prints a line for each peer and port: `open` or `refused`, or, of datagrams, `sent`; nothing for those that do not
# answer. "$@" is put before the command that connects.
answering() {
  for peer in $peers; do
    for port in $ports; do
      (
        # shellcheck disable=SC2016 # $1 is the inner shell's
        said=$(
          LC_ALL=C "$@" timeout 1 bash -c 'exec 3<>"/dev/$1/$2/$3" && if [ "$1" = udp ]; then echo >&3; fi' \
            bash "$protocol" "$peer" "$port" 2>&1
        ) && said=open
        case $protocol/$said in
          udp/*) echo sent ;;
          tcp/open) echo open ;;
          *refused*) echo refused ;;
        esac
      ) &
    done
  done
  wait
}

# Packets that this run's rules have stopped so far.
stopped() {
  iptables -w 5 -nvxL "$chain" | awk '$3 == "DROP" || $3 == "REJECT" { sum += $1 } END { print sum + 0 }'
}

in_force=absent before=0
if [ -n "${SF_RUN_DIR:-}" ]; then
  chain=SF-$(run_number)
  rules=$(iptables -w 5 -S)
  if printf '%s\n' "$rules" | grep -qw -e "$chain"; then
    in_force=present before=$(stopped)
  fi
fi

pid=$(forwarded_process)
read -r up _ </proc/uptime
answers=$(
  answering &
  [ -z "$pid" ] || answering nsenter -t "$pid" -n &
  wait
)
if [ -z "${SF_RUN_DIR:-}" ] && [ -z "$answers" ]; then in_force=present; fi
case $protocol/$action/$in_force/$answers in
  */*/absent/* | *open*) ;;
  udp/* | */reject/*)
    count=$(printf '%s' "$answers" | grep -c .) || true
    [ $(($(stopped) - before)) -lt "$count" ] || answers=
    ;;
esac
# Where nobody was to be asked, the rules alone decide.
[ -n "$peers" ] || [ "$in_force" = present ] || answers=none

case $in_force/${answers:+answers} in
present/) echo "active $up" ;;
absent/answers) echo "inactive $up" ;;
*) echo "unknown $up" ;;
esac
