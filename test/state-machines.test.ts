import fc from 'fast-check';
import t from 'tap';
import { type AnyStateMachine, createActor, fromPromise } from 'xstate';
import { getSimplePaths } from 'xstate/graph';
import { toTrialRecord } from '../controller/schedule/to-trial-record.ts';
import { ExecError } from '../provisioners/contract.ts';
import {
  type FaultRun,
  RefusedError,
  type RunJournal,
  type RunRecord,
  type RunResult,
  type Workload,
} from '../state-machines/contract.ts';
import { type FaultState, faultMachine } from '../state-machines/fault-machine.ts';
import { healUnfinished, type RunnerPorts, runFault } from '../state-machines/fault-runner.ts';
import { loadScripts } from '../state-machines/load-scripts.ts';
import { noFindings } from '../state-machines/recovery/sample.ts';
import { mergeResults, runTogether } from '../state-machines/run-together.ts';
import { type Progress, runTrial, type Trial, type TrialPorts } from '../state-machines/run-trial.ts';
import { seededRandom } from '../state-machines/seeded-random.ts';
import { FakeClock, settle } from './support/fake-clock.ts';
import { FakeNode } from './support/fake-node.ts';

const scripts = await loadScripts('state-machines');
const never = new AbortController().signal;

/** Moves the clock from sleeper to sleeper until the work has settled. */
async function drive<T>(clock: FakeClock, work: Promise<T>): Promise<T> {
  let settled = false;
  void work.then(
    () => (settled = true),
    () => (settled = true),
  );
  for (;;) {
    await settle();
    if (settled) return work;
    const nextMs = clock.nextWakeMs;
    if (nextMs !== undefined) await clock.advance(nextMs - clock.now());
  }
}

interface World {
  readonly clock: FakeClock;
  readonly nodes: readonly FakeNode[];
  readonly records: RunRecord[];
  readonly states: FaultState[];
  readonly ports: RunnerPorts;
}

/** Fake nodes `node1`, `node2`..., a journal in memory that also keeps what each node had been asked by then. */
function makeWorld(count = 1): World {
  const clock = new FakeClock();
  const nodes = Array.from({ length: count }, (_, index) => new FakeNode(`node${index + 1}`, clock, scripts));
  const records: RunRecord[] = [];
  const states: FaultState[] = [];
  const journal: RunJournal = {
    async write(record) {
      for (const node of nodes) node.calls.push(`journal ${record.phase}`);
      records.push(record);
    },
    async unfinished() {
      const newest = new Map(records.map((record) => [record.runId, record]));
      return [...newest.values()].filter(({ outcome }) => outcome === undefined);
    },
  };
  const ports: RunnerPorts = {
    ...{ clock, scripts, journal },
    nodes: async (name) => nodes.find((node) => node.name === name)!,
    onState: (_run, state) => states.push(state),
  };
  return { clock, nodes, records, states, ports };
}

function makeRun(nodes: readonly FakeNode[], settings: Partial<FaultRun> = {}): FaultRun {
  return {
    runId: 'run',
    ...{ cluster: 'c', schedule: 's', fault: 'f', kind: 'isolateNode', instant: false },
    steps: nodes.map(({ name }) => ({ node: name, target: name, mechanism: 'drop', args: ['10.0.0.9'] })),
    ...{ needs: ['systemd'], holdMs: 60_000, graceMs: 30_000 },
    ...settings,
  };
}

const isHealthy = ({ nodes }: World) =>
  nodes.every(({ runs, broken }) => runs.size === 0 && broken.size === 0);

t.test('fault machine', async (t) => {
  const done = (state: string, output?: unknown) => ({ type: `xstate.done.actor.0.fault.${state}`, output });
  const failed = (state: string) => ({ type: `xstate.error.actor.0.fault.${state}`, error: new Error('no') });
  const states = ['prepare', 'inject', 'hold', 'heal', 'verify'];
  const effect = { cmdMs: 1, effMs: 2, effResolutionMs: 1 };
  const events = [
    ...states.map((state) => done(state, state === 'inject' ? effect : state === 'verify' ? {} : undefined)),
    ...states.map(failed),
    { type: 'ABORT', reason: 'enough' },
  ];
  const paths = getSimplePaths(faultMachine as AnyStateMachine, {
    events,
    input: { holdMs: 5, maxHeals: 10 },
    serializeState: (state) => JSON.stringify([state.value, state.context.attempt]),
    stopWhen: (state) => state.context.attempt > 1,
  });

  t.test('reaches its ends only through heal', async (t) => {
    t.ok(paths.length > 20, `${paths.length} paths`);
    const ends = paths.filter(({ state }) => state.status === 'done');
    t.ok(ends.length > 0);
    for (const { steps } of ends) {
      const visited = steps.map(({ state }) => String(state.value));
      t.equal(visited.at(-2), 'verify', visited.join(' '));
      t.ok(visited.includes('heal'));
    }
  });

  t.test('does on every path what the graph says, with real promises', async (t) => {
    for (const { steps } of paths) {
      const open = new Map<
        string,
        { resolve: (output: unknown) => void; reject: (error: unknown) => void }
      >();
      const fake = (name: string) =>
        fromPromise(() => new Promise((resolve, reject) => open.set(name, { resolve, reject })));
      const actor = createActor(
        faultMachine.provide({
          actors: Object.fromEntries(states.map((name) => [name, fake(name)])) as never,
        }),
        { input: { holdMs: 5, maxHeals: 10 } },
      ).start();
      for (const { event, state } of steps.slice(1)) {
        const [, kind, name = ''] = /^xstate\.(done|error)\.actor\.0\.fault\.(\w+)$/.exec(event.type) ?? [];
        if (kind === 'done') open.get(name)!.resolve((event as unknown as { output: unknown }).output);
        else if (kind === 'error') open.get(name)!.reject(new Error('no'));
        else actor.send(event as never);
        await settle(2);
        t.equal(actor.getSnapshot().value, state.value);
      }
      actor.stop();
    }
  });

  t.test('keeps nothing in its context that JSON would lose', async (t) => {
    for (const { state } of paths) t.same(JSON.parse(JSON.stringify(state.context)), state.context);
  });
});

t.test('run of a fault', async (t) => {
  t.test('ends healed, verified and disarmed, with its instants', async (t) => {
    const world = makeWorld(2);
    const startMs = world.clock.now();
    const result = await drive(world.clock, runFault(makeRun(world.nodes), world.ports, never));
    t.equal(result.outcome, 'Healed');
    t.same(world.states, ['prepare', 'inject', 'hold', 'heal', 'verify', 'healed']);
    const { cmdMs, effMs, effResolutionMs, endMs } = result.instants;
    t.ok(cmdMs! >= startMs && effMs! >= cmdMs! && effResolutionMs! >= 0);
    t.ok(endMs! - effMs! >= 60_000 && endMs! - effMs! < 61_000, `held ${endMs! - effMs!} ms`);
    t.ok(isHealthy(world));
    t.equal(world.clock.sleeping, 0, 'nothing is left behind');
  });

  t.test('writes each record before the effect that it announces', async (t) => {
    const world = makeWorld();
    await drive(world.clock, runFault(makeRun(world.nodes, { holdMs: 1_000 }), world.ports, never));
    t.same(world.nodes[0]!.calls, [
      ...['journal prepared', 'arm.sh', 'journal injecting', 'inject.sh', 'journal holding'],
      ...['journal healing', 'heal.sh', 'look.sh', 'disarm.sh', 'journal healed'],
    ]);
    t.equal(world.records.at(-1)?.outcome, 'Healed');
  });

  t.test('aborted in any phase ends healed', async (t) => {
    for (const phase of ['arm.sh', 'inject.sh', 'look.sh', 'heal.sh', 'disarm.sh']) {
      const world = makeWorld(2);
      const abort = new AbortController();
      world.nodes[0]!.mood.before = async (script) => {
        if (script === phase) abort.abort(new Error('SIGTERM'));
      };
      const result = await drive(world.clock, runFault(makeRun(world.nodes), world.ports, abort.signal));
      const late = phase === 'heal.sh' || phase === 'disarm.sh';
      t.equal(result.outcome, late ? 'Healed' : 'Aborted', phase);
      if (!late) t.equal(result.message, 'SIGTERM');
      t.ok(isHealthy(world), phase);
      t.equal(world.clock.sleeping, 0);
    }
  });

  t.test('aborted at any instant ends healed', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 0, max: 15_000 }),
        fc.integer({ min: 0, max: 400 }),
        async (atMs, ms) => {
          const world = makeWorld(2);
          for (const node of world.nodes) node.mood.latencyMs = ms;
          const abort = new AbortController();
          const run = runFault(makeRun(world.nodes, { holdMs: 10_000 }), world.ports, abort.signal);
          const stop = world.clock.sleep(atMs, never).then(() => abort.abort(new Error('stop')));
          const [result] = await drive(world.clock, Promise.all([run, stop]));
          return isHealthy(world) && (result.outcome === 'Aborted' || result.outcome === 'Healed');
        },
      ),
      { numRuns: 60 },
    );
  });

  t.test('aborted before it began touches nothing but to make sure', async (t) => {
    const world = makeWorld();
    const result = await drive(
      world.clock,
      runFault(makeRun(world.nodes), world.ports, AbortSignal.abort(new Error('no'))),
    );
    t.equal(result.outcome, 'Aborted');
    t.notOk(world.nodes[0]!.calls.includes('inject.sh'));
    t.ok(isHealthy(world));
  });

  t.test('aborted while its first record is written arms nothing any more', async (t) => {
    const world = makeWorld();
    const abort = new AbortController();
    const { write } = world.ports.journal;
    const journal: RunJournal = {
      ...world.ports.journal,
      async write(record) {
        abort.abort(new Error('no'));
        await write(record);
      },
    };
    const run = runFault(makeRun(world.nodes), { ...world.ports, journal }, abort.signal);
    t.equal((await drive(world.clock, run)).outcome, 'Aborted');
    t.notOk(world.nodes[0]!.calls.includes('arm.sh'));
    t.ok(isHealthy(world));
  });

  t.test('is refused when another run holds the target, and leaves that one alone', async (t) => {
    const world = makeWorld();
    const first = runFault(makeRun(world.nodes), world.ports, never);
    await world.clock.advance(1_000);
    const second = await runFaultNow(world, makeRun(world.nodes, { runId: 'other' }));
    t.equal(second.outcome, 'Refused');
    t.match(second.message, /held by run\.0/);
    t.equal(world.nodes[0]!.broken.size, 1);
    t.equal((await drive(world.clock, first)).outcome, 'Healed');
  });

  t.test('is refused when a node lacks what the kind needs, before anything is broken', async (t) => {
    const world = makeWorld(2);
    world.nodes[1]!.mood.lacks = ['iptables'];
    const needy = makeRun(world.nodes, { needs: ['systemd', 'iptables'] });
    const refused = await drive(world.clock, runFault(needy, world.ports, never));
    t.equal(refused.outcome, 'Refused');
    t.match(refused.message, /node2: the node lacks iptables/);
    for (const node of world.nodes) t.notOk(node.calls.includes('inject.sh'));
    t.ok(isHealthy(world));
    const other = makeRun(world.nodes, { runId: 'other' });
    const free = await drive(world.clock, runFault(other, world.ports, never));
    t.equal(free.outcome, 'Healed', 'what is not needed is not missed');
  });

  t.test('injects nothing when the controller slept past the deadline', async (t) => {
    const world = makeWorld();
    const node = world.nodes[0]!;
    node.mood.before = async (script) => {
      if (script === 'inject.sh') await world.clock.sleep(20_000, never); // on the way, longer than the switch waits
    };
    const run = makeRun(world.nodes, { holdMs: 1_000, graceMs: 10_000 });
    const result = await drive(world.clock, runFault(run, world.ports, never));
    t.equal(result.outcome, 'Refused');
    t.match(result.message, /healed already/);
    t.ok(isHealthy(world));
  });

  t.test(
    'heals everywhere when one target refuses, and calls it Refused only if none was hurt',
    async (t) => {
      for (const refusing of [1, 2]) {
        const world = makeWorld(2);
        for (const node of world.nodes.slice(0, refusing))
          node.mood.before = async (script) => {
            if (script === 'inject.sh') node.runs.clear();
          };
        const result = await drive(world.clock, runFault(makeRun(world.nodes), world.ports, never));
        t.equal(result.outcome, refusing === 2 ? 'Refused' : 'Unknown');
        t.match(result.message, /node1: the run is not armed/);
        t.ok(isHealthy(world));
      }
    },
  );

  t.test('counts the hold from the last target in effect', async (t) => {
    const world = makeWorld(2);
    world.nodes[1]!.mood.effectAfterMs = 3_000;
    const { instants } = await drive(world.clock, runFault(makeRun(world.nodes), world.ports, never));
    t.ok(instants.effMs! - instants.cmdMs! >= 3_000);
    t.ok(instants.effResolutionMs! <= 200, 'as fine as its polling');
    t.ok(instants.endMs! - instants.effMs! >= 60_000);
  });

  t.test('that never shows an effect is healed and Unknown', async (t) => {
    const world = makeWorld();
    world.nodes[0]!.mood.effectAfterMs = Number.POSITIVE_INFINITY;
    const result = await drive(world.clock, runFault(makeRun(world.nodes), world.ports, never));
    t.equal(result.outcome, 'Unknown');
    t.match(result.message, /after 20 s its check says "inactive"/);
    t.ok(isHealthy(world));
  });

  t.test('may take as long as its plan says to show its effect', async (t) => {
    const world = makeWorld();
    world.nodes[0]!.mood.effectAfterMs = 50_000;
    const { steps, ...run } = makeRun(world.nodes, { graceMs: 70_000 });
    const slow = { ...run, steps: steps.map((step) => ({ ...step, effectLimitMs: 60_000 })) };
    const { outcome, instants, message } = await drive(world.clock, runFault(slow, world.ports, never));
    t.equal(outcome, 'Healed', message ?? '');
    t.ok(instants.endMs! - instants.effMs! >= 60_000);
  });

  t.test(
    'that fails half-way is healed at once, and both errors are told when that fails, too',
    async (t) => {
      for (const undoFails of [0, 2, 100]) {
        const world = makeWorld();
        Object.assign(world.nodes[0]!.mood, { injectFails: true, undoFails });
        const startMs = world.clock.now();
        const result = await drive(world.clock, runFault(makeRun(world.nodes), world.ports, never));
        t.equal(result.outcome, undoFails > 10 ? 'Stuck' : 'Unknown');
        t.match(result.message, /inject\.sh failed \(1\)/);
        if (undoFails === 0) t.ok(world.clock.now() - startMs < 1_000);
        else t.match(result.message, /heal\.sh failed/);
      }
    },
  );

  t.test('that is in effect before it was injected is refused', async (t) => {
    const world = makeWorld();
    world.nodes[0]!.broken.set('run.0', 0);
    const result = await drive(world.clock, runFault(makeRun(world.nodes), world.ports, never));
    t.equal(result.outcome, 'Refused');
    t.notOk(world.nodes[0]!.calls.includes('inject.sh'));
  });

  t.test('whose effect is lost during the hold ends at once, healed', async (t) => {
    const world = makeWorld();
    world.nodes[0]!.mood.effectEndsMs = world.clock.now() + 20_000;
    const result = await drive(world.clock, runFault(makeRun(world.nodes), world.ports, never));
    t.equal(result.outcome, 'Unknown');
    t.match(result.message, /lost the effect during the hold/);
    t.ok(result.instants.endMs! - result.instants.effMs! < 40_000);
    t.ok(isHealthy(world));
  });

  t.test('of an instant kind does not hold, and verifies the undo alone', async (t) => {
    const world = makeWorld();
    const run = makeRun(world.nodes, { instant: true, kind: 'killContainer', holdMs: 0 });
    const result = await drive(world.clock, runFault(run, world.ports, never));
    t.equal(result.outcome, 'Healed');
    t.equal(result.instants.endMs, undefined);
    t.notOk(world.nodes[0]!.calls.includes('look.sh'));
  });

  t.test('tries a failing heal again until it is healed', async (t) => {
    const world = makeWorld();
    world.nodes[0]!.mood.undoFails = 4;
    const result = await drive(world.clock, runFault(makeRun(world.nodes), world.ports, never));
    t.equal(result.outcome, 'Healed');
    t.ok(isHealthy(world));
    t.equal(world.states.filter((state) => state === 'heal').length, 1, 'a retry is no new state');
  });

  t.test('that cannot be healed is Stuck, stays in the journal, and is healed later', async (t) => {
    const world = makeWorld();
    world.nodes[0]!.mood.undoFails = 1_000;
    const result = await drive(
      world.clock,
      runFault(makeRun(world.nodes, { holdMs: 1_000 }), world.ports, never),
    );
    t.equal(result.outcome, 'Stuck');
    t.match(result.message, /heal\.sh/);
    t.equal((await world.ports.journal.unfinished()).length, 1);
    world.nodes[0]!.mood.undoFails = 0;
    const [healed] = await drive(world.clock, healUnfinished(world.ports, never));
    t.equal(healed?.outcome, 'Aborted');
    t.same(await world.ports.journal.unfinished(), []);
    t.ok(isHealthy(world));
  });

  t.test('is refused at once when a node is out of reach before anything was injected', async (t) => {
    const world = makeWorld();
    world.nodes[0]!.mood.unreachable = true;
    const startMs = world.clock.now();
    const result = await drive(world.clock, runFault(makeRun(world.nodes), world.ports, never));
    t.equal(result.outcome, 'Refused');
    t.match(result.message, /connection lost/);
    t.ok(world.clock.now() - startMs < 5_000);
  });

  t.test('is Stuck, and not waited for without end, when a way to a node hangs', async (t) => {
    const world = makeWorld();
    let isHung = false;
    const ports: RunnerPorts = {
      ...world.ports,
      nodes: (name) => (isHung ? new Promise(() => {}) : world.ports.nodes(name)),
      onState: (_run, state) => {
        isHung ||= state === 'heal';
      },
    };
    const run = runFault(makeRun(world.nodes, { holdMs: 1_000 }), ports, never);
    await world.clock.advance(1_200_000);
    const result = await Promise.race([run, settle().then(() => undefined)]);
    t.match(result, { outcome: 'Stuck', message: /no answer within 90000 ms/ });
    t.equal(world.clock.sleeping, 0);
  });

  t.test('heals although the journal can no longer be written', async (t) => {
    const world = makeWorld();
    const write = world.ports.journal.write;
    const ports: RunnerPorts = {
      ...world.ports,
      journal: {
        ...world.ports.journal,
        write: (record) =>
          record.phase.startsWith('heal') ? Promise.reject(new Error('disk full')) : write(record),
      },
    };
    const result = await drive(world.clock, runFault(makeRun(world.nodes), ports, never));
    t.equal(result.outcome, 'Healed');
    t.match(result.message, /journal not closed: disk full/);
    t.ok(isHealthy(world));
    t.equal((await world.ports.journal.unfinished()).length, 1);
  });
});

t.test('a target that restarts while the fault is held', async (t) => {
  const onContainers = ({ nodes }: World): FaultRun => {
    const run = makeRun(nodes, { kind: 'pauseContainer' });
    const steps = run.steps.map((step, index) => ({ ...step, containers: [`c${index + 1}`] }));
    return { ...run, steps };
  };

  t.test('is rid of it, and the others are not', async (t) => {
    const world = makeWorld(2);
    world.nodes[1]!.mood.gone = ['c2'];
    const result = await drive(world.clock, runFault(onContainers(world), world.ports, never));
    t.equal(result.outcome, 'Healed');
    t.match(result.message, /^node2 is another container since .*: the fault was over for it$/);
    t.ok(result.instants.endMs! - result.instants.effMs! >= 60_000);
    t.ok(isHealthy(world));
  });

  t.test('in one of its containers is told of that one, and held in the others', async (t) => {
    const world = makeWorld(1);
    const { steps, ...rest } = onContainers(world);
    const run = { ...rest, steps: [{ ...steps[0]!, containers: ['c1', 'c2', 'c3'] }] };
    world.nodes[0]!.mood.gone = ['c2'];
    void world.clock.sleep(30_000, never).then(() => {
      world.nodes[0]!.mood.gone = ['c1', 'c2'];
    });
    const result = await drive(world.clock, runFault(run, world.ports, never));
    t.equal(result.outcome, 'Healed');
    const told = (id: string) => `container ${id} of node1 is gone since [^ ]*: the fault was over for it`;
    t.match(result.message, new RegExp(`^${told('c2')}; ${told('c1')}$`));
    t.ok(result.instants.endMs! - result.instants.effMs! >= 60_000);
  });

  t.test('ends the hold when no other is left', async (t) => {
    const world = makeWorld(2);
    for (const [index, node] of world.nodes.entries()) node.mood.gone = [`c${index + 1}`];
    const result = await drive(world.clock, runFault(onContainers(world), world.ports, never));
    t.equal(result.outcome, 'Healed');
    t.ok(result.instants.endMs! - result.instants.effMs! < 10_000);
    t.ok(isHealthy(world));
  });

  t.test('is followed when that is asked for, as often as it restarts', async (t) => {
    const world = makeWorld(2);
    const [from, to] = world.nodes;
    from!.mood.gone = ['c1'];
    let asked = 0;
    const told: string[][] = [];
    const ports: RunnerPorts = {
      ...world.ports,
      onState: ({ steps }) => told.push(steps.map(({ node }) => node)),
      async successor(_run, step) {
        asked += 1;
        if (asked < 3) return undefined;
        return { ...step, node: 'node2', containers: ['c3'] };
      },
    };
    const { steps, ...rest } = onContainers(world);
    const run: FaultRun = { ...rest, follow: true, steps: steps.slice(0, 1) };
    const result = await drive(world.clock, runFault(run, ports, never));
    t.equal(result.outcome, 'Healed');
    t.match(result.message, /it is followed/);
    t.same(told.at(-1), ['node1', 'node2'], 'whoever is told of the end hears of both');
    t.ok(to!.calls.includes('inject.sh'));
    const before = to!.calls.slice(0, to!.calls.indexOf('arm.sh'));
    t.equal(before.at(-1), 'journal holding', 'its undo is in the journal before it is armed');
    t.equal(world.records.at(-2)?.steps.length, 2);
    t.ok(isHealthy(world));
  });

  t.test('and cannot be followed is no refusal: the fault was in force', async (t) => {
    const world = makeWorld(1);
    world.nodes[0]!.mood.gone = ['c1'];
    const ports: RunnerPorts = {
      ...world.ports,
      successor: () => Promise.reject(new RefusedError('node3: connection lost')),
    };
    const run = { ...onContainers(world), follow: true } as const;
    const result = await drive(world.clock, runFault(run, ports, never));
    t.match(result, { outcome: 'Unknown', message: 'node3: connection lost' });
    t.ok(isHealthy(world));
  });

  t.test('and is followed, is healed whenever the run is aborted', async () => {
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 0, max: 12_000 }), async (atMs) => {
        const world = makeWorld(2);
        world.nodes[0]!.mood.gone = ['c1'];
        for (const { mood } of world.nodes) mood.latencyMs = 300;
        const ports: RunnerPorts = {
          ...world.ports,
          successor: async (_run, step) => ({ ...step, node: 'node2', containers: ['c3'] }),
        };
        const { steps, ...rest } = onContainers(world);
        const run: FaultRun = { ...rest, follow: true, steps: steps.slice(0, 1) };
        const abort = new AbortController();
        void world.clock.sleep(atMs, never).then(() => abort.abort(new Error('enough')));
        await drive(world.clock, runFault(run, ports, abort.signal));
        return isHealthy(world);
      }),
      { numRuns: 60 },
    );
  });
});

t.test('faults together', async (t) => {
  const pair = ({ nodes }: World, settings: Partial<FaultRun> = {}): readonly FaultRun[] =>
    nodes.map((node, index) => {
      const fault = `f${index + 1}`;
      return makeRun([node], { runId: `run.${index + 1}`, together: 'run', fault, ...settings });
    });

  t.test('are all armed before the first is injected, and end as one', async (t) => {
    const world = makeWorld(2);
    const [, slow] = world.nodes;
    const injected: number[] = [];
    slow!.mood.before = async (script) => {
      if (script === 'arm.sh') await world.clock.sleep(4_000, never);
    };
    const ports: RunnerPorts = {
      ...world.ports,
      onState: (_run, state, atMs) => void (state === 'inject' && injected.push(atMs)),
    };
    slow!.mood.effectAfterMs = 700;
    const results = await drive(world.clock, runTogether(pair(world), ports, never));
    t.equal(injected[0], injected[1], 'at the same moment');
    const { outcome, instants, message } = mergeResults('run', results);
    t.same([outcome, message], ['Healed', undefined]);
    const skewMs = instants.effMs! - instants.firstEffMs!;
    t.ok(skewMs >= 600 && skewMs <= 900, `skew ${skewMs} ms`);
    t.ok(instants.endMs! >= instants.effMs! + 60_000);
    t.ok(isHealthy(world));
  });

  t.test('may have one target, which no other fault gets meanwhile', async (t) => {
    const world = makeWorld(1);
    const both = [...pair(world), ...pair(world, { runId: 'run.2' })];
    let other: RunResult | undefined;
    const ports: RunnerPorts = {
      ...world.ports,
      onState(run, state) {
        if (run.runId !== 'run.1' || state !== 'hold') return;
        void runFault(makeRun(world.nodes, { runId: 'alone' }), world.ports, never).then((result) => {
          other = result;
        });
      },
    };
    const results = await drive(world.clock, runTogether(both, ports, never));
    t.same(
      results.map(({ outcome }) => outcome),
      ['Healed', 'Healed'],
    );
    t.equal(other?.outcome, 'Refused');
    t.ok(isHealthy(world));
  });

  t.test('are not injected at all when one of them is refused', async (t) => {
    for (const refused of [0, 1]) {
      const world = makeWorld(2);
      world.nodes[refused]!.mood.lacks = ['systemd'];
      const results = await drive(world.clock, runTogether(pair(world), world.ports, never));
      t.same(
        results.map(({ outcome }) => outcome),
        ['Refused', 'Refused'],
      );
      t.match(mergeResults('run', results).message, /lacks systemd/);
      for (const node of world.nodes) t.notOk(node.calls.includes('inject.sh'));
      t.ok(isHealthy(world));
    }
  });

  t.test('are not called Refused when one was hurt before the other refused', async (t) => {
    const world = makeWorld(2);
    world.nodes[1]!.mood.before = async (script) => {
      if (script === 'inject.sh') world.nodes[1]!.runs.clear();
    };
    const results = await drive(world.clock, runTogether(pair(world), world.ports, never));
    t.ok(world.nodes[0]!.calls.includes('inject.sh'));
    const { outcome, message } = mergeResults('run', results);
    t.equal(outcome, 'Aborted');
    t.match(message, /node2: the run is not armed/, 'and why is told');
    t.ok(isHealthy(world));
  });

  t.test('are healed when one of them goes wrong', async (t) => {
    const world = makeWorld(2);
    world.nodes[0]!.mood.effectEndsMs = world.clock.now() + 20_000;
    const results = await drive(world.clock, runTogether(pair(world), world.ports, never));
    t.same(
      results.map(({ outcome }) => outcome),
      ['Unknown', 'Aborted'],
    );
    const merged = mergeResults('run', results);
    t.equal(merged.outcome, 'Unknown');
    t.match(merged.message, /lost the effect/);
    t.ok(isHealthy(world));
  });

  t.test('aborted at any instant end healed', async () => {
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 0, max: 70_000 }), async (atMs) => {
        const world = makeWorld(2);
        const abort = new AbortController();
        void world.clock.sleep(atMs, never).then(() => abort.abort(new Error('enough')));
        await drive(world.clock, runTogether(pair(world), world.ports, abort.signal));
        return isHealthy(world);
      }),
      { numRuns: 30 },
    );
  });
});

t.test('run whose effect only a witness sees', async (t) => {
  /** node1 is silent while it is broken, and mends itself when its time has come; node2 looks at it. */
  const makeSilent = (settings: Partial<FaultRun> = {}) => {
    const world = makeWorld(2);
    const [victim, peer] = world.nodes as [FakeNode, FakeNode];
    victim.mood.mute = true;
    victim.mood.effectEndsMs = world.clock.now() + 61_000;
    peer.mood.watched = victim;
    const step = { ...{ node: 'node1', target: 'node1', mechanism: 'drop', args: [] } };
    const steps = [{ ...step, witness: { node: 'node2', args: [], alone: true as const } }];
    const run = () => drive(world.clock, runFault(makeRun([], { steps, ...settings }), world.ports, never));
    return { world, victim, peer, run };
  };

  t.test('is held although nobody hears the victim, which tells itself that it is gone', async (t) => {
    const { world, victim, run } = makeSilent();
    const startMs = world.clock.now();
    const { outcome, instants, message } = await run();
    t.equal(outcome, 'Healed', message ?? '');
    t.ok(instants.effMs! - startMs < 1_000, 'the lost answer is not waited for');
    t.ok(instants.effResolutionMs! <= 200);
    t.ok(instants.endMs! - instants.effMs! >= 60_000 && instants.endMs! - instants.effMs! < 70_000);
    t.equal(victim.calls.filter((call) => call === 'look.sh').length, 1, 'asked only when it is over');
    t.ok(isHealthy(world));
    t.equal(world.clock.sleeping, 0, 'nothing is left behind');
  });

  t.test('is Unknown when the witness never sees it, or cannot be asked', async (t) => {
    for (const mood of [{ watched: undefined }, { unreachable: true }]) {
      const { world, victim, peer, run } = makeSilent();
      victim.mood.before = async (script) => {
        if (script === 'inject.sh') Object.assign(peer.mood, mood);
      };
      const { outcome, message } = await run();
      t.equal(outcome, 'Unknown');
      t.match(message, /after 20 s its check says "(inactive|unknown)"/);
      t.ok(isHealthy(world));
    }
  });

  t.test('ends at once when the witness sees the victim again too early', async (t) => {
    const { world, victim, run } = makeSilent();
    victim.mood.effectEndsMs = world.clock.now() + 20_000;
    const { outcome, message, instants } = await run();
    t.equal(outcome, 'Unknown');
    t.match(message, /lost the effect during the hold/);
    t.ok(instants.endMs! - instants.effMs! < 40_000);
    t.ok(isHealthy(world));
  });

  t.test('is Refused by a victim that still answers, without waiting for any effect', async (t) => {
    const { world, victim, run } = makeSilent();
    victim.mood.before = async (script) => {
      if (script === 'inject.sh') victim.runs.clear();
    };
    const startMs = world.clock.now();
    const { outcome, message } = await run();
    t.equal(outcome, 'Refused');
    t.match(message, /not armed/);
    t.ok(world.clock.now() - startMs < 5_000);
    t.ok(isHealthy(world));
  });

  t.test('is Refused when the witness misses the victim already', async (t) => {
    const { world, victim, peer, run } = makeSilent();
    peer.mood.watched = undefined;
    peer.broken.set('other', 0);
    const { outcome, message } = await run();
    t.equal(outcome, 'Refused');
    t.match(message, /before the fault its check says "active"/);
    t.notOk(victim.calls.includes('inject.sh'));
    peer.broken.clear();
    t.ok(isHealthy(world));
  });

  t.test('is healed after minutes when its plan says that the victim may be away so long', async (t) => {
    for (const awayMs of [undefined, 300_000]) {
      const { victim, world } = makeSilent();
      victim.mood.effectEndsMs = world.clock.now() + 260_000;
      const witness = { node: 'node2', args: [], alone: true } as const;
      const step = { ...{ node: 'node1', target: 'node1', mechanism: 'drop', args: [] }, witness };
      const steps = [{ ...step, ...(awayMs !== undefined && { awayMs }) }];
      const run = runFault(makeRun([], { steps, holdMs: 1_000 }), world.ports, never);
      t.equal((await drive(world.clock, run)).outcome, awayMs === undefined ? 'Stuck' : 'Healed');
    }
  });

  t.test('is Stuck while the victim stays away, and closed when it is back', async (t) => {
    const { world, victim, run } = makeSilent({ holdMs: 10_000 });
    victim.mood.effectEndsMs = Number.POSITIVE_INFINITY;
    t.equal((await run()).outcome, 'Stuck');
    victim.mood.effectEndsMs = world.clock.now();
    const [healed] = await drive(world.clock, healUnfinished(world.ports, never));
    t.equal(healed?.outcome, 'Aborted');
    t.ok(isHealthy(world));
  });
});

/** A machine that is busy answers too late for its witness, for three seconds. */
async function missBusy(
  world: ReturnType<typeof makeWorld>,
  peer: FakeNode,
  victim: FakeNode,
): Promise<void> {
  peer.mood.watched = undefined;
  peer.broken.set('busy', 0);
  await world.clock.sleep(3_000, never);
  peer.broken.clear();
  peer.mood.watched = victim;
}

t.test('run that is over at once, and whose effect only a witness sees', async (t) => {
  /** node1 begins anew a second after it was told to; node2 looks at it. */
  const makeRebooted = () => {
    const world = makeWorld(2);
    const [victim, peer] = world.nodes as [FakeNode, FakeNode];
    Object.assign(victim.mood, { effectAfterMs: 1_000, remembers: true });
    peer.mood.watched = victim;
    const witness = { node: 'node2', args: [], alone: true, afterAnswer: true } as const;
    const steps = [{ ...{ node: 'node1', target: 'node1', mechanism: 'power', args: [] }, witness }];
    const run = () =>
      drive(world.clock, runFault(makeRun([], { steps, instant: true, holdMs: 0 }), world.ports, never));
    return { world, victim, peer, run };
  };

  t.test('is Healed when the victim says that it has happened', async (t) => {
    const { world, run } = makeRebooted();
    const { outcome, instants, message } = await run();
    t.equal(outcome, 'Healed', message ?? '');
    t.ok(instants.effMs! - instants.cmdMs! >= 1_000);
    t.ok(isHealthy(world));
  });

  t.test('is Unknown when the victim says that it has not, whatever its witness said', async (t) => {
    const { world, victim, run } = makeRebooted();
    victim.mood.remembers = false;
    const { outcome, message } = await run();
    t.match(
      { outcome, message },
      { outcome: 'Unknown', message: /^node1: missed by a witness, but its own/ },
    );
    t.ok(isHealthy(world));
  });

  t.test('is not in effect before the order was answered, or its answer lost', async (t) => {
    for (const lost of [false, true]) {
      const { world, victim, peer, run } = makeRebooted();
      victim.mood.before = async (script) => {
        if (script !== 'inject.sh') return;
        await missBusy(world, peer, victim);
        Object.assign(victim.mood, { mute: lost, effectAfterMs: lost ? 0 : 1_000 });
        if (lost) victim.mood.effectEndsMs = world.clock.now() + 30_000;
      };
      const { outcome, instants, message } = await run();
      t.equal(outcome, 'Healed', message ?? '');
      t.ok(instants.effMs! - instants.cmdMs! >= 3_000);
      t.ok(isHealthy(world));
    }
  });
});

t.test('run that needs the power switch', async (t) => {
  /** node1 is off between the two; node2 looks at it. */
  const makeSwitched = () => {
    const world = makeWorld(2);
    const [victim, peer] = world.nodes as [FakeNode, FakeNode];
    peer.mood.watched = victim;
    victim.mood.effectAfterMs = Number.POSITIVE_INFINITY;
    const calls: string[] = [];
    const power: NonNullable<RunnerPorts['power']> = {
      async offUntil(name, untilMs) {
        calls.push(`off ${name} for ${Math.round((untilMs - world.clock.now()) / 1000)} s`);
        Object.assign(victim.mood, { unreachable: true, effectAfterMs: 0 });
      },
      async on(name) {
        calls.push(`on ${name}`);
        Object.assign(victim.mood, { unreachable: false, effectEndsMs: world.clock.now() });
      },
    };
    const step = {
      ...{ node: 'node1', target: 'node1', mechanism: 'power', args: [] },
      switch: 'power' as const,
    };
    const witness = { node: 'node2', args: [], alone: true, afterAnswer: true } as const;
    const steps = [{ ...step, witness }];
    const run = makeRun([], { steps });
    return { world, victim, peer, calls, run, ports: { ...world.ports, power } };
  };

  t.test('is off for the hold, and not beyond the deadline of the node itself', async (t) => {
    const { world, victim, calls, run, ports } = makeSwitched();
    const { outcome, instants, message } = await drive(world.clock, runFault(run, ports, never));
    t.equal(outcome, 'Healed', message ?? '');
    t.same(calls, ['off node1 for 90 s', 'on node1']);
    const asked = victim.calls.filter((call) => call.endsWith('.sh'));
    t.same(asked.slice(0, 3), ['arm.sh', 'inject.sh', 'heal.sh'], 'not asked while it is off');
    t.ok(instants.endMs! - instants.effMs! >= 60_000);
    t.ok(isHealthy(world));
    t.equal(world.clock.sleeping, 0);
  });

  t.test('is not in effect before the plug was pulled, whatever a witness says', async (t) => {
    const { world, victim, peer, calls, run, ports } = makeSwitched();
    victim.mood.before = async (script) => {
      if (script === 'inject.sh') await missBusy(world, peer, victim);
    };
    const { outcome, instants } = await drive(world.clock, runFault(run, ports, never));
    t.equal(outcome, 'Healed');
    t.match(calls, [/^off node1/, 'on node1']);
    t.ok(instants.effMs! - instants.cmdMs! >= 3_000);
  });

  t.test('whose order is not answered pulls no plug, and is told', async (t) => {
    const { victim, calls, run, ports, world } = makeSwitched();
    victim.mood.before = async (script) => {
      if (script === 'inject.sh') throw new ExecError('node1', 'connection lost');
    };
    const { outcome, message } = await drive(world.clock, runFault(run, ports, never));
    t.match({ outcome, message }, { outcome: 'Unknown', message: /connection lost/ });
    t.same(calls, ['on node1']);
  });

  t.test('is Refused by a provisioner that has none, before any node is touched', async (t) => {
    const { world, victim, peer, run } = makeSwitched();
    const { outcome, message } = await drive(world.clock, runFault(run, world.ports, never));
    t.match({ outcome, message }, { outcome: 'Refused', message: /no power switch/ });
    for (const { calls } of [victim, peer])
      t.notOk(calls.includes('arm.sh') || calls.includes('inject.sh') || calls.includes('look.sh'));
  });

  t.test('does not pull the plug when the node refuses', async (t) => {
    const { world, victim, calls, run, ports } = makeSwitched();
    victim.mood.before = async (script) => {
      if (script === 'inject.sh') victim.runs.clear();
    };
    t.equal((await drive(world.clock, runFault(run, ports, never))).outcome, 'Refused');
    t.same(calls, ['on node1']);
  });

  t.test('puts the power on again before it asks the node, also when it is aborted or resumed', async (t) => {
    const { world, calls, run, ports } = makeSwitched();
    const abort = new AbortController();
    const onState: RunnerPorts['onState'] = (_run, state) => {
      if (state === 'hold') abort.abort(new Error('enough'));
    };
    const aborted = await drive(world.clock, runFault(run, { ...ports, onState }, abort.signal));
    t.equal(aborted.outcome, 'Aborted');
    t.same(calls, ['off node1 for 90 s', 'on node1']);
    await ports.power.offUntil('node1', world.clock.now() + 1_000, never);
    world.records.push({ ...run, schemaVersion: 1, phase: 'injecting', atMs: 0 });
    const [resumed] = await drive(world.clock, healUnfinished(ports, never));
    t.equal(resumed?.outcome, 'Aborted', resumed?.message ?? '');
    t.equal(calls.at(-1), 'on node1');
  });

  t.test('heals again while the machine boots, and when the switch fails', async (t) => {
    const { world, calls, run, ports } = makeSwitched();
    let failing = 2;
    const power: typeof ports.power = {
      ...ports.power,
      async on(name, signal) {
        if (failing-- > 0) throw new Error('the switch does not answer');
        return ports.power.on(name, signal);
      },
    };
    const { outcome } = await drive(world.clock, runFault(run, { ...ports, power }, never));
    t.equal(outcome, 'Healed');
    t.equal(calls.at(-1), 'on node1');
    t.ok(isHealthy(world));
  });
});

t.test('run whose switch takes more than its own node away is thrown when all have been told', async (t) => {
  const world = makeWorld(3);
  const [first, second, peer] = world.nodes as [FakeNode, FakeNode, FakeNode];
  const zone = [first, second];
  const calls: string[] = [];
  peer.mood.watched = second;
  for (const { mood } of zone) mood.effectAfterMs = Number.POSITIVE_INFINITY;
  second.mood.before = async (script) => {
    if (script === 'inject.sh') await world.clock.sleep(3_000, never);
  };
  const zoneSwitch: NonNullable<RunnerPorts['zone']> = {
    async offUntil(name) {
      calls.push(`off ${name}`);
      for (const { mood } of zone) Object.assign(mood, { unreachable: true, effectAfterMs: 0 });
    },
    async on(name) {
      calls.push(`on ${name}`);
      for (const { mood } of zone)
        Object.assign(mood, { unreachable: false, effectEndsMs: world.clock.now() });
    },
  };
  const witness = { node: 'node3', args: [], alone: true, afterAnswer: true } as const;
  const steps = zone.map(({ name }) => ({
    ...{ node: name, target: name, mechanism: 'power', args: [], switch: 'zone' as const, witness },
  }));
  const run = makeRun([], { steps });
  const { outcome, message } = await drive(
    world.clock,
    runFault(run, { ...world.ports, zone: zoneSwitch }, never),
  );
  t.equal(outcome, 'Healed', message ?? '');
  t.same(calls, ['off node1', 'off node2', 'on node1', 'on node2']);
  t.ok(isHealthy(world));
  second.mood.before = async (script) => {
    if (script === 'inject.sh') second.runs.clear();
  };
  calls.length = 0;
  await drive(world.clock, runFault({ ...run, runId: 'other' }, { ...world.ports, zone: zoneSwitch }, never));
  t.same(calls, ['on node1', 'on node2'], 'and not at all when one of them refuses');
});

t.test('run that ends a machine for good', async (t) => {
  /** Another one runs in its place after five minutes; what it was told is gone with the old one. */
  const makeEnded = (madeAfterMs = 300_000) => {
    const world = makeWorld(2);
    const [victim, peer] = world.nodes as [FakeNode, FakeNode];
    Object.assign(victim.mood, { effectAfterMs: Number.POSITIVE_INFINITY, remembers: true });
    peer.mood.watched = victim;
    const spot: NonNullable<RunnerPorts['spot']> = {
      async offUntil() {
        Object.assign(victim.mood, { unreachable: true, effectAfterMs: 0 });
        void world.clock.sleep(madeAfterMs, never).then(() => {
          victim.runs.clear();
          victim.broken.clear();
          victim.mood.unreachable = false;
        });
      },
      async on(name) {
        if (victim.mood.unreachable) throw new Error(`there is no machine ${name}`);
      },
    };
    const witness = { node: 'node2', args: [], alone: true, afterAnswer: true } as const;
    const step = { node: 'node1', target: 'node1', mechanism: 'power', args: [], switch: 'spot' as const };
    const steps = [{ ...step, awayMs: 900_000, witness }];
    const run = makeRun([], { steps, instant: true, holdMs: 0 });
    return { world, victim, run, ports: { ...world.ports, spot } };
  };

  t.test('is Healed when another one runs in its place, and says that it is another one', async (t) => {
    const { world, run, ports } = makeEnded();
    const beganMs = world.clock.now();
    const { outcome, message } = await drive(world.clock, runFault(run, ports, never));
    t.equal(outcome, 'Healed', message ?? '');
    t.ok(world.clock.now() - beganMs >= 300_000);
    t.ok(isHealthy(world));
  });

  t.test('is stuck when none comes', async (t) => {
    const { world, run, ports } = makeEnded(Number.MAX_SAFE_INTEGER);
    const beganMs = world.clock.now();
    const { outcome, message } = await drive(world.clock, runFault(run, ports, never));
    t.match({ outcome, message }, { outcome: 'Stuck', message: /there is no machine node1/ });
    const tookMs = world.clock.now() - beganMs;
    t.ok(tookMs >= 900_000 && tookMs < 1_200_000, `${tookMs}`);
  });

  t.test('is closed at once where its controller died, for nothing is left to be undone', async (t) => {
    const { world, run, ports } = makeEnded();
    await ports.spot.offUntil('node1', world.clock.now() + 60_000, never);
    const beganMs = world.clock.now();
    world.records.push({ ...run, schemaVersion: 1, phase: 'injecting', atMs: 0 });
    const [resumed] = await drive(world.clock, healUnfinished(ports, never));
    t.equal(resumed?.outcome, 'Aborted', resumed?.message ?? '');
    t.ok(world.clock.now() - beganMs < 60_000);
  });
});

t.test('unfinished runs', async (t) => {
  t.test('are healed, verified and closed as aborted, whatever phase they died in', async (t) => {
    for (const phase of ['prepared', 'injecting', 'holding', 'healing'] as const) {
      const world = makeWorld();
      const node = world.nodes[0]!;
      const run = makeRun(world.nodes);
      await world.ports.journal.write({ schemaVersion: 1, ...run, phase, atMs: 0 });
      if (phase !== 'prepared') {
        const deadlineMs = world.clock.now() + 60_000;
        node.runs.set('run.0', { lock: 'node1', deadlineMs, tombstone: false, healed: false });
        node.broken.set('run.0', world.clock.now());
      }
      const results: readonly RunResult[] = await drive(world.clock, healUnfinished(world.ports, never));
      t.same(
        results.map(({ outcome }) => outcome),
        ['Aborted'],
      );
      t.notOk(node.calls.includes('inject.sh'));
      t.ok(isHealthy(world), phase);
      t.same(await world.ports.journal.unfinished(), []);
    }
  });
});

/** A job that commits once a second, and stands still for `stallMs` after the inject; from the start when infinite. */
function makeWorkload({ clock, nodes }: World, stallMs: number): Workload {
  const startMs = clock.now();
  let stalledUntilMs = stallMs === Number.POSITIVE_INFINITY ? stallMs : undefined;
  let visibleMs = startMs - 1_000;
  return {
    clockBound: async () => ({ node: 'node2', offsetMs: 0, boundMs: 2 }),
    async *samples(signal) {
      for (;;) {
        await clock.sleep(250, signal);
        const atMs = clock.now();
        if (nodes[0]!.calls.includes('inject.sh')) stalledUntilMs ??= atMs + stallMs;
        const commitMs = Math.floor(atMs / 1_000) * 1_000;
        if (atMs >= (stalledUntilMs ?? 0)) visibleMs = commitMs - 1_000;
        const times = { askedMs: atMs, atMs };
        const views = [{ source: 'spark-driver', ...times, parts: { executors: 3 }, losses: 0 }] as const;
        yield {
          ...{ atMs, ackedMs: atMs, committedMs: visibleMs, visibleMs, intended: atMs, acked: atMs },
          ...{ generatorBehindMs: 0, batchId: commitMs, batchAtMs: commitMs, views },
          ...{ batch: null, correctness: noFindings },
          sources: { observerStartedMs: 1, generatorStartedMs: 1, generatorSeenMs: atMs, countedSinceMs: 0 },
        };
      }
    },
  };
}

t.test('trial', async (t) => {
  const measure = { calibrationMs: 12_000, gateMs: 10_000, maxRecoveryMs: 600_000, triggerMs: 1_000 };
  const makeTrial = (world: World, stallMs: number, settings: Partial<Trial> = {}) => {
    const claimed: string[] = [];
    const seen: Progress['awaiting'][] = [];
    let rows = 0;
    const trial: Trial = {
      ...{ owner: 'FaultSchedule/s', runId: 'run', kind: { death: 'crash' }, measure },
      plan: async () => [makeRun(world.nodes, { instant: true, holdMs: 0 })],
      ...settings,
    };
    const ports: TrialPorts = {
      ...world.ports,
      workload: makeWorkload(world, stallMs),
      claims: {
        hold: (owner, targets) => claimed.push(`${owner} holds ${targets.join()}`),
        release: (owner) => claimed.push(`${owner} releases`),
        heldBy: () => undefined,
      },
      onSample: () => rows++,
      onProgress: ({ awaiting }) => seen.at(-1) !== awaiting && seen.push(awaiting),
    };
    return { trial, ports, claimed, seen, rows: () => rows };
  };

  t.test('calibrates, breaks, watches and judges, holding its claims to the end', async (t) => {
    const world = makeWorld();
    const startMs = world.clock.now();
    const { trial, ports, claimed, seen, rows } = makeTrial(world, 20_000);
    const result = await drive(world.clock, runTrial(trial, ports, never));
    t.equal(result.problem, undefined);
    t.same(result.recovery?.verdict, { recovery: 'Recovered', correctness: 'Correct' });
    t.ok(Math.abs(result.recovery!.figures.recovery!.ms - 20_000) < 1_000);
    t.same(seen, ['samples', 'calibration', 'fault', 'recovery']);
    t.same(claimed, ['FaultSchedule/s holds node1', 'FaultSchedule/s releases']);
    const tookMs = world.clock.now() - startMs;
    t.ok(tookMs < 80_000, `a smoke trial waits little: ${tookMs} ms`);
    t.ok(rows() > 250);
    t.equal(world.clock.sleeping, 0, 'nothing is left behind');
  });

  t.test('claims whom it follows, too', async (t) => {
    const world = makeWorld(2);
    world.nodes[0]!.mood.gone = ['c1'];
    const run = makeRun(world.nodes.slice(0, 1), { follow: true, holdMs: 20_000 });
    const steps = run.steps.map((step) => ({ ...step, containers: ['c1'] }));
    const { trial, ports, claimed } = makeTrial(world, 0, { plan: async () => [{ ...run, steps }] });
    const { measure: _measure, ...bare } = trial;
    const successor: TrialPorts['successor'] = async (_run, step) => {
      return { ...step, node: 'node2', target: 'node2', containers: ['c2'] };
    };
    const result = await drive(world.clock, runTrial(bare, { ...ports, successor }, never));
    t.equal(result.run?.outcome, 'Healed');
    const started = {
      ...{ number: 1, fault: 'f', kind: 'k', runId: 'run', seed: 1, startedMs: 0, settings: {} },
      samples: undefined,
    };
    t.match(toTrialRecord(started, result, { unrun: 'Refused', nowMs: 1 }), {
      targets: ['node1', 'node2'],
      figures: {},
    });
    t.same(claimed, [
      'FaultSchedule/s holds node1',
      'FaultSchedule/s holds node2',
      'FaultSchedule/s releases',
    ]);
  });

  t.test('reuses the calibration of its campaign, and waits at the gate instead', async (t) => {
    const world = makeWorld();
    const first = makeTrial(world, 5_000);
    const { baseline } = await drive(world.clock, runTrial(first.trial, first.ports, never));
    const next = makeTrial(world, 5_000, { baseline: baseline! });
    const result = await drive(world.clock, runTrial(next.trial, next.ports, never));
    t.equal(result.baseline, baseline);
    t.same(next.seen, ['samples', 'gate', 'fault', 'recovery']);
  });

  t.test('breaks nothing when the job is not steady', async (t) => {
    const world = makeWorld();
    const { trial, ports, claimed } = makeTrial(world, Number.POSITIVE_INFINITY);
    const result = await drive(world.clock, runTrial(trial, ports, never));
    t.match(result.problem, /did not become steady/);
    t.same(world.nodes[0]!.calls, []);
    t.same(claimed, ['FaultSchedule/s releases']);
  });

  t.test('plans only after the gate', async (t) => {
    const world = makeWorld();
    const startMs = world.clock.now();
    let plannedMs = 0;
    const plan = async () => {
      plannedMs = world.clock.now() - startMs;
      throw new RefusedError('no target is running');
    };
    const { trial, ports } = makeTrial(world, 0, { plan });
    const result = await drive(world.clock, runTrial(trial, ports, never));
    t.ok(plannedMs >= 12_000);
    t.equal(result.problem, 'no target is running');
    t.equal(result.run, undefined);
  });

  t.test('without measurement is the run alone', async (t) => {
    const world = makeWorld();
    const { trial, ports, rows } = makeTrial(world, 0);
    const { measure: _measure, ...bare } = trial;
    const result = await drive(world.clock, runTrial(bare, ports, never));
    t.equal(result.run?.outcome, 'Healed');
    t.equal(result.recovery, undefined);
    t.equal(rows(), 0);
  });

  t.test('aborted at any instant ends healed, with its claims released', async () => {
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 0, max: 90_000 }), async (atMs) => {
        const world = makeWorld();
        const plan = async () => [makeRun(world.nodes, { holdMs: 20_000 })];
        const { trial, ports, claimed } = makeTrial(world, 5_000, { plan });
        const abort = new AbortController();
        const stop = world.clock.sleep(atMs, never).then(() => abort.abort(new Error('stop')));
        const [result] = await drive(world.clock, Promise.all([runTrial(trial, ports, abort.signal), stop]));
        return (
          isHealthy(world) && claimed.at(-1) === 'FaultSchedule/s releases' && result.recovery === undefined
        );
      }),
      { numRuns: 15 },
    );
  });
});

t.test('seeded random numbers', async (t) => {
  t.test('are the same for the same seed, in [0, 1), and spread', async () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 2 ** 32 - 1 }), (seed) => {
        const [one, other] = [seededRandom(seed), seededRandom(seed)];
        const drawn = Array.from({ length: 200 }, () => one());
        return (
          drawn.every((value) => value >= 0 && value < 1 && value === other()) &&
          Math.abs(drawn.reduce((sum, value) => sum + value, 0) / 200 - 0.5) < 0.15
        );
      }),
    );
  });
});

/** Runs beside another run: only this one's calls may pass time. */
async function runFaultNow(world: World, run: FaultRun): Promise<RunResult> {
  const work = runFault(run, world.ports, never);
  await world.clock.advance(2_000);
  return work;
}
