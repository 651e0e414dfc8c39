import t from 'tap';
import type { TaskTarget } from '../../state-machines/contract.ts';
import { healNode, scanOrphans } from '../../state-machines/scan-orphans.ts';
import { openFaultLab } from '../support/fault-lab.ts';
import type { LabStep } from '../support/fault-steps.ts';

// The burn mechanism on real machines: felt by the container, by nobody else, and ended whatever becomes of its parts.

const lab = await openFaultLab(t, { cluster: 'faults-burn', subnet: '10.93.2.128/25' });
const { scripts, signal, until } = lab;
const output = (script: string, ...args: string[]) => lab.on('node1', script, ...args);
/** The engine's bridge has a carrier throughout. */
const bystander = await lab.startTask('node1');
const remove = ({ containerId }: TaskTarget) => output('docker rm -f "$1"', containerId);
/** Percent of a core, and bytes, that the engine says the container uses. */
const stats = async ({ containerId }: TaskTarget) => {
  const [cpu, memory] = (
    await output('docker stats --no-stream --format "{{.CPUPerc}} {{.MemPerc}}" "$1"', containerId)
  ).split(' ');
  return { cpu: Number.parseFloat(cpu!), memory: Number.parseFloat(memory!) };
};
/** Processes of the node that no container sees, yet burn. */
const burning = () =>
  output('ps -eo args | grep -E "[i]nject.sh (cpu|memory)|[d]d if=/dev/zero bs=" || true');
const marks = async () =>
  (await scanOrphans(lab.node('node1'), scripts, signal)).filter(({ kind }) => kind === 'mark');
const inEffect = (run: LabStep) => until('in effect', 5_000, async () => (await run.looks()) === 'active');

await t.test('cpuPressure: takes CPU time of the container, which sees no process of ours', async (t) => {
  const task = await lab.startTask('node1', '--cpus 0.5');
  const before = await lab.traces('node1');
  const { result } = await lab.run({
    ...{ kind: 'cpuPressure', params: { workers: 2 }, targets: [task], holdMs: 8_000 },
    during: async () => {
      const { cpu } = await stats(task);
      t.ok(cpu > 5 && cpu < 90, `${cpu} % of a core: what its quota and the machine give`);
      t.ok((await stats(bystander)).cpu < 2);
      t.notMatch(
        await output('docker exec "$1" sh -c "cat /proc/[0-9]*/cmdline"', task.containerId),
        'inject',
      );
      t.same((await marks()).length, 1);
    },
  });
  t.equal(result.outcome, 'Healed', result.message ?? 'no message');
  t.comment(`in effect after ${result.instants.effMs! - result.instants.cmdMs!} ms`);
  t.equal(await burning(), '');
  t.same(await marks(), []);
  t.ok((await stats(task)).cpu < 2);
  t.equal(await lab.traces('node1'), before);
  await remove(task);
});

await t.test('cpuPressure: a load is a share of a core', async (t) => {
  const task = await lab.startTask('node1');
  const run = await lab.arm({ kind: 'cpuPressure', params: { load: 20 }, target: task });
  await run.inject();
  await inEffect(run);
  const { cpu } = await stats(task);
  t.ok(cpu > 5 && cpu < 40, `${cpu} %`);
  await run.close();
  t.equal(await burning(), '');
  await remove(task);
});

await t.test('memoryPressure: takes memory of the limit, and gives it back', async (t) => {
  const task = await lab.startTask('node1', '--memory 256m');
  const need = 'dd if=/dev/zero of=/dev/null bs=170M count=1 2>/dev/null; echo $?';
  const fits = () => output('docker exec "$1" sh -c "$2"', task.containerId, need);
  const before = await lab.traces('node1');
  t.equal(await fits(), '0');
  const { result } = await lab.run({
    ...{ kind: 'memoryPressure', params: { size: '100Mi' }, targets: [task], holdMs: 8_000 },
    during: async () => {
      const { memory } = await stats(task);
      t.ok(memory > 38 && memory < 50, `${memory} % of the limit`);
      t.equal(await fits(), '137', 'what fitted before is killed');
    },
  });
  t.equal(result.outcome, 'Healed', result.message ?? 'no message');
  t.equal(await fits(), '0');
  t.equal(await burning(), '');
  t.equal(await lab.traces('node1'), before);
  await remove(task);
});

await t.test('memoryPressure: when the kernel kills what holds the memory, it comes back', async (t) => {
  const task = await lab.startTask('node1', '--memory 256m');
  const before = await lab.traces('node1');
  const holder = () => output('pgrep -x dd || true');
  const { result } = await lab.run({
    ...{ kind: 'memoryPressure', params: { size: '180Mi' }, targets: [task], holdMs: 8_000 },
    during: async () => {
      const first = await holder();
      t.not(first, '');
      await output('docker exec "$1" dd if=/dev/zero of=/dev/null bs=120M count=1', task.containerId);
      await until('back', 3_000, async () => !['', first].includes(await holder()));
    },
  });
  t.equal(result.outcome, 'Healed', result.message ?? 'no message');
  t.equal(await lab.traces('node1'), before);
  await remove(task);
});

await t.test('memoryPressure: demands a finite limit above it', async (t) => {
  for (const options of ['', '--memory 64m']) {
    const task = await lab.startTask('node1', options);
    const before = await lab.traces('node1');
    const { result } = await lab.run({ kind: 'memoryPressure', targets: [task], holdMs: 1_000 });
    t.not(result.outcome, 'Healed');
    t.match(result.message, /has no limit between/);
    t.equal(await burning(), '');
    t.equal(await lab.traces('node1'), before);
    await remove(task);
  }
});

await t.test('a container that is killed takes its burners with it', async (t) => {
  const task = await lab.startTask('node1', '--memory 256m');
  const other = await lab.startTask('node1', '--memory 256m');
  const runs = [
    await lab.arm({ kind: 'cpuPressure', target: task }),
    await lab.arm({ kind: 'memoryPressure', params: { size: '128Mi' }, target: other }),
  ];
  for (const run of runs) {
    await run.inject();
    await inEffect(run);
    await output('docker kill "$1"', run.step.args[3]!);
    await until('burnt out', 5_000, async () => (await burning()) === '');
    t.equal(await run.looks(), 'active', 'it died under it');
    await run.heal();
    t.equal(await run.looks(), 'inactive');
    await run.close();
  }
  t.equal(await output('find /sys/fs/cgroup -name "*$1*"', task.containerId), '', 'its cgroups are gone');
  await Promise.all([task, other].map(remove));
});

await t.test('nobody comes back: the node ends it by itself', async (t) => {
  const task = await lab.startTask('node1', '--memory 256m');
  const before = await lab.traces('node1');
  for (const fault of [
    { kind: 'cpuPressure', params: { workers: 3, load: 50 } },
    { kind: 'memoryPressure', params: { size: '128Mi' } },
  ]) {
    const run = await lab.arm({ ...fault, target: task, fuseMs: 5_000 });
    await run.inject();
    await until('burning', 5_000, async () => (await burning()) !== '');
    await until('ended', 20_000, async () => (await burning()) === '');
    t.equal(await run.looks(), 'inactive');
    await run.close();
  }
  t.equal(await lab.traces('node1'), before);
  await remove(task);
});

await t.test(
  'burners that outlive their unit, or an inject that was cut short, are found and ended',
  async (t) => {
    const task = await lab.startTask('node1');
    const run = await lab.arm({ kind: 'cpuPressure', params: { workers: 2 }, target: task });
    await run.inject();
    await inEffect(run);
    // As in cgroup version 2, where they leave the unit's cgroup with their move: systemd knows none of them.
    const units = () => output('systemctl list-units --plain --no-legend "sf-burn-*" | cut -d" " -f1');
    const unit = await units();
    await output(
      `for pid in $(pgrep -f '[i]nject.sh cpu'); do
         for tree in systemd unified .; do
           echo "$pid" >"/sys/fs/cgroup/$tree/cgroup.procs" || true
         done
       done 2>/dev/null`,
    );
    await output('systemctl kill --kill-whom=main -s KILL "$1"', unit);
    t.not(await burning(), '');
    await run.heal();
    t.equal(await burning(), '');
    await run.disarm();

    const late = await lab.arm({ kind: 'cpuPressure', target: task, name: 'late.0' });
    const dir = '/var/lib/spark-failures/runs/late.0';
    // Its inject was still on its way when the heal came and went: what starts now, ends at once.
    await late.heal();
    await output('cd "$1" && SF_RUN_DIR=$1 sh ./inject.sh cpu 1 100 "$2"', ...[dir, task.containerId]);
    await until('ended', 5_000, async () => (await units()) + (await burning()) === '');
    await late.disarm();
    await remove(task);
  },
);

await t.test('is healed without its directory, and without any journal', async (t) => {
  const task = await lab.startTask('node1');
  const before = await lab.traces('node1');
  const run = await lab.arm({ kind: 'cpuPressure', target: task, name: 'lost.0' });
  await run.inject();
  await inEffect(run);
  await output('rm -r /var/lib/spark-failures/runs/lost.0');
  await until('ended by itself', 5_000, async () => (await burning()) === '');
  await run.heal();
  await output('systemctl stop sf-lost.0.timer; rm -f /var/lib/spark-failures/locks/*');
  // One that nothing can tell to end: only its mark is left. Type=exec: it is there when the command returns.
  await output(
    'systemd-run --quiet --collect --property=Type=exec --unit=sf-burn-12345 --setenv=SF_BURN=sf-burn-12345 sh -c "while :; do sleep 0.1; done"',
  );
  t.match(await marks(), [{ kind: 'mark' }]);
  t.same(await healNode(lab.node('node1'), scripts, signal), []);
  t.same(await marks(), []);
  t.equal(await lab.traces('node1'), before);
  await remove(task);
});
