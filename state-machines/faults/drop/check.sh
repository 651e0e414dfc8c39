#!/bin/sh
# Judged by connecting, not only by reading rules: from the node itself, and from inside one of its containers, whose
# traffic is forwarded; or from inside the chosen containers. A refused connection is an answer too, unless it is our
# own rules that refuse. Port 7946 is the swarm's gossip, open on every node; what tasks have open is not known: they
# are pinged. What cannot be felt, the fate of a datagram and who refused, is told by the rules in force: they must have
# counted all that was sent here.
#   $1 controller's address, or ids of containers joined by commas   $2 drop | reject   $3 both | in | out, as seen from
#   here   $4 all, protocol/port,..., or dns   $5... addresses to connect to; 10.98.0.11/tcp/9092 is that port
# On a witness SF_RUN_DIR is empty, and only the connections count. Says at which uptime the packets were sent.
set -eu
victims=$1 action=$2 direction=$3 service=$4
shift 4
chain=SF-$(run_number)

case $victims in
  *.*) any=tcp/7946 ;;
  *) any=icmp/echo ;;
esac
# What is asked: address/protocol/port. Blocked ports of this side are felt elsewhere: by the witness.
probes=
for peer; do
  case $service/$peer in
    all/*/tcp/*) probes="$probes $peer" ;;
    all/*/udp/*) ;;
    all/*) probes="$probes $peer/$any" ;;
    *)
      [ "$direction" != in ] || break
      for port in $(echo "${service#*/}" | tr , ' '); do probes="$probes $peer/${service%%/*}/$port"; done
      ;;
  esac
done

# answering PROCESS: prints a line for each probe from its network: `open` or `refused`, or, of datagrams, `sent`;
# nothing for those that are not answered.
answering() {
  for probe in $probes; do
    (
      peer=${probe%%/*} port=${probe##*/} protocol=${probe#*/} protocol=${protocol%/*}
      if [ "$protocol" = icmp ]; then
        ! nsenter -t "$1" -n ping -q -n -c 1 -W 1 "$peer" >/dev/null 2>&1 || echo open
        exit
      fi
      # shellcheck disable=SC2016 # $1 is the inner shell's
      said=$(
        nsenter -t "$1" -n timeout 1 bash -c \
          'exec 3<>"/dev/$1/$2/$3" && if [ "$1" = udp ]; then echo >&3; fi' bash "$protocol" "$peer" "$port" 2>&1
      ) && said=open
      case $protocol/$said in
        udp/*) echo sent ;;
        tcp/open) echo open ;;
        *refused*) echo refused ;;
      esac
    ) &
  done
  wait
}

# resolving PROCESS ID: prints something when the name server that the process would ask answers anything. It is asked
# for the name that an engine gives to the container, so that no other server is needed.
resolving() {
  server=$(awk '$1 == "nameserver" { print $2; exit }' "/proc/$1/root/etc/resolv.conf")
  # shellcheck disable=SC2016 # $1 is the inner shell's
  nsenter -t "$1" -n timeout 1 bash -c '
    exec 3<>"/dev/udp/$1/53"
    printf "\123\106\001\000\000\001\000\000\000\000\000\000\014%.12s\000\000\001\000\001" "$2" >&3
    head -c 1 <&3' bash "$server" "$2" 2>/dev/null || true
}

# stopped PROCESS: packets that this run's rules have stopped so far in its network.
stopped() {
  nsenter -t "$1" -n iptables -w 5 -nvxL "$chain" |
    awk '$3 == "DROP" || $3 == "REJECT" { sum += $1 } END { print sum + 0 }'
}

# is_there PROCESS: whether somebody has an address that was asked. A task that is gone is silent too, but no neighbour
# knows it; no filter keeps a neighbour from being known.
is_there() {
  case $victims in *.*) return ;; esac
  for probe in $probes; do
    if nsenter -t "$1" -n ip neigh show "${probe%%/*}" | grep -q lladdr; then return; fi
  done
  return 1
}

# judge PROCESS [ID] [ANOTHER]: prints the verdict on its network, by what answers it, and another process of the node.
judge() (
  verdict=unknown
  trap 'echo "$verdict"' EXIT
  in_force=absent before=0
  if [ -n "${SF_RUN_DIR:-}" ]; then
    rules=$(nsenter -t "$1" -n iptables -w 5 -S)
    if printf '%s\n' "$rules" | grep -qw -e "$chain"; then
      in_force=present before=$(stopped "$1")
    fi
  fi
  if [ "$service" = dns ]; then
    answers=$(resolving "$1" "$2")
  else
    answers=$(
      answering "$1" &
      [ -z "${3:-}" ] || answering "$3" &
      wait
    )
  fi
  if [ -z "${SF_RUN_DIR:-}" ] && [ -z "$answers" ] && is_there "$1"; then in_force=present; fi
  case $service/$action/$in_force/$answers in
    */absent/* | *open* | dns/*) ;;
    udp/* | */reject/*)
      count=$(printf '%s' "$answers" | grep -c .) || true
      [ $(($(stopped "$1") - before)) -lt "$count" ] || answers=
      ;;
  esac
  # Where nobody was to be asked, the rules alone decide.
  [ -n "$probes" ] || [ "$service" = dns ] || [ "$in_force" = present ] || answers=none
  case $in_force/${answers:+answers} in
    present/) verdict=active ;;
    absent/answers) verdict=inactive ;;
  esac
)

read -r up _ </proc/uptime
case $victims in
  *.*) verdicts=$(judge $$ '' "$(forwarded_process)") ;;
  *)
    verdicts=$(
      for id in $(echo "$victims" | tr , ' '); do
        process=$(first_process "$id")
        [ -z "$process" ] || judge "$process" "$id" &
      done
      wait
    )
    # A task that is gone has taken the fault with it; one that was to bear witness tells nothing.
    [ -n "$verdicts" ] || verdicts=${SF_RUN_DIR:+inactive}
    ;;
esac
case $(printf '%s\n' "$verdicts" | sort -u) in
  active) echo "active $up" ;;
  inactive) echo "inactive $up" ;;
  *) echo "unknown $up" ;;
esac
