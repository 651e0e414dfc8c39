import t, { type Test } from 'tap';
import type { TaskTarget } from '../../state-machines/contract.ts';
import { scanOrphans } from '../../state-machines/scan-orphans.ts';
import { openGuest } from '../support/guest.ts';

// What takes an engine on a kernel of its own: services with virtual addresses (IPVS), disks under cgroup version 2, and
// the loss of power, where what was not on the disk is lost.

const guest = await openGuest(t, { swarm: true, memoryMib: 1536, limitMs: 900_000 });
const { scripts, signal } = guest;
const on = (script: string, ...args: string[]) => guest.on('node1', script, ...args);
const node1 = { kind: 'node', node: 'node1' } as const;
const minute = 60_000;

/** No registry is in reach: a shell and a perl, out of the machine's own files. */
await on(
  `cd / && lib=usr/lib/x86_64-linux-gnu && tar -c bin sbin lib lib64 usr/lib64 usr/bin/dash usr/bin/sh usr/bin/perl \
     usr/bin/sleep usr/bin/dd usr/bin/rm "$lib/perl-base" $(for name in ld-linux-x86-64.so.2 libc.so.6 libm.so.6 \
     libcrypt.so.1 libcrypt.so.1.1.0; do echo "$lib/$name"; done) | docker import - victim >/dev/null
   docker network create --driver overlay --attachable app >/dev/null`,
);

const echoServer = `use IO::Socket::INET;
  $l = IO::Socket::INET->new(LocalPort => 7000, Listen => 5, ReuseAddr => 1) or die;
  while ($p = $l->accept) { print $p "answer\\n"; close $p }`;
const start = (name: string, mode: 'vip' | 'dnsrr', ...command: string[]) =>
  on(
    `name=$1 mode=$2; shift 2
     docker service create --quiet --detach --no-resolve-image --name "$name" --network app --endpoint-mode "$mode" \
       --stop-grace-period 1s --mount type=volume,source="$name",target=/data victim "$@" >/dev/null`,
    ...[name, mode, ...command],
  );
await start('back', 'vip', 'perl', '-e', echoServer);
await start('other', 'vip', 'perl', '-e', echoServer);
await start('front', 'dnsrr', 'sleep', '3600');
const taskOf = async (name: string): Promise<TaskTarget | undefined> => {
  const service = (await guest.inventory()).services.find((each) => each.name === name);
  const [task] = service?.tasks ?? [];
  return task && { kind: 'task', service: name, ...task };
};
for (const name of ['back', 'other', 'front'])
  await guest.until(`${name} runs`, 2 * minute, async () => (await taskOf(name)) !== undefined);
const front = (await taskOf('front'))!;

/** What `front` gets from a service, asked by its name, which is that of its virtual address. */
const asks = (service: string) =>
  on(
    `docker exec "$1" perl -e 'use IO::Socket::INET;
       $s = IO::Socket::INET->new(PeerAddr => "$ARGV[0]:7000", Timeout => 2);
       print $s ? scalar <$s> : $! =~ /refused/ ? "refused" : "silence"' "$2"`,
    ...[front.containerId, service],
  );

await t.test('a service behind a virtual address is reached through IPVS', async (t) => {
  const [back] = (await guest.inventory()).services.filter(({ name }) => name === 'back');
  t.equal(back?.addresses?.length, 1);
  t.equal(await asks('back'), 'answer');
  t.equal(await asks('other'), 'answer');
  // Each network has a namespace of its own on the machine, in which the calls of all its containers are distributed.
  const tables = () =>
    on('for ns in /run/docker/netns/lb_*; do nsenter --net="$ns" cat /proc/net/ip_vs; done 2>&1 || true');
  const isMarked = async () => /FWM .* rr/.test(await tables());
  await guest.until('its packets are marked and led on', minute, isMarked).catch(async (error: unknown) => {
    t.comment(await tables());
    throw error;
  });
});

const cutOff = async (t: Test, kind: string, params: object, expected: string) => {
  const { result } = await guest.run({
    ...{ kind, params, targets: [front], holdMs: 12_000 },
    during: async () => {
      t.equal(await asks('back'), expected);
      t.equal(await asks('other'), 'answer');
    },
  });
  t.equal(result.outcome, 'Healed', result.message ?? 'no message');
  t.equal(await asks('back'), 'answer');
  t.same(await scanOrphans(guest.node('node1'), scripts, signal), []);
};

await t.test('a partition from a service stops what goes to its virtual address', async (t) => {
  const from = { services: { matchNames: ['back'] } };
  await cutOff(t, 'partition', { from }, 'silence');
  await cutOff(t, 'partition', { from, direction: 'out', action: 'reject' }, 'refused');
});

await t.test('towards a service behind one it is refused, since nobody can tell the callers', async (t) => {
  const back = (await taskOf('back'))!;
  await t.rejects(guest.run({ kind: 'partition', targets: [back], holdMs: 500 }), /virtual address/);
});

await t.test('a blocked port of a service behind one answers nobody', async (t) => {
  const back = (await taskOf('back'))!;
  const { result } = await guest.run({
    ...{ kind: 'blockPort', targets: [back], holdMs: 8_000 },
    params: { protocol: 'tcp', ports: [7000], direction: 'in', action: 'drop' },
    during: async () => {
      t.equal(await asks('back'), 'silence');
      t.equal(await asks('other'), 'answer');
    },
  });
  t.equal(result.outcome, 'Healed', result.message ?? 'no message');
  t.equal(await asks('back'), 'answer');
});

/** Milliseconds that a container needs to bring one MiB onto its volume, as its dd says. */
const writes = async ({ containerId }: TaskTarget) =>
  1000 *
  Number(
    await on(
      `docker exec "$1" dd if=/dev/zero of=/data/new bs=64k count=16 oflag=direct 2>&1 |
         sed -n 's/.* copied, \\([0-9.e-]*\\) s.*/\\1/p' && docker exec "$1" rm /data/new`,
      containerId,
    ),
  );

await t.test('cgroup version 2: ioLimit slows what a container writes, and no other', async (t) => {
  const other = (await taskOf('other'))!;
  t.ok((await writes(front)) < 900);
  const { result } = await guest.run({
    ...{ kind: 'ioLimit', params: { rate: '1Mi' }, targets: [front], holdMs: 15_000 },
    during: async () => {
      const [slow, fast] = [await writes(front), await writes(other)];
      t.comment(`1 MiB in ${slow} ms, beside it in ${fast} ms`);
      t.ok(slow > 700 && fast < slow / 2);
    },
  });
  t.equal(result.outcome, 'Healed', result.message ?? 'no message');
  t.ok((await writes(front)) < 900);
});

await t.test('cgroup version 2: ioPressure is on the account of the container, and ends', async (t) => {
  const written = async () =>
    Number(
      await on(
        `awk '{ for (i = 1; i <= NF; i++) if (sub("wbytes=", "", $i)) sum += $i } END { printf "%.0f", sum }' \
           "/sys/fs/cgroup/system.slice/docker-$1.scope/io.stat"`,
        front.containerId,
      ),
    );
  const before = await written();
  const { result } = await guest.run({
    ...{ kind: 'ioPressure', params: { workers: 1, size: '4Mi' }, targets: [front], holdMs: 8_000 },
    during: async () => {
      const now = (await written()) - before;
      t.comment(`${now} bytes written in it`);
      t.ok(now > 1024 ** 2);
    },
  });
  t.equal(result.outcome, 'Healed', result.message ?? 'no message');
  t.same(await scanOrphans(guest.node('node1'), scripts, signal), []);
});

const boots = () => on('cat /proc/sys/kernel/random/boot_id');

await t.test(
  'the power goes off without a word, and comes back: another boot, the same member',
  async (t) => {
    const [before, member] = [await boots(), await on("docker info --format '{{.Swarm.NodeID}}'")];
    const { result } = await guest.run({ kind: 'powerOffNode', targets: [node1], holdMs: 5_000 });
    t.equal(result.outcome, 'Healed', result.message ?? 'no message');
    t.not(await boots(), before);
    t.equal(await on("docker info --format '{{.Swarm.NodeID}}'"), member);
    t.same(await scanOrphans(guest.node('node1'), scripts, signal), []);
  },
);

await t.test('what is needed to heal is on the disk before anything is broken', async (t) => {
  // A service that is scaled down stays so over a boot: only the replay of the run puts it back.
  const service = (await guest.inventory()).services.find(({ name }) => name === 'other')!;
  const target = { kind: 'service', service: 'other', serviceId: service.id, replicated: true } as const;
  const replicas = () => on("docker service inspect --format '{{.Spec.Mode.Replicated.Replicas}}' other");
  const { result } = await guest.run({
    ...{ kind: 'stopService', targets: [target], holdMs: 10 * minute },
    during: async () => {
      t.equal(await replicas(), '0');
      await guest.power.off('node1', signal);
      await guest.power.on('node1', signal);
      await guest.until('put back', 3 * minute, async () => (await replicas().catch(() => '')) === '1');
    },
  });
  t.match(result.outcome, /Aborted|Unknown/);
  t.same(await scanOrphans(guest.node('node1'), scripts, signal), []);
});

await t.test('an orderly reboot is another boot, too', async (t) => {
  const before = await boots();
  const { result } = await guest.run({ kind: 'rebootNode', targets: [node1] });
  t.equal(result.outcome, 'Healed', result.message ?? 'no message');
  t.not(await boots(), before);
});
