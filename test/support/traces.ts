/**
 * What a fault could leave on a machine, read without knowing any mark of ours, the same text before and after: packet
 * filter, queues, links, routes, units, large files, mounts, limits of containers, processes that stand still, the
 * same of containers' networks, and on a manager the swarm's nodes and services.
 */
export const tracesScript = `
# Ports of an engine's resolver and numbers of interfaces on other machines are new after each start.
steady() { sed -E 's/(--sport |127.0.0.11:|--to-source :)[0-9]+/\\1PORT/; s/@if[0-9]+//'; }
for table in raw filter nat mangle; do iptables -t "$table" -S; done | steady
tc qdisc show | sed 's/ dev veth[0-9a-f]*/ dev veth/' | sort
ip -o link | sed -E 's/^[0-9]+: //; s/^veth.*/veth/; s/ link.*//' | steady | sort -u
ip route
systemctl list-units --all --no-legend --plain 'sf-*'
find /var/lib/spark-failures -mindepth 2 2>/dev/null | sort
find /var/lib/spark-failures/checkpoint -type f -exec cksum {} + 2>/dev/null | sort
find /var/lib/docker/volumes -maxdepth 1 | sort
find / -maxdepth 1 | sort
find /var/lib/docker/overlay2 -mindepth 2 -maxdepth 2 -not -path '*/l/*' -printf '%f\\n' | sort -u
find / /tmp /run /dev/shm -xdev -type f -size +1M -newer /proc/1/cmdline 2>/dev/null | grep -v '^/\\(run\\|var\\)/log/' | sort
awk '{ print $5, $9 }' /proc/self/mountinfo | grep -vE 'docker|/run/user|credentials' | sort
grep -rs . /sys/fs/cgroup --include=freezer.state --include=cgroup.freeze --include=cpu.cfs_quota_us --include=cpu.max \\
  --include=memory.limit_in_bytes --include=memory.max --include=pids.max --include='blkio.throttle.*_device' \\
  --include=io.max | grep docker | sed -E 's/[0-9a-f]{64}/CONTAINER/' | sort -u
ps -eo stat,args | grep '^[TD]' | sort
lsns --noheadings --type net --output PID | while read -r pid; do
  if [ -z "$pid" ] || [ "/proc/$pid/ns/net" -ef /proc/self/ns/net ]; then continue; fi
  nsenter -t "$pid" -n sh -c 'iptables -S; iptables -t raw -S; iptables -t nat -S; tc qdisc show; ip -o link' |
    sed -E 's/^/container: /; s/ [0-9]+: / /; s/ link.*//' | steady
done | sort -u
docker node ls -q 2>/dev/null | xargs -r docker node inspect --format \\
  '{{.Description.Hostname}} {{json .Spec}} {{.Status.State}} {{with .ManagerStatus}}{{.Reachability}}{{end}}' | sort
docker service ls -q 2>/dev/null | xargs -r docker service inspect --format '{{.Spec.Name}} {{json .Spec.Mode}}' | sort
exit 0`;
