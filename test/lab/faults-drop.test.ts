import t from 'tap';
import { openFaultLab } from '../support/fault-lab.ts';
import { type Answer, type Asker, networkProbes } from '../support/network-probes.ts';

// Partitions and blocked ports between real machines, felt by connecting: from a machine, from a container, from a peer.

const lab = await openFaultLab(t, { cluster: 'faults-net', subnet: '10.93.3.0/24', nodes: 3 });
const { listen, listening, connect, arrives, ping, datagram } = networkProbes(lab);
const { signal } = lab;
const names = ['node1', 'node2', 'node3'];
for (const name of names) {
  await listen(name, 8080);
  await listen(name, 8081);
}
const { containerId: container } = await lab.startTask('node1', '-p 8090:80', listening);
const one: Asker = { node: 'node1' };
const boxed: Asker = { node: 'node1', container };
const two: Asker = { node: 'node2' };
const three: Asker = { node: 'node3' };
const targets = [{ kind: 'node', node: 'node1' }] as const;

type Call = readonly [from: Asker, to: string, port: number];
const matrix = {
  out: [one, 'node2', 8080],
  boxedOut: [boxed, 'node2', 8080],
  in: [two, 'node1', 8080],
  boxedIn: [two, 'node1', 8090],
  elsewhereOut: [one, 'node3', 8080],
  boxedElsewhereOut: [boxed, 'node3', 8080],
  elsewhereIn: [three, 'node1', 8080],
  boxedElsewhereIn: [three, 'node1', 8090],
  others: [two, 'node3', 8080],
  otherPort: [two, 'node1', 8081],
} as const satisfies Readonly<Record<string, Call>>;
type Answers = Partial<Record<keyof typeof matrix, Answer>>;

const asked = async () => {
  const calls: readonly (readonly [string, Call])[] = Object.entries(matrix);
  const answers = calls.map(async ([name, call]) => [name, await connect(...call)]);
  return Object.fromEntries(await Promise.all(answers)) as Required<Answers>;
};
const open = Object.fromEntries(Object.keys(matrix).map((name) => [name, 'open'])) as Required<Answers>;

interface Expected {
  readonly during: Answers;
  /** While it lasts, besides the matrix. */
  readonly also?: () => Promise<void>;
}

/** Runs the fault on node1: only what is listed differs from the open matrix, and nothing stays. */
async function felt(t: Tap, kind: string, params: object, { during, also }: Expected): Promise<void> {
  const before = await lab.traces('node1');
  t.same(await asked(), open, 'before');
  let answers: Answers = {};
  const { result } = await lab.run({
    ...{ kind, params, targets, holdMs: 8_000 },
    async during() {
      answers = await asked();
      await also?.();
      const fresh = await lab.connect('node1');
      t.equal((await fresh.exec('echo open', [], {}, signal)).stdout, 'open\n', 'a new ssh connection');
      fresh.close();
    },
  });
  t.equal(result.outcome, 'Healed', result.message ?? 'no message');
  t.comment(`in effect after ${result.instants.effMs! - result.instants.cmdMs!} ms`);
  t.same(answers, { ...open, ...during }, 'during');
  t.same(await asked(), open, 'after');
  t.equal(await lab.traces('node1'), before);
}
type Tap = typeof t;

const cut = (out: Answer, into: Answer): Answers => ({
  ...{ out, boxedOut: out },
  ...{ in: into, boxedIn: into, otherPort: into },
});

await t.test('a partition is silent to one group, both ways, and leaves the others alone', async (t) => {
  await felt(
    t as Tap,
    'partition',
    { from: { nodes: { matchNames: ['node2'] } } },
    { during: cut('silent', 'silent') },
  );
});

await t.test('a partition that rejects says so at once, and resets open connections', async (t) => {
  const talk = `trap "" PIPE; exec 3<>"/dev/tcp/$1/8080"; echo 10000 >&3
    while printf x >&3; do echo talking >/run/talk; sleep 0.1; done; echo reset >/run/talk`;
  const { address } = lab.node('node2');
  await lab.on('node1', `systemd-run --quiet --unit=probe-talk bash -c '${talk}' bash "$1"`, address);
  const state = () => lab.on('node1', 'cat /run/talk 2>/dev/null || true');
  await lab.until('an open connection', 5_000, async () => (await state()) === 'talking');
  await felt(
    t as Tap,
    'partition',
    { from: { nodes: { matchNames: ['node2'] } }, action: 'reject' },
    {
      during: cut('refused', 'prohibited'),
      async also() {
        t.equal(await state(), 'reset');
      },
    },
  );
});

for (const [direction, sent, heard] of [
  ['in', true, false],
  ['out', false, true],
] as const) {
  await t.test(`a partition ${direction} lets the other direction pass`, async (t) => {
    const counter = 'IcmpMsgInType8';
    await felt(
      t as Tap,
      'partition',
      { direction, from: { nodes: { matchNames: ['node2'] } } },
      {
        during: cut('silent', 'silent'),
        async also() {
          for (const from of [one, boxed])
            t.equal(await arrives(counter, two, () => ping(from, 'node2')), sent, 'sent');
          t.equal(await arrives(counter, one, () => ping(two, 'node1')), heard, 'heard');
        },
      },
    );
  });
}

await t.test(
  'a blocked port of a node is closed to everybody else, also where a container has it',
  async (t) => {
    await felt(
      t as Tap,
      'blockPort',
      { protocol: 'tcp', ports: [8080, 8090], direction: 'in' },
      {
        during: { in: 'silent', boxedIn: 'silent', elsewhereIn: 'silent', boxedElsewhereIn: 'silent' },
        async also() {
          t.equal(await connect(one, 'node1', 8080), 'open', 'not to the machine itself');
        },
      },
    );
  },
);

await t.test('a blocked port that rejects tells others that it is prohibited', async (t) => {
  await felt(
    t as Tap,
    'blockPort',
    { protocol: 'tcp', ports: [8090], direction: 'in', action: 'reject' },
    { during: { boxedIn: 'prohibited', boxedElsewhereIn: 'prohibited' } },
  );
});

await t.test('a blocked port elsewhere is out of reach for a node and its containers', async (t) => {
  await felt(
    t as Tap,
    'blockPort',
    { protocol: 'tcp', ports: [8080], direction: 'out', action: 'reject' },
    {
      during: {
        ...{ out: 'refused', boxedOut: 'refused' },
        ...{ elsewhereOut: 'refused', boxedElsewhereOut: 'refused' },
      },
    },
  );
});

await t.test('datagrams to a blocked port arrive nowhere, others do', async (t) => {
  const arrival = (from: Asker, to: string, port: number) =>
    arrives('UdpNoPorts', { node: to }, () => datagram(from, to, port));
  await felt(
    t as Tap,
    'blockPort',
    { protocol: 'udp', ports: [4789] },
    {
      during: {},
      async also() {
        for (const from of [one, boxed]) {
          t.equal(await arrival(from, 'node2', 4789), false, 'out');
          t.equal(await arrival(from, 'node2', 4790), true, 'another port');
        }
        t.equal(await arrival(two, 'node1', 4789), false, 'in');
        t.equal(await arrival(two, 'node1', 4790), true);
      },
    },
  );
  t.equal(await arrival(one, 'node2', 4789), true, 'after');
  t.equal(await arrival(two, 'node1', 4789), true);
});

await t.test('nobody comes back: the node heals itself of either kind', async (t) => {
  const before = await lab.on('node1', 'iptables -S');
  for (const fault of [
    { kind: 'partition', params: { direction: 'both', action: 'reject' } },
    { kind: 'blockPort', params: { protocol: 'tcp', ports: [8080], direction: 'both', action: 'drop' } },
  ]) {
    const run = await lab.arm({ ...fault, target: targets[0], fuseMs: 8_000 });
    t.equal(await run.inject(), 'active');
    t.not(await connect(two, 'node1', 8080), 'open');
    await lab.until('healed', 30_000, async () => (await connect(two, 'node1', 8080)) === 'open');
    t.equal(await lab.on('node1', 'iptables -S'), before);
    await run.close();
  }
});
