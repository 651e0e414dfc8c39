#!/bin/sh
# Uses up CPU time, memory or disk in the cgroups of containers, by processes of the node's own: the containers see the
# loss and nothing else. They run as a unit of our name, which survives this script, and they end by themselves when the
# run is healed, when its directory is lost, or with their container.
#   $1 cpu, memory or blkio   $2 workers, or bytes   $3 load of each worker in percent, or the bytes of its file
#   $4... container ids
set -eu
resource=$1 amount=$2 load=$3
shift 3

if [ -z "${SF_BURN:-}" ]; then
  for id; do
    dir=$(container_cgroup "$id" "$resource")
    [ -n "$dir" ] || refuse "container $id is not running"
    if [ "$resource" = blkio ]; then
      store=$(container_store "$id") needed=$((amount * load * $#))
      free=$(stat -f -c '%S %a' "${store:-/}" | awk '{ printf "%.0f\n", $1 * $2 }')
      [ "$free" -gt "$needed" ] || refuse "the disk of container $id has $free bytes free: $needed would fill it"
    fi
    [ "$resource" = memory ] || continue
    # Without a limit of its own the machine would run out of memory, not the container.
    limit=$(cat "$dir/memory.max" 2>/dev/null || cat "$dir/memory.limit_in_bytes")
    machine=$(awk '$1 == "MemTotal:" { printf "%.0f\n", $2 * 1024 }' /proc/meminfo)
    if [ "$limit" = max ] || [ "$limit" -ge "$machine" ] || [ "$limit" -le "$amount" ]; then
      refuse "container $id has no limit between $amount bytes and the machine's memory: $limit"
    fi
  done
  : >"$SF_RUN_DIR/burning"
  name=$(burner_name)
  exec systemd-run --quiet --collect --unit="$name" --property=KillSignal=SIGKILL \
    --setenv=SF_BURN="$name" --setenv=SF_RUN_DIR="$SF_RUN_DIR" \
    /bin/sh "$SF_RUN_DIR/inject.sh" "$resource" "$amount" "$load" "$@"
fi

# From here on, the unit. A heal that has begun before this counts too.
wanted() {
  [ -e "$SF_RUN_DIR/burning" ] && [ ! -e "$SF_RUN_DIR/tombstone" ] && [ -d "/proc/$pid" ]
}

# In slices of 200 ms, whose idle part needs no process when there is none.
burn_cpu() {
  while wanted; do
    read -r up _ </proc/uptime
    until=$((${up%.*}${up#*.} + load / 5))
    while [ "${up%.*}${up#*.}" -lt "$until" ]; do
      spins=0
      while [ "$spins" -lt 1000 ]; do spins=$((spins + 1)); done
      read -r up _ </proc/uptime
    done
    [ "$load" -ge 100 ] || sleep "$(printf '0.%02d' "$((20 - load / 5))")"
  done
}

# dd fills its buffer and then waits for a reader that never reads. When memory runs out, the kernel takes the biggest
# process of the container; if that is dd, it comes back, as a leak would.
burn_memory() {
  mkfifo "$SF_RUN_DIR/$pid.fifo"
  exec 3<>"$SF_RUN_DIR/$pid.fifo"
  while wanted; do
    dd if=/dev/zero bs="$amount" count=1 iflag=fullblock >&3 2>/dev/null &
    holder=$!
    while wanted && kill -0 "$holder" 2>/dev/null; do sleep 0.1; done
  done
  # None where the container was gone before.
  [ -z "${holder:-}" ] || kill -s KILL "$holder"
}

# The file has no name once it is open: it ends with who holds it.
burn_blkio() {
  [ -n "$store" ] || return 0
  file=$store/.$SF_BURN.$worker
  exec 3<>"$file"
  rm -f "$file"
  past=direct
  dd if=/dev/zero of=/proc/self/fd/3 bs=64k count=1 oflag=direct 2>/dev/null || past=dsync
  while wanted; do
    dd if=/dev/zero of=/proc/self/fd/3 bs=64k count=$((load / 65536)) conv=notrunc oflag="$past" 2>/dev/null || sleep 0.1
    [ "$past" = dsync ] || dd if=/proc/self/fd/3 of=/dev/null bs=64k iflag=direct 2>/dev/null || sleep 0.1
  done
}

for id; do
  pid=$(first_process "$id")
  [ -n "$pid" ] || continue
  store=$(container_store "$id")
  (
    # Version 1 has a cgroup per controller: those that divide the time, the memory and the disk.
    for controller in cpu cpuacct cpuset memory blkio; do
      dir=$(cgroup_of "$pid" "$controller")
      case $dir in *"$id"*) echo 0 >"$dir/cgroup.procs" ;; esac
    done
    if [ "$resource" = memory ]; then
      burn_memory
      exit
    fi
    worker=0
    while [ "$worker" -lt "$amount" ]; do
      worker=$((worker + 1))
      "burn_$resource" &
    done
    wait
  ) &
done
wait
