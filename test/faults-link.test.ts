import { execFile, execFileSync, spawn } from 'node:child_process';
import { access, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import t, { type Test } from 'tap';
import { linkDown } from '../state-machines/faults/link/fault.ts';
import { loadScripts } from '../state-machines/load-scripts.ts';
import { exampleFacts } from './contracts/fault-kind.ts';

const run = promisify(execFile);
const all = await loadScripts('state-machines');
const scripts = all.mechanism('link');

t.test('linkDown', async (t) => {
  const facts = exampleFacts('nodes');

  t.test('is for another node alone to see', async (t) => {
    const [first, second] = linkDown.plan({}, facts);
    t.same(first, {
      ...{ node: 'node4', target: 'node4', mechanism: 'link' },
      args: ['10.98.0.11', '10.98.0.12', '10.98.0.13', '10.98.0.15', '10.98.0.16'],
      witness: { node: 'node1', args: ['10.98.0.14'], alone: true },
    });
    t.same(second!.witness, { node: 'node1', args: ['10.98.0.16'], alone: true });
  });

  t.test('is refused when nobody is left to see it', async (t) => {
    const targets = facts.nodes.map(({ name }) => ({ kind: 'node' as const, node: name }));
    t.throws(() => linkDown.plan({}, { ...facts, targets }), /no other node is left/);
  });
});

/**
 * A machine that has a network namespace, whose only link is its loopback, and a pretended systemd: it writes down what
 * it is to run. An armed run waits in `runs/run-1.0`.
 */
async function makeMachine(t: Test) {
  const root = t.testdir({
    bin: {},
    run: {},
    runs: { 'run-1.0': { hold: '5000\n', args: '', armed: '' } },
    locks: {},
  });
  const own = (text: string) =>
    text.replaceAll('/run/', `${root}/run/`).replaceAll('/var/lib/spark-failures', root);
  const runDir = join(root, 'runs/run-1.0');
  await writeFile(join(runDir, 'heal.sh'), own(all.deadMan('heal.sh')));
  await writeFile(join(runDir, 'undo.sh'), own(scripts.undo));
  await writeFile(join(root, 'sent.sh'), own(scripts.undo));
  for (const name of ['systemctl', 'systemd-run'])
    await writeFile(join(root, 'bin', name), `#!/bin/sh\nprintf '%s\\n' "$@" >${root}/${name}.said\n`, {
      mode: 0o755,
    });
  const holder = spawn('unshare', ['-n', 'sh', '-c', 'ip link set lo up; echo ready; exec sleep 60']);
  t.teardown(() => holder.kill('SIGKILL'));
  await new Promise((resolve) => holder.stdout.once('data', resolve));
  const inside = async (command: string, args: readonly string[]) => {
    const env = { ...process.env, PATH: `${root}/bin:${process.env.PATH}`, SF_RUN_DIR: runDir };
    const { stdout } = await run('nsenter', ['-t', String(holder.pid), '-n', command, ...args], { env });
    return stdout.trim();
  };
  const sh = (text: string, ...args: string[]) => inside('sh', ['-c', own(text), 'sh', ...args]);
  await sh('ip addr add 10.98.0.14/24 dev lo; ip route add 192.0.2.0/24 dev lo');
  return {
    ...{ root, runDir, sh },
    inject: () => sh(scripts.inject, '10.98.0.11'),
    /** Links, addresses and routes. */
    links: () => sh('ip -o link; ip -4 -o addr; ip -o route show table all'),
    isUp: async () => (await sh('ip -o link show dev lo')).includes('UP'),
    /** What the timer runs when the hold is over. */
    async fire() {
      const words = (await readFile(join(root, 'systemd-run.said'), 'utf8')).split('\n').slice(0, -1);
      const [command, ...args] = words.slice(words.indexOf('/bin/sh'));
      return inside(command!, args);
    },
    sweep: (what: string) => sh(`sweep() (\n${scripts.sweep}\n)\nsweep "$1"`, what),
    /** As a controller does: with the undo on standard input. */
    healFromAfar: () => sh(`exec <${root}/sent.sh\n${all.deadMan('heal.sh')}`, 'run-1.0'),
  };
}

t.test('a link that is down', { skip: !mayUnshare() && 'no rights to make a network' }, async (t) => {
  t.test('comes back when its hold is over, with what the kernel forgot', async (t) => {
    const machine = await makeMachine(t);
    const before = await machine.links();
    await machine.inject();
    t.notOk(await machine.isUp());
    t.equal(await machine.fire(), 'healed');
    t.equal(await machine.links(), before);
    await access(join(machine.runDir, 'healed'));
    t.same(await readdir(join(machine.root, 'run')), [], 'nothing of it stays');
    t.equal(await machine.fire(), '', 'a timer that is late has nothing to do');
  });

  const healers = {
    'its own timer': (machine) => machine.fire(),
    'the undo that a controller sends': (machine) => machine.healFromAfar(),
    'the sweep': (machine) => machine.sweep('clear'),
  } satisfies Record<string, (machine: Awaited<ReturnType<typeof makeMachine>>) => Promise<string>>;
  for (const [healer, heal] of Object.entries(healers)) {
    t.test(`comes back by ${healer} although its run is lost`, async (t) => {
      const machine = await makeMachine(t);
      const before = await machine.links();
      await machine.inject();
      await rm(machine.runDir, { recursive: true });
      t.match(await machine.sweep('list'), /^sf-link-\d+$/);
      await heal(machine);
      t.equal(await machine.links(), before);
      t.equal(await machine.sweep('list'), '');
    });
  }

  t.test('stays down when somebody else has taken it down', async (t) => {
    const machine = await makeMachine(t);
    await machine.inject();
    await machine.healFromAfar();
    await machine.sh('ip link set dev lo down');
    t.equal(await machine.sweep('list'), '');
    await machine.sweep('clear');
    await rm(machine.runDir, { recursive: true });
    t.equal(await machine.healFromAfar(), 'healed');
    t.notOk(await machine.isUp());
  });

  t.test('and is up again without its routes keeps its mark, and is tried again', async (t) => {
    const machine = await makeMachine(t);
    const before = await machine.links();
    await machine.inject();
    const ip = join(machine.root, 'bin/ip');
    const refusing = 'case "$*" in *"route add"*) exit 2 ;; esac\nPATH=${PATH#*:} exec ip "$@"\n';
    await writeFile(ip, `#!/bin/sh\n${refusing}`, { mode: 0o755 });
    await t.rejects(machine.fire(), /is up, but without its route 192\.0\.2\.0\/24/);
    t.match(await machine.sweep('list'), /^sf-link-/);
    await rm(ip);
    t.equal(await machine.fire(), 'healed');
    t.equal(await machine.links(), before);
  });
});

function mayUnshare(): boolean {
  try {
    execFileSync('unshare', ['-n', 'true'], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}
