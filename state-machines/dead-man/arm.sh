#!/bin/sh
# Arms the dead-man's switch of one step: after this, the node undoes the fault by itself, whatever becomes of the
# controller. Nothing is broken yet.
#   $1 run directory's name   $2 lock name of the target   $3 ms until the switch fires   $4 version of the boot replay
#   $5 how the names begin of the runs that it is composed with; empty: with none
#   $6 lease and term of the operator, as outdated.sh (which is put before this) has them; empty: it is the only one
#   $7... what the fault needs of the node, as offers.sh (which is put before this) names it
#   stdin: the run directory's files, each after a line `#sf-file <name>`
# Answers `refused <why>`, or `started`, `armed`, `check`, `ended` lines (uptimes in seconds).
set -eu
umask 077
run=$1 target=$2 fuse_ms=$3 replay=$4 group=$5 mandate=$6
shift 6
root=/var/lib/spark-failures
dir=$root/runs/$run lock=$root/locks/$target${group:+@$run}
read -r started _ </proc/uptime

refuse() {
  printf 'refused %s\n' "$*"
  exit 0
}

offers systemd || refuse 'no systemd on this node: nothing could fire the switch'
for need; do offers "$need" || refuse "the node lacks $need"; done
[ -d "$root/locks" ] || mkdir -p "$root/runs" "$root/locks"
exec 8>"$root/arming"
flock -w 5 8 || refuse 'another run is being armed'
! outdated "$mandate" || refuse 'another operator leads by now'

# One fault per target, whoever sends it, but for those that belong together; a holder that is healed, gone, or died while
# it armed, holds nothing.
for held in "$root/locks/$target" "$root/locks/$target"@*; do
  holder=$(readlink "$held") || continue
  case $holder in "${group:-/}".*) continue ;; esac
  if [ -e "$root/runs/$holder/armed" ] && [ ! -e "$root/runs/$holder/healed" ]; then
    refuse "$target is held by $holder"
  fi
done
mkdir "$dir" 2>/dev/null || refuse "$run is armed already"
# Each of these, also when there is no timer yet to be stopped.
trap 'set +e; systemctl --quiet stop "sf-$run.timer" 2>/dev/null; rm -f "$lock"; rm -rf "$dir"' EXIT
ln -sfnT "$run" "$lock"
if [ -n "$mandate" ]; then
  hear_of "$mandate"
  printf '%s\n' "$mandate" >"$dir/mandate"
fi

# Also a file of no line, as the arguments of a step that has none.
awk -v dir="$dir" '/^#sf-file / { if (file) close(file); file = dir "/" $2; printf "" > file; next } { print > file }'
printf '%s\n' "$target" >"$dir/target"
: >"$dir/lock"

# What a reboot leaves pending is replayed at boot: the timer does not survive it, the files do.
unit=/etc/systemd/system/spark-failures-replay.service
if [ ! -e "$root/replay-$replay" ] || [ ! -e "$unit" ]; then
  mkdir -p /etc/systemd/system/multi-user.target.wants
  mv "$dir/.heal-all.sh" "$root/heal-all.sh"
  mv "$dir/.replay.service" "$unit"
  ln -sf "$unit" /etc/systemd/system/multi-user.target.wants/spark-failures-replay.service
  sync "$root/heal-all.sh" "$unit" /etc/systemd/system/multi-user.target.wants
  rm -f "$root"/replay-*
  : >"$root/replay-$replay"
fi

# Monotonic, so that a stepped clock neither hurries nor delays it; inject.sh compares with it.
read -r up _ </proc/uptime
printf '%s\n' "$((${up%.*}${up#*.} + fuse_ms / 10))" >"$dir/deadline"
# What an undo after a reboot needs, and no more: each file costs a write barrier.
sync "$dir/heal.sh" "$dir/undo.sh" "$dir/args" "$dir/target" "$dir" "$root/runs"

systemd-run --quiet --collect --unit="sf-$run" --on-active="${fuse_ms}ms" --timer-property=AccuracySec=100ms \
  --property=Type=oneshot --property=Restart=on-failure --property=RestartSec=2 --property=StartLimitIntervalSec=0 \
  /bin/sh "$dir/heal.sh" "$run"
: >"$dir/armed"
trap - EXIT
exec 8>&-
read -r up _ </proc/uptime
printf 'started %s\narmed %s\n' "$started" "$up"

# The last look that should see nothing yet.
set --
while IFS= read -r arg; do set -- "$@" "$arg"; done <"$dir/args"
word=$(SF_RUN_DIR=$dir timeout 5 sh "$dir/check.sh" "$@") || word=unknown
read -r up _ </proc/uptime
printf 'check %s\nended %s\n' "$word" "$up"
