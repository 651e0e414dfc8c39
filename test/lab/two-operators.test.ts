import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { stringify } from 'yaml';
import type { ClusterStatus, ScheduleStatus } from '../../crds/status.ts';
import { containerName } from '../../provisioners/lab/labels.ts';
import { localDocker } from '../../provisioners/shared/docker-client.ts';
import {
  controllerBin,
  controllerJson,
  endController,
  eventually,
  runController,
} from '../support/controller-process.ts';
import { engineOrSkip } from '../support/lab-engine.ts';
import { LabHosts } from '../support/lab-hosts.ts';

// Two operators with the same manifests, each with a state directory of its own and in the network of a manager of its own,
// over three managers and a worker: one is killed in the middle of a fault, one is paused, one is cut off.

t.setTimeout(900_000);
await engineOrSkip(t);

const cluster = 'two-operators';
const signal = AbortSignal.timeout(890_000);
/** What the defaults promise, from the death of the leader until the next one has healed what it left. */
const takeOverMs = 15_000;
/** The most that Swarm takes to elect a leader of its own, and to answer again. */
const swarmElectionMs = 45_000;
const specs = [1, 2, 3, 4].map((number, index) => ({
  ...{ name: `node${number}`, index },
  role: number < 4 ? ('manager' as const) : ('worker' as const),
}));
const machines = await LabHosts.open(
  { name: cluster, subnet: '10.94.11.0/24', specs, progress: (line) => t.comment(line) },
  signal,
);
const { hosts, login, work } = machines;
const folder = join(work, 'manifests');
const log = join(work, 'log');
mkdirSync(folder);

const put = (file: string, manifest: object) => {
  writeFileSync(join(work, file), stringify({ apiVersion: 'spark-failures.io/v1alpha1', ...manifest }));
  renameSync(join(work, file), join(folder, file));
};
put('cluster.yaml', {
  kind: 'ClusterSpec',
  metadata: { name: cluster },
  spec: {
    provisioner: { ssh: { ...login, hosts } },
    nodes: specs.map(({ name, role }) => ({ name, role, labels: { place: role } })),
  },
});
/** Runs the schedule, once more for each moment. */
const schedule = (moment: string) =>
  put('schedule.yaml', {
    kind: 'FaultSchedule',
    metadata: { name: 'deaf', annotations: { 'spark-failures.io/run-at': moment } },
    spec: {
      ...{ clusterRef: { name: cluster }, seed: 42, when: { now: {} }, preset: 'none' },
      faults: [
        {
          ...{ name: 'overlay-lost', target: { nodes: { matchNames: ['node4'] } }, hold: '120s' },
          blockPort: { protocol: 'udp', ports: [4789], direction: 'both', action: 'drop' },
        },
      ],
    },
  });

/** An operator in the network of a machine: it is cut off with it. */
class Operator {
  readonly state: string;
  readonly #node: string;
  #child: ChildProcess | undefined;

  constructor(name: string, node: string) {
    this.state = join(work, name);
    this.#node = node;
  }

  async start(): Promise<void> {
    const { State } = await localDocker().getContainer(containerName(cluster, this.#node)).inspect();
    const options = ['--watch', folder, '--state', this.state, '--leader-elect', '--log-level', 'info'];
    this.#child = spawn(
      'nsenter',
      [`--net=/proc/${State.Pid}/ns/net`, process.execPath, controllerBin, ...options],
      { stdio: ['ignore', 'ignore', 'pipe'] },
    );
    this.#child.stderr!.on('data', (chunk: Buffer) => writeFileSync(log, chunk, { flag: 'a' }));
    await eventually('it answers', 20_000, () => this.role());
  }

  kill(how: NodeJS.Signals): void {
    this.#child!.kill(how);
  }

  async end(): Promise<void> {
    if (!this.#child) return;
    this.#child.kill('SIGCONT');
    await endController(this.#child, 'SIGTERM');
  }

  /** After `kill -9`. */
  async gone(): Promise<void> {
    if (this.#child!.signalCode === null) await once(this.#child!, 'exit');
  }

  async role(): Promise<string> {
    const url = `http://${hosts[this.#node]!.host}:9464/readyz`;
    const response = await fetch(url, { signal: AbortSignal.timeout(1_000) });
    if (!response.ok) throw new Error(await response.text());
    return (await response.text()).split('\n')[1] ?? '';
  }

  async leads(): Promise<true | undefined> {
    return (await this.role()).startsWith('leads') || undefined;
  }

  async waits(): Promise<true | undefined> {
    return /^waits: .*, which leads$/.test(await this.role()) || undefined;
  }

  describe<T>(name: string): Promise<T> {
    return controllerJson<T>(['describe', name, '--state', this.state], log);
  }

  async cluster(): Promise<ClusterStatus> {
    return (await this.describe<{ cluster: ClusterStatus }>(cluster)).cluster;
  }

  async schedule(): Promise<ScheduleStatus> {
    return (await this.describe<{ schedule: ScheduleStatus }>('deaf')).schedule;
  }

  /** Its schedule's run is over, and how. */
  over(how: 'Aborted' | 'RunElsewhere'): Promise<true> {
    return eventually(`its run is over: ${how}`, 150_000, async () => {
      const { conditions } = await this.schedule();
      return conditions.some(({ type, reason }) => type === 'Complete' && reason === how) || undefined;
    });
  }
}

const a = new Operator('a', 'node1');
const b = new Operator('b', 'node2');
t.teardown(async () => {
  if (!t.passing()) t.comment(readFileSync(log, 'utf8').slice(-20_000));
  await a.end();
  await b.end();
  await machines.close();
});

/** Runs on the target: what is armed there, and what is in force. */
const onTarget = async () => {
  const said = await machines.output(
    'node4',
    'ls /var/lib/spark-failures/runs; echo /; iptables -S | grep -c -e "-N SF-" || true',
  );
  const [runs, chains] = said.split('/');
  return { runs: runs!.trim().split('\n').filter(Boolean), chains: Number(chains) };
};
const injected = () =>
  eventually('the fault is in force', 60_000, async () => {
    const { runs, chains } = await onTarget();
    return runs.length === 1 && chains === 1 ? runs[0] : undefined;
  });
const healed = async () => {
  const { runs, chains } = await onTarget();
  return (runs.length === 0 && chains === 0) || undefined;
};
/** From now until the other leads; what was left is healed by then. */
async function tookOver(t: Test, next: Operator, sinceMs: number, withinMs = takeOverMs): Promise<void> {
  await eventually('the next one leads', 90_000, () => next.leads());
  const ms = Date.now() - sinceMs;
  t.ok(ms < withinMs, `took over after ${ms} ms`);
  t.ok(await healed(), 'what the one before left was healed before');
}

await t.test('one leads, the other waits and tells so', async (t) => {
  const made = await runController(
    ['apply', '-f', folder, '--state', a.state, '--listen', '127.0.0.1:0'],
    log,
  );
  t.equal(made.code, 0, made.stderr.slice(-2_000));
  await a.start();
  await eventually('a leads', 30_000, () => a.leads());
  await b.start();
  await eventually('b waits', 30_000, () => b.waits());
  const metrics = await fetch(`http://${hosts.node2!.host}:9464/metrics`);
  t.match(await metrics.text(), `leader_election_master_status{name="${cluster}"} 0`);
  await eventually('b knows what a has made', 30_000, async () => {
    const { leader, conditions, inventory } = await b.cluster();
    const isReady = conditions.some(({ type, status }) => type === 'Ready' && status === 'True');
    return (isReady && leader?.term === 1 && inventory.nodes.length === 4) || undefined;
  });
});

await t.test('one that stands for no lease leaves the cluster alone, and does not wait', async (t) => {
  const labels = () => machines.output('node1', "docker node inspect -f '{{.Spec.Labels}}' node4");
  const before = await labels();
  const elsewhere = join(work, 'elsewhere');
  const file = join(work, 'other.yaml');
  writeFileSync(file, readFileSync(join(folder, 'cluster.yaml'), 'utf8').replaceAll('place:', 'spot:'));
  for (const verb of ['apply', 'delete']) {
    const { code, stdout } = await runController(
      [verb, '-f', file, '--state', elsewhere, '--listen', '127.0.0.1:0'],
      log,
    );
    t.equal(code, 1, verb);
    t.match(
      stdout,
      /ClusterSpec\/two-operators +failed +left to .+, which leads: change what that one reads/,
    );
  }
  t.equal(await labels(), before);
});

await t.test('killed while it holds a fault, it is taken over from', async (t) => {
  schedule('1');
  await injected();
  a.kill('SIGKILL');
  const killedMs = Date.now();
  await a.gone();
  await tookOver(t, b, killedMs);
  t.ok(await b.over('RunElsewhere'), 'what a has begun is not begun again');
  await machines.output('node1', 'docker node update --label-rm place node4');
  await eventually('b goes on', 20_000, async () => {
    const labels = await machines.output('node1', "docker node inspect -f '{{.Spec.Labels.place}}' node4");
    return labels === 'worker' || undefined;
  });
  await a.start();
  await eventually('a waits', 30_000, () => a.waits());
  t.ok(await a.over('Aborted'), 'and closes its books');
  t.ok(await healed());
});

await t.test(
  'paused while it holds a fault, it is taken over from, and breaks nothing when it goes on',
  async (t) => {
    schedule('2');
    await injected();
    b.kill('SIGSTOP');
    await tookOver(t, a, Date.now());
    t.ok(await a.over('RunElsewhere'));
    schedule('3');
    const run = await injected();
    b.kill('SIGCONT');
    await eventually('b waits', 30_000, () => b.waits());
    t.ok(await b.over('Aborted'), 'its own is closed');
    t.equal(await injected(), run, 'the fault of the one that leads is in force as before');
  },
);

await t.test('cut off with its manager, it stops and heals, and the other takes over', async (t) => {
  const others = ['node2', 'node3', 'node4'].map((name) => hosts[name]!.host);
  const cut = (how: '-I' | '-D') =>
    machines.output(
      'node1',
      others
        .map((host) => `iptables ${how} INPUT -s ${host} -j DROP; iptables ${how} OUTPUT -d ${host} -j DROP`)
        .join('\n'),
    );
  await cut('-I');
  const cutMs = Date.now();
  await eventually('a stops', 10_000, async () => ((await a.leads()) ? undefined : true));
  t.notOk(await b.leads().catch(() => undefined), 'before the other begins');
  // The swarm has lost its own leader, too, and keeps no lease before it has another one.
  await tookOver(t, b, cutMs, takeOverMs + swarmElectionMs);
  await cut('-D');
  await eventually('a waits', 60_000, () => a.waits());
  t.ok(await a.over('Aborted'));
  t.ok(await healed());
});

await t.test('ended as it should be, it lets the lease go at once', async (t) => {
  // A manager that comes back may have the swarm elect a leader once more: without one nothing can be let go.
  await eventually('all managers are back', 60_000, async () => {
    const told = await machines.output('node2', "docker node ls --format '{{.ManagerStatus}}'");
    const managers = told.split('\n').filter((each) => each !== '');
    return (managers.length === 3 && managers.every((each) => each !== 'Unreachable')) || undefined;
  });
  await b.end();
  const endedMs = Date.now();
  await eventually('a leads', 10_000, () => a.leads());
  t.ok(Date.now() - endedMs < 6_000);
});
