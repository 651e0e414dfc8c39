import { execFile } from 'node:child_process';
import { chmod, mkdir, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import t, { type Test } from 'tap';
import { type Facts, RefusedError } from '../state-machines/contract.ts';
import { faultKinds } from '../state-machines/faults/catalog.ts';
import { loadScripts } from '../state-machines/load-scripts.ts';
import { exampleFacts } from './contracts/fault-kind.ts';

// Engine, availability, scale: what is planned for whom, where it runs, and what is asked of the engine.

const run = promisify(execFile);
const scripts = await loadScripts('state-machines');

const kindOf = (name: string) => faultKinds.find((kind) => kind.name === name)!;
const plan = (name: string, facts: Facts) => kindOf(name).plan(kindOf(name).params.parse({}), facts);
const node = (name: string) => ({ kind: 'node', node: name }) as const;

/** The example's nodes, of which these are managers that can be reached. */
const managedBy = (...managers: readonly string[]): Facts['nodes'] =>
  exampleFacts('nodes').nodes.map((each) => {
    const controls = managers.includes(each.name);
    return { ...each, swarm: { id: `id-of-${each.name}`, role: controls ? 'manager' : 'worker', controls } };
  });

t.test('stopEngine acts on the node itself, and asks for an engine that systemd runs', async (t) => {
  t.same(plan('stopEngine', exampleFacts('nodes')), [
    { node: 'node4', target: 'node4', mechanism: 'engine', args: [] },
    { node: 'node6', target: 'node6', mechanism: 'engine', args: [] },
  ]);
  t.same(kindOf('stopEngine').needs, ['systemd', 'docker-unit']);
});

t.test('drainNode', async (t) => {
  const on = (target: string, ...managers: readonly string[]) =>
    plan('drainNode', { services: [], targets: [node(target)], nodes: managedBy(...managers) });

  t.test('is done by a manager, and names the node that is drained', async (t) => {
    t.same(on('node4', 'node1'), [
      { node: 'node1', target: 'node4', mechanism: 'availability', args: ['id-of-node4'] },
    ]);
  });

  t.test('of a manager is done by another one, or by itself when there is none', async (t) => {
    t.match(on('node1', 'node1', 'node3', 'node2'), [{ node: 'node2', target: 'node1' }]);
    t.match(on('node1', 'node1'), [{ node: 'node1', target: 'node1' }]);
  });

  t.test('is refused without a manager that is reached, and for a node that is no member', async (t) => {
    t.throws(() => on('node4'), { code: 'FAULT_REFUSED', message: /no manager/ });
    const nodes = managedBy('node1').map(({ swarm, ...each }) => ({
      ...each,
      ...(swarm && each.name !== 'node4' && { swarm }),
    }));
    t.throws(
      () => plan('drainNode', { services: [], targets: [node('node4')], nodes }),
      /does not list node4/,
    );
  });
});

t.test('stopService', async (t) => {
  const service = { kind: 'service', service: 'streaming_job', serviceId: 'xyz', replicated: true } as const;

  t.test('is done by a manager, to the very service that was chosen', async (t) => {
    t.same(plan('stopService', { services: [], targets: [service], nodes: managedBy('node3', 'node2') }), [
      { node: 'node2', target: 'streaming_job', mechanism: 'scale', args: ['xyz'] },
    ]);
  });

  t.test('is refused for a global service, and without a manager', async (t) => {
    const global = { ...service, replicated: false };
    t.throws(
      () => plan('stopService', { services: [], targets: [global], nodes: managedBy('node1') }),
      /streaming_job is no replicated service/,
    );
    t.throws(
      () => plan('stopService', { services: [], targets: [service], nodes: managedBy() }),
      RefusedError,
    );
  });
});

t.test('none of them takes a parameter', async (t) => {
  for (const name of ['stopEngine', 'drainNode', 'stopService'])
    t.notOk(kindOf(name).params.safeParse({ force: true }).success, name);
});

/** Runs a script with a `docker` of which this is the text, and tells how it ended and what it has saved. */
async function withDocker(t: Test, script: string, docker: string, args: readonly string[]) {
  const root = t.testdir({ run: {}, bin: {} });
  await writeFile(join(root, 'bin/docker'), `#!/bin/sh\n${docker}\n`);
  await chmod(join(root, 'bin/docker'), 0o755);
  await mkdir(join(root, 'run'), { recursive: true });
  const env = {
    ...process.env,
    PATH: `${join(root, 'bin')}:${process.env.PATH}`,
    SF_RUN_DIR: join(root, 'run'),
  };
  const ended = await run('sh', ['-c', script, 'sh', ...args], { env }).catch((error: unknown) => error);
  return { ended, saved: await readdir(join(root, 'run')) };
}

t.test('what the swarm already is, or does not tell, is refused, and nothing is changed', async (t) => {
  const { inject } = scripts.mechanism('availability');
  const tells = 'case $2 in inspect) echo drain ;; *) echo "asked to $*" >&2; exit 1 ;; esac';
  t.match(await withDocker(t, inject, tells, ['xyz']), {
    ...{ ended: { code: 69, stderr: 'availability of xyz is drain already\n' }, saved: [] },
  });
  t.match(await withDocker(t, inject, 'echo no quorum >&2; exit 1', ['xyz']), {
    ...{
      ended: { code: 69, stderr: /^no quorum\nthe engine does not tell the availability of xyz$/m },
      saved: [],
    },
  });
});
