import t from 'tap';
import type { TaskTarget } from '../../state-machines/contract.ts';
import { healNode, scanOrphans } from '../../state-machines/scan-orphans.ts';
import { openFaultLab } from '../support/fault-lab.ts';
import type { LabStep } from '../support/fault-steps.ts';

// What takes a node's disk, or the way to it, on real machines: felt by a container, and given back to the last byte.

const lab = await openFaultLab(t, { cluster: 'faults-disk', subnet: '10.93.23.0/24', limitMs: 900_000 });
const { scripts, signal, until } = lab;
const output = (script: string, ...args: string[]) => lab.on('node1', script, ...args);
const node1 = { kind: 'node', node: 'node1' } as const;
const volumes = '/var/lib/docker/volumes';
const mib = 1024 ** 2;
/** The engine's bridge has a carrier, and its database of volumes has one, throughout. */
const writer = await lab.startTask('node1', '--volume data:/data');
const remove = ({ containerId }: TaskTarget) => output('docker rm -f "$1"', containerId);
const inside = ({ containerId }: TaskTarget, command: string) =>
  output('docker exec "$1" sh -c "$2" 2>&1 || true', containerId, command);
const writes = (task = writer) =>
  inside(task, 'dd if=/dev/zero of=/data/new bs=4k count=1 conv=fsync && rm /data/new || rm -f /data/new');
const freeBytes = async (path = volumes) =>
  Number(await output(`stat -f -c '%S %a' "$1" | awk '{ printf "%.0f", $1 * $2 }'`, path));
const usedPercent = async () =>
  Number.parseInt(await output('df --output=pcent "$1" | tail -n 1', volumes), 10);
const marks = async () =>
  (await scanOrphans(lab.node('node1'), scripts, signal)).filter(({ kind }) => kind === 'mark');

async function closed(run: LabStep): Promise<void> {
  await run.heal();
  t.equal(await run.looks(), 'inactive');
  await run.disarm();
}

/** A small file system of a file, mounted at a folder; gone again after `work`. */
async function withFileSystem(type: string, path: string, work: () => Promise<void>): Promise<void> {
  await output(
    `truncate -s 32M /root/small.img && "mkfs.$1" -q /root/small.img && mkdir -p "$2"
     device=$(losetup -f) && device=\${device%% *} && { [ -e "$device" ] || mknod "$device" b 7 "\${device#/dev/loop}"; }
     losetup "$device" /root/small.img && mount "$device" "$2" && losetup -d "$device"`,
    ...[type, path],
  );
  try {
    await work();
  } finally {
    await output('umount "$1" && rm /root/small.img', path);
  }
}

await t.test('each node has a file system of its own for volumes, also after a power cut', async (t) => {
  const sizes = () => Promise.all(['node1', 'node2'].map((name) => lab.on(name, `stat -f -c %b ${volumes}`)));
  const host = Number(await output('stat -f -c %b /'));
  for (const size of await sizes()) t.ok(Number(size) > 0 && Number(size) < host / 2, size);
  const identity = (name: string) => lab.on(name, `stat -f -c %i ${volumes}`);
  t.not(await identity('node1'), await identity('node2'));
  await lab.on('node2', `echo kept >${volumes}/kept && sync ${volumes}/kept`);
  const before = await identity('node2');
  await lab.powerCycle('node2');
  t.equal(await identity('node2'), before);
  t.equal(await lab.on('node2', `cat ${volumes}/kept && rm ${volumes}/kept`), 'kept');
  t.equal(await output('docker volume ls -q'), 'data', 'no lost+found');
});

await t.test('fillDisk: a container cannot write to its volume while it is held', async (t) => {
  const [before, free] = [await lab.traces('node1'), await freeBytes()];
  t.notMatch(await writes(), 'No space');
  const { result } = await lab.run({
    ...{ kind: 'fillDisk', targets: [node1], holdMs: 8_000 },
    during: async () => {
      t.match(await writes(), 'No space left on device');
      t.equal(await usedPercent(), 100);
      t.match(await marks(), [{ kind: 'mark', mechanism: 'disk' }]);
      t.ok(Number(await output('stat -f -c %a / ')) > 0, 'the host has what it had');
    },
  });
  t.equal(result.outcome, 'Healed', result.message ?? 'no message');
  t.comment(`in effect after ${result.instants.effMs! - result.instants.cmdMs!} ms`);
  t.notMatch(await writes(), 'No space');
  t.ok(Math.abs((await freeBytes()) - free) < mib);
  t.same(await marks(), []);
  t.equal(await lab.traces('node1'), before);
});

await t.test('fillDisk: to a percentage, or to what is left', async (t) => {
  for (const params of [{ percent: 90 }, { leave: '64Mi' }]) {
    const before = await lab.traces('node1');
    const { result } = await lab.run({
      ...{ kind: 'fillDisk', params, targets: [node1], holdMs: 4_000 },
      during: async () => {
        if ('percent' in params) t.ok(Math.abs((await usedPercent()) - 90) <= 1, `${await usedPercent()} %`);
        else t.ok(Math.abs((await freeBytes()) - 64 * mib) < mib, `${await freeBytes()} bytes`);
        t.notMatch(await writes(), 'No space');
      },
    });
    t.equal(result.outcome, 'Healed', result.message ?? 'no message');
    t.equal(await lab.traces('node1'), before);
  }
});

await t.test(
  "fillDisk: is refused where the disk is not the node's own, and when it is as full",
  async (t) => {
    const before = await lab.traces('node1');
    for (const [params, why] of [
      [{ path: '/var/lib/spark-failures' }, /on no disk of its own/],
      [{ path: '/var/lib/docker' }, /which other machines share/],
      [{ path: '/tmp' }, /on no disk of its own/],
      [{ path: '/nowhere' }, /is no folder/],
      [{ leave: '1000Gi' }, /free already/],
    ] as const) {
      const { result } = await lab.run({ kind: 'fillDisk', params, targets: [node1], holdMs: 1_000 });
      t.equal(result.outcome, 'Refused', result.message ?? 'no message');
      t.match(result.message, why);
    }
    t.equal(await lab.traces('node1'), before);
  },
);

await t.test('fillDisk: a full disk below the run itself keeps it from nothing', async (t) => {
  await output('mkdir -p /var/lib/spark-failures/runs');
  for (const type of ['ext4', 'ext2']) {
    await withFileSystem(type, '/var/lib/spark-failures/runs', async () => {
      const path = '/var/lib/spark-failures/runs';
      const free = await freeBytes(path);
      const run = await lab.arm({ kind: 'fillDisk', params: { path }, target: node1, fuseMs: 5_000 });
      t.equal(await run.inject(), 'active', type);
      t.equal(await freeBytes(path), 0);
      const more = 'dd if=/dev/zero of="$1/more" bs=4k count=1 2>&1 || true; rm -f "$1/more"';
      t.match(await output(more, path), 'No space left');
      // Nobody comes: by its own timer, on the disk that is full.
      await until('healed by itself', 30_000, async () => (await freeBytes(path)) > free - mib);
      await until('marked', 10_000, async () => (await output('ls "$1"/*', path)).includes('healed'));
      await closed(run);
    });
  }
});

await t.test('fillDisk: is undone without its directory, and without any journal', async (t) => {
  const [before, free] = [await lab.traces('node1'), await freeBytes()];
  const run = await lab.arm({ kind: 'fillDisk', target: node1, name: 'lost.0' });
  await run.inject();
  await output(
    'systemctl stop sf-lost.0.timer; rm -r /var/lib/spark-failures/runs/lost.0; rm -f /var/lib/spark-failures/locks/*',
  );
  t.equal(await run.looks(), 'active');
  await run.heal();
  t.equal(await run.looks(), 'inactive');
  // One of whose run nothing at all is left, and that somebody has open.
  await output(
    'fallocate -l 1G "$1/.sf-fill-12345"; (sleep 30 <"$1/.sf-fill-12345" >/dev/null 2>&1 &)',
    volumes,
  );
  t.match(await marks(), [{ kind: 'mark', mark: `${volumes}/.sf-fill-12345` }]);
  t.same(await healNode(lab.node('node1'), scripts, signal), []);
  t.ok(Math.abs((await freeBytes()) - free) < mib);
  t.equal(await lab.traces('node1'), before);
});

await t.test('fillDisk: a power cut during the hold is undone at boot', async (t) => {
  const fill = () => lab.on('node2', `stat -f -c %a ${volumes}`);
  const free = Number(await fill());
  const run = await lab.arm({ kind: 'fillDisk', target: { kind: 'node', node: 'node2' } });
  t.equal(await run.inject(), 'active');
  await lab.powerCycle('node2');
  await until('undone', 30_000, async () => Number(await fill()) > free - 1024);
  await closed(run);
});

/** Milliseconds of a direct write of half a MiB by the container itself. */
const writeMs = async (task: TaskTarget, file: string) => {
  const startMs = Date.now();
  const said = await inside(task, `dd if=/dev/zero of=${file} bs=64k count=24 oflag=direct; rm ${file}`);
  t.match(said, '1572864 bytes');
  return Date.now() - startMs;
};

await t.test('ioLimit: direct writes wait, to the root and to a volume, while it is held', async (t) => {
  const before = await lab.traces('node1');
  const { result } = await lab.run({
    ...{ kind: 'ioLimit', params: { rate: '1Mi' }, targets: [writer], holdMs: 12_000 },
    during: async () => {
      for (const file of ['/root/slow', '/data/slow']) {
        const ms = await writeMs(writer, file);
        t.ok(ms > 1_200, `${file}: ${ms} ms for 1.5 MiB`);
      }
      t.not(await lab.traces('node1'), before, 'the scan sees it');
    },
  });
  t.equal(result.outcome, 'Healed', result.message ?? 'no message');
  t.comment(`in effect after ${result.instants.effMs! - result.instants.cmdMs!} ms`);
  for (const file of ['/root/fast', '/data/fast']) {
    const ms = await writeMs(writer, file);
    t.ok(ms < 1_200, `${file}: ${ms} ms`);
  }
  t.equal(await lab.traces('node1'), before);
});

await t.test('ioLimit: puts back the limit that was there, and raises none', async (t) => {
  const task = await lab.startTask('node1');
  await output(
    `disk=$(stat -c %d /var/lib/docker | awk '{ print int($1 / 256) ":" $1 % 256 }')
     if [ -e /sys/fs/cgroup/cgroup.controllers ]; then
       echo "$disk wbps=4194304" >"/sys/fs/cgroup/system.slice/docker-$1.scope/io.max"
     else
       echo "$disk 4194304" >"/sys/fs/cgroup/blkio/docker/$1/blkio.throttle.write_bps_device"
     fi`,
    task.containerId,
  );
  const before = await lab.traces('node1');
  t.match(before, /4194304/);
  const higher = await lab.run({ kind: 'ioLimit', params: { rate: '8Mi' }, targets: [task], holdMs: 1_000 });
  t.equal(higher.result.outcome, 'Refused');
  t.match(higher.result.message, /would raise it/);
  const { result } = await lab.run({
    kind: 'ioLimit',
    params: { rate: '2Mi' },
    targets: [task],
    holdMs: 2_000,
  });
  t.equal(result.outcome, 'Healed', result.message ?? 'no message');
  t.equal(await lab.traces('node1'), before);
  await remove(task);
});

await t.test('ioPressure: the container has to share its disk, and finds nothing of ours', async (t) => {
  const before = await lab.traces('node1');
  const files = () => inside(writer, 'find / -xdev -type f | sort');
  const own = await files();
  const io = () => output(`ps -eo args | grep -E '[i]nject.sh blkio' | wc -l`);
  const { result } = await lab.run({
    ...{ kind: 'ioPressure', params: { workers: 2, size: '8Mi' }, targets: [writer], holdMs: 6_000 },
    during: async () => {
      t.ok(Number(await io()) >= 2);
      t.equal(await files(), own);
    },
  });
  t.equal(result.outcome, 'Healed', result.message ?? 'no message');
  t.comment(`in effect after ${result.instants.effMs! - result.instants.cmdMs!} ms`);
  t.equal(await io(), '0');
  t.equal(await lab.traces('node1'), before);
});

await t.test('nobody comes back: the node ends both by itself', async (t) => {
  const before = await lab.traces('node1');
  for (const kind of ['ioLimit', 'ioPressure']) {
    const run = await lab.arm({ kind, target: writer, fuseMs: 6_000 });
    await run.inject();
    await until('healed', 30_000, async () =>
      (await output('ls /var/lib/spark-failures/runs/*')).includes('healed'),
    );
    await closed(run);
  }
  t.equal(await lab.traces('node1'), before);
});
