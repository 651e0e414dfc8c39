import t from 'tap';
import { throttle } from '../../state-machines/faults/rate/fault.ts';
import { missingNeeds } from '../../state-machines/missing-needs.ts';
import { healNode, scanOrphans } from '../../state-machines/scan-orphans.ts';
import { openFaultLab } from '../support/fault-lab.ts';
import { networkProbes } from '../support/network-probes.ts';

// A thin line between real machines, felt by how long a megabyte takes.

const lab = await openFaultLab(t, { cluster: 'faults-net', subnet: '10.93.3.0/24' });
const { listen, bandwidth } = networkProbes(lab);
const { scripts, signal } = lab;
await listen('node1', 8080);
await listen('node2', 8080);
const one = { node: 'node1' };
const two = { node: 'node2' };
const boxed = { node: 'node1', container: (await lab.startTask('node1')).containerId };
const targets = [{ kind: 'node', node: 'node1' }] as const;
const thin = { kind: 'throttle', params: { rate: '1mbit' }, target: targets[0] };
const megabyte = 1_000_000;
const mbit = 1e6;

const queues = () => lab.on('node1', 'tc qdisc show dev eth0; cat /sys/class/net/eth0/tx_queue_len');
const marks = async () =>
  (await scanOrphans(lab.node('node1'), scripts, signal)).filter(({ kind }) => kind === 'mark');
/** Of an ssh connection, from the node to the controller. */
const management = async () => {
  const startMs = Date.now();
  const { stdout } = await lab.node('node1').exec('head -c 5000000 /dev/zero | tr "\\0" x', [], {}, signal);
  return (stdout.length * 8) / ((Date.now() - startMs) / 1000);
};

await t.test(
  'what a node and its containers send is as slow as asked for, and nothing else is',
  async (t) => {
    const before = await lab.traces('node1');
    t.ok((await bandwidth(one, 'node2', 8080, megabyte)) > 50 * mbit);
    const { result } = await lab.run({
      ...{ kind: 'throttle', params: { rate: '8mbit' }, targets, holdMs: 12_000 },
      async during() {
        for (const from of [one, boxed]) {
          const sent = await bandwidth(from, 'node2', 8080, megabyte);
          t.comment(`${Math.round(sent / 1e3)} kbit/s`);
          t.ok(sent < 8 * mbit && sent > 4 * mbit, `${sent} bit/s`);
        }
        t.ok((await bandwidth(two, 'node1', 8080, megabyte)) > 50 * mbit, 'not the other way');
        const all = await Promise.all([management(), bandwidth(one, 'node2', 8080, megabyte)]);
        t.ok(all[0] > 16 * mbit, `ssh is not starved: ${all[0]} bit/s`);
        t.ok(all[1] < 8 * mbit, `${all[1]} bit/s`);
      },
    });
    t.equal(result.outcome, 'Healed', result.message ?? 'no message');
    t.comment(`in effect after ${result.instants.effMs! - result.instants.cmdMs!} ms`);
    t.ok((await bandwidth(one, 'node2', 8080, megabyte)) > 50 * mbit);
    t.equal(await lab.traces('node1'), before);
  },
);

for (const rate of ['256kbit', '1mbit', '20mbit', '100mbit', '1gbit']) {
  await t.test(`${rate} is seen in effect, and seen gone`, async (t) => {
    const { result } = await lab.run({ kind: 'throttle', params: { rate }, targets, holdMs: 500 });
    t.equal(result.outcome, 'Healed', result.message ?? 'no message');
    t.comment(`in effect after ${result.instants.effMs! - result.instants.cmdMs!} ms`);
    t.same(await marks(), []);
  });
}

await t.test('nobody comes back: the node heals itself, and keeps its own queues', async (t) => {
  const before = await queues();
  const run = await lab.arm({ ...thin, fuseMs: 3_000 });
  t.equal(await run.inject(), 'active');
  t.equal((await marks()).length, 1);
  await lab.until('healed', 15_000, async () => (await queues()) === before);
  await run.close();
});

await t.test('a machine that restarts during the hold comes back without a trace of it', async (t) => {
  const before = await queues();
  const run = await lab.arm({ ...thin, fuseMs: 600_000 });
  await run.inject();
  await lab.powerCycle('node1');
  await lab.until('replayed', 60_000, run.isHealed);
  t.equal(await queues(), before);
  await run.close();
});

await t.test('a queue of somebody else is left alone, and refused before anything is changed', async (t) => {
  await lab.on('node1', 'tc qdisc add dev eth0 root handle 1: pfifo limit 77');
  t.teardown(() => lab.on('node1', 'tc qdisc del dev eth0 root'));
  const before = await queues();
  const { result } = await lab.run({ kind: 'throttle', targets, holdMs: 500 });
  t.equal(result.outcome, 'Refused', result.message ?? 'no message');
  const run = await lab.arm(thin);
  await t.rejects(run.inject(), /has a queue of its own/);
  await run.close();
  t.equal(await queues(), before);
});

await t.test('is healed without its directory, and without any journal', async (t) => {
  const before = await lab.on('node1', 'tc qdisc show dev eth0');
  const run = await lab.arm({ ...thin, name: 'lost.0' });
  await run.inject();
  await lab.on('node1', 'rm -r /var/lib/spark-failures/runs/lost.0; systemctl stop sf-lost.0.timer');
  t.same(await healNode(lab.node('node1'), scripts, signal), []);
  t.equal(await lab.on('node1', 'tc qdisc show dev eth0'), before);
});

await t.test('a node without the queues that it needs says so', async (t) => {
  t.same(await missingNeeds(lab.node('node1'), throttle.needs, scripts, signal), []);
  await lab.on('node1', 'mv /usr/sbin/tc /usr/sbin/tc.away');
  t.teardown(() => lab.on('node1', 'mv -f /usr/sbin/tc.away /usr/sbin/tc'));
  t.same(await missingNeeds(lab.node('node1'), throttle.needs, scripts, signal), ['htb']);
});
