import t, { type Test } from 'tap';
import { selectTargets } from '../../controller/schedule/select-targets.ts';
import type { Target, TaskTarget } from '../../state-machines/contract.ts';
import { injectStep } from '../../state-machines/dead-man/step-actions.ts';
import { openFaultLab } from '../support/fault-lab.ts';
import { type Answer, type Asker, networkProbes, toAnswer } from '../support/network-probes.ts';

// Network faults between the services of a real swarm, felt inside their tasks; and what a lost link does to a machine.

const lab = await openFaultLab(t, {
  ...{ cluster: 'faults-srv', subnet: '10.93.22.0/24', nodes: 3, swarm: true, limitMs: 900_000 },
});
const { connect, arrives, ping, listening } = networkProbes(lab);
const { ports, signal, on, until } = lab;
const minute = 60_000;
const manager = (script: string, ...args: string[]) => on('node1', script, ...args);

/** `victim` and `kafka` on machines of their own, `near` beside the victim, `other` on the third; all listen on port 80. */
await manager('docker network create --driver overlay app');
for (const [name, node, options] of [
  ['victim', 'node2', ''],
  ['near', 'node2', ''],
  ['kafka', 'node3', '--publish mode=host,published=9094,target=80'],
  ['other', 'node1', ''],
] as const) {
  await manager(
    `docker service create --quiet --detach --no-resolve-image --name "$1" --network app --endpoint-mode dnsrr \
      --constraint "node.hostname==$2" --stop-grace-period 1s --restart-delay 100ms ${options} debian:trixie-slim ${listening}`,
    ...[name, node],
  );
}
const names = ['victim', 'near', 'kafka', 'other'] as const;
type Name = (typeof names)[number];

/** The one running task of each service, in their order. */
const tasksOf = async (...wanted: readonly Name[]): Promise<readonly TaskTarget[]> => {
  const inventory = await lab.inventory();
  return wanted.map((name) => {
    const selector = { services: { matchNames: [name] }, pick: 'all' } as const;
    const [task] = selectTargets(selector, inventory, () => 0);
    if (task?.kind !== 'task') throw new Error(`no task of ${name} runs`);
    return task;
  });
};
const taskOf = async (name: Name) => (await tasksOf(name))[0]!;
const insideOf = ({ node, containerId }: TaskTarget): Asker => ({ node, container: containerId });
const addressOf = ({ addresses = [] }: TaskTarget) => addresses[0]!.split('/')[0]!;
const pids = new Map<string, Promise<string>>();
const pidOf = ({ node, containerId }: TaskTarget) => {
  const pid = pids.get(containerId) ?? on(node, 'docker inspect -f "{{.State.Pid}}" "$1"', containerId);
  pids.set(containerId, pid);
  return pid;
};

/** Which of the names are found from inside a task. */
const finds = async ({ node, containerId }: TaskTarget, ...wanted: readonly Name[]) => {
  const lookup = 'for name; do timeout 4 getent ahostsv4 "$name" >/dev/null && echo "$name" & done; wait';
  const found = await on(
    node,
    `id=$1; shift; docker exec "$id" sh -c '${lookup}' sh "$@"`,
    containerId,
    ...wanted,
  );
  return found.split('\n').filter(Boolean).sort();
};

/** Who reaches whom on port 80: `victim>kafka`; kafka by its published port too. All at once, one call to each machine. */
const asked = async (): Promise<Readonly<Record<string, Answer>>> => {
  const tasks = await tasksOf(...names);
  const calls = tasks.flatMap((from) => {
    const others = tasks.filter((to) => to !== from);
    const direct = others.map((to) => ({ from, to: to.service, at: `${addressOf(to)} 80` }));
    const published = { from, to: 'published', at: `${lab.node('node3').address} 9094` };
    return from.service === 'kafka' ? direct : [...direct, published];
  });
  const answers = ['node1', 'node2', 'node3'].map(async (node) => {
    const own = calls.filter(({ from }) => from.node === node);
    const lines = own.map(async ({ from, to, at }) => `${from.service}>${to} ${await pidOf(from)} ${at}`);
    const said = await on(node, callAll, (await Promise.all(lines)).join('\n'));
    return said
      .split('\n')
      .map((line) => [line.split(' ')[0]!, toAnswer(line.replace(/^\S+ /, ''))] as const);
  });
  return Object.fromEntries((await Promise.all(answers)).flat());
};
const callAll = `printf '%s\\n' "$1" | { while read -r pair pid address port; do {
    said=$(LC_ALL=C nsenter -t "$pid" -n timeout 2 bash -c 'exec 3<>"/dev/tcp/$1/$2"' bash "$address" "$port" 2>&1) && said=open
    echo "$pair" $said
  } & done; wait; }`;
await until('all tasks run', minute, async () => {
  const { services } = await lab.inventory();
  return services.length === 4 && services.every(({ tasks }) => tasks.length === 1);
});
const everybody = async (answer: string) => Object.values(await asked()).every((each) => each === answer);
await until('all tasks listen', minute, () => everybody('open'));
const open = await asked();

const everyNameResolves = async (t: Test) => {
  for (const from of await tasksOf(...names))
    t.same(await finds(from, ...names), [...names].sort(), `found from ${from.service} on ${from.node}`);
};

interface Felt {
  readonly kind: string;
  readonly params?: object;
  readonly during: Readonly<Record<string, Answer>>;
  readonly also?: () => Promise<void>;
}

/** Runs the fault on the victim's task: only what is listed differs from the open matrix, and nothing stays. */
async function felt(t: Test, { kind, params = {}, during, also }: Felt): Promise<void> {
  const target = await taskOf('victim');
  const before = await lab.traces('node2');
  const rules = await on('node2', 'iptables -S');
  let answers = {};
  const { result } = await lab.run({
    ...{ kind, params, targets: [target], holdMs: 15_000 },
    async during() {
      answers = await asked();
      t.equal(await on('node2', 'iptables -S'), rules, 'the machine itself has no rule of it');
      await also?.();
    },
  });
  t.equal(result.outcome, 'Healed', result.message ?? 'no message');
  t.comment(`${kind}: in effect after ${result.instants.effMs! - result.instants.cmdMs!} ms`);
  t.same(answers, { ...open, ...during }, 'during');
  t.same(await asked(), open, 'after');
  t.equal(await lab.traces('node2'), before);
  await everyNameResolves(t);
}

const kafka = { services: { matchNames: ['kafka'] } };
const fromKafka = (out: Answer, into: Answer) => ({
  ...{ 'victim>kafka': out, 'victim>published': out, 'kafka>victim': into },
});

await t.test('the swarm tells where each task is reached', async (t) => {
  const { services } = await lab.inventory();
  for (const { tasks, addresses } of services) {
    t.match(tasks[0]!.addresses, [/^10\.99\.\d+\.\d+\/24$/]);
    t.same(addresses, [], 'no virtual one with dnsrr');
  }
  const published = services.find(({ name }) => name === 'kafka')!.published;
  t.same(published, [{ port: 'tcp/9094', everywhere: false }]);
  await manager(
    'docker service create --quiet --detach --no-resolve-image --name virtual --network app --replicas 0 debian:trixie-slim sleep 1',
  );
  const virtual = (await lab.inventory()).services.find(({ name }) => name === 'virtual');
  t.match(virtual?.addresses, [/^10\.99\.\d+\.\d+\/24$/]);
  await manager('docker service rm virtual');
});

await t.test('a partition between services is silent to one and leaves the others alone', async (t) => {
  await felt(t, { kind: 'partition', params: { from: kafka }, during: fromKafka('silent', 'silent') });
});

await t.test('one that rejects says so at once', async (t) => {
  const params = { from: kafka, action: 'reject' };
  await felt(t, { kind: 'partition', params, during: fromKafka('refused', 'prohibited') });
});

await t.test('one that goes out lets what comes in pass', async (t) => {
  const [victim, peer] = (await tasksOf('victim', 'kafka')) as [TaskTarget, TaskTarget];
  const hears = (from: TaskTarget, to: TaskTarget) =>
    arrives('IcmpMsgInType8', insideOf(to), () => ping(insideOf(from), addressOf(to)));
  for (const [direction, sent, heard] of [
    ['out', false, true],
    ['in', true, false],
  ] as const) {
    await felt(t, {
      ...{ kind: 'partition', params: { from: kafka, direction }, during: fromKafka('silent', 'silent') },
      async also() {
        t.equal(await hears(victim, peer), sent, `${direction}: sent`);
        t.equal(await hears(peer, victim), heard, `${direction}: heard`);
      },
    });
  }
});

await t.test('one from a machine is one from all that runs there', async (t) => {
  const from = { nodes: { matchNames: ['node3'] } };
  const during = fromKafka('silent', 'silent');
  await felt(t, { kind: 'partition', params: { from }, during });
});

await t.test('one from everybody leaves the task alone in the world, and its machine in reach', async (t) => {
  const victim = await taskOf('victim');
  await felt(t, {
    kind: 'partition',
    during: {
      ...fromKafka('silent', 'silent'),
      ...{
        'victim>near': 'silent',
        'victim>other': 'silent',
        'near>victim': 'silent',
        'other>victim': 'silent',
      },
    },
    async also() {
      for (const node of ['node1', 'node2']) t.equal(await connect(insideOf(victim), node, 7946), 'silent');
    },
  });
});

await t.test('a blocked port of a task is closed to its peers', async (t) => {
  await felt(t, {
    ...{ kind: 'blockPort', params: { protocol: 'tcp', ports: [80], direction: 'in' } },
    during: { 'near>victim': 'silent', 'kafka>victim': 'silent', 'other>victim': 'silent' },
  });
});

await t.test('a blocked port elsewhere is out of reach for a task', async (t) => {
  await felt(t, {
    ...{ kind: 'blockPort', params: { protocol: 'tcp', ports: [80], direction: 'out', action: 'reject' } },
    during: { 'victim>near': 'refused', 'victim>kafka': 'refused', 'victim>other': 'refused' },
  });
});

for (const action of ['drop', 'reject']) {
  await t.test(`lookups fail (${action}) while connections go on`, async (t) => {
    const [victim, near] = (await tasksOf('victim', 'near')) as [TaskTarget, TaskTarget];
    await felt(t, {
      ...{ kind: 'dns', params: { action }, during: {} },
      async also() {
        t.same(await finds(victim, 'kafka'), []);
        t.same(await finds(near, 'kafka'), ['kafka']);
      },
    });
  });
}

await t.test(
  'a task that is restarted during the hold is free of it, and nothing is left of the old one',
  async (t) => {
    const before = await lab.traces('node2');
    const target = await taskOf('victim');
    const restarted = async () => {
      const { tasks } = (await lab.inventory()).services.find(({ name }) => name === 'victim')!;
      return tasks.length === 1 && tasks[0]!.containerId !== target.containerId;
    };
    const { result } = await lab.run({
      ...{ kind: 'partition', params: { from: kafka }, targets: [target], holdMs: minute },
      async during() {
        await on('node2', 'docker kill "$1"', target.containerId);
        await until('another task runs', minute, restarted);
        const next = insideOf(await taskOf('victim'));
        const peer = addressOf(await taskOf('kafka'));
        await until(
          'the other task is heard',
          minute,
          async () => (await connect(next, peer, 80)) === 'open',
        );
      },
    });
    t.equal(result.outcome, 'Unknown');
    t.match(result.message, /lost the effect during the hold \("inactive"\)/);
    await until('all is as it was', minute, async () => (await lab.traces('node2')) === before);
    t.same(await asked(), open);
  },
);

await t.test('nobody comes back: a node heals its tasks itself', async (t) => {
  const target = await taskOf('victim');
  for (const kind of ['partition', 'dns']) {
    const before = await lab.traces('node2');
    const run = await lab.arm({ kind, target, fuseMs: 8_000 });
    t.equal(await run.inject(), 'active');
    await until('healed', 30_000, async () => (await run.looks()) === 'inactive');
    await until(
      'unpinned',
      5_000,
      async () => (await on('node2', 'grep -c spark-failures/runs /proc/self/mountinfo || true')) === '0',
    );
    await run.close();
    t.equal(await lab.traces('node2'), before);
  }
});

const everyNameResolvesAgain = async (t: Test) => {
  const { services } = await lab.inventory();
  t.equal(services.length, names.length);
  const isWhole = async () => {
    const running = (await lab.inventory()).services.every(({ tasks }) => tasks.length === 1);
    if (!running || !(await everybody('open'))) return false;
    const tasks = await tasksOf(...names);
    const found = await Promise.all(tasks.map((from) => finds(from, ...names)));
    return found.every((each) => each.length === names.length);
  };
  // A swarm that had given a silent machine's task up may end it between two questions.
  const limitMs = 2 * minute;
  await until('every task runs, reaches all others, and finds them by name', limitMs, () =>
    isWhole().catch(() => false),
  );
};
const node3: Target = { kind: 'node', node: 'node3' };
const reaches = async (from: string, to: string) => (await ping({ node: from }, to)) === 'yes';

await t.test(
  'a machine whose link is down is gone for all others, and comes back with its routes',
  async (t) => {
    // One that only the kernel has, as an operator may have added it.
    await on(
      'node3',
      'ip route add 192.0.2.0/24 via "$(ip route | sed -n "s/^default via \\([^ ]*\\).*/\\1/p")"',
    );
    const before = await lab.traces('node3');
    t.match(before, /192\.0\.2\.0\/24/);
    const { result } = await lab.run({
      ...{ kind: 'linkDown', targets: [node3], holdMs: 10_000 },
      async during() {
        for (const from of ['node1', 'node2']) t.equal(await reaches(from, 'node3'), false);
        t.equal(await reaches('node1', 'node2'), true);
      },
    });
    t.equal(result.outcome, 'Healed', result.message ?? 'no message');
    const { cmdMs, effMs, endMs } = result.instants;
    t.comment(
      `in effect after ${effMs! - cmdMs!} ms, seen gone ${endMs! - effMs! - 10_000} ms after the hold`,
    );
    t.ok(effMs! - cmdMs! < 8_000, 'the lost answer is not waited for');
    t.equal(await lab.traces('node3'), before);
    await everyNameResolvesAgain(t);
  },
);

/** An armed and injected linkDown that no controller will heal. */
const unplug = async (fuse: { readonly name: string; readonly fuseMs: number; readonly holdMs: number }) => {
  const run = await lab.arm({ kind: 'linkDown', target: node3, ...fuse });
  // Its answer is lost with the link.
  await injectStep(ports, run, AbortSignal.any([signal, AbortSignal.timeout(2_000)])).catch(() => undefined);
  await until('gone', 10_000, async () => !(await reaches('node1', 'node3')));
  return run;
};

await t.test(
  'nobody comes back: the link is up when its hold is over, or at the latest by the switch',
  async (t) => {
    const before = await lab.traces('node3');
    for (const fuse of [
      { name: 'held.0', fuseMs: 10 * minute, holdMs: 5_000 },
      { name: 'fused.0', fuseMs: 8_000, holdMs: 10 * minute },
    ]) {
      const run = await unplug(fuse);
      await until('back', 30_000, () => reaches('node1', 'node3'));
      t.equal(
        await on('node3', 'cd /var/lib/spark-failures/runs/"$1" && ls tombstone healed', run.name),
        'healed\ntombstone',
      );
      await run.close();
      t.equal(await lab.traces('node3'), before, run.name);
    }
  },
);

await t.test('a link that the controller does not need is seen down, and taken up at once', async (t) => {
  for (const [name, own, other] of [
    ['node2', 2, 'node3'],
    ['node3', 3, 'node2'],
  ] as const) {
    const link =
      'ip link add side0 type vxlan id 77 dstport 4999 remote "$1" dev eth0 && ip link set side0 up';
    await on(name, `${link} && ip addr add 192.168.77.${own}/24 dev side0`, lab.node(other).address);
  }
  const before = await lab.traces('node3');
  const fault = { kind: 'linkDown', target: node3 };
  await until('the side link carries', 10_000, () => reaches('node3', '192.168.77.2'));
  const run = await lab.arm({ ...fault, args: ['192.168.77.2'] });
  t.equal(await run.looks(), 'inactive');
  t.equal(await run.inject(), 'active');
  t.equal(await reaches('node2', '192.168.77.3'), false);
  await run.heal();
  await until('seen up', 10_000, async () => (await run.looks()) === 'inactive');
  await run.disarm();
  t.equal(await lab.traces('node3'), before);

  const odd = await lab.arm({ ...fault, args: ['192.168.77.2', lab.node('node1').address] });
  await t.rejects(odd.inject(), /is not reached by side0 as 192\.168\.77\.2 is/);
  await odd.close();
  t.equal(await lab.traces('node3'), before);
});

await t.test('after a machine was cut off every name is found from everywhere', async (t) => {
  const { result } = await lab.run({ kind: 'isolateNode', targets: [node3], holdMs: 20_000 });
  t.equal(result.outcome, 'Healed', result.message ?? 'no message');
  await everyNameResolvesAgain(t);
});
