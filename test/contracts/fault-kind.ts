import { execFile } from 'node:child_process';
import { readdir } from 'node:fs/promises';
import { promisify } from 'node:util';
import type { Test } from 'tap';
import { z } from 'zod';
import {
  type Aim,
  type Facts,
  type FaultKind,
  RefusedError,
  type Target,
  targetName,
} from '../../state-machines/contract.ts';
import { describePlan } from '../../state-machines/describe-plan.ts';
import type { Scripts } from '../../state-machines/load-scripts.ts';

const run = promisify(execFile);
const names = ['node1', 'node2', 'node3', 'node4', 'node5', 'node6'];

/**
 * Six nodes, and two of them, or services or tasks on these, as targets; they and the first one are managers, and they alone
 * are in the second zone.
 */
export function exampleFacts(aim: Aim): Facts {
  return {
    targets: ['node4', 'node6'].map((node, index) => exampleTarget(aim, node, index)),
    services: [],
    nodes: names.map((name, index) => {
      const isManager = ['node1', 'node4', 'node6'].includes(name);
      return {
        name,
        address: `10.98.0.1${index + 1}`,
        controllerAddress: '10.98.0.1',
        labels: { place: index < 3 ? 'core' : 'compute' },
        swarm: { id: `id-of-${name}`, role: isManager ? 'manager' : 'worker', controls: isManager },
        zone: name === 'node4' || name === 'node6' ? 'zone-b' : 'zone-a',
      };
    }),
  };
}

function exampleTarget(aim: Aim, node: string, index: number): Target {
  const service = `streaming_spark-worker-${index + 1}`;
  switch (aim) {
    case 'nodes':
      return { kind: 'node', node };
    case 'services':
      return { kind: 'service', service, serviceId: `id-of-${service}`, replicated: true };
    case 'tasks':
      return {
        kind: 'task',
        node,
        service,
        taskId: `task${index}`,
        containerId: `${index}`.repeat(64),
        addresses: [`10.99.1.${index + 5}/24`],
      };
    default:
      return aim satisfies never;
  }
}

/** What every fault kind promises, whoever wrote it, at whatever it may be aimed. */
export function faultKindContract(t: Test, kind: FaultKind, scripts: Scripts): void {
  for (const aim of kind.targets) t.test(`aimed at ${aim}`, async (t) => contractOf(t, kind, aim, scripts));
}

function contractOf(t: Test, kind: FaultKind, aim: Aim, scripts: Scripts): void {
  const example = exampleFacts(aim);
  // What may be taken back at any time is for this kind alone, and has no power switch.
  const isLent = kind.name === 'interruptNode';
  const facts = isLent
    ? { ...example, nodes: example.nodes.map((node) => ({ ...node, spot: true as const })) }
    : example;
  const plan = (of: Facts = facts) => kind.plan(kind.params.parse({}), of);

  t.test('has defaults for all its parameters, described, and refuses unknown ones', async (t) => {
    t.ok(kind.params.safeParse({}).success);
    t.notOk(kind.params.safeParse({ nonsense: 1 }).success);
    const { properties = {} } = z.toJSONSchema(kind.params, { io: 'input' });
    for (const [name, schema] of Object.entries(properties)) {
      t.ok((schema as { description?: string }).description, `${name} is described`);
    }
  });

  t.test('says in one sentence what it does', async (t) => {
    t.match(kind.summary, /^[A-Z][^\n]*\.$/);
    t.match(kind.name, /^[a-z][A-Za-z]+$/);
  });

  t.test('plans the same steps from the same facts, and changes nothing', async (t) => {
    const before = structuredClone(facts);
    t.same(plan(), plan());
    t.same(facts, before);
    t.same(JSON.parse(JSON.stringify(plan())), plan(), 'plain data');
  });

  t.test('plans one step per target, under its name, on its own node or a manager', async (t) => {
    const steps = plan();
    t.same(steps.map(({ target }) => target).sort(), facts.targets.map(targetName).sort());
    for (const { target, node } of steps)
      t.ok(node === 'node1' || target === node || target.startsWith(`${node}/`), target);
  });

  t.test('does not care in which order facts came', async (t) => {
    const reversed = { ...facts, targets: facts.targets.toReversed(), nodes: facts.nodes.toReversed() };
    const bare = (of: Facts) =>
      plan(of)
        .map(({ target, args }) => [target, args.toSorted()])
        .toSorted();
    t.same(bare(reversed), bare(facts));
  });

  t.test('never asks a machine that it acts on to witness', async (t) => {
    const actedOn = plan().map(({ node }) => node);
    for (const { witness } of plan()) t.notOk(witness && actedOn.includes(witness.node));
  });

  t.test('passes values only as arguments of one line, printable in a plan', async (t) => {
    const steps = plan();
    const text = describePlan({
      kind: kind.name,
      steps,
      instant: kind.instant,
      holdMs: 5_000,
      graceMs: 30_000,
    });
    for (const { args } of steps) {
      for (const arg of args) {
        t.notMatch(arg, /[\n\0]/);
        t.ok(text.includes(arg));
      }
    }
  });

  t.test('has its three scripts, which shellcheck finds nothing in', async (t) => {
    for (const { mechanism } of plan()) t.equal(mechanism, kind.mechanism);
    const { inject, undo, check } = scripts.mechanism(kind.mechanism);
    for (const script of [inject, undo, check]) t.match(script, /^#!\/bin\/sh\n#/);
    const folder = `state-machines/faults/${kind.mechanism}`;
    const files = (await readdir(folder)).filter((file) => file.endsWith('.sh'));
    await shellcheck(
      t,
      files.map((file) => `${folder}/${file}`),
    );
  });

  t.test('needs only what a node can be asked for', async (t) => {
    for (const need of kind.needs) {
      const branch = need.startsWith('cgroup-') ? 'cgroup-*)' : `${need})`;
      t.ok(scripts.deadMan('lacks.sh').includes(branch), need);
    }
  });

  t.test('refuses targets of another sort', async (t) => {
    const others = (['tasks', 'nodes', 'services'] as const).filter((sort) => !kind.targets.includes(sort));
    for (const sort of others) t.throws(() => plan(exampleFacts(sort)), RefusedError, sort);
  });
}

/** Skipped, and said so, where shellcheck is not installed. */
export async function shellcheck(t: Test, files: readonly string[], shell = 'sh'): Promise<void> {
  try {
    await run('shellcheck', ['-s', shell, ...files]);
  } catch (error) {
    const { code, stdout } = error as { code: unknown; stdout: string };
    if (code === 'ENOENT') t.comment('shellcheck is not installed: scripts not linted');
    else t.fail(stdout);
  }
}
