#!/bin/sh
# The first steps of a guest at each boot, before systemd becomes process 1: what a lab's node is given by its engine.
set -eu
given() { tr ' ' '\n' </proc/cmdline | sed -n "s/^sf\.$1=//p" | base64 -d; }

[ -s /etc/machine-id ] || tr -d - </proc/sys/kernel/random/uuid >/etc/machine-id
(umask 077 && given host_key >/etc/ssh/ssh_host_ed25519_key)
ssh-keygen -y -f /etc/ssh/ssh_host_ed25519_key >/etc/ssh/ssh_host_ed25519_key.pub
given authorized_key >/home/operator/.ssh/authorized_keys
chown operator:operator /home/operator/.ssh/authorized_keys
chmod 0600 /home/operator/.ssh/authorized_keys
hostname node1
printf '127.0.0.1 localhost node1\n' >/etc/hosts

# The emulator's own network, of which it is the router and the only other machine.
ip link set lo up
ip link set eth0 up
ip addr add 10.0.2.15/24 dev eth0
ip route add default via 10.0.2.2

# Two peers on a network between machines: each has its own stack, and is entered by its name.
ip link add peers type bridge
ip addr add 10.77.0.1/24 dev peers
ip link set peers up
for number in 2 3; do
  ip netns add "node$number"
  ip link add "to-node$number" master peers type veth peer name eth0 netns "node$number"
  ip link set "to-node$number" up
  ip -n "node$number" link set lo up
  ip -n "node$number" link set eth0 up
  ip -n "node$number" addr add "10.77.0.$number/24" dev eth0
done
exec /lib/systemd/systemd
