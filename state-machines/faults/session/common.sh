#!/bin/sh
# A client's session is known to its server alone: it is asked by ZooKeeper's four-letter words, from inside the
# client's network namespace, where its name and address are the client's own.

# answer PID ADDRESS PORT WORD: what the server there says to the word.
answer() {
  # shellcheck disable=SC2016 # the inner shell's
  timeout 2 nsenter -t "$1" -n bash -c 'exec 3<>"/dev/tcp/$1/$2" && printf %s "$3" >&3 && cat <&3' bash "$2" "$3" "$4" \
    2>/dev/null
}

# connections PID PORT: `own:port server` of a process's connections to that port.
connections() {
  nsenter -t "$1" -n ss -tnpH state established "dport = :$2" |
    sed 's/\[::ffff:\([0-9.]*\)\]/\1/g' |
    awk -v pid="pid=$1," 'index($0, pid) { sub(/:[0-9]*$/, "", $4); print $3, $4 }'
}

# sessions PID PORT: `server id timeout_ms` of a process's sessions, as negotiated.
sessions() {
  connections "$1" "$2" | while read -r own server; do
    answer "$1" "$server" "$2" cons |
      sed -n "s|^ */$own\[.*[(,]sid=\(0x[0-9a-f]*\),.*[(,]to=\([0-9]*\),.*|$server \1 \2|p"
  done
}

# lists PID ADDRESS PORT ID: yes or no, as the server lists that session; nothing when it does not say.
lists() {
  listed=$(answer "$1" "$2" "$3" dump) || return 0
  case $listed in *'Session'*'Connections dump'*) ;; *) return 0 ;; esac
  if printf '%s\n' "$listed" | grep -qw -e "$4"; then echo yes; else echo no; fi
}
