/** What a fault could leave on a machine, read without knowing any mark of ours: packet filter, queues, links, routes, units, files, mounts, limits of containers, and processes that stand still. */
export const tracesScript = `
for table in raw filter nat mangle; do iptables -t "$table" -S; done
tc qdisc show | sed 's/ dev veth[0-9a-f]*/ dev veth/' | sort
ip -o link | sed -E 's/^[0-9]+: //; s/^veth.*/veth/; s/ link.*//' | sort -u
ip route
systemctl list-units --all --no-legend --plain 'sf-*'
find /var/lib/spark-failures -mindepth 2 2>/dev/null | sort
find /var/lib/spark-failures/checkpoint -type f -exec cksum {} + 2>/dev/null | sort
awk '{ print $5, $9 }' /proc/self/mountinfo | grep -vE 'docker|/run/user|credentials' | sort
grep -rs . /sys/fs/cgroup --include=freezer.state --include=cgroup.freeze --include=cpu.cfs_quota_us --include=cpu.max \\
  --include=memory.limit_in_bytes --include=memory.max --include=pids.max | grep docker |
  sed -E 's/[0-9a-f]{64}/CONTAINER/' | sort -u
ps -eo stat,args | grep '^[TD]' | sort
docker node ls --format '{{.Hostname}} {{.Availability}}' 2>/dev/null
docker service ls -q 2>/dev/null | xargs -r docker service inspect --format '{{.Spec.Name}} {{json .Spec.Mode}}'
exit 0`;
