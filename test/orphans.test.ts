import t from 'tap';
import { createMetrics } from '../controller/metrics/metrics.ts';
import { closeGone } from '../controller/schedule/close-books.ts';
import { type OrphanWatchPorts, orphanWatch } from '../controller/schedule/watch-orphans.ts';
import { type FaultRun, RefusedError, type RunRecord } from '../state-machines/contract.ts';
import { runFault } from '../state-machines/fault-runner.ts';
import { loadScripts } from '../state-machines/load-scripts.ts';
import { FakeClock, settle } from './support/fake-clock.ts';
import { FakeNode } from './support/fake-node.ts';

// Faults that no run will heal: left by an earlier process, by another controller, by a node that did not answer.

const scripts = await loadScripts('state-machines');
const never = new AbortController().signal;

/** Three nodes, a journal in memory, and the watch over them. */
class World {
  readonly clock = new FakeClock();
  readonly nodes = [1, 2, 3].map((i) => new FakeNode(`node${i}`, this.clock, scripts));
  readonly records: RunRecord[] = [];
  readonly said: (readonly [string, string, object])[] = [];
  readonly metrics = createMetrics();
  readonly log = this.#log();
  active: readonly string[] = [];
  isKnown = true;
  readonly journal = {
    write: async (record: RunRecord) => {
      const isClosed = this.records.some(({ runId, outcome }) => runId === record.runId && outcome);
      if (!isClosed) this.records.push(record);
    },
    runs: async () => [...new Map(this.records.map((record) => [record.runId, record])).values()],
    unfinished: async () => (await this.journal.runs()).filter(({ outcome }) => outcome === undefined),
  };
  readonly ports = {
    ...{ clock: this.clock, scripts, journal: this.journal },
    nodes: async (name: string) => this.nodes.find((node) => node.name === name)!,
  };
  readonly healed: string[] = [];
  readonly watchPorts: OrphanWatchPorts = {
    healed: (_cluster, what) => void this.healed.push(what),
    ...{ ...this.ports, metrics: this.metrics.trials, log: this.log },
    isActive: (schedule) => this.active.includes(schedule),
    machines: async () => [{ cluster: 'c', nodes: this.nodes.map(({ name }) => name) }],
    clusterOf: () => {
      if (!this.isKnown) throw new Error('there is no ClusterSpec c');
      return { ...this.ports, nodeNames: this.nodes.map(({ name }) => name), switches: {} };
    },
  };
  readonly watch = orphanWatch(this.watchPorts);

  scan = () => this.drive(this.watch.scan(never));
  healUnfinished = () => this.drive(this.watch.healUnfinished());

  /** Moves the clock until the work is done. */
  async drive<T>(work: Promise<T>): Promise<T> {
    let isOver = false;
    const over = () => {
      isOver = true;
    };
    void work.then(over, over);
    for (;;) {
      await settle();
      if (isOver) return work;
      const { nextWakeMs } = this.clock;
      if (nextWakeMs !== undefined) await this.clock.advance(nextWakeMs - this.clock.now());
    }
  }

  /** A fault of some controller on a node, in force. */
  leave(
    node: number,
    run: string,
    fuseMs: number,
    more: { injected?: boolean; healed?: boolean; mandate?: string } = {},
  ): void {
    const { injected = true, healed = false, mandate = '' } = more;
    const deadlineMs = this.clock.now() + fuseMs;
    this.nodes[node]!.runs.set(`${run}.0`, { lock: run, deadlineMs, tombstone: healed, healed, mandate });
    if (injected) this.nodes[node]!.broken.set(`${run}.0`, this.clock.now());
  }

  get left(): readonly string[] {
    return this.nodes.flatMap(({ runs, marks }) => [...runs.keys(), ...marks]);
  }

  async figure(name: string): Promise<number | undefined> {
    const line = (await this.metrics.render()).text.split('\n').find((each) => each.startsWith(`${name} `));
    return line === undefined ? undefined : Number(line.slice(name.length + 1));
  }

  orphans = () => this.figure('sparkfailures_orphaned_faults');

  messages = () => this.said.map(([level, message]) => `${level}: ${message}`);

  #log() {
    const at = (level: string) => (fields: object, message: string) =>
      void this.said.push([level, message, fields]);
    return { info: at('info'), warn: at('warn'), error: at('error') };
  }
}

function makeRun(more: Partial<FaultRun> = {}): FaultRun {
  return {
    ...{ runId: 's-1-f-1-abc', cluster: 'c', schedule: 's', fault: 'f', kind: 'isolateNode', instant: false },
    steps: [{ node: 'node1', target: 'node1', mechanism: 'drop', args: ['10.0.0.9'] }],
    ...{ needs: ['systemd'], holdMs: 10_000, graceMs: 30_000 },
    ...more,
  };
}

const record = (more: Partial<RunRecord> = {}): RunRecord => ({
  ...{ schemaVersion: 1, ...makeRun(), phase: 'holding', atMs: 1 },
  ...more,
});

t.test('a node that does not answer at heal time', async (t) => {
  const world = new World();
  const [node] = world.nodes;
  world.metrics.trials.scheduleFaults('s', ['f']);
  world.active = ['s'];
  const run = runFault(makeRun(), world.ports, never);
  await world.clock.advance(1_000);
  node!.mood.unreachable = true;
  const result = await world.drive(run);
  t.match(result, { outcome: 'Stuck', message: /connection lost/ });
  world.active = [];

  await t.test('is tried again for as long as it takes, and counted and told each time', async (t) => {
    for (let tries = 1; tries <= 3; tries++) {
      const before = node!.calls.filter((call) => call === 'heal.sh').length;
      await world.healUnfinished();
      t.ok(node!.calls.filter((call) => call === 'heal.sh').length >= before + 10, `round ${tries}`);
      t.equal(await world.orphans(), 1);
      t.equal(await world.figure('sparkfailures_fault_active{schedule="s",fault="f",target="node1"}'), 1);
      t.equal(world.said.filter(([, message]) => /not healed, and tried again/.test(message)).length, tries);
    }
    t.match(world.said.at(-1), ['warn', /not healed/, { runId: 's-1-f-1-abc', targets: ['node1'] }]);
    t.match(world.records.at(-1), { phase: 'stuck' });
    t.equal(world.records.at(-1)?.outcome, undefined, 'the run stays open');
  });

  await t.test('is let go only when it was seen free of the fault', async (t) => {
    node!.mood.unreachable = false;
    node!.mood.undoFails = 3;
    await world.healUnfinished();
    t.equal(await world.orphans(), 0);
    t.equal(await world.figure('sparkfailures_fault_active{schedule="s",fault="f",target="node1"}'), 0);
    t.match(world.records.at(-1), { phase: 'healed', outcome: 'Aborted' });
    t.same(world.left, []);
    t.same(world.healed, ['s-1-f-1-abc'], 'trials of the cluster hear of it');
    await world.healUnfinished();
    t.equal(world.messages().filter((line) => /closed/.test(line)).length, 1, 'once');
  });
});

t.test('an unfinished run of a cluster that nobody knows is counted, and told once', async (t) => {
  const world = new World();
  world.records.push(record());
  world.isKnown = false;
  await world.healUnfinished();
  await world.healUnfinished();
  t.equal(await world.orphans(), 1);
  t.same(world.messages(), ['error: unfinished runs not healed']);
});

t.test('an unfinished run of a cluster that was removed', async (t) => {
  const stuck = async () => {
    const world = new World();
    world.metrics.trials.scheduleFaults('s', ['f']);
    world.records.push(record({ phase: 'stuck' }));
    world.nodes[0]!.mood.unreachable = true;
    return world;
  };
  const remove = (world: World, left: readonly string[]) =>
    closeGone('c', left, { ...world.ports, metrics: world.metrics.trials, log: world.log });

  await t.test('is closed with its machines, and counts no more', async (t) => {
    const world = await stuck();
    await world.healUnfinished();
    t.equal(await world.orphans(), 1);
    await remove(world, ['node2']);
    world.isKnown = false;
    await world.healUnfinished();
    t.equal(await world.orphans(), 0);
    t.equal(await world.figure('sparkfailures_fault_active{schedule="s",fault="f",target="node1"}'), 0);
    t.match(world.records.at(-1), { phase: 'healed', outcome: 'Aborted', message: /gone with its machines/ });
  });

  await t.test('stays closed, although somebody tries to heal it at that moment', async (t) => {
    const world = await stuck();
    const healing = world.watch.healUnfinished();
    await world.clock.advance(1_000);
    await remove(world, []);
    await world.drive(healing);
    t.equal(await world.orphans(), 0);
    t.equal(await world.figure('sparkfailures_fault_active{schedule="s",fault="f",target="node1"}'), 0);
    t.notOk(world.messages().some((line) => /not healed/.test(line)));
  });

  await t.test('stays open, and loud, on a machine that is left, or of another cluster', async (t) => {
    const world = await stuck();
    world.records.push(record({ runId: 'other', cluster: 'd' }));
    await remove(world, ['node1']);
    world.isKnown = false;
    await world.healUnfinished();
    t.equal(await world.orphans(), 2);
  });
});

t.test('the search for orphaned faults', async (t) => {
  t.test('heals what a closed run left, and asks nothing of the rest', async (t) => {
    const world = new World();
    world.records.push(record({ outcome: 'Refused' }));
    world.leave(0, 's-1-f-1-abc', 60_000);
    await world.scan();
    t.same(world.left, []);
    t.equal(world.nodes[0]!.broken.size, 0);
    t.equal(await world.orphans(), 0);
    t.match(world.said, [['warn', 'orphaned faults healed', { node: 'node1', healed: ['s-1-f-1-abc'] }]]);
    t.same(world.healed, ['s-1-f-1-abc']);
    t.same(world.nodes[1]!.calls, ['scan.sh']);
    await world.scan();
    t.equal(world.said.length, 1, 'a look that finds nothing says nothing');
  });

  t.test('never touches a run in progress, nor one that the journal will heal', async (t) => {
    for (const active of [['s'], []]) {
      const world = new World();
      world.active = active;
      world.records.push(record());
      world.leave(0, 's-1-f-1-abc', 60_000);
      world.nodes[0]!.marks.add('drop SF-1');
      await world.scan();
      t.same(world.left, ['s-1-f-1-abc.0', 'drop SF-1']);
      t.equal(world.nodes[0]!.broken.size, 1);
      t.equal(await world.orphans(), active.length > 0 ? 0 : 1);
      t.same(world.said, []);
    }
  });

  t.test('never touches a run that was armed while it looked', async (t) => {
    const world = new World();
    world.active = ['s'];
    world.nodes[0]!.mood.before = async (script) => {
      if (script !== 'scan.sh' || world.records.length > 0) return;
      world.records.push(record({ phase: 'prepared' }));
      world.leave(0, 's-1-f-1-abc', 60_000, { injected: false });
    };
    await world.scan();
    t.same(world.left, ['s-1-f-1-abc.0']);
    t.same(world.nodes[0]!.calls, ['scan.sh']);
  });

  t.test('never takes a run for an orphan that ended while it looked', async (t) => {
    for (const injected of [true, false]) {
      const world = new World();
      world.active = ['s'];
      world.records.push(record());
      world.leave(0, 's-1-f-1-abc', 60_000, { injected });
      if (injected) world.nodes[0]!.marks.add('drop SF-1');
      world.nodes[0]!.mood.after = async (script) => {
        if (script !== 'scan.sh' || world.records.length > 1) return;
        world.records.push(record({ outcome: 'Healed' }));
        world.nodes[0]!.runs.clear();
        world.nodes[0]!.broken.clear();
        world.nodes[0]!.marks.clear();
      };
      await world.scan();
      t.same(world.nodes[0]!.calls, ['scan.sh', 'scan.sh'], 'it is looked at again');
      t.same([world.healed, world.said], [[], []], 'no trial is spoilt by it');
      t.equal(await world.orphans(), 0);
    }
  });

  t.test('never sweeps the marks of a run that began while it looked', async (t) => {
    const world = new World();
    world.active = ['s'];
    world.nodes[0]!.marks.add('drop SF-1'); // listed after the runs were
    world.nodes[0]!.mood.after = async (script) => {
      if (script !== 'scan.sh' || world.records.length > 0) return;
      world.records.push(record());
      world.leave(0, 's-1-f-1-abc', 60_000);
    };
    await world.scan();
    t.same(world.nodes[0]!.calls, ['scan.sh', 'scan.sh']);
    t.same(world.left, ['s-1-f-1-abc.0', 'drop SF-1']);
  });

  t.test("leaves another controller's run to its own switch, counts it, and says so once", async (t) => {
    const world = new World();
    world.leave(0, 'theirs-1-f-1-xyz', 300_000);
    world.leave(1, 'theirs-1-f-1-xyz', 300_000);
    await world.scan();
    await world.scan();
    t.equal(world.left.length, 2);
    t.equal(await world.orphans(), 1, 'one fault on two nodes');
    t.same(world.messages(), ['warn: orphaned faults in force', 'warn: orphaned faults in force']);
    t.same(world.nodes[0]!.calls, ['scan.sh', 'scan.sh']);
    await world.clock.advance(300_000);
    await world.scan();
    t.same(world.left, [], 'its nodes healed themselves: what is left is put away');
    t.equal(await world.orphans(), 0);
  });

  t.test('heals what nobody knows and no switch will heal any more', async (t) => {
    const world = new World();
    world.leave(0, 'theirs-1-f-1-xyz', 0);
    world.nodes[0]!.fireSwitches = () => {}; // after a reboot, say
    await world.scan();
    t.same(world.left, []);
    t.equal(world.nodes[0]!.broken.size, 0);
  });

  t.test(
    'never undoes a second time what is healed: the undo may be older than the next fault',
    async (t) => {
      const world = new World();
      world.records.push(record({ outcome: 'Healed' }));
      world.leave(0, 's-1-f-1-abc', 60_000, { injected: false, healed: true });
      await world.scan();
      t.same(world.nodes[0]!.calls, ['scan.sh', 'scan.sh', 'disarm.sh', 'scan.sh']);
      t.same(world.left, []);
    },
  );

  t.test('clears marks that belong to no run', async (t) => {
    const world = new World();
    world.nodes[2]!.marks.add('drop SF-12345');
    await world.scan();
    t.same(world.left, []);
    t.match(world.said, [['warn', 'orphaned faults healed', { healed: ['node3: drop SF-12345'] }]]);
  });

  t.test('never takes marks that a node cannot tell for none, and heals the rest of it', async (t) => {
    const world = new World();
    world.records.push(record({ outcome: 'Refused' }));
    world.leave(0, 's-1-f-1-abc', 60_000);
    const [node] = world.nodes;
    node!.marks.add('drop SF-1');
    node!.mood.before = async (script) => {
      if (script === 'sweep.sh') node!.mood.sweepFails = 'the lock is held';
    };
    await world.scan();
    t.equal(await world.orphans(), 1);
    const where = { cluster: 'c', node: 'node1' };
    t.same(world.said, [
      ['warn', 'orphaned faults healed', { ...where, healed: ['s-1-f-1-abc'] }],
      ['warn', 'orphaned faults in force', { ...where, left: ['node1: drop not listed: the lock is held'] }],
    ]);
    await world.scan();
    t.equal(await world.orphans(), 1);
    delete node!.mood.sweepFails;
    await world.scan();
    t.equal(await world.orphans(), 0);
  });

  t.test('counts what it cannot heal, tries again, and says so once', async (t) => {
    const world = new World();
    world.records.push(record({ outcome: 'Aborted' }));
    world.leave(0, 's-1-f-1-abc', 60_000);
    world.nodes[0]!.mood.undoFails = 2;
    await world.scan();
    t.equal(await world.orphans(), 1);
    await world.scan();
    t.equal(await world.orphans(), 1);
    await world.scan();
    t.equal(await world.orphans(), 0);
    t.equal(world.messages().filter((line) => line === 'warn: orphaned faults in force').length, 1);
    t.equal(world.messages().filter((line) => line === 'warn: orphaned faults healed').length, 1);
  });

  t.test('says once that a node is out of reach, and keeps what it knew of it', async (t) => {
    const world = new World();
    world.leave(0, 'theirs-1-f-1-xyz', 300_000);
    await world.scan();
    world.nodes[0]!.mood.unreachable = true;
    for (let i = 0; i < 3; i++) await world.scan();
    t.equal(await world.orphans(), 1);
    const about = world.messages().filter((line) => line === 'warn: node not searched for faults');
    t.equal(about.length, 1);
    world.nodes[0]!.mood.unreachable = false;
    await world.scan();
    world.nodes[0]!.mood.unreachable = true;
    await world.scan();
    t.equal(
      world.messages().filter((line) => /not searched/.test(line)).length,
      2,
      'and again when it is anew',
    );
  });

  t.test('outlives a journal that cannot be read', async (t) => {
    const world = new World();
    world.journal.runs = () => Promise.reject(new Error('input/output error'));
    await world.scan();
    await world.healUnfinished();
    await world.healUnfinished();
    t.equal(world.messages().filter((line) => /^error/.test(line)).length, 2, 'each look says it once');
  });
});

t.test('of several operators', async (t) => {
  const led = (world: World, mandate: () => string | undefined) =>
    orphanWatch({ ...world.watchPorts, mandate: () => mandate() });
  const scripted = (calls: readonly string[]) => calls.filter((call) => call !== 'scan.sh');

  t.test(
    'who takes over fences every node and heals what the one before left, its switch armed or not',
    async (t) => {
      const world = new World();
      world.leave(0, 'old-1-f-1-abc', 300_000, { mandate: 'lease 3' });
      world.leave(1, 'old-1-f-1-abc', 300_000, { mandate: 'lease 3', injected: false });
      await world.drive(led(world, () => 'lease 4').takeOver('c', never));
      t.same(world.left, []);
      t.same(
        world.nodes.map(({ fence }) => fence),
        Array(3).fill('lease 4'),
      );
      t.same(world.healed, ['old-1-f-1-abc', 'old-1-f-1-abc']);
    },
  );

  t.test('what is armed by one that nobody elected, or by a newer one, is left to its switch', async (t) => {
    const world = new World();
    world.leave(0, 'unled-1-f-1-abc', 300_000);
    world.leave(1, 'new-1-f-1-abc', 300_000, { mandate: 'lease 5' });
    world.nodes[1]!.fence = 'lease 5';
    await world.drive(led(world, () => 'lease 4').takeOver('c', never));
    t.same(world.left, ['unled-1-f-1-abc.0', 'new-1-f-1-abc.0']);
    t.match(world.said, [
      ['warn', 'node not searched for faults', { reason: /lease 5 leads here/ }],
      ['warn', 'orphaned faults in force', { left: ['unled-1-f-1-abc'] }],
    ]);
  });

  t.test('a node that does not answer does not hold a takeover up', async (t) => {
    const world = new World();
    const nodes = world.ports.nodes;
    const ports = {
      ...world.watchPorts,
      clusterOf: () => ({
        ...world.ports,
        nodeNames: ['node1', 'node2'],
        switches: {},
        nodes: (name: string) => (name === 'node1' ? new Promise<never>(() => {}) : nodes(name)),
      }),
      mandate: () => 'lease 4',
    };
    await world.drive(orphanWatch(ports).takeOver('c', never));
    t.equal(world.nodes[1]!.fence, 'lease 4');
  });

  t.test(
    'one that was paused between arming and injecting injects nothing once another one leads',
    async (t) => {
      const world = new World();
      const [node] = world.nodes;
      let goOn = () => {};
      node!.mood.before = (script) =>
        script === 'inject.sh' ? new Promise((resolve) => (goOn = resolve)) : Promise.resolve();
      const old = runFault(makeRun(), { ...world.ports, mandate: () => 'lease 3' }, never);
      await world.clock.advance(500);
      t.same(node!.calls, ['arm.sh', 'inject.sh']);
      await world.drive(led(world, () => 'lease 4').takeOver('c', never));
      // What it has armed is gone; in the worst case it is there still.
      world.leave(0, 's-1-f-1-abc', 30_000, { mandate: 'lease 3', injected: false });
      goOn();
      t.match(await world.drive(old), { outcome: 'Refused', message: /another operator leads by now/ });
      t.equal(node!.broken.size, 0);
      const again = runFault(makeRun(), { ...world.ports, mandate: () => 'lease 3' }, never);
      t.match(await world.drive(again), { outcome: 'Refused', message: /another operator leads by now/ });
    },
  );

  t.test('one whose right ends breaks nothing more, and heals what it has broken', async (t) => {
    const world = new World();
    const [node] = world.nodes;
    let isOver = false;
    const mandate = () => {
      if (isOver) throw new RefusedError('c is left to another one');
      return 'lease 3';
    };
    node!.mood.after = async (script) => {
      if (script === 'arm.sh') isOver = true;
    };
    const result = await world.drive(runFault(makeRun(), { ...world.ports, mandate }, never));
    t.match(result, { outcome: 'Refused', message: /left to another one/ });
    t.notOk(node!.calls.includes('inject.sh'));
    t.same(world.left, []);
  });

  t.test('who waits heals nothing, and closes what the leader has left nothing of', async (t) => {
    const world = new World();
    world.leave(1, 'theirs-1-f-1-xyz', -1);
    world.records.push(record());
    world.leave(0, 's-1-f-1-abc', 60_000, { mandate: 'lease 3' });
    const watch = led(world, () => undefined);
    await world.drive(watch.scan(never));
    await world.drive(watch.healUnfinished());
    t.same(
      world.nodes.flatMap(({ calls }) => scripted(calls)),
      [],
    );
    t.equal((await world.journal.unfinished()).length, 1, 'its node knows of it');
    world.nodes[0]!.runs.clear();
    await world.drive(watch.healUnfinished());
    t.match(world.records.at(-1), { outcome: 'Aborted', phase: 'healed', message: /operator that leads/ });
    t.same(
      world.nodes.flatMap(({ calls }) => scripted(calls)),
      [],
    );
  });
});
