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

# Volumes lie on a file system of their own, as big as the image is allowed to grow: one that can be full while the disk
# of the host, which all nodes share, is not.
mount_volumes() {
  image=/var/lib/docker/volumes.ext4 volumes=/var/lib/docker/volumes
  if [ ! -e "$image" ]; then
    truncate -s "$SF_DISK_BYTES" "$image.new" && mkfs.ext4 -q -m 0 -J size=16 "$image.new" &&
      mv "$image.new" "$image" || return
  fi
  [ -e /dev/loop-control ] || mknod /dev/loop-control c 10 237 || return
  attached=
  # The free one may be taken by another node before it is ours.
  for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16; do
    device=$(losetup -f 2>/dev/null) && [ -n "$device" ] || return
    device=${device%% *} # `(lost)`, when it has no name here yet
    [ -e "$device" ] || mknod "$device" b 7 "${device#/dev/loop}" || return
    if losetup "$device" "$image" 2>/dev/null; then
      attached=yes
      break
    fi
  done
  [ -n "$attached" ] || return
  mkdir -p "$volumes" && mount "$device" "$volumes"
  mounted=$?
  # From now on it is freed with its mount.
  losetup -d "$device"
  # The engine would take it for a volume.
  [ "$mounted" -ne 0 ] || rmdir "$volumes/lost+found" 2>/dev/null || true
  return "$mounted"
}
if [ -n "${SF_DISK_BYTES:-}" ]; then
  # A node without one is as good for all but a full disk, which then refuses.
  mount_volumes || echo 'no loop device: the volumes lie on the disk of the host' >&2
fi

unset SF_HOST_KEY_B64 SF_AUTHORIZED_KEY SF_DOCKER_ROOT SF_DISK_BYTES
export container=docker
exec "$@"
