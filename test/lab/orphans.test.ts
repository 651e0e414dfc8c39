import t from 'tap';
import { findLeader } from '../../state-machines/leaders/find-leader.ts';
import { healOrphans, type Remnant, type Standing, scanOrphans } from '../../state-machines/scan-orphans.ts';
import { openFaultLab } from '../support/fault-lab.ts';

// What a controller does about faults that no run of its own will heal, and how it asks who leads, on real machines.

const lab = await openFaultLab(t, { cluster: 'faults-guards', subnet: '10.93.26.0/24' });
const { scripts, ports, signal } = lab;
const node = () => lab.node('node1');

const inject = async (name: string) => {
  const target = { kind: 'node', node: 'node1' } as const;
  const run = await lab.arm({ kind: 'isolateNode', target, name, fuseMs: 600_000 });
  await run.inject();
};
const heal = (standing: Standing) => {
  const standings = async () => () => standing;
  return healOrphans(node(), { scripts, standings, armedBefore: new Set() }, signal);
};
const kindsOf = (remnants: readonly Remnant[]) => [...new Set(remnants.map(({ kind }) => kind))].sort();
const marks = () => lab.on('node1', 'iptables -S | grep -c SF- || true');

await t.test("a run in progress, or somebody else's with its switch armed, is left alone", async (t) => {
  const before = await lab.traces('node1');
  await inject('theirs-1-f-1-abc.0');
  t.match(await scanOrphans(node(), scripts, signal), [
    { state: 'injected', life: 'pending', target: 'node1' },
  ]);
  const ours = await heal('ours');
  t.same([ours.healed, ours.left], [[], []], 'it is no orphan');
  const unknown = await heal('unknown');
  t.same(unknown.healed, []);
  t.match(unknown.left, [{ run: 'theirs-1-f-1-abc.0' }], 'it counts');
  t.not(await marks(), '0');

  await t.test('and healed once no switch will do it', async (t) => {
    await lab.on('node1', 'systemctl stop sf-theirs-1-f-1-abc.0.timer');
    const { healed, left } = await heal('unknown');
    t.same(kindsOf(healed), ['run']);
    t.same(left, []);
    t.equal(await lab.traces('node1'), before);
  });
});

await t.test('what a closed run left is healed although its switch is armed', async (t) => {
  const before = await lab.traces('node1');
  await inject('s-1-f-1-abc.0');
  t.same(kindsOf((await heal('closed')).healed), ['run']);
  t.equal(await lab.traces('node1'), before);
});

await t.test('marks without a run are cleared, but never beside a run that is armed', async (t) => {
  const before = await lab.traces('node1');
  const mark = 'iptables -N SF-12345 && iptables -I FORWARD 1 -j SF-12345';
  await inject('s-1-f-1-abc.0');
  await lab.on('node1', mark);
  const counted = await marks();
  t.equal(await lab.on('node1', scripts.deadMan('sweep.sh')), 'busy', 'the node itself says so');
  t.same((await heal('ours')).healed, []);
  t.equal(await marks(), counted);
  t.same(kindsOf((await heal('closed')).healed), ['mark', 'run'], 'the run first, then what nobody owns');
  t.equal(await lab.traces('node1'), before);
  await lab.on('node1', mark);
  t.same(kindsOf((await heal('unknown')).healed), ['mark']);
  t.equal(await lab.traces('node1'), before);
});

await t.test('a run that died while it armed is put away at the second look', async (t) => {
  await lab.on('node1', 'mkdir -p /var/lib/spark-failures/runs/s-1-f-1-abc.0');
  const first = await heal('unknown');
  t.same([first.healed, first.left, first.arming], [[], [], ['s-1-f-1-abc.0']]);
  const standings = async () => () => 'unknown' as const;
  await healOrphans(node(), { scripts, standings, armedBefore: new Set(first.arming) }, signal);
  t.same(await scanOrphans(node(), scripts, signal), []);
});

await t.test('who leads is asked inside the containers, whatever ends the answer', async (t) => {
  const server = (answer: string, end: string) =>
    `perl -MIO::Socket::INET -e '$s = IO::Socket::INET->new(LocalPort => 2181, Listen => 5, ReuseAddr => 1);` +
    ` while ($c = $s->accept) { sysread $c, $x, 99; print $c "${answer}"; $c->flush; ${end} close $c }'`;
  const follower = await lab.startTask('node1', '', server('Mode: follower\\n', ''));
  const leader = await lab.startTask('node2', '', server('Mode: leader\\n', ''));
  const silent = await lab.startTask('node2');
  const asking = { nodes: ports.nodes, scripts };
  const listening = async (task: typeof leader) =>
    (await lab.on(task.node, 'docker exec "$1" grep -c :0885 /proc/net/tcp || true', task.containerId)) !==
    '0';
  for (const task of [follower, leader]) await lab.until('it listens', 20_000, () => listening(task));
  const zookeeper = { zookeeper: { port: 2181 } };
  const found = await findLeader([follower, leader, silent], zookeeper, asking, signal);
  t.equal(found, leader);
  await t.rejects(findLeader([follower, silent], zookeeper, asking, signal), {
    code: 'FAULT_REFUSED',
    message: /nobody leads .* follows, .* is not clear \(nothing answers at its port 2181\)/,
  });
  // As a broker: four bytes of size, and the connection stays.
  const quorum =
    '\\0\\0\\0\\x24\\0\\0\\0\\1\\0\\0\\0\\2\\x13__cluster_metadata\\2\\0\\0\\0\\0\\0\\0\\0\\0\\0\\1';
  const broker = await lab.startTask('node1', '', server(quorum, 'sleep 60;'));
  await lab.until('it listens', 20_000, () => listening(broker));
  const controller = { kafkaController: { port: 2181 } };
  t.equal(await findLeader([broker, silent], controller, asking, signal), broker);
});
