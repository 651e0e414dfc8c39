import { execFile } from 'node:child_process';
import { readdir, readFile, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import fc from 'fast-check';
import t from 'tap';
import type { NodeHandle } from '../provisioners/contract.ts';
import { RefusedError } from '../state-machines/contract.ts';
import { armStep } from '../state-machines/dead-man/step-actions.ts';
import { describePlan } from '../state-machines/describe-plan.ts';
import { faultKinds } from '../state-machines/faults/catalog.ts';
import { loadScripts } from '../state-machines/load-scripts.ts';
import { scanOrphans } from '../state-machines/scan-orphans.ts';
import { exampleFacts, faultKindContract, shellcheck } from './contracts/fault-kind.ts';
import { FakeClock } from './support/fake-clock.ts';
import { FakeNode } from './support/fake-node.ts';

const run = promisify(execFile);
const scripts = await loadScripts('state-machines');
const kindOf = (name: string) => faultKinds.find((kind) => kind.name === name)!;

for (const kind of faultKinds) {
  t.test(kind.name, async (t) => faultKindContract(t, kind, scripts));
}

t.test('catalogue', async (t) => {
  t.test('names each kind once', async (t) => {
    t.equal(new Set(faultKinds.map(({ name }) => name)).size, faultKinds.length);
  });

  t.test('leaves no mechanism without a kind', async (t) => {
    const folders = await readdir('state-machines/faults', { withFileTypes: true });
    const mechanisms = folders.filter((entry) => entry.isDirectory()).map(({ name }) => name);
    t.same([...new Set(faultKinds.map(({ mechanism }) => mechanism))].sort(), mechanisms.sort());
  });

  t.test('asks for scripts that exist, by name', async (t) => {
    t.throws(() => scripts.mechanism('nonsense'), /no script nonsense/);
    t.throws(() => scripts.deadMan('nonsense.sh'), /no script/);
  });
});

t.test('killContainer', async (t) => {
  t.test('kills exactly the containers that were chosen, with the signal asked for', async (t) => {
    const kind = kindOf('killContainer');
    t.same(kind.plan(kind.params.parse({ signal: 'SIGTERM' }), exampleFacts('tasks')), [
      {
        ...{ node: 'node4', target: 'node4/streaming_spark-worker-1', mechanism: 'signal' },
        args: ['SIGTERM', '0'.repeat(64)],
      },
      {
        ...{ node: 'node6', target: 'node6/streaming_spark-worker-2', mechanism: 'signal' },
        args: ['SIGTERM', '1'.repeat(64)],
      },
    ]);
  });

  t.test('takes tasks of one service on one node as one target', async (t) => {
    const kind = kindOf('killContainer');
    const task = { kind: 'task', node: 'node4', service: 's' } as const;
    const targets = ['a', 'b'].map((id) => ({ ...task, taskId: id, containerId: id.repeat(64) }));
    const steps = kind.plan(kind.params.parse({}), { ...exampleFacts('tasks'), targets });
    t.same(
      steps.map(({ target, args }) => [target, args.length]),
      [['node4/s', 3]],
    );
  });
});

t.test('isolateNode', async (t) => {
  const kind = kindOf('isolateNode');
  const facts = exampleFacts('nodes');

  t.test(
    'names the controller first, every other node last, and a witness that is none of the targets',
    async (t) => {
      const [first] = kind.plan({}, { ...facts, targets: [{ kind: 'node', node: 'node2' }] });
      t.same(first, {
        ...{ node: 'node2', target: 'node2', mechanism: 'drop' },
        args: [
          ...['10.98.0.1', 'drop', 'both', 'all', '10.98.0.11', '10.98.0.13', '10.98.0.14'],
          ...['10.98.0.15', '10.98.0.16'],
        ],
        witness: { node: 'node1', args: ['10.98.0.1', 'drop', 'both', 'all', '10.98.0.12'] },
      });
    },
  );

  t.test('is refused where nothing would be isolated, or only half', async (t) => {
    const alone = {
      ...facts,
      targets: [{ kind: 'node', node: 'node1' } as const],
      nodes: facts.nodes.slice(0, 1),
    };
    t.throws(() => kind.plan({}, alone), RefusedError);
    const v6 = facts.nodes.map((node) => ({ ...node, address: 'fd00::1' }));
    t.throws(() => kind.plan({}, { ...facts, nodes: v6 }), /IPv4/);
    const odd = facts.nodes.map((node) => ({ ...node, controllerAddress: '10.0.0.1 -j ACCEPT' }));
    t.throws(() => kind.plan({}, { ...facts, nodes: odd }), /IPv4/);
  });
});

t.test("scripts read numbers as they are written, whatever the node's language", async (t) => {
  const env = { ...process.env, LANG: 'de_DE.UTF-8', LC_ALL: 'de_DE.UTF-8', LC_NUMERIC: 'de_DE.UTF-8' };
  const { stdout } = await run('sh', ['-c', '. state-machines/faults/common.sh; printenv LC_ALL'], { env });
  t.equal(stdout, 'C\n');
});

t.test('dead-man scripts', async (t) => {
  t.test('are POSIX sh in which shellcheck finds nothing', async (t) => {
    const files = (await readdir('state-machines/dead-man')).filter((name) => name.endsWith('.sh'));
    await shellcheck(
      t,
      files.map((name) => `state-machines/dead-man/${name}`),
    );
  });

  t.test('refuse an operator of an older term, once a newer one was heard of', async (t) => {
    const runs = { old: { armed: '', lock: '', mandate: 'lease 3\n', target: 'node1\n' } };
    const root = t.testdir({ bin: {}, runs, locks: {} });
    await symlink('old', join(root, 'locks/node1'));
    const scripts = await loadScripts('state-machines');
    const call = async (name: string, ...args: string[]) => {
      const text = scripts.deadMan(name).replaceAll('/var/lib/spark-failures', root).replaceAll('/etc', root);
      // This machine may lack what a node needs.
      const willing = text.replace(/^offers\(\) \{$/m, 'offers() {\n return 0');
      const { stdout } = await run('sh', ['-c', willing, 'sh', ...args]);
      return stdout.trim();
    };
    const arm = (mandate: string) => call('arm.sh', 'new', 'node1', '60000', 'v', '', mandate, 'systemd');
    const fence = () => readFile(join(root, 'fence'), 'utf8');
    t.match(await call('scan.sh'), 'run old armed over node1');
    await writeFile(join(root, 'runs/old/armed'), '');
    t.match(
      await call('inject.sh', 'old'),
      'refused the switch is not armed',
      'so far nobody has taken over',
    );
    t.equal(await call('fence.sh', 'lease 4'), '');
    t.equal(await fence(), 'lease 4\n');
    t.match(await call('inject.sh', 'old'), 'refused another operator leads by now');
    t.match(await arm('lease 3'), 'refused another operator leads by now');
    t.match(await call('fence.sh', 'lease 3'), 'refused lease 4 leads here');
    t.match(await arm('lease 4'), 'refused node1 is held by', 'as far as that goes it may');
    t.equal(await call('fence.sh', 'other 1'), '', 'the term of another swarm says nothing');
    t.equal(await fence(), 'other 1\n');
  });

  t.test('heal also what was still being armed when they began', async (t) => {
    const root = t.testdir({
      bin: {},
      runs: {
        arming: { 'heal.sh': ': >"${0%/*}/healed"' },
        armed: { armed: '', 'heal.sh': ': >"${0%/*}/healed"' },
        dead: {},
      },
    });
    // Whoever waits for the lock gets it when the other has armed.
    const flock = `#!/bin/sh\n: >${root}/runs/arming/armed\nshift\nexec "$@"\n`;
    await writeFile(join(root, 'bin/flock'), flock, { mode: 0o755 });
    const text = await readFile('state-machines/dead-man/heal-all.sh', 'utf8');
    const env = { PATH: `${root}/bin:${process.env.PATH}`, sweeps: '' };
    await run('sh', ['-c', text.replace('/var/lib/spark-failures', root)], { env });
    const left = await readdir(join(root, 'runs'), { recursive: true });
    const files = left.filter((path) => path.endsWith('/healed') || path === 'dead');
    t.same(files.sort(), ['armed/healed', 'arming/healed']);
  });

  t.test('tell which marks could not be listed, and why', async (t) => {
    const text = await readFile('state-machines/dead-man/scan.sh', 'utf8');
    const sweeps = `
sweep_bad() (
  echo SF-1
  echo 'the lock is held' >&2
  exit 4
)
sweep_good() (
  nothing=$(false)
  echo "SF-2$nothing"
)
sweeps='bad good'
`;
    const script = sweeps + text.replaceAll('/var/lib/spark-failures', t.testdir());
    const exec: NodeHandle['exec'] = async () => {
      const { stdout, stderr } = await run('sh', ['-c', script]);
      return { code: 0, signal: null, stdout, stderr };
    };
    const node = { name: 'node1', exec } as NodeHandle;
    const found = await scanOrphans(node, scripts, new AbortController().signal);
    t.same(
      found.map((remnant) => remnant.kind !== 'run' && [remnant.kind, remnant.mechanism, remnant.mark]),
      [
        ['unlisted', 'bad', 'not listed: the lock is held'],
        ['mark', 'bad', 'SF-1'],
        ['mark', 'good', 'SF-2'],
      ],
    );
  });

  t.test('refuse an argument that would not survive its file', async (t) => {
    const clock = new FakeClock();
    const node = new FakeNode('node1', clock, scripts);
    const ports = { clock, scripts, nodes: async () => node };
    const step = { node: 'node1', target: 'node1', mechanism: 'drop', args: ['one\ntwo'] };
    const never = new AbortController().signal;
    await t.rejects(
      armStep(ports, { name: 'run.0', step }, { fuseMs: 1_000, needs: [] }, never),
      RefusedError,
    );
    t.same(node.calls, []);
  });
});

t.test('a plan in words', async (t) => {
  t.test('quotes arguments so that a shell gives them back', async () => {
    await fc.assert(
      fc.asyncProperty(fc.string({ minLength: 1, unit: 'grapheme-ascii' }), async (arg) => {
        const step = { node: 'n', target: 'n', mechanism: 'm', args: [arg] };
        const text = describePlan({ kind: 'k', steps: [step], instant: true, holdMs: 0, graceMs: 0 });
        const quoted = /inject\.sh (.*)$/m.exec(text)?.[1] ?? '';
        const { stdout } = await run('sh', ['-c', `printf %s ${quoted}`]);
        return stdout === arg;
      }),
      { numRuns: 40 },
    );
  });

  t.test('says what is held, and that the node needs nobody to heal', async (t) => {
    const kind = kindOf('isolateNode');
    const steps = kind.plan({}, { ...exampleFacts('nodes'), targets: [{ kind: 'node', node: 'node6' }] });
    t.matchOnly(
      describePlan({ kind: 'isolateNode', steps, instant: false, holdMs: 60_000, graceMs: 30_000 }),
      [
        /^isolateNode on node6$/m,
        /undoes it after 1m30s/,
        /check.sh until/,
        /hold 1m/,
        /undo\.sh, verified/,
      ].reduce((all, one) => new RegExp(`${all.source}[^]*${one.source}`, 'm')),
    );
  });
});
