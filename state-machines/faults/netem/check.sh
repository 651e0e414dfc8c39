#!/bin/sh
# Felt by a few pings from where the victim is (the node, and one of its containers; or inside the given containers) to
# addresses that are affected, 20 each within a fifth of a second. Active when this run's queues are in force as
# inject.sh has left them, all of these pings were led into them by the kernel's own count, and what came back fits the
# effect: the median of the round trips a delay. What happens by chance is only judged by what is all but certain (1 -
# 1e-6): that some of 20 pings are missing when most are lost, not when one of a hundred is.
# Inactive when the queues are gone and an answer comes as soon as before.
#   $2 the effect, in netem's own words   $5 addresses to ping, by commas   $6... containers' ids   ($1, $3, $4 unused)
# Says at which uptime the first ping was sent.
set -eu
handle=$(queue_handle)
effect=$2 peers=$(echo "$5" | tr , ' ')
shift 5
each=20

# In milliseconds: where there is one, it comes first, and in that unit.
case $effect in 'delay '*) delay=${effect#delay } delay=${delay%%ms*} ;; *) delay=0 ;; esac
# An answer that takes longer than this is as good as none: the whole check may take 5 s.
patience=$(awk -v delay="$delay" 'BEGIN { wait = 0.3 + 2.5 * delay / 1000; print wait < 3 ? wait : 3 }')

# ask NETWORK: the answers to the pings, a line each.
ask() {
  for peer in $peers; do
    nsenter --net="$1" timeout 4 ping -n -i 0.01 -c "$each" -W "$patience" "$peer" 2>/dev/null |
      grep -F ' time' || true &
  done
  wait
}

# judge SENT: whether such answers to so many pings fit the effect, `yes` or `no`, and the soonest of them in ms.
judge() {
  awk -v sent="$1" -v effect="$effect" '
    BEGIN {
      split(effect, word, " ")
      for (i = 1; i in word; i++) {
        if (word[i] == "delay") { delay = word[i + 1] + 0; jitter = word[i + 2] + 0 }
        if (word[i] !~ /^(loss|duplicate|corrupt|reorder)$/) continue
        chance = word[i]; share = word[i + 1] / 100; correlated = word[i + 2] + 0
      }
    }
    /icmp_seq=.*time[=<]/ {
      address = $4; sub(/.*icmp_seq=/, ""); number = $1 + 0; sub(/.*time[=<]/, ""); ms = $1 + 0
      if (/DUP!/) { twice++; next }
      if (number < newest[address]) late++
      newest[address] = number
      # Sorted as they come: there are few.
      for (i = got++; i > 0 && trip[i - 1] > ms; i--) trip[i] = trip[i - 1]
      trip[i] = ms
    }
    # Whether something of that probability was all but certain to happen, or not to happen, to one of those sent.
    function certain(p) { return !correlated && (1 - p) ^ sent < 1e-6 }
    END {
      middle = int(sent / 2)
      if (chance == "duplicate") felt = twice || !certain(share)
      else if (chance == "reorder") felt = got && (late || delay < 30 || !certain(share * (1 - share)))
      # A bit that turns in the address of the sender hurts nobody.
      else if (chance) felt = (got < sent || !certain(0.9 * share)) && (got || !certain(1 - share))
      else if (!(middle in trip)) felt = delay >= 1000
      # Twice as late where the peer is a victim too.
      else felt = trip[middle] >= 0.9 * delay - jitter && trip[middle] <= 3 * (delay + jitter) + 100
      print felt ? "yes" : "no", got ? trip[0] : ""
    }'
}

# look NETWORK NAME FORWARDED: one word for what is seen from there, and from the network of a forwarded container.
look() {
  in_force=$(queues "$1" "$handle") || in_force=
  counted=$(led "$1" "$handle")
  answers=$(
    ask "$1" &
    [ -z "$3" ] || ask "$3" &
    wait
  )
  sent=$(($(echo "$peers" | wc -w) * each))
  [ -z "$3" ] || sent=$((2 * sent))
  said=$(printf '%s\n' "$answers" | judge "$sent")
  fits=${said% *} soonest=${said#* } file=$SF_RUN_DIR/soonest.$2
  if [ -n "$in_force" ]; then
    if [ "$fits" = yes ] && [ $(($(led "$1" "$handle") - counted)) -ge "$sent" ] &&
      [ "$in_force" = "$(cat "$SF_RUN_DIR/in-force.$2")" ]; then echo active; else echo unknown; fi
    return
  fi
  # A queue of somebody else may have any effect.
  if [ -z "$soonest" ] || ! has_no_queue "$1" "$(device_to "${peers%% *}" "$1")"; then
    echo unknown
    return
  fi
  # The look before the fault tells what is to be expected after it.
  if [ -d "$SF_RUN_DIR" ] && [ ! -e "$SF_RUN_DIR/injected" ]; then echo "$soonest" >"$file"; fi
  if awk -v now="$soonest" -v before="$(cat "$file" 2>/dev/null)" -v delay="$delay" \
    'BEGIN { exit !(before == "" || now <= before + delay / 2 + 2) }'; then echo inactive; else echo unknown; fi
}

read -r up _ </proc/uptime
if [ $# -eq 0 ]; then
  pid=$(forwarded_process)
  words=$(look /proc/self/ns/net net "${pid:+/proc/$pid/ns/net}")
else
  # A container that is gone, or that was restarted in a network of its own, took the fault with it.
  words=$(
    for id; do
      pid=$(first_process "$id")
      [ -z "$pid" ] || look "/proc/$pid/ns/net" "net.$id" '' &
    done | sort -u
  )
fi
case $words in
'' | inactive | active) echo "${words:-inactive} $up" ;;
*) echo "unknown $up" ;;
esac
