#!/bin/sh
# Put before every mechanism's inject.sh, undo.sh and check.sh: how containers, processes and interfaces are found on a
# node, without asking its engine, and how a run marks what is its own.

# What programs say, and how they write numbers: in some languages awk and ping want 0,3 where they are given 0.3.
export LC_ALL=C

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

# cgroup_of PID CONTROLLER: the cgroup directory that governs a process: of that controller (version 1), or its only
# one.
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

# container_store CONTAINER_ID: a folder of the node's on the file system that holds what the container writes: beside
# the upper layer of its root, where the container does not see it and which goes with it, or else that root itself.
container_store() {
  process=$(first_process "$1")
  [ -n "$process" ] || return 0
  upper=$(sed -n 's|^[^ ]* [^ ]* [^ ]* / / .* - overlay .*upperdir=\([^,]*\).*|\1|p' "/proc/$process/mountinfo" 2>/dev/null) ||
    return 0 # gone meanwhile
  if [ -n "$upper" ]; then echo "${upper%/*}"; else echo "/proc/$process/root"; fi
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

# this_boot: which life of the machine this is: a container's boot id is that of its host, and on any other machine
# process 1 always starts at the same time.
this_boot() {
  read -r boot </proc/sys/kernel/random/boot_id
  echo "$boot $(started 1)"
}

# run_number: a number that marks what belongs to this run and no other.
run_number() {
  printf %s "${SF_RUN_DIR##*/}" | cksum | cut -d' ' -f1
}

# device_to ADDRESS [NETWORK]: the interface by which packets for it leave, in that network namespace or this one.
device_to() {
  nsenter --net="${2:-/proc/self/ns/net}" ip -4 route get "$1" | sed -n 's/.* dev \([^ ]*\).*/\1/p'
}

# only_device_to ADDRESS...: the interface by which packets for all of them leave; refuses where that is not one.
only_device_to() {
  only=$(device_to "$1" 2>/dev/null)
  [ -n "$only" ] || refuse "no interface leads to $1"
  for address; do
    [ "$(device_to "$address")" = "$only" ] || refuse "$address is not reached by $only as $1 is"
  done
  echo "$only"
}

# pin_network CONTAINER_ID: keeps its network namespace within reach as $SF_RUN_DIR/net.<id>, whatever becomes of the
# container: a restarted task has a new, clean one, and an undo must act on the very one that was changed.
pin_network() {
  process=$(first_process "$1")
  [ -n "$process" ] || refuse "container $1 is not running"
  [ "$(readlink "/proc/$process/ns/net")" != "$(readlink /proc/self/ns/net)" ] ||
    refuse "container $1 has no network of its own, but the node's"
  : >"$SF_RUN_DIR/net.$1"
  mount --bind "/proc/$process/ns/net" "$SF_RUN_DIR/net.$1"
}

# network_of CONTAINER_ID: a file that is its network namespace, the pinned one if there is one; nothing when there is
# none.
network_of() {
  if mountpoint -q "${SF_RUN_DIR:-}/net.$1"; then
    echo "$SF_RUN_DIR/net.$1"
  elif process=$(first_process "$1") && [ -n "$process" ]; then
    echo "/proc/$process/ns/net"
  fi
}

# pinned_networks: the files that are the network namespaces which this run keeps. A reboot leaves none of them.
pinned_networks() {
  for pin in "$SF_RUN_DIR"/net.*; do
    ! mountpoint -q "$pin" || echo "$pin"
  done
}

# unpin_networks: lets go of all that this run has pinned.
unpin_networks() {
  for pin in $(pinned_networks); do umount "$pin"; done
  rm -f "$SF_RUN_DIR"/net.*
}

# container_processes: all processes of the node that are in any container.
container_processes() {
  grep -lsE 'docker[-/][0-9a-f]{64}' /proc/[0-9]*/cgroup | cut -d/ -f3
}

# every_network: the network namespaces of the node and of its containers, `inode file` a line, each once.
every_network() {
  # shellcheck disable=SC2046 # a list of files
  stat -Lc '%i %n' /proc/self/ns/net $(container_processes | sed 's,.*,/proc/&/ns/net,') 2>/dev/null | sort -u -k 1,1
}

# place_of INODE NETWORK: the words by which a mark says that it is in a container's network; none for the node's own.
place_of() {
  case $2 in */self/*) ;; *) echo " in net:[$1]" ;; esac
}

# forwarded_process: one of a container with a way out of its own, whose packets the node forwards; nothing when none
# is.
forwarded_process() {
  container_processes | while read -r process; do
    [ "$(readlink "/proc/$process/ns/net")" != "$(readlink /proc/self/ns/net)" ] || continue
    nsenter -t "$process" -n ip -4 route show default 2>/dev/null | grep -q . || continue
    echo "$process"
    break
  done
}

# save NAME: keeps standard input as a file of the run's directory: whole or not at all, also over a power cut.
save() {
  cat >"$SF_RUN_DIR/.$1"
  sync "$SF_RUN_DIR/.$1"
  mv "$SF_RUN_DIR/.$1" "$SF_RUN_DIR/$1"
  sync "$SF_RUN_DIR"
}

# What follows makes containers stand still as a whole, by the freezer of their cgroups, or, with process=TEXT before
# their ids, processes inside them whose command line contains the text, by SIGSTOP.

# freeze_inject [process=TEXT] CONTAINER_ID...: saves first what is to be let go, one a line: `inode directory` of a
# cgroup, `pid started` of a process.
freeze_inject() {
  freeze_aim "$@"
  [ -z "$text" ] || shift
  freeze_save "$@"
  # Whoever is running may start others that match: until a look finds nobody new.
  while ! cmp -s "$held.new" "$held"; do
    mv "$held.new" "$held"
    while read -r first second; do freeze_hold "$first" "$second"; done <"$held"
    freeze_save "$@"
  done
}

# freeze_undo [process=TEXT] CONTAINER_ID...: lets go exactly what was saved. A cgroup with another inode, or a process
# with another start, has only the name in common with the one that was held: that one is gone, and the new one was
# never held.
freeze_undo() {
  freeze_aim "$@"
  [ -e "$held" ] || return 0
  failed=0
  while read -r first second; do
    freeze_finds "$first" "$second" || continue
    # It may go at any moment, too.
    freeze_let_go "$first" "$second" || ! freeze_finds "$first" "$second" || failed=1
  done <"$held"
  return "$failed"
}

# freeze_check [process=TEXT] CONTAINER_ID...: active when all that was chosen stands still: the kernel says that every
# task of it does (not only that it was told to), and its CPU time does not grow. An idle one's would not grow either,
# so the first alone tells that it goes on. Says at which uptime it looked.
freeze_check() {
  freeze_aim "$@"
  [ -z "$text" ] || shift
  seen=$(freeze_look "$@")
  read -r up _ </proc/uptime
  case $(printf '%s\n' "$seen" | cut -d' ' -f1 | sort -u | tr '\n' ' ') in
  'still ')
    sleep 0.1
    if [ "$(freeze_look "$@")" = "$seen" ]; then word=active; else word=unknown; fi
    ;;
  *still* | *stopping*) word=unknown ;;
  *) word=inactive ;;
  esac
  echo "$word $up"
}

freeze_aim() {
  text=
  case $1 in process=*) text=${1#process=} ;; esac
  held=${SF_RUN_DIR:-}/held
}

# All that was found so far, on the disk before any of it stands still. What a process was stopped as is not always what
# it was found as: a child that has become another program since then is still to be let go.
freeze_save() {
  freeze_find "$@" >"$held.found"
  if [ -e "$held" ]; then cat "$held" >>"$held.found"; fi
  sort -u "$held.found" >"$held.new"
}

freeze_find() {
  for id; do
    if [ -n "$text" ]; then
      found=$(matching "$id" "$text")
      why="no process of container $id has \"$text\" in its command line"
    else
      dir=$(container_cgroup "$id" freezer)
      found=${dir:+"$(stat -c %i "$dir") $dir"}
      why="container $id is not running"
    fi
    if [ -n "$found" ]; then
      printf '%s\n' "$found"
    elif [ ! -e "$held" ]; then
      refuse "$why" # after that something stands still, and it is too late
    fi
  done
}

freeze_hold() {
  if [ -n "$text" ]; then
    # It may end by itself at any moment.
    [ -z "$(alive "$1" "$2")" ] || kill -s STOP "$1" || [ -z "$(alive "$1" "$2")" ]
  elif [ -e "$2/freezer.state" ]; then
    echo FROZEN >"$2/freezer.state"
  else
    echo 1 >"$2/cgroup.freeze"
  fi
}

freeze_finds() {
  if [ -n "$text" ]; then
    [ -n "$(alive "$1" "$2")" ]
  else
    [ "$(stat -c %i "$2" 2>/dev/null)" = "$1" ]
  fi
}

freeze_let_go() {
  if [ -n "$text" ]; then
    kill -s CONT "$1"
  elif [ -e "$2/freezer.state" ]; then
    echo THAWED >"$2/freezer.state"
  else
    echo 0 >"$2/cgroup.freeze"
  fi
}

# The processes that were stopped, not whoever matches now: a job may start others meanwhile, and those are clean.
freeze_processes() {
  if [ -e "$held" ]; then
    cat "$held"
  else
    for id; do matching "$id" "$text"; done
  fi
}

# still, moving, or stopping: and CPU time. One line for each that is there.
freeze_look() {
  if [ -n "$text" ]; then
    freeze_processes "$@" | while read -r pid start; do
      alive "$pid" "$start" | sed 's/^T /still /; t; s/^. /moving /'
    done
    return
  fi
  for id; do
    dir=$(container_cgroup "$id" freezer)
    [ -n "$dir" ] || continue
    if [ -e "$dir/freezer.state" ]; then
      state=$(cat "$dir/freezer.state")
      cpu=$(cat "$(container_cgroup "$id" cpuacct)/cpuacct.usage")
    else
      state=$(cat "$dir/cgroup.freeze" "$dir/cgroup.events" | tr '\n' ' ')
      cpu=$(sed -n 's/^usage_usec //p' "$dir/cpu.stat")
    fi
    case $state in
    FROZEN | *'frozen 1'*) echo "still $cpu" ;;
    THAWED | 0*) echo "moving $cpu" ;;
    *) echo "stopping $cpu" ;; # told to, and not all of it does
    esac
  done
}

# What follows puts queues at the root of interfaces. NETWORK is a network namespace, as a file: a container's, or that
# of the node itself, which is /proc/self/ns/net.

# networks_of [CONTAINER_ID...]: the namespaces of these containers, of those that are there; without any, the node's.
networks_of() {
  [ $# -gt 0 ] || echo /proc/self/ns/net
  for id; do network_of "$id"; done
}

# queue_handle: this run's handle for a root queue; those from 5f00: to 5fff: are ours.
queue_handle() {
  printf '5f%02x:' $(($(run_number) % 256))
}

# queue_devices NETWORK HANDLE: the interfaces that have a root queue of this handle; fails where that is not told.
queue_devices() {
  queues=$(nsenter --net="$1" tc qdisc show) || return
  printf '%s\n' "$queues" | awk -v handle="$2" '$3 == handle && $6 == "root" { print $5 }'
}

# has_no_queue NETWORK DEVICE: nobody has put a queue of his own at its root: only the kernel's default (handle 0:)
# gives way to ours, and returns by itself.
has_no_queue() {
  nsenter --net="$1" tc qdisc show dev "$2" root | grep -q ' 0: root'
}

# queue_length NETWORK DEVICE: fails when there is no such interface.
queue_length() {
  link=$(nsenter --net="$1" ip -o link show dev "$2" 2>/dev/null) || return
  case $link in *' qlen '*) link=${link##* qlen } && echo "${link%%[!0-9]*}" ;; *) echo 0 ;; esac
}

# save_queue NETWORK DEVICE: keeps what putting a queue there changes: an interface without one (veth) has length 0,
# which the kernel changes, and keeps, when it is given one. Refuses where somebody's own queue is.
save_queue() {
  has_no_queue "$1" "$2" || refuse "$2 has a queue of its own already: $(nsenter --net="$1" tc qdisc show dev "$2" root)"
  echo "$2 $(queue_length "$1" "$2")" | save "queue.${1##*/}.$2"
}

# lead DEVICE HANDLE CONTROLLER DESTINATION...: lines for tc: packets for these addresses or subnets go to class 2 of
# that root queue, but never those of the controller's ssh (`-`: there are none), which pass beside it.
lead() {
  to="filter add dev $1 parent $2 protocol ip" class=$2
  [ "$3" = - ] ||
    echo "$to prio 1 u32 match ip dst $3/32 match ip protocol 6 0xff match ip sport 22 0xffff flowid ${class}0"
  shift 3
  for destination; do
    case $destination in */*) ;; *) destination=$destination/32 ;; esac
    echo "$to prio 2 u32 match ip dst $destination flowid ${class}2"
  done
}

# led NETWORK HANDLE: how many packets came to class 2 of such root queues there: sent, dropped, or waiting.
led() {
  nsenter --net="$1" tc -s qdisc show | awk -v parent="${2}2" '
    $1 == "qdisc" { ours = index($0, " parent " parent " ") }
    ours && $1 == "Sent" { sum = $4 + $7 + sum }
    ours && $1 == "backlog" { sum += $3 }
    END { print sum + 0 }'
}

# own_queues NETWORK: the interfaces that have a root queue of this run. Handles are few, so that two runs may have the
# same: what this one has not saved is the other's, as long as there is a directory that tells.
own_queues() {
  devices=$(queue_devices "$1" "$(queue_handle)") || return
  for device in $devices; do
    if [ ! -d "$SF_RUN_DIR" ] || ls "$SF_RUN_DIR"/queue.*".$device" >/dev/null 2>&1; then echo "$device"; fi
  done
}

# undo_queues [CONTAINER_ID...]: removes this run's queues there, and nothing else: the kernel refuses to delete a root
# of another handle, and puts its own default back; so does this with the queue's length. Fails unless they are gone.
undo_queues() {
  handle=$(queue_handle)
  for network in $(networks_of "$@"); do
    own=$(own_queues "$network")
    for device in $own; do
      nsenter --net="$network" tc qdisc del dev "$device" root handle "$handle"
    done
    for saved in "$SF_RUN_DIR/queue.${network##*/}".*; do
      [ -e "$saved" ] || continue
      read -r device length <"$saved"
      now=$(queue_length "$network" "$device") || now=$length # no such interface any more
      [ "$now" = "$length" ] || nsenter --net="$network" ip link set dev "$device" txqueuelen "$length"
    done
    own=$(own_queues "$network")
    if [ -n "$own" ]; then
      echo "queue $handle is still in force" >&2
      exit 1
    fi
  done
  unpin_networks
}

# sweep_queues TYPE list|clear: our root queues of that type, whichever run's, on the node and in its containers.
sweep_queues() {
  command -v tc >/dev/null || return 0
  every_network | {
    status=0
    while read -r inode network; do
      if ! queues=$(nsenter --net="$network" tc qdisc show); then
        [ ! -e "$network" ] || status=1 # or else gone meanwhile
        continue
      fi
      for queue in $(printf '%s\n' "$queues" |
        awk -v type="$1" '$2 == type && $3 ~ /^5f[0-9a-f][0-9a-f]:$/ && $6 == "root" { print $5 "/" $3 }'); do
        if [ "$2" = list ]; then
          echo "$queue$(place_of "$inode" "$network")"
        else
          nsenter --net="$network" tc qdisc del dev "${queue%/*}" root handle "${queue##*/}" || status=1
        fi
      done
    done
    exit "$status"
  }
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
  before=$(swarm_value "$1" "$2") || refuse "the engine does not tell the $1 of $2"
  [ "$before" != "$3" ] || refuse "$1 of $2 is $3 already"
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
