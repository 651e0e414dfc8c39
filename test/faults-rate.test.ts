import { execFile } from 'node:child_process';
import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import t from 'tap';
import { RefusedError } from '../state-machines/contract.ts';
import { throttle } from '../state-machines/faults/rate/fault.ts';
import { loadScripts } from '../state-machines/load-scripts.ts';
import { exampleFacts } from './contracts/fault-kind.ts';

const run = promisify(execFile);
const scripts = (await loadScripts('state-machines')).mechanism('rate');

const facts = exampleFacts('nodes');
const plan = (params: object, of = facts) => throttle.plan(throttle.params.parse(params) as never, of);

t.test('throttles what the chosen nodes send, to one another too, in bits per second', async (t) => {
  t.same(plan({ rate: '1500kbit' })[0], {
    ...{ node: 'node4', target: 'node4', mechanism: 'rate' },
    args: [...['10.98.0.1', '1500000'], ...[1, 2, 3, 5, 6].map((name) => `10.98.0.1${name}`)],
    witness: { node: 'node1', args: ['10.98.0.1', '1500000', '10.98.0.14'] },
  });
  t.equal(plan({})[0]!.args[1], '10000000');
  t.equal(plan({ rate: '2gbit' })[0]!.args[1], '2000000000');
});

t.test('asks a witness only for a rate that it can tell from none', async (t) => {
  t.ok(plan({ rate: '100mbit' })[0]!.witness);
  t.notOk(plan({ rate: '101mbit' })[0]!.witness);
});

t.test('takes no rate that means nothing, or almost nothing', async (t) => {
  for (const rate of [
    '10',
    '10mb',
    '0mbit',
    '1.5mbit',
    '-1mbit',
    '255kbit',
    '11gbit',
    '10 mbit',
    10,
    '10MBIT',
  ])
    t.match(
      throttle.params.safeParse({ rate }).error?.issues,
      [{ message: /from 256kbit to 10gbit/ }],
      String(rate),
    );
  for (const rate of ['256kbit', '10gbit']) t.ok(throttle.params.safeParse({ rate }).success, rate);
});

t.test('is refused where there is nobody to send to, or only half of the path', async (t) => {
  const alone = {
    ...facts,
    targets: [{ kind: 'node', node: 'node1' } as const],
    nodes: facts.nodes.slice(0, 1),
  };
  t.throws(() => plan({}, alone), RefusedError);
  const v6 = facts.nodes.map((node) => ({ ...node, address: 'fd00::1' }));
  t.throws(() => plan({}, { ...facts, nodes: v6 }), /IPv4/);
});

t.test('peers behind different interfaces are refused, since one queue would not hold them', async (t) => {
  const pretended = `
nsenter() { shift && "$@"; }
tc() { exit 99; }
ip() { case $4 in *.9) echo "$4 via 10.0.0.1 dev eth1 src 10.0.0.2" ;; *) echo "$4 dev eth0 src 10.98.0.14" ;; esac; }
`;
  const args = ['10.98.0.1', '1000000', '10.98.0.11', '10.98.0.9'];
  await t.rejects(run('sh', ['-c', pretended + scripts.inject, 'sh', ...args]), {
    ...{ code: 69, stderr: '10.98.0.9 is not reached by eth0 as 10.98.0.11 is\n' },
  });
});

t.test(
  'of two runs with the same handle, for there are few, one leaves the queue of the other',
  async (t) => {
    const root = t.testdir({});
    const handle = (await run('sh', ['-c', 'printf %s run-1.0 | cksum'])).stdout.split(' ')[0]!;
    const text = `5f${(Number(handle) % 256).toString(16).padStart(2, '0')}:`;
    // One that is at two interfaces, as long as it is not deleted there.
    const pretended = `
nsenter() { shift && "$@"; }
ip() { echo '2: eth0: <UP> mtu 1500 qlen 1000'; }
tc() {
  [ ! -e silent ] || return 1
  case $2 in
    show) for dev in eth0 eth1; do [ -e "gone.$dev" ] || echo "qdisc htb ${text} dev $dev root refcnt 2"; done ;;
    del) : >"gone.$4" ;;
  esac
}
`;
    const undo = async () => {
      const env = { ...process.env, SF_RUN_DIR: 'runs/run-1.0' };
      await run('sh', ['-c', pretended + scripts.undo, 'sh'], { cwd: root, env });
      return (await readdir(root)).filter((name) => name.startsWith('gone')).sort();
    };
    await mkdir(join(root, 'runs/run-1.0'), { recursive: true });
    await writeFile(join(root, 'silent'), '');
    await t.rejects(undo(), { code: 1 }, 'where it is not told, it may be in force');
    await rm(join(root, 'silent'));
    t.same(await undo(), [], 'nothing saved: nothing to undo');
    await writeFile(join(root, 'runs/run-1.0/queue.net.eth1'), 'eth1 1000\n');
    t.same(await undo(), ['gone.eth1']);
    await rm(join(root, 'runs'), { recursive: true });
    t.same(await undo(), ['gone.eth0', 'gone.eth1'], 'without the directory its name alone tells');
  },
);

t.test('queues that are not told are not taken for none', async (t) => {
  const root = t.testdir({ proc: '' });
  const shared = await readFile('state-machines/faults/common.sh', 'utf8');
  const pretended = `
every_network() { echo '1 proc/self/ns/net' && echo '2 proc'; }
nsenter() { [ -e "\${1#--net=}" ] && shift && "$@"; }
tc() {
  [ ! -e silent ] || { echo "RTNETLINK answers: Operation not permitted" >&2 && return 2; }
  echo 'qdisc htb 5f0a: dev eth0 root refcnt 2'
}
`;
  const list = () => run('sh', ['-c', shared + pretended + scripts.sweep!, 'sh', 'list'], { cwd: root });
  t.equal((await list()).stdout, 'eth0/5f0a: in net:[2]\n', 'a network that is gone meanwhile has none');
  await writeFile(join(root, 'silent'), '');
  await t.rejects(list(), { code: 1, stderr: /not permitted/ });
});
