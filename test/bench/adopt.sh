#!/usr/bin/env bash
# An engine on each of several machines and a swarm of them, as fast as bare ssh can: the baseline of the bench's figure
# ssh-adopt. No host keys, no looks, no notes of what came.
# Usage: adopt.sh USER KEYFILE MANAGER WORKER...
set -eu
user=$1 key=$2 manager=$3
shift 3
jobs=()
options=(-q -i "$key" -o BatchMode=yes -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null)
on() { ssh "${options[@]}" "$user@$1" sudo sh -eu; }
for address in "$manager" "$@"; do
  on "$address" <<'EOF' &
export DEBIAN_FRONTEND=noninteractive
apt-get -q update >/dev/null
apt-get -q -y install --no-install-recommends docker.io docker-cli iproute2 iptables procps >/dev/null
systemctl --quiet enable --now docker
until docker version >/dev/null 2>&1; do sleep 0.2; done
EOF
  jobs+=("$!")
done
for job in "${jobs[@]}"; do wait "$job"; done
token=$(on "$manager" <<EOF
docker swarm init --advertise-addr $manager --default-addr-pool 10.96.0.0/16 >/dev/null
docker swarm join-token -q worker
EOF
)
for address; do
  on "$address" <<<"docker swarm join --token $token --advertise-addr $address $manager:2377 >/dev/null" &
done
wait
on "$manager" <<<"until [ \"\$(docker node ls --format '{{.Status}}' | grep -c Ready)\" = $(($# + 1)) ]; do sleep 0.1; done"
