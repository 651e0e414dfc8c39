#!/bin/sh
# The first steps of a lab node at each boot, before systemd becomes process 1.
set -eu

# Without --privileged these arrive read-only; systemd and the inner engine write to them.
mount -o remount,bind,rw /sys 2>/dev/null || true
for mount_point in /sys/fs/cgroup /sys/fs/cgroup/*; do
  mount -o remount,bind,rw "$mount_point" 2>/dev/null || true
done
# A container's root is private: bind mounts with rslave propagation would be refused by the inner engine.
mount --make-rshared /

# systemd 257 starts on a legacy cgroup hierarchy only when told twice.
if [ ! -e /sys/fs/cgroup/cgroup.controllers ]; then
  export SYSTEMD_PROC_CMDLINE='systemd.unified_cgroup_hierarchy=0 SYSTEMD_CGROUP_ENABLE_LEGACY_FORCE=1'
fi

# Nodes made from one image must not share an identity; one node keeps its own over reboots.
[ -s /etc/machine-id ] || tr -d - < /proc/sys/kernel/random/uuid > /etc/machine-id

if [ -n "${SF_HOST_KEY_B64:-}" ]; then
  (umask 077 && printf '%s' "$SF_HOST_KEY_B64" | base64 -d > /etc/ssh/ssh_host_ed25519_key)
elif [ ! -s /etc/ssh/ssh_host_ed25519_key ]; then
  ssh-keygen -q -t ed25519 -N '' -f /etc/ssh/ssh_host_ed25519_key
fi
ssh-keygen -y -f /etc/ssh/ssh_host_ed25519_key > /etc/ssh/ssh_host_ed25519_key.pub

if [ -n "${SF_AUTHORIZED_KEY:-}" ]; then
  printf '%s\n' "$SF_AUTHORIZED_KEY" > /home/operator/.ssh/authorized_keys
  chown operator:operator /home/operator/.ssh/authorized_keys
  chmod 0600 /home/operator/.ssh/authorized_keys
fi

# A folder of a volume that all nodes mount, so that image layers can be hard links of one seed.
if [ -n "${SF_DOCKER_ROOT:-}" ]; then
  mkdir -p "$SF_DOCKER_ROOT" /var/lib/docker
  mount --bind "$SF_DOCKER_ROOT" /var/lib/docker
fi

unset SF_HOST_KEY_B64 SF_AUTHORIZED_KEY SF_DOCKER_ROOT
export container=docker
exec "$@"
