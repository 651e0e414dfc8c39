import { execFile } from 'node:child_process';
import { access, mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import t, { type Test } from 'tap';
import type { Facts } from '../state-machines/contract.ts';
import { faultKinds } from '../state-machines/faults/catalog.ts';
import { loadScripts } from '../state-machines/load-scripts.ts';
import { exampleFacts } from './contracts/fault-kind.ts';

const run = promisify(execFile);
const scripts = (await loadScripts('state-machines')).mechanism('drop');
const shared = await readFile('state-machines/faults/common.sh', 'utf8');

const kindOf = (name: string) => faultKinds.find((kind) => kind.name === name)!;
const at = (...names: number[]) => names.map((name) => `10.98.0.1${name}`);
const facts = exampleFacts('nodes');
const plan = (kind: string, params: object, of = facts) =>
  kindOf(kind).plan(kindOf(kind).params.parse(params), of);
const problems = (kind: string, params: object) =>
  (kindOf(kind).params.safeParse(params).error?.issues ?? []).map(
    ({ path, message }) => `${path.join('.')}: ${message}`,
  );

t.test('partition', async (t) => {
  t.test('cuts the chosen nodes off from all others, and not from one another', async (t) => {
    t.same(plan('partition', {}), [
      {
        ...{ node: 'node4', target: 'node4', mechanism: 'drop' },
        args: ['10.98.0.1', 'drop', 'both', 'all', ...at(1, 2, 3, 5)],
        witness: { node: 'node1', args: ['10.98.0.1', 'drop', 'both', 'all', ...at(4)] },
      },
      {
        ...{ node: 'node6', target: 'node6', mechanism: 'drop' },
        args: ['10.98.0.1', 'drop', 'both', 'all', ...at(1, 2, 3, 5)],
        witness: { node: 'node1', args: ['10.98.0.1', 'drop', 'both', 'all', ...at(6)] },
      },
    ]);
  });

  t.test('finds the other side by names or labels, without the chosen ones', async (t) => {
    const peers = (nodes: object) => plan('partition', { from: { nodes } }).map(({ args }) => args.slice(4));
    t.same(peers({ matchNames: ['node2', 'node6'] }), [at(2), at(2)]);
    t.same(peers({ matchLabels: { place: 'compute' } }), [at(5), at(5)]);
    const [first] = plan('partition', { from: { nodes: { matchLabels: { place: 'compute' } } } });
    t.equal(first!.witness!.node, 'node5', 'the witness is on the other side');
  });

  t.test('lets a witness see one direction the other way round', async (t) => {
    const [first] = plan('partition', { direction: 'in', action: 'reject' });
    t.same(first!.args.slice(1, 4), ['reject', 'in', 'all']);
    t.same(first!.witness!.args.slice(1, 4), ['reject', 'out', 'all']);
  });

  t.test('is refused without another side, or with one that is misspelt', async (t) => {
    const from = (nodes: object) => () => plan('partition', { from: { nodes } });
    t.throws(from({ matchNames: ['node4'] }), /no other node/);
    t.throws(from({ matchLabels: { place: 'nowhere' } }), /no other node/);
    t.throws(from({ matchNames: ['node1', 'nod2'] }), /no node "nod2"/);
    t.match(problems('partition', { from: {} }), ['from: expected exactly one of nodes, services']);
    t.match(problems('partition', { from: { nodes: {} } }), [
      'from.nodes: expected exactly one of matchNames, matchLabels',
    ]);
    t.match(problems('partition', { from: { nodes: { matchNames: [] } } }), [/matchNames/]);
    t.throws(
      () => plan('partition', { from: { services: { matchNames: ['kafka'] } } }),
      /nodes do not see services/,
    );
    t.equal(problems('partition', { direction: 'sideways', action: 'delay' }).length, 2);
  });
});

const id = (letter: string) => letter.repeat(64);
/** Two Spark workers as targets, a third, and Kafka and ZooKeeper, of which only Kafka is on their network. */
const taskFacts: Facts = {
  ...exampleFacts('tasks'),
  services: [
    serviceOf('streaming_zookeeper', [['node1', 'd', '10.99.2.9/24']]),
    {
      ...serviceOf('streaming_kafka', [
        ['node4', 'a', '10.99.1.20/24'],
        ['node2', 'b', '10.99.1.21/24'],
      ]),
      published: [
        { port: 'tcp/9094', everywhere: false },
        { port: 'tcp/9095', everywhere: true },
      ],
    },
    serviceOf('streaming_spark-worker-3', [['node5', 'c', '10.99.1.7/24']]),
    serviceOf('streaming_spark-worker-1', [['node4', '0', '10.99.1.5/24']]),
  ],
};
function serviceOf(name: string, tasks: readonly (readonly [string, string, string])[]) {
  return {
    ...{ name, id: `id-of-${name}`, replicated: true, labels: {} },
    tasks: tasks.map(([node, letter, address]) => ({
      ...{ node, taskId: `task-${letter}`, containerId: id(letter), addresses: [address] },
    })),
  };
}
const balanced = (name: string, addresses: readonly string[]): Facts => ({
  ...taskFacts,
  services: taskFacts.services.map((each) => (each.name === name ? { ...each, addresses } : each)),
});

t.test('partition of tasks', async (t) => {
  const kafka = { from: { services: { matchNames: ['kafka'] } } };

  t.test('cuts them off from the tasks of a service, and from its published ports', async (t) => {
    const [first] = plan('partition', kafka, taskFacts);
    t.same(first, {
      ...{ node: 'node4', target: 'node4/streaming_spark-worker-1', mechanism: 'drop' },
      args: [
        ...[id('0'), 'drop', 'both', 'all'],
        ...['10.98.0.11/tcp/9095', '10.98.0.12/tcp/9094', '10.98.0.12/tcp/9095', '10.98.0.13/tcp/9095'],
        ...['10.98.0.14/tcp/9094', '10.98.0.14/tcp/9095', '10.98.0.15/tcp/9095', '10.98.0.16/tcp/9095'],
        ...['10.99.1.20', '10.99.1.21'],
      ],
      witness: { node: 'node2', args: [id('b'), 'drop', 'both', 'all', '10.99.1.5'] },
    });
  });

  t.test('cuts them off from machines with all that runs there', async (t) => {
    const from = { nodes: { matchNames: ['node2', 'node5'] } };
    const [first] = plan('partition', { from, direction: 'in' }, taskFacts);
    t.same(first!.args.slice(1), ['drop', 'in', 'all', ...at(2, 5), '10.99.1.21', '10.99.1.7']);
    t.same(first!.witness!.args.slice(2, 3), ['out']);
  });

  t.test('cuts them off from everything but one another when no side is named', async (t) => {
    for (const { args } of plan('partition', {}, taskFacts))
      t.same(args.slice(4), [...at(1, 2, 3, 4, 5, 6), '10.99.1.20', '10.99.1.21', '10.99.1.7']);
  });

  t.test('counts the virtual addresses of the other side, and is refused where they blur it', async (t) => {
    const [first] = plan('partition', kafka, balanced('streaming_kafka', ['10.99.1.2/24', '10.99.9.2/24']));
    t.same(first!.args.slice(-3), ['10.99.1.2', '10.99.1.20', '10.99.1.21']);
    const nodes = { from: { nodes: { matchNames: ['node2'] } } };
    const blurred = () => plan('partition', nodes, balanced('streaming_kafka', ['10.99.1.2/24']));
    t.throws(blurred, /virtual addresses, which stand for those elsewhere too/);
    const own = balanced('streaming_spark-worker-1', ['10.99.1.3/24']);
    t.throws(() => plan('partition', kafka, own), /give it endpoint mode dnsrr, or choose direction out/);
    t.equal(plan('partition', { ...kafka, direction: 'out' }, own).length, 2);
  });

  t.test('is refused when nothing is on the other side, or nothing has that name', async (t) => {
    const from = (services: object) => () => plan('partition', { from: { services } }, taskFacts);
    t.throws(from({ matchNames: ['zookeeper'] }), /shares a network with streaming_spark-worker-1/);
    t.throws(from({ matchNames: ['kafak'] }), /no service "kafak"/);
    t.throws(from({ matchLabels: { role: 'none' } }), /shares a network/);
  });

  t.test('takes tasks of one service on one node as one target', async (t) => {
    const [one] = taskFacts.targets;
    const targets = [
      one!,
      { ...one!, containerId: id('f'), addresses: ['10.99.1.8/24'] },
    ] as Facts['targets'];
    const steps = plan('partition', kafka, { ...taskFacts, targets });
    t.same(
      steps.map(({ target, args }) => [target, args[0]]),
      [['node4/streaming_spark-worker-1', `${id('0')},${id('f')}`]],
    );
    t.same(steps[0]!.witness!.args.slice(4), ['10.99.1.5', '10.99.1.8']);
  });
});

t.test('dns', async (t) => {
  t.test('knows no peers: only the task itself can tell', async (t) => {
    t.same(plan('dns', { action: 'reject' }, taskFacts)[1], {
      ...{ node: 'node6', target: 'node6/streaming_spark-worker-2', mechanism: 'drop' },
      args: [id('1'), 'reject', 'out', 'dns'],
    });
  });
});

t.test('blockPort', async (t) => {
  t.test('of tasks asks their peers, as many as a check can', async (t) => {
    const many = serviceOf(
      'many',
      Array.from({ length: 50 }, (_, index) => ['node3', `${index}`, `10.99.1.${100 + index}/24`] as const),
    );
    const facts = { ...taskFacts, services: [...taskFacts.services, many] };
    const [first] = plan('blockPort', { protocol: 'tcp', ports: [7077], direction: 'in' }, facts);
    t.same(first!.args.slice(0, 4), [id('0'), 'drop', 'in', 'tcp/7077']);
    t.equal(first!.args.length, 4 + 16);
    t.same(first!.witness!.args.slice(1), ['drop', 'out', 'tcp/7077', '10.99.1.5']);
    t.notOk(plan('blockPort', { protocol: 'udp', ports: [53] }, facts)[0]!.witness);
  });

  t.test('names the ports once, and asks a witness only who can tell', async (t) => {
    const of = (params: object) => plan('blockPort', params)[0]!;
    const tcp = of({ protocol: 'tcp', ports: [9092, 8080, 9092], direction: 'in' });
    t.same(tcp.args, ['10.98.0.1', 'drop', 'in', 'tcp/9092,8080', ...at(1, 2, 3, 5, 6)]);
    t.same(tcp.witness, {
      node: 'node1',
      args: ['10.98.0.1', 'drop', 'out', 'tcp/9092,8080', ...at(4)],
    });
    t.notOk(of({ protocol: 'tcp', ports: [9092], direction: 'out' }).witness, 'a peer feels nothing of it');
    t.notOk(of({ protocol: 'udp', ports: [7946] }).witness, 'a datagram that is not answered tells nothing');
    t.equal(of({}).args[3], 'udp/4789', 'the overlay networks');
  });

  t.test('never blocks the port by which it is undone, nor one that there is not', async (t) => {
    t.same(problems('blockPort', { protocol: 'tcp', ports: [80, 22] }), [
      'ports.1: port 22 stays open: the controller needs it to undo the fault',
    ]);
    t.same(problems('blockPort', { protocol: 'udp', ports: [22] }), []);
    for (const ports of [[], [0], [65_536], [80.5], ['80'], [1, 2, 3, 4, 5, 6, 7, 8, 9]])
      t.equal(problems('blockPort', { ports }).length, 1, JSON.stringify(ports));
    t.equal(problems('blockPort', { protocol: 'sctp' }).length, 1);
  });
});

/** Before a script: network namespaces that are files, with their rules beside them. */
const pretended = `
nsenter() { rules_of=\${1#--net=}.rules && shift && "$@"; }
iptables() {
  if [ -e busy ]; then echo 'Another app is currently holding the xtables lock' >&2; return 4; fi
  shift 2
  case $1 in
    -S) cat "$rules_of"; return ;;
    -D) line="-A $2 -j $4" && grep -qxF -e "$line" "$rules_of" || return 1 ;;
    -F) line="-A $2 .*" ;;
    -X) line="-N $2" ;;
  esac
  grep -vx -e "$line" "$rules_of" >"$rules_of.new" || true
  mv "$rules_of.new" "$rules_of"
}
`;
const own = ['-P INPUT ACCEPT', '-P OUTPUT ACCEPT', '-N SF-CUSTOM', '-A INPUT -j SF-CUSTOM'];
const severed = (chain: string) => [
  ...['-P INPUT ACCEPT', '-P OUTPUT ACCEPT', '-N SF-CUSTOM', `-N ${chain}`, '-A INPUT -j SF-CUSTOM'],
  ...[`-A INPUT -j ${chain}`, `-A OUTPUT -j ${chain}`, `-A ${chain} -s 10.98.0.11/32 -j DROP`],
];

/** A node with one container, in whose networks there is a chain of the run `run` and a user's own. */
async function node(t: Test, { run: name, severs }: { run: string; severs: 'node' | 'container' }) {
  const root = t.testdir({});
  const put = async (path: string, lines: readonly string[]) => {
    await mkdir(dirname(join(root, path)), { recursive: true });
    await writeFile(join(root, path), `${lines.join('\n')}\n`);
  };
  const number = (await run('sh', ['-c', `printf %s '${name}' | cksum`])).stdout.split(' ')[0]!;
  await put('proc/77/cgroup', [`0::/system.slice/docker-${id('a')}.scope`]);
  await put('proc/77/status', ['NSpid:\t77\t1']);
  await put('proc/78/cgroup', [`0::/system.slice/docker-${id('a')}.scope`]);
  const networks = { node: 'proc/self/ns/net', container: 'proc/77/ns/net' };
  for (const [where, file] of Object.entries(networks)) {
    await put(file, []);
    await put(`${file}.rules`, where === severs ? severed(`SF-${number}`) : own);
  }
  const sh = async (text: string, args: readonly string[]) => {
    const script = `${pretended}${text}`.replaceAll('/proc/', './proc/');
    const called = run('sh', ['-c', script, 'sh', ...args], {
      ...{ cwd: root, env: { ...process.env, SF_RUN_DIR: `runs/${name}` } },
    });
    return called.then(
      ({ stdout }) => ({ code: 0, said: stdout.trim() }),
      ({ code, stderr }: { code: number; stderr: string }) => ({ code, said: stderr.trim() }),
    );
  };
  const rules = async (where: keyof typeof networks) =>
    (await readFile(join(root, `${networks[where]}.rules`), 'utf8')).trim().split('\n');
  return { chain: `SF-${number}`, sh, rules, root };
}

t.test(
  'a blocked port is refused where peers are behind different interfaces: one rule is for one',
  async (t) => {
    const ip =
      'ip() { case $4 in *.9) echo "$4 dev eth1" ;; *) echo "$4 dev eth0" ;; esac; }\nrestore() { cat; }\n';
    const { sh } = await node(t, { run: 'run-1.0', severs: 'node' });
    const inject = (service: string) =>
      sh(ip + scripts.inject.replaceAll('iptables-restore', 'restore'), [
        '10.98.0.1',
        'drop',
        'both',
        service,
        '10.98.0.11',
        '10.98.0.9',
      ]);
    t.same(await inject('tcp/80'), { code: 69, said: '10.98.0.9 is not reached by eth0 as 10.98.0.11 is' });
    t.match(await inject('all'), { code: 0, said: /-d 10\.98\.0\.9 -j DROP/ });
  },
);

t.test('an undo that is not told the rules has not undone them', async (t) => {
  const { sh, rules, root, chain } = await node(t, { run: 'run-1.0', severs: 'node' });
  const args = ['10.98.0.1', 'drop', 'both', 'all', '10.98.0.11'];
  await writeFile(join(root, 'busy'), '');
  t.match(await sh(scripts.undo, args), { code: 1, said: /holding the xtables lock/ });
  await rm(join(root, 'busy'));
  t.same(await rules('node'), severed(chain));
  for (let time = 0; time < 2; time += 1) t.same(await sh(scripts.undo, args), { code: 0, said: '' });
  t.same(await rules('node'), own);
});

t.test('who has lost the run still undoes it where its containers live', async (t) => {
  const { sh, rules, root } = await node(t, { run: 'run-1.0', severs: 'container' });
  await t.rejects(access(join(root, 'runs/run-1.0')));
  const args = [`${id('b')},${id('a')}`, 'drop', 'both', 'all', '10.98.0.11'];
  t.same(await sh(scripts.undo, args), { code: 0, said: '' });
  t.same(await rules('container'), own);
});

t.test('chains without a run are found, and cleared, in the networks of containers too', async (t) => {
  for (const severs of ['node', 'container'] as const) {
    const { sh, rules, chain } = await node(t, { run: 'run-1.0', severs });
    const listed = await sh(shared + scripts.sweep!, ['list']);
    t.match(
      listed.said,
      severs === 'node' ? new RegExp(`^${chain}$`) : new RegExp(`^${chain} in net:\\[\\d+\\]$`),
    );
    t.same(await sh(shared + scripts.sweep!, ['clear']), { code: 0, said: '' });
    t.same(await rules(severs), own);
    t.same(await sh(shared + scripts.sweep!, ['list']), { code: 0, said: '' });
  }
});

t.test('chains that are not told are not taken for none', async (t) => {
  const { sh, rules, root, chain } = await node(t, { run: 'run-1.0', severs: 'node' });
  await writeFile(join(root, 'busy'), '');
  for (const what of ['list', 'clear'])
    t.match(await sh(shared + scripts.sweep!, [what]), { code: 1, said: /holding the xtables lock/ });
  t.same(await rules('node'), severed(chain));
});
