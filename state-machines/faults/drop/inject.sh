#!/bin/sh
# Stops packets of the node itself, of its overlay networks (they leave by OUTPUT), and of containers whose traffic it
# forwards; or those of containers alone, in their own network namespaces. One atomic transaction in each, in a chain of
# our own.
#   $1 the controller's address, whose ssh to the node stays open; or ids of containers, joined by commas
#   $2 drop | reject   $3 both | in | out, as seen from here
#   $4 all: whatever goes between here and the peers; or protocol/port,...: what is sent to these ports from the node and
#      its containers, or from the containers, to others (out), or the other way (in), whoever the others are;
#      or dns: lookups, by whatever server
#   $5... peers' addresses; 10.98.0.11/tcp/9092 is only that port of one
set -eu
chain=SF-$(run_number)
victims=$1 action=$2 direction=$3 service=$4
shift 4
protocol=${service%%/*} ports=${service#*/}

# stop MATCH [NOT_NEW]: the rules for packets that match. Rejected, open connections are reset at once, and so are new
# ones of this node (a connecting socket would not hear ICMP from its own machine before it asks again). New ones of
# others are told that they are prohibited, as by firewalls: nobody takes that for a port where nothing listens.
stop() {
  if [ "$action" = drop ]; then
    echo "-A $chain $1 -j DROP"
    return
  fi
  case $protocol in
    all) echo "-A $chain $1 -p tcp ${2:-} -j REJECT --reject-with tcp-reset" ;;
    tcp) echo "-A $chain $1 ${2:-} -j REJECT --reject-with tcp-reset" ;;
  esac
  echo "-A $chain $1 -j REJECT --reject-with icmp-admin-prohibited"
}

# sever FROM TO: both are matches, of what comes and what goes.
sever() {
  [ "$direction" = out ] || stop "$1" '! --syn'
  [ "$direction" = in ] || stop "$2"
}

# sever_from PEER
sever_from() {
  case $1 in
    */*)
      protocol=${1#*/}
      protocol=${protocol%/*}
      sever "-s ${1%%/*} -p $protocol --sport ${1##*/}" "-d ${1%%/*} -p $protocol --dport ${1##*/}"
      ;;
    *)
      protocol=all
      sever "-s $1" "-d $1"
      ;;
  esac
}

# rules DEVICES PEER...: by the devices packets cross the border: clients of a blocked port on the same machine, or in
# the same container, are not on the network.
rules() {
  devices=$1
  shift
  echo '*filter'
  echo ":$chain - [0:0]"
  case $victims in
    *.*)
      echo "-A $chain -p tcp -s $victims --dport 22 -j RETURN"
      echo "-A $chain -p tcp -d $victims --sport 22 -j RETURN"
      ;;
  esac
  if [ "$action" = reject ]; then
    # The answers to what is rejected pass by here too.
    echo "-A $chain -p tcp --tcp-flags RST RST -j RETURN"
    echo "-A $chain -p icmp --icmp-type destination-unreachable -j RETURN"
  fi
  case $service in
    all) for peer; do sever_from "$peer"; done ;;
    dns)
      # The engine leads what is asked of its own server (127.0.0.11) to another port before a filter sees it.
      for protocol in udp tcp; do stop "-p $protocol -m conntrack --ctdir ORIGINAL --ctorigdstport 53"; done
      ;;
    *)
      for device in $devices; do
        for port in $(echo "$ports" | tr , ' '); do
          sever "-i $device -p $protocol --dport $port" "-o $device -p $protocol --dport $port"
          # A published port is another one by the time it is forwarded to its container.
          [ "$direction" = out ] ||
            stop "-i $device -p $protocol -m conntrack --ctdir ORIGINAL --ctorigdstport $port" '! --syn'
        done
      done
      ;;
  esac
  for hook in INPUT OUTPUT FORWARD; do echo "-I $hook 1 -j $chain"; done
  echo COMMIT
}

case $victims in
  *.*)
    device=
    [ "$service" = all ] || device=$(only_device_to "$@")
    rules "$device" "$@" | iptables-restore --noflush -w 5
    ;;
  *)
    for id in $(echo "$victims" | tr , ' '); do pin_network "$id"; done
    for network in $(pinned_networks); do
      devices=$(nsenter --net="$network" ip -o link show | sed -n 's/^[0-9]*: \([^@:]*\).*/\1/p' | grep -vx lo)
      rules "$devices" "$@" | nsenter --net="$network" iptables-restore --noflush -w 5
    done
    ;;
esac
