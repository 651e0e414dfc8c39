#!/usr/bin/env bash
# Six nodes and a swarm, as fast as bare shell can: the baseline of the bench's first figure. The image is the lab's
# own, so that both sides boot the same machine; no ssh keys, no stores seeded, no checks.
# Usage: up.sh IMAGE; afterwards down.sh's one line at the end of this file: up.sh --down
set -eu
name=sf-bench-shell
if [ "${1:-}" = --down ]; then
  for i in 1 2 3 4 5 6; do docker rm -fv $name-$i >/dev/null 2>&1 & done
  wait
  docker network rm $name >/dev/null 2>&1 || true
  exit 0
fi
image=$1
caps=$(printf -- '--cap-add %s ' SYS_ADMIN NET_ADMIN SYS_PTRACE SYS_RAWIO SYS_NICE IPC_LOCK DAC_READ_SEARCH SYSLOG \
  NET_BROADCAST LINUX_IMMUTABLE BLOCK_SUSPEND MAC_ADMIN MAC_OVERRIDE AUDIT_CONTROL AUDIT_READ LEASE WAKE_ALARM \
  SYS_PACCT SYS_TTY_CONFIG IPC_OWNER)
docker network create --subnet 10.97.0.0/24 $name >/dev/null
start=$(date +%s%N)
for i in 1 2 3 4 5 6; do
  # shellcheck disable=SC2086 # a list of options
  docker run -d $caps --cgroupns private \
    -e 'SYSTEMD_PROC_CMDLINE=systemd.unified_cgroup_hierarchy=0 SYSTEMD_CGROUP_ENABLE_LEGACY_FORCE=1' \
    --tmpfs /run --tmpfs /tmp --security-opt seccomp=unconfined --security-opt apparmor=unconfined \
    --security-opt systempaths=unconfined --device-cgroup-rule 'a *:* rwm' -v /var/lib/docker \
    --name $name-$i --hostname node$i --network $name --ip 10.97.0.1$i "$image" >/dev/null &
done
wait
for i in 1 2 3 4 5 6; do until docker exec $name-$i docker info >/dev/null 2>&1; do sleep 0.2; done; done
docker exec $name-1 docker swarm init --advertise-addr 10.97.0.11 --default-addr-pool 10.96.0.0/16 >/dev/null
token=$(docker exec $name-1 docker swarm join-token -q worker)
for i in 2 3 4 5 6; do
  docker exec $name-$i docker swarm join --token "$token" --advertise-addr 10.97.0.1$i 10.97.0.11:2377 >/dev/null &
done
wait
until [ "$(docker exec $name-1 docker node ls --format '{{.Status}}' | grep -c Ready)" = 6 ]; do sleep 0.1; done
echo $((($(date +%s%N) - start) / 1000000))
