import t from 'tap';
import type { TaskTarget } from '../../state-machines/contract.ts';
import { missingNeeds } from '../../state-machines/missing-needs.ts';
import { scanOrphans } from '../../state-machines/scan-orphans.ts';
import { openFaultLab } from '../support/fault-lab.ts';

// pauseContainer, pauseProcess and killProcess on a real machine, felt from inside the container and from outside.

const lab = await openFaultLab(t, { cluster: 'faults-freeze', subnet: '10.93.1.0/24', nodes: 1 });
const { signal, until } = lab;
const on = (script: string, ...args: string[]) => lab.on('node1', script, ...args);
const start = (command?: string) => lab.startTask('node1', '', command);
const remnants = () => scanOrphans(lab.node('node1'), lab.scripts, signal);
const unified = '/sys/fs/cgroup/unified';
const isHybrid = (await on(`stat -fc %T ${unified} 2>&1 || true`)) === 'cgroup2fs';
const skip = isHybrid ? false : 'no second hierarchy beside that of the other tests';

const echoServer = `perl -MIO::Socket::INET -e '
  $listener = IO::Socket::INET->new(LocalPort => 7000, Listen => 5) or die;
  while ($peer = $listener->accept) { while (<$peer>) { print $peer $_; $peer->flush } }'`;
/** The answer of that server; `silence` when a connection is made and kept, and nothing comes. */
const ask = (task: TaskTarget, patienceS: number) =>
  on(
    `address=$(docker inspect -f '{{.NetworkSettings.IPAddress}}' "$1")
    bash -c 'exec 3<>/dev/tcp/$1/7000 && echo answer >&3 || exit
      read -t $2 -r line <&3; case $? in 0) echo "$line" ;; 1) echo closed ;; *) echo silence ;; esac' bash "$address" "$2"`,
    task.containerId,
    String(patienceS),
  );

/** Starts a loop in the container, named in its command line, that counts in a file of that name, in memory: no disk, no D. */
const beat = async (task: TaskTarget, name: string) => {
  const loop =
    'for (;;) { open F, ">", "/dev/shm/$ARGV[0]"; print F ++$n; close F; select undef, undef, undef, 0.02 }';
  await on('docker exec -d "$1" perl -e "$2" "$3"', task.containerId, loop, name);
  await until(`${name} beats`, 10_000, () => beats(task, name));
};
/** Whether that loop goes on, read past the engine, which would enter the container for it. */
const beats = async (task: TaskTarget, name: string) => {
  const script = `file=/proc/$(docker inspect -f '{{.State.Pid}}' "$1")/root/dev/shm/$2
    first=$(cat "$file") && sleep 0.4 && [ "$first" != "$(cat "$file")" ] && echo beats || echo stands`;
  return (await on(script, task.containerId, name)) === 'beats';
};
const mainPid = (task: TaskTarget) => on(`docker inspect -f '{{.State.Pid}}' "$1"`, task.containerId);
const stateOf = (pid: string) => on(`ps -o stat= -p "$1" | cut -c1`, pid);

await t.test('the machine has a freezer', async (t) => {
  t.same(await missingNeeds(lab.node('node1'), ['freezer'], lab.scripts, signal), []);
});

await t.test('frozen containers keep their sockets, answer nobody, and answer late', async (t) => {
  const server = await start(echoServer);
  const idle = { ...(await start()), service: server.service };
  const bystander = await start();
  await beat(bystander, 'other');
  await until('server answers', 10_000, async () => (await ask(server, 5)) === 'answer');
  const before = await lab.traces('node1');
  let late: Promise<string> | undefined;
  const { result } = await lab.run({
    ...{ kind: 'pauseContainer', targets: [server, idle], holdMs: 4_000 },
    during: async () => {
      late = ask(server, 60);
      t.equal(await ask(server, 1), 'silence');
      const enter = 'timeout 5 docker exec "$1" true 2>&1 || echo "not entered"';
      t.match(await on(enter, server.containerId), /not entered/, 'health checks fail');
      t.equal(await beats(bystander, 'other'), true, 'no other container');
      t.not(await lab.traces('node1'), before, 'these traces would show it');
    },
  });
  t.equal(result.outcome, 'Healed', result.message ?? 'no message');
  t.equal(await late, 'answer', 'no connection was lost');
  t.equal(await ask(server, 5), 'answer');
  t.equal(await lab.traces('node1'), before);
  t.same(await remnants(), []);
  const { cmdMs, effMs } = result.instants;
  t.comment(`in effect after ${effMs! - cmdMs!} ms`);
});

await t.test('a busy container stands still: its CPU time says so', async (t) => {
  const busy = await start(`sh -c 'while :; do :; done'`);
  const run = await lab.abandon(t, { kind: 'pauseContainer', target: busy, sees: 'active' });
  t.not(await stateOf(await mainPid(busy)), 'R');
  await run.heal();
  t.equal(await run.looks(), 'inactive');
  t.equal(await stateOf(await mainPid(busy)), 'R');
  await on('docker kill "$1"', busy.containerId);
});

await t.test('the freezer of cgroup version 2 does the same', { skip }, async (t) => {
  const task = await start();
  await beat(task, 'two');
  const dir = await on('mktemp -d');
  // In a mount namespace of its own, the scripts see that hierarchy alone.
  const run = (script: string) =>
    on(
      `export SF_RUN_DIR=$2; unshare -m sh -c 'mount --bind ${unified} /sys/fs/cgroup && sh -c "$1" sh "$2"' sh "$1" "$3"`,
      ...[script, dir, task.containerId],
    );
  const { inject, undo, check } = lab.scripts.mechanism('freeze');
  t.match(await run(check), /^inactive/);
  await run(inject);
  t.match(await run(check), /^active/);
  t.equal(await beats(task, 'two'), false);
  await run(undo);
  t.match(await run(check), /^inactive/);
  t.equal(await beats(task, 'two'), true);
});

await t.test('a container that is removed while it is frozen is gone, and so is the fault', async (t) => {
  const task = await start();
  const { result } = await lab.run({
    ...{ kind: 'pauseContainer', targets: [task], holdMs: 4_000 },
    during: async () => void (await on('docker rm -f "$1"', task.containerId)),
  });
  t.equal(result.outcome, 'Healed', result.message ?? 'no message');
  t.equal(await on('grep -ls "$1" /proc/[0-9]*/cgroup || echo gone', task.containerId), 'gone');
  t.same(await remnants(), []);
});

await t.test('a container that is killed while it is frozen can die once it is let go', async (t) => {
  const task = await start();
  const pid = await mainPid(task);
  const { result } = await lab.run({
    ...{ kind: 'pauseContainer', targets: [task], holdMs: 2_000 },
    during: async () => void (await on('kill -9 "$1"', pid)),
  });
  t.equal(result.outcome, 'Healed', result.message ?? 'no message');
  await until('dead', 10_000, async () => (await mainPid(task)) === '0');
});

await t.test('a container that was restarted by hand is another one: who pauses it may', async (t) => {
  const task = await start();
  const run = await lab.abandon(t, { kind: 'pauseContainer', target: task, sees: 'active' });
  await on('docker restart -t 0 "$1"', task.containerId);
  t.equal(await run.looks(), 'inactive');
  await on('docker pause "$1"', task.containerId);
  await run.heal();
  t.equal(await on(`docker inspect -f '{{.State.Paused}}' "$1"`, task.containerId), 'true');
  await on('docker unpause "$1"', task.containerId);
});

await t.test('a container that somebody else has paused is left to them', async (t) => {
  const task = await start();
  await on('docker pause "$1"', task.containerId);
  const { result } = await lab.run({ kind: 'pauseContainer', targets: [task], holdMs: 1_000 });
  t.match(result, { outcome: 'Refused', message: /its check says "active"/ });
  t.equal(await on(`docker inspect -f '{{.State.Paused}}' "$1"`, task.containerId), 'true');
  await on('docker unpause "$1"', task.containerId);
});

await t.test('stopped processes stand still, others in their container go on', async (t) => {
  const task = await start();
  await beat(task, 'victim');
  await beat(task, 'other');
  const before = await lab.traces('node1');
  const { result } = await lab.run({
    ...{ kind: 'pauseProcess', params: { process: 'victim' }, targets: [task], holdMs: 9_000 },
    during: async () => {
      t.equal(await beats(task, 'victim'), false);
      t.equal(await beats(task, 'other'), true);
      await beat(task, 'victim-again');
    },
  });
  t.equal(
    result.outcome,
    'Healed',
    `${result.message}: one that was started meanwhile is clean, and no drift`,
  );
  t.equal(await beats(task, 'victim'), true);
  t.equal(await beats(task, 'victim-again'), true);
  t.equal(await lab.traces('node1'), before);
  t.same(await remnants(), []);
});

await t.test('what has taken another command line since it was found is let go, too', async (t) => {
  const task = await start();
  await beat(task, 'restless');
  // As the children of a shell do; so often that in each round some are found under one and stopped under the other.
  const loop =
    'fork for 1..3; for (;;) { for $n ("restless", "other") { $0 = $n; select undef, undef, undef, 0.01 } }';
  await on('docker exec -d "$1" perl -e "$2"', task.containerId, loop);
  for (let round = 0; round < 3; round += 1) {
    const fault = { kind: 'pauseProcess', params: { process: 'restless' }, targets: [task], holdMs: 500 };
    const { result } = await lab.run(fault);
    t.equal(result.outcome, 'Healed', result.message ?? 'no message');
    t.equal(await on('ps -eo stat=,args= | grep "^T" || true'), '');
  }
  await on('docker rm -f "$1"', task.containerId);
});

await t.test('a process that somebody else has stopped is left to them', async (t) => {
  const task = await start('sleep 3606');
  const pid = await mainPid(task);
  await on('kill -STOP "$1"', pid);
  const params = { process: 'sleep 3606' };
  const { result } = await lab.run({ kind: 'pauseProcess', params, targets: [task], holdMs: 1_000 });
  t.match(result, { outcome: 'Refused', message: /its check says "active"/ });
  t.equal(await stateOf(pid), 'T');
  await on('kill -CONT "$1"', pid);
});

await t.test('a container restarted by hand while its process is stopped starts clean', async (t) => {
  const task = await start('sleep 3601');
  const params = { process: 'sleep 3601' };
  const run = await lab.abandon(t, { kind: 'pauseProcess', params, target: task, sees: 'active' });
  t.equal(await stateOf(await mainPid(task)), 'T');
  await on('docker restart -t 0 "$1"', task.containerId);
  const fresh = await mainPid(task);
  t.equal(await stateOf(fresh), 'S');
  t.equal(await run.looks(), 'inactive');
  await on('kill -STOP "$1"', fresh);
  await run.heal();
  t.equal(await stateOf(fresh), 'T', 'only what was stopped by the run is continued');
  await on('kill -CONT "$1"', fresh);
});

await t.test('a container that is removed takes its stopped process with it', async (t) => {
  const task = await start('sleep 3602');
  const { result } = await lab.run({
    ...{ kind: 'pauseProcess', params: { process: 'sleep 3602' }, targets: [task], holdMs: 2_000 },
    during: async () => void (await on('docker rm -f "$1"', task.containerId)),
  });
  t.equal(result.outcome, 'Healed', result.message ?? 'no message');
  t.same(await remnants(), []);
});

await t.test('nobody comes back: the machine lets all go by the deadline', async (t) => {
  const [frozen, stopped] = [await start(), await start('sleep 3603')];
  await beat(frozen, 'frozen');
  const [params, ends] = [{ process: 'sleep 3603' }, { fuseMs: 10_000, sees: 'active' } as const];
  const runs = [
    await lab.abandon(t, { kind: 'pauseContainer', target: frozen, ...ends }),
    await lab.abandon(t, { kind: 'pauseProcess', params, target: stopped, ...ends }),
  ];
  t.equal(await beats(frozen, 'frozen'), false);
  t.equal(await stateOf(await mainPid(stopped)), 'T');
  await until('it beats', 30_000, () => beats(frozen, 'frozen'));
  await until('it runs', 30_000, async () => (await stateOf(await mainPid(stopped))) === 'S');
  for (const run of runs) t.equal(await run.looks(), 'inactive');
});

await t.test('a run that died between saving and stopping is undone without harm', async (t) => {
  const task = await start();
  await beat(task, 'victim');
  const params = { process: 'victim' };
  const run = await lab.abandon(t, { kind: 'pauseProcess', params, target: task, sees: 'active' });
  const held = `/var/lib/spark-failures/runs/${run.name}/held`;
  await on(`while read -r pid _; do kill -CONT "$pid"; done <"$1"; echo '1 1' >>"$1"`, held);
  await run.heal();
  await run.heal();
  t.equal(await beats(task, 'victim'), true);
});

await t.test('a process is killed, seen dead also as a zombie, and its container stays', async (t) => {
  const task = await start(`sh -c 'sleep 3604 & exec sleep 3605'`);
  await beat(task, 'other');
  const pid = await mainPid(task);
  const before = await lab.traces('node1');
  const params = { process: 'sleep 3604' };
  const { result } = await lab.run({ kind: 'killProcess', params, targets: [task] });
  t.equal(result.outcome, 'Healed', result.message ?? 'no message');
  t.equal(await on('ps -C sleep -o stat=,args= | grep -c "^Z" || true'), '1', 'nobody there reaps it');
  t.equal(await mainPid(task), pid);
  t.equal(await beats(task, 'other'), true);
  t.equal(await lab.traces('node1'), before);
  const { cmdMs, effMs } = result.instants;
  t.comment(`in effect after ${effMs! - cmdMs!} ms`);
});

await t.test('where nothing matches, or no container is left, a run is refused and says so', async (t) => {
  const task = await start();
  const gone = { ...task, containerId: 'a'.repeat(64) };
  const none = { params: { process: 'no $(such) "thing"' }, targets: [task], holdMs: 1_000 };
  for (const kind of ['pauseProcess', 'killProcess']) {
    const { result } = await lab.run({ kind, ...none });
    t.match(result, {
      outcome: 'Refused',
      message: /no process of container .* has "no \$\(such\) "thing"" in/,
    });
  }
  const { result } = await lab.run({ kind: 'pauseContainer', targets: [task, gone], holdMs: 1_000 });
  t.match(result, { outcome: 'Refused', message: /aaaa is not running/ });
  t.equal(await stateOf(await mainPid(task)), 'S');
  t.same(await remnants(), []);
});
