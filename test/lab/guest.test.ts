import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import type { Target, TaskTarget } from '../../state-machines/contract.ts';
import { delay } from '../../state-machines/faults/netem/fault.ts';
import { missingNeeds } from '../../state-machines/missing-needs.ts';
import { healNode, scanOrphans } from '../../state-machines/scan-orphans.ts';
import { packageRoot } from '../support/examples.ts';
import { openGuest } from '../support/guest.ts';

// What the kernel of a lab's machines may lack, in a virtual machine: packets that are late, lost, doubled, turned or
// overtaken, measured between network stacks past all of ours.

const guest = await openGuest(t);
const { scripts, signal } = guest;
const nodes = [{ kind: 'node', node: 'node1' }] as const;
const only = { to: { matchNames: ['node2'] } };

interface Pings {
  /** Milliseconds, sorted. */
  readonly trips: readonly number[];
  readonly doubled: number;
  readonly overtaken: number;
}

/** `count` pings, 5 ms apart, from a node or from inside a container. */
const pings = async (to: string, count: number, from = ''): Promise<Pings> => {
  const out = await guest.on(
    'node1',
    `pid=$(for pid in $(grep -lsF "\${3:-none}" /proc/[0-9]*/cgroup | cut -d/ -f3); do
       grep -qsE '^NSpid:[[:space:]]+[0-9]+[[:space:]]+1$' "/proc/$pid/status" && echo "$pid"; done | head -n 1)
     nsenter --net="/proc/\${pid:-self}/ns/net" ping -n -i 0.005 -c "$2" -W 2 "$1" | grep 'icmp_seq=' || true`,
    ...[to, String(count), from],
  );
  const answers = out.split('\n').flatMap((line) => {
    const found = /icmp_seq=(\d+) .*time=([\d.]+) ms( \(DUP!\))?/.exec(line);
    return found
      ? [{ sequence: Number(found[1]), ms: Number(found[2]), isDouble: found[3] !== undefined }]
      : [];
  });
  const first = answers.filter(({ isDouble }) => !isDouble);
  return {
    trips: first.map(({ ms }) => ms).sort((a, b) => a - b),
    doubled: answers.length - first.length,
    overtaken: first.filter(({ sequence }, index) => sequence < (first[index - 1]?.sequence ?? 0)).length,
  };
};
const median = ({ trips }: Pings) => trips[Math.floor(trips.length / 2)] ?? Number.NaN;

/** How many of `count` happen with 99.9 %, each with probability `share`: cut off by the exact tails of the binomial. */
const likely = (count: number, share: number): readonly [number, number] => {
  let [logTerm, sum, low] = [count * Math.log1p(-share), 0, 0];
  for (let k = 0; k <= count; k += 1) {
    sum += Math.exp(logTerm);
    if (sum < 0.0005) low = k + 1;
    if (sum > 0.9995) return [low, k];
    logTerm += Math.log((count - k) / (k + 1)) + Math.log(share / (1 - share));
  }
  return [low, count];
};
const within = (value: number, [low, high]: readonly [number, number]) => value >= low && value <= high;

const queues = () => guest.on('node1', 'tc qdisc show; ip -o link');

/** One run of a kind; what is measured in it must be over when it ends. */
const hold = async (
  t: Pick<typeof import('tap').t, 'equal' | 'comment'>,
  fault: {
    readonly kind: string;
    readonly params: object;
    readonly targets?: readonly Target[];
    readonly holdMs?: number;
  },
  during: () => Promise<void>,
) => {
  const before = await queues();
  const { result } = await guest.run({ targets: nodes, holdMs: 8_000, ...fault, during });
  t.equal(result.outcome, 'Healed', result.message ?? 'no message');
  t.comment(`in effect after ${result.instants.effMs! - result.instants.cmdMs!} ms`);
  t.equal(await queues(), before);
};

await t.test('the machine has what the lab may lack', async (t) => {
  t.comment(await guest.on('node1', 'uname -r; systemctl is-system-running || true'));
  t.same(await missingNeeds(guest.node('node1'), delay.needs, scripts, signal), []);
});

await t.test('a delay is as long as asked for, on the way to the chosen peers only', async (t) => {
  const base = median(await pings('10.77.0.2', 40));
  await hold(t, { kind: 'delay', params: { delay: '100ms', ...only } }, async () => {
    const [late, other] = [median(await pings('10.77.0.2', 40)), median(await pings('10.77.0.3', 40))];
    t.comment(`round trip ${base} ms before, ${late} ms with 100 ms more, ${other} ms to the other`);
    t.ok(Math.abs(late - base - 100) <= 10, 'within 10 %');
    t.ok(other < 50, 'the other peer is as near as before');
  });
  t.ok(median(await pings('10.77.0.2', 40)) < base + 20);
});

await t.test('jitter spreads round trips about the delay', async (t) => {
  const params = { delay: '100ms', jitter: '40ms', distribution: 'normal', ...only };
  await hold(t, { kind: 'delay', params }, async () => {
    const { trips } = await pings('10.77.0.2', 200);
    const mean = trips.reduce((sum, ms) => sum + ms, 0) / trips.length;
    const deviation = Math.sqrt(trips.reduce((sum, ms) => sum + (ms - mean) ** 2, 0) / trips.length);
    t.comment(`mean ${mean.toFixed(1)} ms, standard deviation ${deviation.toFixed(1)} ms`);
    t.ok(within(deviation, [28, 56]), `${deviation}`);
  });
});

await t.test('inside a container: on the way to the others of its networks, whatever they are', async (t) => {
  const [victim, other] = [await guest.startProcess(), await guest.startProcess()];
  const address = other.addresses![0]!.split('/')[0]!;
  const from = victim.containerId;
  const base = median(await pings(address, 40, from));
  await hold(t, { kind: 'delay', params: { delay: '200ms' }, targets: [victim] }, async () => {
    const late = median(await pings(address, 40, from));
    t.comment(`round trip ${base} ms before, ${late} ms with 200 ms more`);
    t.ok(Math.abs(late - base - 200) <= 20, 'within 10 %');
    t.match(await scanOrphans(guest.node('node1'), scripts, signal), [{ kind: 'run' }, { kind: 'mark' }]);
  });
  t.ok(median(await pings(address, 40, from)) < base + 20);
  t.same(await scanOrphans(guest.node('node1'), scripts, signal), []);
});

await t.test(
  'a container that ends during the hold takes the fault with it, and leaves no pin',
  async (t) => {
    const [victim] = [await guest.startProcess(), await guest.startProcess()];
    const { result } = await guest.run({
      ...{ kind: 'delay', targets: [victim], holdMs: 8_000 },
      during: async () => void (await guest.on('node1', 'systemctl stop "docker-$1"', victim.containerId)),
    });
    t.equal(result.outcome, 'Healed', result.message ?? 'no message');
    t.equal(await guest.on('node1', 'grep -c spark-failures /proc/self/mountinfo || true'), '0');
  },
);

await t.test(
  'a container of which only the dead are left is gone, though nobody has asked how they ended',
  async (t) => {
    const gone = readFileSync(join(packageRoot, 'state-machines/dead-man/gone.sh'), 'utf8');
    const asleep = `
    mkdir "/sys/fs/cgroup/$1"
    # The parent is no shell, which would ask.
    sh -c '(echo 0 >"/sys/fs/cgroup/$1/cgroup.procs"; exec sleep 60) & echo "$!" >"/run/$1"; exec sleep 60' sh "$1" &
    parent=$!
    sleep 1
    child=$(cat "/run/$1")
    echo "alive: $(sh -c "$2" gone "$1")"
    kill -9 "$child"
    sleep 1
    echo "state: $(sed 's/.*) //' "/proc/$child/stat" | cut -c1) in $(cut -d/ -f2 "/proc/$child/cgroup")"
    echo "dead: $(sh -c "$2" gone "$1")"
    kill -9 "$parent"
    rm "/run/$1"`;
    t.equal(
      await guest.on('node1', asleep, 'a'.repeat(64), gone),
      [...['alive: ', `state: Z in ${'a'.repeat(64)}`, `dead: ${'a'.repeat(64)}`]].join('\n'),
    );
  },
);

const count = 600;
await t.test('as many are lost as asked for', async (t) => {
  await hold(t, { kind: 'loss', params: { percent: 20, ...only } }, async () => {
    const lost = count - (await pings('10.77.0.2', count)).trips.length;
    t.comment(`${lost} of ${count} lost, likely are ${likely(count, 0.2).join(' to ')}`);
    t.ok(within(lost, likely(count, 0.2)));
  });
  t.equal((await pings('10.77.0.2', 100)).trips.length, 100);
});

await t.test('as many arrive twice as asked for', async (t) => {
  await hold(t, { kind: 'duplicate', params: { percent: 20, ...only } }, async () => {
    const { doubled } = await pings('10.77.0.2', count);
    t.comment(`${doubled} of ${count} doubled, likely are ${likely(count, 0.2).join(' to ')}`);
    t.ok(within(doubled, likely(count, 0.2)));
  });
});

await t.test('bits that were turned are noticed by whoever gets them', async (t) => {
  const noticed = () =>
    guest.on(
      'node2',
      "nstat -asz IcmpInCsumErrors IpInHdrErrors | awk '!/^#/ { sum += $2 } END { print sum }'",
    );
  await hold(t, { kind: 'corrupt', params: { percent: 60, ...only } }, async () => {
    const before = Number(await noticed());
    const lost = 300 - (await pings('10.77.0.2', 300)).trips.length;
    const refused = Number(await noticed()) - before;
    t.comment(`${lost} of 300 did not come back, ${refused} had a wrong checksum`);
    t.ok(within(lost, [300 * 0.6 * 0.75, likely(300, 0.6)[1]]), 'but what hit an address of a sender');
    t.ok(refused > 100);
  });
});

await t.test('some overtake the others', async (t) => {
  await hold(t, { kind: 'reorder', params: { percent: 30, delay: '60ms', ...only } }, async () => {
    const seen = await pings('10.77.0.2', 300);
    const early = seen.trips.filter((ms) => ms < 45).length;
    t.comment(`${early} of 300 went at once, ${seen.overtaken} answers came out of order`);
    t.ok(within(early, likely(300, 0.3)));
    t.ok(seen.overtaken > 20);
  });
});

await t.test('no packet is lost to the queue at the rate that it was made for', async (t) => {
  // 20 Mbit/s of 1000-byte packets: 2500 a second, 5000 on the way: five times what netem would take by default.
  const params = { delay: '2s', rate: '20mbit', ...only };
  // The look that starts the hold takes as long as the delay.
  await hold(t, { kind: 'delay', params, holdMs: 15_000 }, async () => {
    const sender = `use IO::Socket::INET; sub up { open U, "/proc/uptime"; <U> =~ /^(\\S+)/; $1 }
      $s = IO::Socket::INET->new(PeerAddr => "10.77.0.2:9", Proto => "udp"); $from = up; $sent = 0;
      while ($sent < 7500) { $due = (up() - $from) * 2500;
        while ($sent < $due && $sent < 7500) { send $s, "x" x 958, 0; $sent++ } select undef, undef, undef, 0.005 }
      print up() - $from`;
    const counted = `perl -e "$1"; tc -s qdisc show dev peers | awk '/^qdisc netem/ { ours = 1 }
      ours && /dropped/ { printf " %d", $7 } ours && /backlog/ { print "", $3 + 0; exit }'`;
    const [seconds, lost, backlog] = (await guest.on('node1', counted, sender)).split(' ').map(Number);
    t.comment(`7500 packets in ${seconds} s, ${backlog} of them on the way at the end, ${lost} dropped`);
    t.ok(backlog! > 2000, 'more than a default queue holds');
    t.equal(lost, 0);
  });
});

await t.test('a queue of somebody else is left alone, and refused before anything is changed', async (t) => {
  await guest.on('node1', 'tc qdisc add dev peers root handle 1: pfifo limit 77');
  t.teardown(() => guest.on('node1', 'tc qdisc del dev peers root'));
  const before = await queues();
  const { result } = await guest.run({ kind: 'delay', params: only, targets: nodes, holdMs: 500 });
  t.equal(result.outcome, 'Refused', result.message ?? 'no message');
  t.equal(await queues(), before);
});

await t.test(
  'nobody comes back: the machine heals itself; and without its directory, by its mark',
  async (t) => {
    const before = await queues();
    const fault = { kind: 'delay', params: only, target: nodes[0] };
    const left = await guest.arm({ ...fault, fuseMs: 20_000 });
    await left.inject();
    await guest.until('in effect', 15_000, async () => (await left.looks()) === 'active');
    await guest.until('healed', 60_000, async () => (await queues()) === before);
    await left.close();
    const lost = await guest.arm({ ...fault, name: 'lost.0', fuseMs: 600_000 });
    await lost.inject();
    await guest.on('node1', 'rm -r /var/lib/spark-failures/runs/lost.0; systemctl stop sf-lost.0.timer');
    t.equal((await scanOrphans(guest.node('node1'), scripts, signal)).length, 1);
    t.same(await healNode(guest.node('node1'), scripts, signal), []);
    t.equal(await queues(), before);
  },
);

/** A file of the cgroup of what stands for a container. */
const read = ({ containerId }: TaskTarget, file: string) =>
  guest.on('node1', 'cat "/sys/fs/cgroup/system.slice/docker-$1.service/$2"', containerId, file);
const usedMs = async (task: TaskTarget) =>
  Number(/usage_usec (\d+)/.exec(await read(task, 'cpu.stat'))![1]) / 1000;

await t.test('cgroup version 2: a frozen container uses no time, and goes on', async (t) => {
  const busy = await guest.startProcess('while :; do :; done');
  const { result } = await guest.run({
    ...{ kind: 'pauseContainer', targets: [busy], holdMs: 6_000 },
    during: async () => {
      t.match(await read(busy, 'cgroup.events'), /frozen 1/);
      t.equal(await usedMs(busy), await usedMs(busy));
    },
  });
  t.equal(result.outcome, 'Healed', result.message ?? 'no message');
  const before = await usedMs(busy);
  await guest.until('it goes on', 10_000, async () => (await usedMs(busy)) > before);
  await guest.on('node1', 'systemctl stop "docker-$1"', busy.containerId);
});

for (const [kind, params, file, squeezed] of [
  ['cpuLimit', { cpus: 0.1 }, 'cpu.max', /^10000 100000$/],
  ['memoryLimit', { memory: '64Mi' }, 'memory.max', /^67108864$/],
  ['pidLimit', { pids: 5 }, 'pids.max', /^5$/],
] as const) {
  await t.test(`cgroup version 2: ${kind} is squeezed, and put back`, async (t) => {
    const task = await guest.startProcess();
    const before = await read(task, file);
    const { result } = await guest.run({
      ...{ kind, params, targets: [task], holdMs: 4_000 },
      during: async () => void t.match(await read(task, file), squeezed),
    });
    t.equal(result.outcome, 'Healed', result.message ?? 'no message');
    t.equal(await read(task, file), before);
    t.notMatch(before, squeezed);
  });
}

for (const [kind, params, file] of [
  ['cpuPressure', {}, 'cpu.stat'],
  ['memoryPressure', { size: '64Mi' }, 'memory.current'],
] as const) {
  await t.test(`cgroup version 2: ${kind} is on the container's account, and ends`, async (t) => {
    const task = await guest.startProcess();
    const used = async () => Number(/\d+/.exec(await read(task, file))![0]);
    const idle = await used();
    const { result } = await guest.run({
      ...{ kind, params, targets: [task], holdMs: 6_000 },
      during: async () => {
        const now = await used();
        t.comment(`${file}: ${idle} before, ${now} in it`);
        t.ok(now > idle + (file === 'cpu.stat' ? 100_000 : 60 * 1024 ** 2));
      },
    });
    t.equal(result.outcome, 'Healed', result.message ?? 'no message');
    t.equal(await guest.on('node1', "pgrep -fc 'SF_BUR[N]|inject.s[h]' || true"), '0');
    t.same(await scanOrphans(guest.node('node1'), scripts, signal), []);
  });
}

/** By how many milliseconds the guest's clock is ahead of this computer's. */
const ahead = async () => {
  const startMs = Date.now();
  const seconds = Number(await guest.on('node1', 'date +%s.%N'));
  return seconds * 1000 - (startMs + Date.now()) / 2;
};

await t.test(
  'a clock is off by what was asked, and right again, as this computer tells the time',
  async (t) => {
    const before = await ahead();
    const { result } = await guest.run({
      ...{ kind: 'clockSkew', params: { offset: '-30s' }, targets: nodes, holdMs: 5_000 },
      during: async () => {
        const off = (await ahead()) - before;
        t.comment(`off by ${off.toFixed(0)} ms`);
        t.ok(Math.abs(off + 30_000) < 500);
      },
    });
    t.equal(result.outcome, 'Healed', result.message ?? 'no message');
    t.ok(Math.abs((await ahead()) - before) < 500);
  },
);

await t.test('a clock drifts to what was asked, and nothing moves it once it is right again', async (t) => {
  const before = await ahead();
  const params = { offset: '10s', over: '10s' };
  const { result } = await guest.run({
    ...{ kind: 'clockSkew', params, targets: nodes, holdMs: 16_000 },
    during: async () => {
      const seen: number[] = [];
      // The hold begins a quarter of a second off.
      await guest.until('off by all of it', 14_000, async () => {
        seen.push((await ahead()) - before);
        return Math.abs(seen.at(-1)! - 10_000) < 500;
      });
      t.comment(`off by ${seen.map((off) => off.toFixed(0)).join(', ')} ms`);
      t.ok(
        seen.some((off) => off > 500 && off < 9_000),
        'it was on its way',
      );
      t.ok(
        seen.every((off) => off > -500),
        'in that direction',
      );
    },
  });
  t.equal(result.outcome, 'Healed', result.message ?? 'no message');
  t.equal(await guest.on('node1', "pgrep -fc 'inject.s[h]' || true"), '0');
  t.ok(Math.abs((await ahead()) - before) < 500);
  t.same(await scanOrphans(guest.node('node1'), scripts, signal), []);
});

await t.test('a clock that is undone while it drifts is right again, and stays so', async (t) => {
  const before = await ahead();
  const params = { offset: '60s', over: '60s' };
  const left = await guest.abandon(t, { kind: 'clockSkew', params, target: nodes[0], fuseMs: 15_000 });
  await guest.until('in effect', 15_000, async () => (await left.looks()) === 'active');
  await guest.until('healed by the machine itself', 60_000, left.isHealed);
  t.equal(await guest.on('node1', "pgrep -fc 'inject.s[h]' || true"), '0');
  t.ok(Math.abs((await ahead()) - before) < 500);
});
