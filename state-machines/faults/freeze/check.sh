#!/bin/sh
# Active when all that was chosen stands still: the kernel says that every task of it does (not only that it was told
# to), and its CPU time does not grow. An idle one's would not grow either, so the first alone tells that it goes on.
#   [process=<text of the command line>]   then container ids
# Says at which uptime it looked.
set -eu
text=
case $1 in process=*) text=${1#process=} && shift ;; esac
held=${SF_RUN_DIR:-}/held

# The processes that were stopped, not whoever matches now: a job may start others meanwhile, and those are clean.
processes() {
  if [ -e "$held" ]; then
    cat "$held"
  else
    for id; do matching "$id" "$text"; done
  fi
}

# still, moving, or stopping: and CPU time. One line for each that is there.
look() {
  if [ -n "$text" ]; then
    processes "$@" | while read -r pid start; do
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

seen=$(look "$@")
read -r up _ </proc/uptime
case $(printf '%s\n' "$seen" | cut -d' ' -f1 | sort -u | tr '\n' ' ') in
'still ')
  sleep 0.1
  if [ "$(look "$@")" = "$seen" ]; then word=active; else word=unknown; fi
  ;;
*still* | *stopping*) word=unknown ;;
*) word=inactive ;;
esac
echo "$word $up"
