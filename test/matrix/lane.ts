import { gatherInventory } from '../../controller/schedule/gather-facts.ts';
import { planRun } from '../../controller/schedule/plan-run.ts';
import { createClaims } from '../../controller/status/claims.ts';
import { swarmGateway } from '../../controller/swarm/docker-gateways.ts';
import { faultOf } from '../../crds/fault-schedule.ts';
import { dockerOver, type EngineClient } from '../../provisioners/shared/docker-client.ts';
import type { FaultKind, FaultRun } from '../../state-machines/contract.ts';
import { faultKinds } from '../../state-machines/faults/catalog.ts';
import { exampleCheckpoint } from '../support/example-checkpoint.ts';
import { exampleOf } from '../support/examples.ts';
import { ensureLabImages, type FaultLab, openMachines } from '../support/fault-lab.ts';

/** Machines and services of its own, on which cells are run one after another. */
export interface Lane {
  readonly number: number;
  readonly lab: FaultLab;
  readonly managers: readonly string[];
  /** The kind's own example as a run against what runs now; throws RefusedError where a schedule would be refused. */
  plan(kind: FaultKind, timing: Pick<FaultRun, 'holdMs' | 'graceMs'>): Promise<FaultRun>;
  /** Waits until all is as in the beginning: resolves with what is not, `left` on a node or `lost` from it. */
  settled(limitMs: number): Promise<readonly string[]>;
  leader(): Promise<string>;
  close(): Promise<void>;
}

/** As in the six-node demo: labels by which the examples find their targets. Three managers can lose one. */
const nodes = [
  { name: 'node1', role: 'manager', labels: { place: 'control' } },
  { name: 'node2', role: 'manager', labels: { place: 'source' } },
  { name: 'node3', role: 'manager', labels: { place: 'compute', slot: '2' } },
  { name: 'node4', role: 'worker', labels: { place: 'compute', slot: '1' } },
] as const;
const victimNode = 'node4';

/**
 * Processes that the examples' patterns match, beside the container's first one; all do next to nothing. One of them has a
 * session with what answers as a ZooKeeper server is asked to, and forgets who is silent; `$0` is both.
 */
const victim = `bash -c '(exec -a CoarseGrainedExecutorBackend sleep 3600) & perl -e "$0" & exec sleep 3600'`;
const sessionMs = 2_000;
const imagesLimitMs = 600_000;
const zookeeper = `
use IO::Socket::INET;
use IO::Select;
$SIG{PIPE} = "IGNORE";
unless (fork) {
  $0 = join ".", qw(org apache spark deploy master Master);
  while (1) {
    $s = IO::Socket::INET->new("127.0.0.1:2181");
    select undef, undef, undef, 0.3 while $s and syswrite $s, "ping";
    select undef, undef, undef, 0.3;
  }
}
$0 = "zookeeper";
$door = IO::Socket::INET->new(LocalAddr => "127.0.0.1", LocalPort => 2181, Listen => 9, ReuseAddr => 1) or die;
$open = IO::Select->new($door);
while (1) {
  for $s ($open->can_read(0.2)) {
    if ($s == $door) { $open->add($door->accept); next }
    $length = sysread $s, $said, 99;
    if ($length and $said ne "cons" and $said ne "dump") {
      $sid{$s} = sprintf "0x%x", ++$sessions unless $sid{$s};
      ($seen{$s}, $socket{$s}) = (time, $s);
      next;
    }
    if ($length and $said eq "cons") {
      printf $s " /127.0.0.1:%d[1](queued=0,sid=%s,lop=PING,to=${sessionMs},lcxid=0x1)\n", $socket{$_}->peerport, $sid{$_} for keys %sid;
    } elsif ($length) {
      print $s "SessionTracker dump:\nSessions:\n", map({ "$_\n" } values %sid), "Connections dump:\n";
    }
    push @gone, $s;
  }
  push @gone, map { $socket{$_} } grep { time - $seen{$_} > ${sessionMs / 1000} } keys %seen;
  while ($s = shift @gone) { delete $sid{$s}; delete $seen{$s}; delete $socket{$s}; $open->remove($s); close $s }
}`;
/** Where a kind asks for more than a moment: 1.5 times the session, and 7 s. */
const leastHoldMs: Readonly<Record<string, number>> = { expireSession: 1.5 * sessionMs + 7_000 };

/** Whether each container of "$@" runs, with all processes and a session; one that has lost one is replaced by the swarm. */
const victimsLive = `
for id; do
  words=$(grep -lsF -e "$id" /proc/[0-9]*/cgroup | while read -r file; do tr '\\0' ' ' <"\${file%cgroup}cmdline"; done)
  case $words in
  *CoarseGrained*)
    pid=$(docker inspect -f '{{.State.Pid}}' "$id")
    nsenter -t "$pid" -n ss -tnH state established 'dport = :2181' | grep -q . || exit 1
    ;;
  *sleep*) docker rm -f "$id" >/dev/null; exit 1 ;;
  *) exit 1 ;;
  esac
done 2>/dev/null`;

/** Boots that many lanes, at most four. */
export async function openLanes(count: number, note: (line: string) => void): Promise<Lane[]> {
  await ensureLabImages([], AbortSignal.timeout(imagesLimitMs));
  return Promise.all(Array.from({ length: count }, (_, number) => openLane(number, note)));
}

/** Boots the machines of lane `number`, 0 to 3, and starts on them whatever services the kinds' examples are aimed at. */
export async function openLane(number: number, note: (line: string) => void): Promise<Lane> {
  const closing: (() => Promise<void>)[] = [];
  const lab = await openMachines(
    { comment: note, teardown: (work: () => Promise<void>) => void closing.push(work) },
    {
      ...{ cluster: `matrix-${number}`, subnet: `10.93.9.${64 * number}/26` },
      ...{ nodes: nodes.length, managers: 3, swarm: true, limitMs: 14_400_000 },
    },
  );
  let client: EngineClient | undefined;
  const swarm = async () => {
    client ??= await dockerOver(lab.node('node1'), undefined, lab.signal);
    return swarmGateway(client.docker);
  };
  /** Connections end with the engine and the machine that they lead to. */
  const forget = () => {
    client?.close();
    client = undefined;
  };

  const prepare = async () => {
    for (const { name, labels } of nodes)
      for (const [key, value] of Object.entries(labels))
        await lab.on('node1', 'docker node update --label-add "$1" "$2" >/dev/null', `${key}=${value}`, name);
    // One folder, which all nodes of the lane see: as a job would have left it there.
    await lab.on(victimNode, exampleCheckpoint, '/var/lib/spark-failures/checkpoint/job', '20');
    await lab.on('node1', 'docker network create --driver overlay --attachable matrix_app >/dev/null');
    for (const { name, labels } of await victims())
      await lab.on(
        'node1',
        `docker service create --quiet --detach --no-resolve-image --name "$1" --endpoint-mode dnsrr \
          --network matrix_app --constraint node.hostname==${victimNode} --limit-memory 1g --restart-delay 0s \
          --stop-grace-period 1s $2 debian:trixie-slim ${victim} "$3"`,
        ...[name, labels, zookeeper],
      );
  };
  const runs = async () => {
    const { services } = await gatherInventory(await swarm(), lab.signal);
    const ids = services.flatMap(({ tasks }) => tasks.map(({ containerId }) => containerId));
    if (ids.length !== services.length) return false;
    return (await lab.node(victimNode).exec(victimsLive, ids, {}, lab.signal)).code === 0;
  };
  const traces = async () => {
    const lines = nodes.map(async ({ name }) =>
      (await lab.traces(name)).split('\n').map((line) => `${name}: ${line}`),
    );
    return new Set((await Promise.all(lines)).flat());
  };
  const differences = async () => {
    const now = await traces();
    return [
      ...[...now].filter((line) => !usual.has(line)).map((line) => `left on ${line}`),
      ...[...usual].filter((line) => !now.has(line)).map((line) => `lost from ${line}`),
    ];
  };
  const settled = async (limitMs: number) => {
    const deadlineMs = Date.now() + limitMs;
    for (;;) {
      let found: readonly string[];
      try {
        found = (await runs()) ? await differences() : ['the services do not run'];
      } catch (error) {
        forget();
        found = [String(error)];
      }
      if (found.length === 0 || Date.now() > deadlineMs) return found;
      await lab.ports.clock.sleep(150, lab.signal);
    }
  };

  await prepare();
  await lab.until('the services run', 120_000, runs);
  const usual = await traces();
  let planned = 0;
  return {
    ...{ number, lab, settled },
    managers: nodes.filter(({ role }) => role === 'manager').map(({ name }) => name),
    async plan(kind, timing) {
      const schedule = await exampleOf(kind);
      const [fault] = schedule.spec.faults;
      planned += 1;
      const run = await planRun(
        {
          schedule: { ...schedule, spec: { ...schedule.spec, allowMeasurementNodes: true } },
          ...{ fault: fault!, faultKind: kind, params: faultOf(fault!).params },
          cluster: {
            nodeNames: nodes.map(({ name }) => name),
            nodes: lab.ports.nodes,
            ownAddresses: [],
            switches: lab.ports,
            swarm,
            claims: createClaims(),
          },
          scripts: lab.scripts,
          runId: `matrix-${planned}`,
          // Of two candidates, sorted by name, the second: of the compute nodes the one that is no manager.
          random: () => 0,
        },
        lab.signal,
      );
      const holdMs = kind.instant ? 0 : Math.max(timing.holdMs, leastHoldMs[kind.name] ?? 0);
      return { ...run, ...timing, holdMs };
    },
    async leader() {
      const members = await (await swarm()).listNodes(lab.signal);
      const found = members.find(({ ManagerStatus }) => ManagerStatus?.Leader);
      if (!found) throw new Error('the swarm has no leader');
      return found.Description.Hostname;
    },
    async close() {
      forget();
      for (const work of closing.reverse()) await work();
    },
  };
}

/** A service, as options of the command line, for each that an example is aimed at. */
async function victims(): Promise<readonly { readonly name: string; readonly labels: string }[]> {
  const found = new Map<string, string>();
  for (const kind of faultKinds) {
    for (const { target } of (await exampleOf(kind)).spec.faults) {
      const { matchNames = [], matchLabels } = target.services ?? {};
      for (const name of matchNames) found.set(`matrix_${name}`, '');
      if (!matchLabels) continue;
      const labels = Object.entries(matchLabels).map(([key, value]) => `--label ${key}=${value}`);
      found.set(`matrix_${Object.values(matchLabels).join('-')}`, labels.join(' '));
    }
  }
  return [...found].map(([name, labels]) => ({ name, labels }));
}
