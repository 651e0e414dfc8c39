import t from 'tap';
import type { FaultStep } from '../../state-machines/contract.ts';
import {
  armStep,
  disarmStep,
  healStep,
  injectStep,
  lookAt,
  type StepRun,
} from '../../state-machines/dead-man/step-actions.ts';
import { runFault } from '../../state-machines/fault-runner.ts';
import { faultKinds } from '../../state-machines/faults/catalog.ts';
import { missingNeeds } from '../../state-machines/missing-needs.ts';
import { healNode, scanOrphans } from '../../state-machines/scan-orphans.ts';
import { openFaultLab } from '../support/fault-lab.ts';

// The scripts that live on a node, on real machines: what they promise when nobody comes back.

const lab = await openFaultLab(t, { cluster: 'dead-man-test', subnet: '10.93.0.0/24' });
const { scripts, ports, signal, until, facts } = lab;
const node = () => lab.node('node1');
const output = (script: string, ...args: string[]) => lab.on('node1', script, ...args);
const kindOf = (name: string) => faultKinds.find((kind) => kind.name === name)!;
const isolation = async (): Promise<FaultStep> =>
  kindOf('isolateNode').plan({}, await facts([{ kind: 'node', node: 'node1' }]))[0]!;
const hasMarks = async () => (await scanOrphans(node(), scripts, signal)).some(({ kind }) => kind === 'mark');
const stateOf = async (run: string) =>
  (await scanOrphans(node(), scripts, signal)).flatMap((found) =>
    found.kind === 'run' && found.run === run ? [found.state] : [],
  )[0];
const startContainer = () => output('docker run -d --init=false debian:trixie-slim sleep 3600');
const minute = 60_000;
const needs = ['systemd', 'iptables'] as const;

/** A run of one step, armed; disarmed when the test is over. */
const armed = async (t: { teardown: (undo: () => Promise<void>) => void }, name: string, fuseMs: number) => {
  const run: StepRun = { name, step: await isolation() };
  await armStep(ports, run, { fuseMs, needs }, signal);
  t.teardown(async () => {
    await healStep(ports, run, signal);
    await disarmStep(ports, run, signal);
  });
  return run;
};

await t.test('a container is killed, seen dead, and nothing of the run stays on the node', async (t) => {
  const [victim, bystander] = [await startContainer(), await startContainer()];
  const kind = kindOf('killContainer');
  const target = { kind: 'task', node: 'node1', service: 's', taskId: 't', containerId: victim } as const;
  const steps = kind.plan(kind.params.parse({}), await facts([target]));
  const phases: string[] = [];
  const journal = {
    write: async ({ phase }: { phase: string }) => void phases.push(phase),
    unfinished: async () => [],
  };
  const named = { runId: 'kill', cluster: 'c', schedule: 's', fault: 'f' };
  const run = { ...named, kind: kind.name, needs: kind.needs, instant: true };
  const result = await runFault({ ...run, steps, holdMs: 0, graceMs: minute }, { ...ports, journal }, signal);
  t.equal(result.outcome, 'Healed', result.message ?? 'no message');
  t.same(phases, ['prepared', 'injecting', 'holding', 'healing', 'healed']);
  t.comment(`in effect after ${result.instants.effMs! - result.instants.cmdMs!} ms`);
  const running = await output('docker ps -q --no-trunc');
  t.ok(running.includes(bystander));
  await until(
    'engine knows',
    10_000,
    async () => !(await output('docker ps -q --no-trunc')).includes(victim),
  );
  t.same(await scanOrphans(node(), scripts, signal), []);
  t.equal(await output('ls /var/lib/spark-failures/locks'), '');
  t.equal(await output('systemctl list-units --all --plain --no-legend "sf-*"'), '');
  t.equal(await output('docker kill "$1"', bystander), bystander);

  const again = await runFault(
    { ...run, runId: 'again', steps, holdMs: 0, graceMs: minute },
    { ...ports, journal },
    signal,
  );
  t.equal(again.outcome, 'Refused', 'that container is gone: another one was not chosen');
});

await t.test('an isolated node hears no peer, its containers neither, and ssh stays open', async (t) => {
  await startContainer();
  const before = await output('iptables -S');
  const run = await armed(t, 'isolate.0', minute);
  t.equal((await lookAt(ports, run, signal)).verdict, 'inactive');
  const { look } = await injectStep(ports, run, signal);
  t.equal(look.verdict, 'active');
  const peer = lab.node('node2').address;
  const { code } = await node().exec('ping -c 1 -W 1 "$1"', [peer], {}, signal);
  t.not(code, 0, 'the peer is out of reach');
  const forwarded =
    'nsenter -t "$(docker inspect -f "{{.State.Pid}}" "$(docker ps -q | head -n 1)")" -n ping -c 1 -W 1 "$1"';
  t.not((await node().exec(forwarded, [peer], {}, signal)).code, 0, 'also for a container');
  const fresh = await lab.connect('node1');
  t.equal((await fresh.exec('echo open', [], {}, signal)).stdout, 'open\n', 'a new ssh connection');
  fresh.close();
  await healStep(ports, run, signal);
  t.equal((await lookAt(ports, run, signal)).verdict, 'inactive');
  t.equal(await output('iptables -S'), before, 'only ours was removed');
  t.equal((await node().exec(forwarded, [peer], {}, signal)).code, 0);
});

await t.test('nobody comes back: the node heals itself by the deadline', async (t) => {
  const fuseMs = 4_000;
  const startMs = Date.now();
  const run = await armed(t, 'abandoned.0', fuseMs);
  await injectStep(ports, run, signal);
  t.ok(await hasMarks());
  await until('healed', 30_000, async () => !(await hasMarks()));
  t.ok(Date.now() - startMs >= fuseMs);
  await until('closed', 10_000, async () => (await stateOf('abandoned.0')) === 'healed');
  await t.rejects(injectStep(ports, run, signal), { code: 'FAULT_REFUSED' }, 'a late inject is refused');
  t.notOk(await hasMarks());
});

await t.test('an inject is refused without a switch, after the heal, and after the deadline', async (t) => {
  const run: StepRun = { name: 'never-armed.0', step: await isolation() };
  await t.rejects(injectStep(ports, run, signal), /not armed on this node/);
  const healed = await armed(t, 'healed.0', minute);
  await healStep(ports, healed, signal);
  await t.rejects(injectStep(ports, healed, signal), /healed already/);
  const disarmed = await armed(t, 'disarmed.0', minute);
  await output('systemctl stop sf-disarmed.0.timer');
  await t.rejects(injectStep(ports, disarmed, signal), /switch is not armed/);
  await healStep(ports, disarmed, signal);
  const late = await armed(t, 'late.0', minute);
  await output('echo 0 > /var/lib/spark-failures/runs/late.0/deadline');
  await t.rejects(injectStep(ports, late, signal), /deadline has passed/);
  t.notOk(await hasMarks());
});

await t.test(
  'a node that lacks what a fault needs refuses before anything is armed, and says what',
  async (t) => {
    const run: StepRun = { name: 'lacking.0', step: await isolation() };
    t.same(await missingNeeds(node(), needs, scripts, signal), []);
    await output('mv /usr/sbin/iptables /usr/sbin/iptables.away');
    t.teardown(() => output('mv -f /usr/sbin/iptables.away /usr/sbin/iptables'));
    t.same(await missingNeeds(node(), needs, scripts, signal), ['iptables']);
    await t.rejects(armStep(ports, run, { fuseMs: minute, needs }, signal), /node1: the node lacks iptables/);
    t.equal(await stateOf('lacking.0'), undefined);
  },
);

await t.test('two faults never meet on one target, whoever sends them', async (t) => {
  const first = await armed(t, 'first.0', minute);
  const second: StepRun = { ...first, name: 'second.0' };
  await t.rejects(armStep(ports, second, { fuseMs: minute, needs }, signal), /node1 is held by first\.0/);
  await healStep(ports, first, signal);
  await armStep(ports, second, { fuseMs: minute, needs }, signal);
  await healStep(ports, first, signal);
  await t.rejects(
    armStep(ports, { ...first, name: 'third.0' }, { fuseMs: minute, needs }, signal),
    /held by second\.0/,
  );
  await healStep(ports, second, signal);
  await disarmStep(ports, second, signal);
  const race = ['a.0', 'b.0', 'c.0', 'd.0'].map((name): StepRun => ({ ...first, name }));
  const armings = await Promise.allSettled(
    race.map((run) => armStep(ports, run, { fuseMs: minute, needs }, signal)),
  );
  t.equal(armings.filter(({ status }) => status === 'fulfilled').length, 1);
  for (const run of race) await healStep(ports, run, signal);
  for (const run of race) await disarmStep(ports, run, signal);
});

await t.test(
  'only faults that are composed share a target, and hold it until the last is healed',
  async (t) => {
    const one = { ...(await armed(t, 'alone.0', minute)), name: 'both.1.0' };
    await healStep(ports, { ...one, name: 'alone.0' }, signal);
    const two: StepRun = { ...one, name: 'both.2.0' };
    const other: StepRun = { ...one, name: 'other.0' };
    const together = { fuseMs: minute, together: 'both', needs };
    await armStep(ports, one, together, signal);
    await armStep(ports, two, together, signal);
    for (const healed of [one, two]) {
      await t.rejects(armStep(ports, other, { fuseMs: minute, needs }, signal), /node1 is held by both/);
      await healStep(ports, healed, signal);
    }
    await armStep(ports, other, { fuseMs: minute, needs }, signal);
    await t.rejects(armStep(ports, { ...one, name: 'both.3.0' }, together, signal), /held by other\.0/);
    await healStep(ports, other, signal);
    for (const run of [one, two, other]) await disarmStep(ports, run, signal);
    t.equal(await output('ls /var/lib/spark-failures/locks'), '');
  },
);

await t.test('what died while it armed holds nothing, and is healed without an undo', async (t) => {
  const half = '/var/lib/spark-failures/runs/half.0';
  await output('mkdir "$1" && ln -s half.0 /var/lib/spark-failures/locks/node1', half);
  const step = await isolation();
  await t.rejects(injectStep(ports, { name: 'half.0', step }, signal), /not armed/);
  await healStep(ports, { name: 'half.0', step }, signal);
  await disarmStep(ports, { name: 'half.0', step }, signal);
  await output('mkdir "$1" && ln -s half.0 /var/lib/spark-failures/locks/node1', half);
  await armed(t, 'whole.0', minute);
  t.same(await healNode(node(), scripts, signal), []);
});

await t.test('an arm whose files never came leaves nothing', async (t) => {
  const torn = await node().exec(scripts.deadMan('arm.sh'), ['torn.0', 'node1', '60000', 'v'], {}, signal);
  t.not(torn.code, 0);
  t.equal(await output("find /var/lib/spark-failures -path '*torn*' -o -lname 'torn*'"), '');
});

await t.test('a full disk does not keep a node from healing', async (t) => {
  const run = await armed(t, 'full.0', minute);
  await injectStep(ports, run, signal);
  const dir = '/var/lib/spark-failures/runs/full.0';
  // Read-only is stricter than full, and needs no filesystem to fill.
  await output('mount --bind "$1" "$1" && mount -o remount,bind,ro "$1"', dir);
  await healStep(ports, run, signal);
  t.notOk(await hasMarks());
  await output('umount "$1"', dir);
});

await t.test('a switch whose undo fails tries again until it works', async (t) => {
  const run = await armed(t, 'stubborn.0', 3_000);
  await injectStep(ports, run, signal);
  const undo = '/var/lib/spark-failures/runs/stubborn.0/undo.sh';
  await output('mv "$1" "$1.real" && printf "exit 1\\n" > "$1"', undo);
  const failures = () =>
    output('journalctl --quiet -u sf-stubborn.0.service -g "Failed with result" | wc -l');
  await until('two failures', 60_000, async () => Number(await failures().catch(() => '0')) >= 2);
  t.ok(await hasMarks());
  await output('mv "$1.real" "$1"', undo);
  await until('healed', 30_000, async () => !(await hasMarks()));
  t.equal(await stateOf('stubborn.0'), 'healed');
});

await t.test('heals with the engine stopped', async (t) => {
  const run = await armed(t, 'no-engine.0', minute);
  await injectStep(ports, run, signal);
  await output('systemctl stop docker.socket docker.service');
  await healStep(ports, run, signal);
  t.notOk(await hasMarks());
  await output('systemctl start docker.socket docker.service');
});

await t.test('is healed without its directory, and without any journal', async (t) => {
  const run = await armed(t, 'lost.0', minute);
  await injectStep(ports, run, signal);
  await output('rm -r /var/lib/spark-failures/runs/lost.0');
  await healStep(ports, run, signal);
  t.notOk(await hasMarks());
  await output('systemctl stop sf-lost.0.timer');

  const orphan = await armed(t, 'orphan.0', minute);
  await injectStep(ports, orphan, signal);
  await output('iptables -N SF-12345 && iptables -I FORWARD 1 -j SF-12345');
  const found = await scanOrphans(node(), scripts, signal);
  t.equal(found.filter(({ kind }) => kind === 'mark').length, 2);
  t.match(
    found.filter(({ kind }) => kind === 'run'),
    [{ run: 'orphan.0', state: 'injected', target: 'node1' }],
  );
  t.same(await healNode(node(), scripts, signal), []);
});

await t.test('what a reboot leaves pending is undone at boot', async (t) => {
  const run = await armed(t, 'reboot.0', 10 * minute);
  await injectStep(ports, run, signal);
  t.equal(await stateOf('reboot.0'), 'injected');
  await lab.powerCycle('node1');
  await until('replayed', 60_000, async () => (await stateOf('reboot.0')) === 'healed');
  await t.rejects(injectStep(ports, run, signal), { code: 'FAULT_REFUSED' });
});
