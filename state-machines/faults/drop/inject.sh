#!/bin/sh
# Drops everything to and from the peers: of the node itself, of its overlay networks (their packets leave by OUTPUT),
# and of containers whose traffic it forwards. One atomic transaction, in a chain of our own.
#   $1 controller's address, whose ssh stays open   $2... peers' addresses
set -eu
chain=SF-$(printf %s "${SF_RUN_DIR##*/}" | cksum | cut -d' ' -f1)
controller=$1
shift
{
  echo '*filter'
  echo ":$chain - [0:0]"
  echo "-A $chain -p tcp -s $controller --dport 22 -j RETURN"
  echo "-A $chain -p tcp -d $controller --sport 22 -j RETURN"
  for peer; do
    echo "-A $chain -s $peer -j DROP"
    echo "-A $chain -d $peer -j DROP"
  done
  for hook in INPUT OUTPUT FORWARD; do echo "-I $hook 1 -j $chain"; done
  echo COMMIT
} | iptables-restore --noflush -w 5
