import t from 'tap';
import type { TaskTarget } from '../../state-machines/contract.ts';
import { openFaultLab } from '../support/fault-lab.ts';

// The limit mechanism on real machines: felt inside the container, and exactly undone.

const lab = await openFaultLab(t, { cluster: 'faults-limit', subnet: '10.93.2.0/25' });
const { until } = lab;
const output = (script: string, ...args: string[]) => lab.on('node1', script, ...args);
/** Beside every target: a fault is of one container alone, and the engine's bridge has a carrier throughout. */
await lab.startTask('node1');
const busy = `sh -c 'while :; do :; done'`;
/** A file of the container's cgroup, of whichever version. */
const read = async ({ containerId }: TaskTarget, v1: string, v2: string) =>
  output(
    `if [ -e /sys/fs/cgroup/cgroup.controllers ]; then cat /sys/fs/cgroup/system.slice/docker-$1.scope/$3
     else cat "/sys/fs/cgroup/\${2%%.*}/docker/$1/$2"; fi`,
    ...[containerId, v1, v2],
  );
const throttled = async (task: TaskTarget) =>
  Number(/nr_throttled (\d+)/.exec(await read(task, 'cpu.stat', 'cpu.stat'))![1]);
const remove = ({ containerId }: TaskTarget) => output('docker rm -f "$1"', containerId);
/** CPU time that a container has used: nanoseconds in version 1, microseconds in version 2. */
const usedMs = async (task: TaskTarget) => {
  const text = await read(task, 'cpuacct.usage', 'cpu.stat');
  const usec = /^usage_usec (\d+)/.exec(text)?.[1];
  return usec === undefined ? Number(text) / 1e6 : Number(usec) / 1e3;
};
/** What a command inside the container ends with. */
const codeIn = async ({ containerId }: TaskTarget, command: string) =>
  Number(await output('docker exec "$1" sh -c "$2" >/dev/null 2>&1; echo $?', containerId, command));

await t.test('cpuLimit: a busy container is throttled while it is held, and then no more', async (t) => {
  const task = await lab.startTask('node1', '--cpus 0.9', busy);
  const before = await lab.traces('node1');
  let during: readonly number[] = [];
  const { result } = await lab.run({
    ...{ kind: 'cpuLimit', params: { cpus: 0.1 }, targets: [task], holdMs: 4_000 },
    during: async () => {
      const [startMs, usedBefore, times] = [Date.now(), await usedMs(task), await throttled(task)];
      await until('throttled 10 times', 3_000, async () => (await throttled(task)) >= times + 10);
      during = [(await usedMs(task)) - usedBefore, Date.now() - startMs];
    },
  });
  t.equal(result.outcome, 'Healed', result.message ?? 'no message');
  t.comment(
    `used ${during[0]} of ${during[1]} ms; in effect after ${result.instants.effMs! - result.instants.cmdMs!} ms`,
  );
  t.ok(during[0]! < during[1]! * 0.25, 'a tenth of a core, and two periods');
  t.equal(await lab.traces('node1'), before);
  t.match(before, /cpu.cfs_quota_us:90000|cpu.max:90000/);
  await remove(task);
});

await t.test('cpuLimit: an idle container has the limit in force, and the check says so', async (t) => {
  const task = await lab.startTask('node1');
  const before = await lab.traces('node1');
  const { result } = await lab.run({
    ...{ kind: 'cpuLimit', targets: [task], holdMs: 6_000 },
    during: async () => {
      t.match(await read(task, 'cpu.cfs_quota_us', 'cpu.max'), /^20000/);
    },
  });
  t.equal(result.outcome, 'Healed', result.message ?? 'no message');
  t.equal(await lab.traces('node1'), before);
  await remove(task);
});

await t.test('memoryLimit: what was allowed is killed while it is held', async (t) => {
  const task = await lab.startTask('node1', '--memory 256m');
  const need = 'dd if=/dev/zero of=/dev/null bs=100M count=1';
  const before = await lab.traces('node1');
  t.equal(await codeIn(task, need), 0);
  const swap = () =>
    read(task, 'memory.memsw.limit_in_bytes', 'memory.swap.max').catch(() => 'no swap accounting');
  const swapBefore = await swap();
  const { result } = await lab.run({
    ...{ kind: 'memoryLimit', params: { memory: '64Mi' }, targets: [task], holdMs: 4_000 },
    during: async () => {
      t.equal(await codeIn(task, need), 137, 'killed');
      t.equal(await codeIn(task, 'true'), 0, 'what needs less is not');
    },
  });
  t.equal(result.outcome, 'Healed', result.message ?? 'no message');
  t.equal(await codeIn(task, need), 0);
  t.equal(await swap(), swapBefore);
  t.equal(await lab.traces('node1'), before);
  await remove(task);
});

await t.test('memoryLimit: a container that dies of it is an outcome, gone with its limit', async (t) => {
  const before = await lab.traces('node1');
  const hungry = `sh -c 'while [ ! -e /eat ]; do sleep 0.1; done; exec dd if=/dev/zero of=/dev/null bs=100M'`;
  const task = await lab.startTask('node1', '--memory 256m', hungry);
  const { result } = await lab.run({
    ...{ kind: 'memoryLimit', params: { memory: '64Mi' }, targets: [task], holdMs: 9_000 },
    during: async () => {
      await codeIn(task, ': >/eat');
      const state = () =>
        output('docker inspect -f "{{.State.OOMKilled}} {{.State.Running}}" "$1"', task.containerId);
      await until('killed', 6_000, async () => (await state()) === 'true false');
    },
  });
  t.equal(result.outcome, 'Healed', result.message ?? 'no message');
  await remove(task);
  t.equal(await lab.traces('node1'), before);
});

await t.test('pidLimit: what runs goes on, and nothing new starts while it is held', async (t) => {
  const task = await lab.startTask('node1', '--pids-limit 100');
  const before = await lab.traces('node1');
  t.equal(await codeIn(task, '(true); true'), 0);
  const { result } = await lab.run({
    ...{ kind: 'pidLimit', params: { pids: 1 }, targets: [task], holdMs: 6_000 },
    during: async () => {
      t.not(await codeIn(task, '(true); true'), 0);
      t.equal(await output('docker inspect -f "{{.State.Running}}" "$1"', task.containerId), 'true');
    },
  });
  t.equal(result.outcome, 'Healed', result.message ?? 'no message');
  t.equal(await codeIn(task, '(true); true'), 0);
  t.equal(await lab.traces('node1'), before);
  await remove(task);
});

await t.test('a limit that would be raised is refused, and everything stays as it was', async (t) => {
  const task = await lab.startTask('node1', '--cpus 0.1 --memory 64m --pids-limit 50');
  const before = await lab.traces('node1');
  for (const [kind, params] of [
    ['cpuLimit', { cpus: 0.2 }],
    ['memoryLimit', { memory: '128Mi' }],
    ['pidLimit', { pids: 51 }],
  ] as const) {
    const { result } = await lab.run({ kind, params, targets: [task], holdMs: 1_000 });
    t.equal(result.outcome, 'Refused', kind);
    t.match(result.message, /would raise it/);
  }
  const same = await lab.run({ kind: 'pidLimit', params: { pids: 50 }, targets: [task], holdMs: 1_000 });
  t.equal(same.result.outcome, 'Refused', 'that limit is in force already');
  t.equal(await lab.traces('node1'), before);
  await remove(task);
});

await t.test('memoryLimit: what a container holds and cannot give back', async (t) => {
  const task = await lab.startTask(
    'node1',
    '--memory 256m',
    `sh -c 'dd if=/dev/zero bs=150M count=1 | sleep 3600'`,
  );
  const used = async () => Number(await read(task, 'memory.usage_in_bytes', 'memory.current'));
  await until('held', 10_000, async () => (await used()) > 150 * 1024 ** 2);
  const before = await lab.traces('node1');
  const { result } = await lab.run({
    kind: 'memoryLimit',
    params: { memory: '64Mi' },
    targets: [task],
    holdMs: 1_000,
  });
  if (before.includes('memory.limit_in_bytes')) {
    t.equal(result.outcome, 'Unknown');
    t.match(result.message, /memory.limit_in_bytes does not take 67108864/, 'version 1 refuses');
    t.ok((await used()) > 150 * 1024 ** 2, 'nothing was killed');
  } else t.equal(result.outcome, 'Healed', 'version 2 kills');
  t.equal(await lab.traces('node1'), before);
  await remove(task);
});

await t.test('a target that restarts has its own limits, and is not squeezed again', async (t) => {
  const task = await lab.startTask('node1', '--cpus 0.9');
  const before = await lab.traces('node1');
  const { result } = await lab.run({
    ...{ kind: 'cpuLimit', targets: [task], holdMs: 20_000 },
    during: async () => void (await output('docker restart -t 0 "$1"', task.containerId)),
  });
  t.equal(result.outcome, 'Unknown');
  t.match(result.message, /lost the effect/);
  t.equal(await lab.traces('node1'), before);
  await remove(task);
});

await t.test('nobody comes back: the node puts the limit back by itself', async (t) => {
  const task = await lab.startTask('node1', '--cpus 0.9', busy);
  const before = await lab.traces('node1');
  const quota = () => read(task, 'cpu.cfs_quota_us', 'cpu.max');
  const own = await quota();
  const run = await lab.arm({ kind: 'cpuLimit', target: task, fuseMs: 4_000 });
  t.equal(await run.inject(), 'active');
  t.not(await quota(), own);
  await until('put back', 20_000, async () => (await quota()) === own);
  t.equal(await run.looks(), 'inactive');
  await run.close();
  t.equal(await lab.traces('node1'), before);
  await remove(task);
});
