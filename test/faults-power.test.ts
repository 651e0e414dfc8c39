import { execFile } from 'node:child_process';
import { mkdir, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import t from 'tap';
import { type Facts, RefusedError } from '../state-machines/contract.ts';
import { describePlan } from '../state-machines/describe-plan.ts';
import { faultKinds } from '../state-machines/faults/catalog.ts';
import { loadScripts } from '../state-machines/load-scripts.ts';
import { exampleFacts } from './contracts/fault-kind.ts';

// Membership and power: what is planned for whom, where it runs, and who sees it.

const run = promisify(execFile);
const { undo } = (await loadScripts('state-machines')).mechanism('membership');

const kindOf = (name: string) => faultKinds.find((kind) => kind.name === name)!;
const plan = (name: string, facts: Facts) => kindOf(name).plan(kindOf(name).params.parse({}), facts);
const node = (name: string) => ({ kind: 'node', node: name }) as const;

/** The example's nodes, of which these are managers, and the first `reached` of them can be reached. */
const managedBy = (managers: readonly string[], reached = managers.length): Facts['nodes'] =>
  exampleFacts('nodes').nodes.map((each) => {
    const place = managers.indexOf(each.name);
    const role = place < 0 ? ('worker' as const) : ('manager' as const);
    return { ...each, swarm: { id: `id-of-${each.name}`, role, controls: place >= 0 && place < reached } };
  });
const facts = (targets: readonly string[], nodes: Facts['nodes']): Facts => ({
  ...{ targets: targets.map(node), services: [], nodes },
});
const three = managedBy(['node1', 'node2', 'node3']);

t.test('demoteManager', async (t) => {
  t.test('is done, and undone, by a manager that stays one', async (t) => {
    const args = ['demote', 'id-of-node1'];
    t.same(plan('demoteManager', facts(['node1'], three)), [
      {
        ...{ node: 'node2', target: 'node1', mechanism: 'membership', args },
        witness: { node: 'node1', args },
        effectLimitMs: 90_000,
      },
    ]);
  });

  t.test('is refused for a worker, and where nobody could undo it', async (t) => {
    t.throws(() => plan('demoteManager', facts(['node4'], three)), {
      ...{ code: 'FAULT_REFUSED', message: /node4 is no manager/ },
    });
    t.throws(() => plan('demoteManager', facts(['node1'], managedBy(['node1']))), /no manager would be left/);
    t.throws(
      () => plan('demoteManager', facts(['node1'], managedBy(['node1', 'node2', 'node3'], 1))),
      /no manager would be left/,
    );
  });
});

t.test('leaveSwarm', async (t) => {
  t.test('is done by the node itself, and seen by a manager too', async (t) => {
    const args = ['leave', 'id-of-node4'];
    t.same(plan('leaveSwarm', facts(['node4'], three)), [
      { node: 'node4', target: 'node4', mechanism: 'membership', args, witness: { node: 'node1', args } },
    ]);
    t.match(plan('leaveSwarm', facts(['node1'], three)), [{ node: 'node1', witness: { node: 'node2' } }]);
  });

  t.test('is refused for who is no member, and where no manager would be left', async (t) => {
    const strangers = three.map(({ swarm: _swarm, ...each }) => each);
    const some = three.map((each, index) => (each.name === 'node4' ? strangers[index]! : each));
    t.throws(() => plan('leaveSwarm', facts(['node4'], some)), /does not list node4/);
    t.throws(() => plan('leaveSwarm', facts(['node4'], strangers)), RefusedError);
    t.throws(() => plan('leaveSwarm', facts(['node1'], managedBy(['node1']))), /no manager would be left/);
  });
});

t.test('rebootNode and powerOffNode are seen by a node that stays', async (t) => {
  const witness = { node: 'node2', args: ['off', '10.98.0.11'], alone: true, afterAnswer: true };
  const off = plan('powerOffNode', facts(['node1'], three));
  const step = { node: 'node1', target: 'node1', mechanism: 'power', args: ['off'], switch: 'power' };
  t.same(off, [{ ...step, awayMs: 300_000, witness }]);
  const reboot = plan('rebootNode', facts(['node1'], three));
  t.match(reboot, [{ args: ['reboot'], witness: { args: ['reboot', '10.98.0.11'], alone: true } }]);
  t.notOk(reboot[0]?.switch, 'a reboot needs no switch');
  t.ok(reboot[0]!.effectLimitMs! > 90_000, 'whatever is stopped in good order may take its 90 s');
  for (const name of ['rebootNode', 'powerOffNode'])
    t.throws(() => plan(name, facts(['node1'], three.slice(0, 1))), /no other node is left/);

  const told = describePlan({
    kind: 'powerOffNode',
    steps: off,
    instant: false,
    holdMs: 1000,
    graceMs: 1000,
  });
  t.match(told, /node node1: power off/);
  t.match(told, /node node2: faults\/power\/check\.sh until it is in effect/);
});

t.test('interruptNode ends spot machines alone, and waits for the next ones', async (t) => {
  const nodes = three.map((each) => (each.name === 'node4' ? { ...each, spot: true as const } : each));
  const [step] = plan('interruptNode', facts(['node4'], nodes));
  t.match(step, {
    ...{ node: 'node4', mechanism: 'power', args: ['interrupt'], switch: 'spot' },
    witness: { node: 'node1', args: ['interrupt', '10.98.0.14'], alone: true, afterAnswer: true },
  });
  t.ok(step!.awayMs! >= 900_000);
  t.throws(() => plan('interruptNode', facts(['node3', 'node4', 'node5'], nodes)), {
    message: ['node3', 'node5'].map((name) => `${name} is no spot machine: nobody takes it back`).join('; '),
  });
  t.throws(() => plan('powerOffNode', facts(['node4'], nodes)), /node4 is spot, which has no power switch/);
  t.throws(() => plan('interruptNode', facts(['node4'], nodes.slice(3, 4))), /no other node is left/);
});

t.test('blackholeZone takes whole zones, and leaves somebody outside who sees it', async (t) => {
  const zoned = (zones: Readonly<Record<string, string>>) =>
    three.map((each) => ({ ...each, zone: zones[each.name] ?? 'zone-a' }));
  const two = zoned({ node4: 'zone-b', node6: 'zone-b' });
  const steps = plan('blackholeZone', facts(['node4', 'node6'], two));
  t.match(steps, [
    { node: 'node4', args: ['cut'], switch: 'zone', witness: { node: 'node1', args: ['cut', '10.98.0.14'] } },
    { node: 'node6', args: ['cut'], switch: 'zone', witness: { node: 'node1', args: ['cut', '10.98.0.16'] } },
  ]);
  t.throws(() => plan('blackholeZone', facts(['node4'], two)), {
    message: 'node6 is in zone-b, too, which is cut off as a whole: choose it',
  });
  t.throws(() => plan('blackholeZone', facts(['node1'], zoned({}))), /all nodes are in these zones/);
  const all = three.map(({ name }) => name);
  t.throws(() => plan('blackholeZone', facts(all, two)), /all nodes are in these zones/);
  const { nodes } = exampleFacts('nodes');
  const zoneless = nodes.map(({ zone: _zone, ...each }) => each);
  t.throws(() => plan('blackholeZone', facts(['node4'], zoneless)), /node4 is in no zone/);
  const far = zoned({ node1: 'zone-b', node4: 'zone-c' });
  t.match(plan('blackholeZone', facts(['node1', 'node4'], far)), [
    { witness: { node: 'node2' } },
    { witness: { node: 'node2' } },
  ]);
});

t.test('none of them takes a parameter', async (t) => {
  for (const name of [
    'demoteManager',
    'leaveSwarm',
    'rebootNode',
    'powerOffNode',
    'interruptNode',
    'blackholeZone',
  ])
    t.notOk(kindOf(name).params.safeParse({ force: true }).success, name);
});

t.test('leaveSwarm is undone where the engine has no socket unit', async (t) => {
  const root = t.testdir({});
  const kept = (await run('sh', ['-c', 'printf %s run-1.0 | cksum'])).stdout.split(' ')[0]!;
  await mkdir(join(root, `docker/sf-swarm-${kept}/certificates`), { recursive: true });
  await mkdir(join(root, 'docker/swarm'));
  await mkdir(join(root, 'run-1.0'));
  await writeFile(join(root, 'run-1.0/root'), `${join(root, 'docker')}\n`);
  await writeFile(join(root, 'run-1.0/units'), 'docker.service \n0\n'); // long ago
  const systemctl = `
systemctl() {
  case $* in
    *docker.socket*) echo 'Unit docker.socket not loaded.' >&2; return 5 ;;
    start*) : >started ;;
  esac
}
`;
  const env = { ...process.env, SF_RUN_DIR: 'run-1.0' };
  await run('sh', ['-c', systemctl + undo, 'sh', 'leave', 'xyz'], { cwd: root, env });
  t.same(await readdir(join(root, 'docker')), ['swarm']);
  t.same(await readdir(join(root, 'docker/swarm')), ['certificates']);
  t.ok((await readdir(root)).includes('started'));
});
