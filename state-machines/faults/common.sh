#!/bin/sh
# Put before every mechanism's inject.sh, undo.sh and check.sh: how containers, processes and interfaces are found on a
# node, without asking its engine, and how a run marks what is its own.

# refuse WHY: ends an inject.sh that has not changed anything yet; the run is then Refused (69 is EX_UNAVAILABLE).
refuse() {
  echo "$*" >&2
  exit 69
}

# pids_in CONTAINER_ID: its processes. Only of a full id: a part of one, or none at all, would match the node's own.
pids_in() {
  [ "${#1}" -eq 64 ] || return 0
  grep -lsF -e "$1" /proc/[0-9]*/cgroup | cut -d/ -f3
}

# first_process CONTAINER_ID: the process that is number 1 in the container; nothing when none is left.
first_process() {
  for pid in $(pids_in "$1"); do
    if grep -qsE '^NSpid:[[:space:]]+[0-9]+[[:space:]]+1$' "/proc/$pid/status"; then
      echo "$pid"
      break
    fi
  done
}

# matching CONTAINER_ID TEXT: `pid started` of its processes whose command line, joined by blanks, contains the text.
matching() {
  for pid in $(pids_in "$1"); do
    start=$(started "$pid")
    words=$(tr '\0' ' ' 2>/dev/null <"/proc/$pid/cmdline") || continue
    case $words in *"$2"*) echo "$pid $start" ;; esac
  done
}

# cgroup_of PID CONTROLLER: the cgroup directory that governs a process: of that controller (version 1), or its only one.
cgroup_of() {
  if [ -e /sys/fs/cgroup/cgroup.controllers ]; then
    path=$(sed -n 's/^0:://p' "/proc/$1/cgroup")
    echo "/sys/fs/cgroup$path"
  else
    path=$(awk -F: -v name="$2" 'index("," $2 ",", "," name ",") { print $3 }' "/proc/$1/cgroup")
    echo "/sys/fs/cgroup/$2$path"
  fi
}

# container_cgroup CONTAINER_ID CONTROLLER: the directory of the whole container; nothing when no process of it is left.
container_cgroup() {
  for pid in $(pids_in "$1"); do
    dir=$(cgroup_of "$pid" "$2" 2>/dev/null) || continue
    # A process that has just ended gives the root; one inside may have a cgroup of its own further down.
    case $dir in *"$1"*) ;; *) continue ;; esac
    below=${dir#*"$1"}
    below=${below#"${below%%/*}"}
    echo "${dir%"$below"}"
    break
  done
}

# started PID: when a process started, in ticks since boot: with its pid it is that process and no later one.
started() {
  sed 's/.*) //' "/proc/$1/stat" 2>/dev/null | cut -d' ' -f20
}

# alive PID STARTED: the state letter and the CPU ticks of that very process; nothing once it is dead, as a zombie is.
alive() {
  sed 's/.*) //' "/proc/$1/stat" 2>/dev/null |
    awk -v started="$2" '$20 == started && $1 !~ /[ZX]/ { print $1, $12 + $13 }'
}

# run_number: a number that marks what belongs to this run and no other.
run_number() {
  printf %s "${SF_RUN_DIR##*/}" | cksum | cut -d' ' -f1
}

# device_to ADDRESS: the interface by which packets for it leave.
device_to() {
  ip -4 route get "$1" | sed -n 's/.* dev \([^ ]*\).*/\1/p'
}

# pin_network CONTAINER_ID: keeps its network namespace within reach as $SF_RUN_DIR/net.<id>, whatever becomes of the
# container: a restarted task has a new, clean one, and an undo must act on the very one that was changed.
pin_network() {
  process=$(first_process "$1")
  [ -n "$process" ] || refuse "container $1 is not running"
  : >"$SF_RUN_DIR/net.$1"
  mount --bind "/proc/$process/ns/net" "$SF_RUN_DIR/net.$1"
}

# network_of CONTAINER_ID: a file that is its network namespace, the pinned one if there is one; nothing when there is none.
network_of() {
  if mountpoint -q "${SF_RUN_DIR:-}/net.$1"; then
    echo "$SF_RUN_DIR/net.$1"
  elif process=$(first_process "$1") && [ -n "$process" ]; then
    echo "/proc/$process/ns/net"
  fi
}

# unpin_networks: lets go of all that this run has pinned.
unpin_networks() {
  for pin in "$SF_RUN_DIR"/net.*; do
    [ -e "$pin" ] || continue
    ! mountpoint -q "$pin" || umount "$pin"
    rm -f "$pin"
  done
}

# forwarded_process: one of a container with a way out of its own, whose packets the node forwards; nothing when none is.
forwarded_process() {
  grep -lsE 'docker[-/][0-9a-f]{64}' /proc/[0-9]*/cgroup | while IFS= read -r file; do
    process=${file#/proc/} process=${process%/cgroup}
    [ "$(readlink "/proc/$process/ns/net")" != "$(readlink /proc/self/ns/net)" ] || continue
    nsenter -t "$process" -n ip -4 route show default 2>/dev/null | grep -q . || continue
    echo "$process"
    break
  done
}

# queue_handle: this run's handle for a root queue; those from 5f00: to 5fff: are ours.
queue_handle() {
  printf '5f%02x:' $(($(run_number) % 256))
}

# queue_devices HANDLE: the interfaces that have a root queue of this handle.
queue_devices() {
  tc qdisc show | awk -v handle="$1" '$3 == handle && $6 == "root" { print $5 }'
}

# save NAME: keeps standard input as a file of the run's directory: whole or not at all, also over a power cut.
save() {
  cat >"$SF_RUN_DIR/.$1"
  sync "$SF_RUN_DIR/.$1"
  mv "$SF_RUN_DIR/.$1" "$SF_RUN_DIR/$1"
  sync "$SF_RUN_DIR"
}

# What follows stops and starts the engine of this node, as its units.

# engine_units: those of the engine's two units that are up, the socket first, which would start the service again.
engine_units() {
  for unit in docker.socket docker.service; do
    if systemctl --quiet is-active "$unit"; then echo "$unit"; fi
  done | tr '\n' ' '
}

# note_engine: keeps which units of the engine are up, and that it leaves its swarm's sight now. No change without them.
note_engine() {
  units=$(engine_units)
  case $units in *docker.service*) ;; *) refuse 'docker.service does not run' ;; esac
  read -r up _ </proc/uptime
  printf '%s\n' "$units" "${up%.*}" | save units
}

# await_given_up: managers give a node up 10 to 16 s after it has ceased to report. One that registers anew at that very
# moment may be listed as Down for good, although it works: so not before it is over.
await_given_up() {
  { read -r _ && read -r ceased; } <"$SF_RUN_DIR/units"
  read -r up _ </proc/uptime
  left=$((ceased + 18 - ${up%.*}))
  # More is left only after a reboot.
  if [ "$left" -gt 0 ] && [ "$left" -le 18 ]; then sleep "$left"; fi
}

# start_engine: starts what note_engine has found, and waits until the engine answers. What runs is left alone.
start_engine() {
  read -r units <"$SF_RUN_DIR/units"
  if ! systemctl --quiet is-active docker.service; then await_given_up; fi
  # Its unit may be started three times a minute, whoever does it: that count must not outlast the fault.
  # shellcheck disable=SC2086 # a list of names
  systemctl reset-failed $units 2>/dev/null || true
  # shellcheck disable=SC2086
  systemctl start $units
}

# What follows changes the swarm, and needs the engine of this manager and a quorum: the availability or the role of a
# node, or the replicas of a service, each by its exact id.

# swarm_inject availability|role|replicas ID VALUE: keeps what it is and sets it.
swarm_inject() {
  before=$(swarm_value "$1" "$2")
  if [ "$before" = "$3" ]; then
    echo "$1 of $2 is $3 already" >&2
    exit 1
  fi
  printf '%s\n' "$before" | save before
  swarm_set "$@"
}

# swarm_undo availability|role|replicas ID VALUE: sets it back. What somebody has changed since is not ours any more.
swarm_undo() {
  [ -e "$SF_RUN_DIR/before" ] || exit 0
  if swarm_lacks "$1" "$2"; then exit 0; fi # gone with it
  now=$(swarm_value "$1" "$2")
  [ "$now" = "$3" ] || exit 0
  read -r before <"$SF_RUN_DIR/before"
  swarm_set "$1" "$2" "$before"
}

# swarm_check availability|role|replicas ID VALUE: active when it is so and has taken effect; inactive as soon as it is
# not, or the object is no more: when tasks run there again is not up to the undo.
swarm_check() {
  if now=$(swarm_value "$1" "$2" 2>/dev/null); then
    swarm_effect "$@"
  elif swarm_lacks "$1" "$2"; then
    echo inactive
  fi
}

# swarm_effect availability|role|replicas ID VALUE: a role, when the managers do, or do not, count the node as one of
# them; else no task may be left that still runs there.
swarm_effect() {
  case $1/$now in
  role/*)
    counted=$(timeout 2 docker node inspect --format '{{with .ManagerStatus}}{{.Reachability}}{{end}}' "$2") || return 0
    case $now/$counted in
    "$3"/) echo active ;;
    "$3"/*) echo unknown ;;
    */reachable) echo inactive ;;
    *) echo unknown ;;
    esac
    ;;
  */"$3")
    states=$(timeout 2 docker "$(swarm_object "$1")" ps --no-resolve --format '{{.CurrentState}}' "$2") || return 0
    case $states in *Running* | *Starting*) echo unknown ;; *) echo active ;; esac
    ;;
  *) echo inactive ;;
  esac
}

swarm_object() {
  case $1 in
  replicas) echo service ;;
  *) echo node ;;
  esac
}

swarm_value() {
  case $1 in
  availability) field=.Spec.Availability ;;
  role) field=.Spec.Role ;;
  replicas) field=.Spec.Mode.Replicated.Replicas ;;
  esac
  timeout 5 docker "$(swarm_object "$1")" inspect --format "{{$field}}" "$2"
}

# Again when somebody else has just changed the same object.
swarm_set() {
  case $1 in
  replicas) set -- service update --detach --quiet --replicas "$3" "$2" ;;
  *) set -- node update "--$1" "$3" "$2" ;;
  esac
  for _ in 1 2 3; do
    if timeout 5 docker "$@" >/dev/null; then return; fi
    sleep 0.2
  done
  return 1
}

# Only an answer proves it: who cannot be asked ends the script.
swarm_lacks() {
  found=$(timeout 5 docker "$(swarm_object "$1")" ls --quiet --filter "id=$2") || exit 1
  [ -z "$found" ]
}
