// What the limit mechanism plans, and what its scripts write, on a made-up machine of each cgroup version.
import { execFile } from 'node:child_process';
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import t, { type Test } from 'tap';
import { cpuLimit, ioLimit, memoryLimit, pidLimit } from '../state-machines/faults/limit/fault.ts';
import { loadScripts } from '../state-machines/load-scripts.ts';
import { exampleFacts } from './contracts/fault-kind.ts';

const run = promisify(execFile);
const scripts = (await loadScripts('state-machines')).mechanism('limit');
const facts = exampleFacts('tasks');
const id = 'a'.repeat(64);

t.test(
  'plans thousandths of a core, bytes, processes, and bytes per second, before the containers',
  async (t) => {
    const args = [
      cpuLimit.plan(cpuLimit.params.parse({ cpus: 0.25 }), facts),
      memoryLimit.plan(memoryLimit.params.parse({ memory: '2Gi' }), facts),
      pidLimit.plan(pidLimit.params.parse({ pids: 7 }), facts),
      ioLimit.plan(ioLimit.params.parse({ rate: '2Mi' }), facts),
    ].map(([first]) => first!.args);
    const container = '0'.repeat(64);
    t.same(args, [
      ['cpu', '250', container],
      ['memory', String(2 * 1024 ** 3), container],
      ['pids', '7', container],
      ['blkio', String(2 * 1024 ** 2), container],
    ]);
  },
);

t.test('refuses parameters that no container could be given', async (t) => {
  for (const cpus of [0, -1, 0.001, 0.0125, 5000, '1'])
    t.notOk(cpuLimit.params.safeParse({ cpus }).success, `${cpus} cores`);
  for (const memory of ['0Mi', '512', '512M', '1.5Gi', '100Ki', 512])
    t.notOk(memoryLimit.params.safeParse({ memory }).success, `memory ${memory}`);
  for (const pids of [0, -1, 1.5, '64']) t.notOk(pidLimit.params.safeParse({ pids }).success, `${pids} pids`);
  for (const rate of ['0Mi', '65Mi', '1Gi', '512', 1])
    t.notOk(ioLimit.params.safeParse({ rate }).success, `rate ${rate}`);
});

/** Files of the container's cgroups by their path below /sys/fs/cgroup, as the engine makes them. */
const machines = {
  'cgroup version 1': {
    membership: [
      `4:blkio:/docker/${id}`,
      `3:memory:/docker/${id}`,
      `2:cpu,cpuacct:/docker/${id}`,
      `1:pids:/docker/${id}`,
    ].join('\n'),
    files: {
      [`cpu/docker/${id}/cpu.cfs_quota_us`]: '-1',
      [`cpu/docker/${id}/cpu.cfs_period_us`]: '100000',
      [`cpuacct/docker/${id}/cpuacct.usage`]: '1000000',
      [`memory/docker/${id}/memory.limit_in_bytes`]: '9223372036854771712',
      [`memory/docker/${id}/memory.memsw.limit_in_bytes`]: '9223372036854771712',
      [`memory/docker/${id}/memory.usage_in_bytes`]: '1000000',
      [`pids/docker/${id}/pids.max`]: '100',
      [`pids/docker/${id}/pids.current`]: '3',
      [`blkio/docker/${id}/blkio.throttle.read_bps_device`]: '7:9 9000000',
      [`blkio/docker/${id}/blkio.throttle.write_bps_device`]: '7:9 0',
    },
    squeezed: {
      cpu: { [`cpu/docker/${id}/cpu.cfs_quota_us`]: '20000' },
      memory: {
        [`memory/docker/${id}/memory.limit_in_bytes`]: '67108864',
        [`memory/docker/${id}/memory.memsw.limit_in_bytes`]: '67108864',
      },
      pids: { [`pids/docker/${id}/pids.max`]: '50' },
      blkio: {
        [`blkio/docker/${id}/blkio.throttle.read_bps_device`]: '7:9 1048576',
        [`blkio/docker/${id}/blkio.throttle.write_bps_device`]: '7:9 1048576',
      },
    },
  },
  'cgroup version 2': {
    // The container has made cgroups of its own: the limit is that of the whole.
    membership: `0::/system.slice/docker-${id}.scope/init.scope`,
    files: {
      'cgroup.controllers': 'cpuset cpu io memory pids',
      [`system.slice/docker-${id}.scope/cpu.max`]: 'max 50000',
      [`system.slice/docker-${id}.scope/cpu.stat`]: 'usage_usec 1000\nuser_usec 1',
      [`system.slice/docker-${id}.scope/memory.max`]: '536870912',
      [`system.slice/docker-${id}.scope/memory.swap.max`]: 'max',
      [`system.slice/docker-${id}.scope/memory.current`]: '1000000',
      [`system.slice/docker-${id}.scope/pids.max`]: 'max',
      [`system.slice/docker-${id}.scope/pids.current`]: '3',
      [`system.slice/docker-${id}.scope/io.max`]: '7:9 rbps=9000000 wbps=max',
    },
    squeezed: {
      cpu: { [`system.slice/docker-${id}.scope/cpu.max`]: '10000 50000' },
      memory: {
        [`system.slice/docker-${id}.scope/memory.max`]: '67108864',
        [`system.slice/docker-${id}.scope/memory.swap.max`]: '0',
      },
      pids: { [`system.slice/docker-${id}.scope/pids.max`]: '50' },
      blkio: { [`system.slice/docker-${id}.scope/io.max`]: '7:9 rbps=1048576 wbps=1048576' },
    },
  },
} as const;
const limits = { cpu: '200', memory: '67108864', pids: '50', blkio: '1048576' } as const;

/** The scripts with their /sys/fs/cgroup and /proc in a folder of plain files. */
async function makeMachine(t: Test, { membership, files }: (typeof machines)[keyof typeof machines]) {
  const root = t.testdir({ run: {} });
  const put = async (path: string, text: string) => {
    await mkdir(dirname(join(root, path)), { recursive: true });
    await writeFile(join(root, path), `${text}\n`);
  };
  await put('proc/77/cgroup', membership);
  await put('proc/77/status', 'NSpid:\t77\t1');
  await put('proc/uptime', '100.00 50.00');
  // A root without layers on one disk, of which it has a part, and a volume on another file system of the same.
  const mounts = ['79 55 7:9 / / rw - ext4 /dev/disk rw', '80 55 7:10 / /data rw - ext4 /dev/part rw'];
  await put('proc/77/mountinfo', mounts.join('\n'));
  await mkdir(join(root, 'proc/77/root'));
  for (const [path, text] of Object.entries({ '7:9/size': '1', '7:10/partition': '1', dev: '7:9' }))
    await put(join('block', path), text);
  for (const [path, text] of Object.entries(files)) await put(join('cgroup', path), text);
  const sh = async (text: string, args: readonly string[]) => {
    const own = text
      .replaceAll('/sys/fs/cgroup', './cgroup')
      .replaceAll('/proc/', './proc/')
      .replaceAll('/sys/dev/', './');
    const env = { ...process.env, SF_RUN_DIR: './run' };
    const { stdout } = await run('sh', ['-c', own, 'sh', ...args], { cwd: root, env });
    return stdout.trim();
  };
  const read = async () => {
    const paths = Object.keys(files);
    const texts = paths.map(async (path) => (await readFile(join(root, 'cgroup', path), 'utf8')).trim());
    return Object.fromEntries((await Promise.all(texts)).map((text, index) => [paths[index]!, text]));
  };
  return { root, put, read, sh };
}

for (const [version, machine] of Object.entries(machines)) {
  for (const resource of ['cpu', 'memory', 'pids', 'blkio'] as const) {
    const args = [resource, limits[resource], id];

    t.test(`${version}: squeezes ${resource} alone, and puts back what was there`, async (t) => {
      const { sh, read } = await makeMachine(t, machine);
      const before = await read();
      t.equal(await sh(scripts.check, args), 'inactive');
      await sh(scripts.undo, args);
      t.same(await read(), before, 'nothing saved: nothing to undo');
      await sh(scripts.inject, args);
      t.same(await read(), { ...before, ...machine.squeezed[resource] });
      // Nothing slows a process of this machine down: that is measured, not believed.
      t.equal(await sh(scripts.check, args), resource === 'blkio' ? 'unknown' : 'active');
      await sh(scripts.undo, args);
      await sh(scripts.undo, args);
      t.same(await read(), before);
      t.equal(await sh(scripts.check, args), 'inactive');
    });

    t.test(`${version}: never raises ${resource}, and says so before it touches anything`, async (t) => {
      const { sh, read, put } = await makeMachine(t, machine);
      for (const [path, text] of Object.entries(machine.squeezed[resource]))
        await put(join('cgroup', path), text);
      const before = await read();
      const bigger = [resource, String(Number(limits[resource]) * 2), id];
      await t.rejects(sh(scripts.inject, bigger), /would raise it/);
      await sh(scripts.undo, bigger);
      t.same(await read(), before);
    });
  }

  t.test(`${version}: a container that is gone took its limit with it`, async (t) => {
    const { sh, root } = await makeMachine(t, machine);
    await sh(scripts.inject, ['pids', '50', id]);
    await rm(join(root, 'proc/77'), { recursive: true });
    for (const dir of ['cgroup/pids', 'cgroup/system.slice'])
      await rm(join(root, dir), { recursive: true, force: true });
    t.equal(await sh(scripts.check, ['pids', '50', id]), 'active', 'it died under its limit');
    await sh(scripts.undo, ['pids', '50', id]);
    t.equal(await sh(scripts.check, ['pids', '50', id]), 'inactive');
    await t.rejects(sh(scripts.inject, ['pids', '50', id]), /is not running/);
  });
}
