#!/bin/sh
# Stops packets of the node itself, of its overlay networks (they leave by OUTPUT), and of containers whose traffic it
# forwards. One atomic transaction, in a chain of our own.
#   $1 controller's address, whose ssh stays open   $2 drop | reject   $3 both | in | out, as seen from this node
#   $4 all: whatever goes between this node and the peers; or protocol/port,...: what is sent to these ports from this
#      node and its containers to other machines (out), or the other way (in), whoever the others are
#   $5... peers' addresses
set -eu
chain=SF-$(run_number)
controller=$1 action=$2 direction=$3 service=$4
shift 4
protocol=${service%%/*} ports=${service#*/}
# Only what crosses the border of the machine: local clients of a blocked port are not on the network.
border=$(device_to "$1")

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

# cut FROM TO: both are matches, of what comes and what goes.
cut() {
  [ "$direction" = out ] || stop "$1" '! --syn'
  [ "$direction" = in ] || stop "$2"
}

{
  echo '*filter'
  echo ":$chain - [0:0]"
  echo "-A $chain -p tcp -s $controller --dport 22 -j RETURN"
  echo "-A $chain -p tcp -d $controller --sport 22 -j RETURN"
  if [ "$action" = reject ]; then
    # The answers to what is rejected pass by here too.
    echo "-A $chain -p tcp --tcp-flags RST RST -j RETURN"
    echo "-A $chain -p icmp --icmp-type destination-unreachable -j RETURN"
  fi
  if [ "$service" = all ]; then
    for peer; do cut "-s $peer" "-d $peer"; done
  else
    for port in $(echo "$ports" | tr , ' '); do
      cut "-i $border -p $protocol --dport $port" "-o $border -p $protocol --dport $port"
      # A published port is another one by the time it is forwarded to its container.
      [ "$direction" = out ] ||
        stop "-i $border -p $protocol -m conntrack --ctdir ORIGINAL --ctorigdstport $port" '! --syn'
    done
  fi
  for hook in INPUT OUTPUT FORWARD; do echo "-I $hook 1 -j $chain"; done
  echo COMMIT
} | iptables-restore --noflush -w 5
