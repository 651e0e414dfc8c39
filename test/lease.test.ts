import t from 'tap';
import { Leadership } from '../controller/lease/leadership.ts';
import { LeaseElector, type LeaseGateway, type LeaseTimes } from '../controller/lease/lease-elector.ts';
import { leaseLabels, leaseName, readLease } from '../controller/lease/lease-record.ts';
import { createMetrics } from '../controller/metrics/metrics.ts';
import type { SwarmGateway } from '../controller/swarm/swarm-gateway.ts';
import type { Clock } from '../state-machines/contract.ts';
import { seededRandom } from '../state-machines/seeded-random.ts';
import { FakeClock, settle } from './support/fake-clock.ts';
import { FakeSwarm } from './support/fake-swarm.ts';

// Of several operators one acts: processes with clocks of their own, that stop, crash and are cut off, before one swarm.

const runs = Number(process.env.LEASE_RUNS ?? 12);
t.setTimeout(30_000 + 1_000 * runs);
const times: LeaseTimes = { leaseMs: 10_000, renewMs: 6_000, retryMs: 2_000 };
const never = new AbortController().signal;

/** One swarm, and the time that its processes only believe to know. */
class World {
  readonly clock = new FakeClock();
  readonly swarm = new FakeSwarm();
  readonly processes: Process[] = [];
  readonly random: () => number;
  /** What was acquired, in its order, with the true time. */
  readonly acquired: { readonly by: Process; readonly atMs: number; readonly mandate: string }[] = [];
  /** Names of those that might have acted at one time. */
  readonly together: string[] = [];

  constructor(seed = 1) {
    this.random = seededRandom(seed);
  }

  /** `rate`: how fast its clocks run. */
  start(name: string, more: Partial<LeaseTimes> = {}, rate = 1): Process {
    const process = new Process(this, name, { ...times, ...more }, rate);
    this.processes.push(process);
    return process;
  }

  /** Also who stands still: he would act when he is let go on. */
  get holders(): readonly Process[] {
    return this.processes.filter(({ isDead, elector }) => !isDead && elector.mandate !== undefined);
  }

  check(): void {
    const names = this.holders.map(({ name }) => name);
    if (names.length > 1) this.together.push(`${names.join(' and ')} at ${this.clock.now()}`);
  }

  /** Moves on until a look gives a value. */
  async until<T>(what: string, limitMs: number, look: () => T | undefined): Promise<T> {
    const endMs = this.clock.now() + limitMs;
    for (;;) {
      await settle();
      const value = look();
      if (value !== undefined) return value;
      const { nextWakeMs } = this.clock;
      if (nextWakeMs === undefined || nextWakeMs > endMs)
        throw new Error(`${what}: not within ${limitMs} ms`);
      await this.clock.advance(nextWakeMs - this.clock.now());
    }
  }

  async end(): Promise<void> {
    for (const process of this.processes) process.crash();
    await settle();
  }
}

class Process {
  readonly name: string;
  readonly elector: LeaseElector;
  /** Its connection: `lost` hangs, `deaf` does what is asked and the answer is lost. */
  link: 'good' | 'lost' | 'deaf' = 'good';
  isDead = false;
  wallOffsetMs = 0;
  /** Managers that hang, of three. */
  hanging = 0;
  readonly #world: World;
  readonly #stop = new AbortController();
  #resume: Promise<void> | undefined;
  #go = () => {};

  constructor(world: World, name: string, its: LeaseTimes, rate: number) {
    this.#world = world;
    this.name = name;
    const clock: Clock = {
      now: () => world.clock.now() * rate + this.wallOffsetMs,
      sleep: async (ms, signal) => {
        await world.clock.sleep(ms / rate, signal);
        await this.#awake();
      },
    };
    this.elector = new LeaseElector({
      ...{ cluster: 'c', identity: name, times: its, clock },
      monotonicMs: () => world.clock.now() * rate,
      managers: async () => [0, 1, 2].map((index) => async () => this.#gateway(index < this.hanging)),
      acquired: (mandate) => world.acquired.push({ by: this, atMs: world.clock.now(), mandate }),
      changed: () => {},
    });
    void this.elector.run(this.#stop.signal);
  }

  pause(): void {
    this.#resume ??= new Promise((resolve) => {
      this.#go = resolve;
    });
  }

  resume(): void {
    this.#resume = undefined;
    this.#go();
  }

  /** As a process that ends. */
  release(): Promise<void> {
    this.#stop.abort(new Error('ended'));
    return this.elector.release(never);
  }

  crash(): void {
    this.isDead = true;
    this.resume();
    this.#stop.abort(new Error('crashed'));
  }

  async #awake(): Promise<void> {
    while (this.#resume) await this.#resume;
    if (this.isDead) await new Promise(() => {});
  }

  #gateway(hangs: boolean): LeaseGateway {
    const { gateway } = this.#world.swarm;
    const send = async <T>(signal: AbortSignal, call: () => Promise<T>): Promise<T> => {
      await this.#travel(hangs || this.link === 'lost', signal);
      const answer = await call().then(
        (value) => ({ value }),
        (error: unknown) => ({ error }),
      );
      this.#world.check();
      await this.#travel(this.link !== 'good', signal);
      await this.#awake();
      signal.throwIfAborted();
      queueMicrotask(() => this.#world.check());
      if ('error' in answer) throw answer.error;
      return answer.value;
    };
    return {
      findConfig: (id, signal) => send(signal, () => gateway.findConfig(id, signal)),
      createConfig: (spec, signal) => send(signal, () => gateway.createConfig(spec, signal)),
      labelConfig: (live, labels, signal) => send(signal, () => gateway.labelConfig(live, labels, signal)),
      removeConfig: (id, signal) => send(signal, () => gateway.removeConfig(id, signal)),
    };
  }

  async #travel(isLost: boolean, signal: AbortSignal): Promise<void> {
    const { clock, random } = this.#world;
    await clock.sleep(isLost ? 1_000_000 : 1 + random() * random() * 400, signal);
  }
}

const live = (swarm: FakeSwarm) =>
  [...swarm.configs.values()].find(({ Spec }) => Spec.Name === leaseName('c'));
const record = (swarm: FakeSwarm) => readLease(live(swarm)!);

t.test('a lease is labels of a config; what a hand has spoiled is a stranger’s', (t) => {
  const lease = { holder: 'a', term: 3, durationMs: 10_000, renewed: 'now', runs: { crash: 'hash/' } };
  const labels = leaseLabels('c', lease);
  t.same(readLease({ Spec: { Name: '', Data: '', Labels: labels } }), lease);
  const spoiled = { 'spark-failures.io/lease-term': '-1' };
  t.match(readLease({ Spec: { Name: '', Data: '', Labels: spoiled } }), { holder: 'unknown', term: 0 });
  t.end();
});

t.test('the first waits as long as for any lease, and then one acts', async (t) => {
  const world = new World();
  const [a, b] = [world.start('a'), world.start('b')];
  const startMs = world.clock.now();
  await world.until('somebody leads', 13_000, () => world.acquired[0]);
  t.ok(
    world.clock.now() - startMs >= times.leaseMs,
    'a record that is not there may have been deleted by a hand',
  );
  await world.clock.advance(60_000);
  t.equal(world.acquired.length, 1);
  t.equal(world.holders.length, 1);
  t.same([a.elector.leader, b.elector.leader], Array(2).fill({ holder: world.holders[0]!.name, term: 1 }));
  await world.end();
});

t.test(
  'who waits takes over within twelve seconds and the time of some calls, at whatever moment the other dies',
  async (t) => {
    let longestMs = 0;
    for (let seed = 1; seed <= 15; seed++) {
      const world = new World(seed);
      const a = world.start('a');
      await world.until('a leads', 13_000, () => world.acquired[0]);
      const b = world.start('b');
      await world.clock.advance(4_000 + world.random() * 4_000);
      a.crash();
      const diedMs = world.clock.now();
      const { by, atMs, mandate } = await world.until('b leads', 15_000, () => world.acquired[1]);
      t.equal(by, b);
      t.match(mandate, / 2$/, 'the next term');
      longestMs = Math.max(longestMs, atMs - diedMs);
      await world.end();
    }
    t.ok(longestMs <= 13_000, `${Math.round(longestMs)} ms at most`);
  },
);

t.test('a lease that is let go is taken at the next look', async (t) => {
  const world = new World();
  const a = world.start('a');
  await world.until('a leads', 13_000, () => world.acquired[0]);
  const b = world.start('b');
  await world.clock.advance(3_000);
  const released = a.release();
  t.equal(a.elector.mandate, undefined, 'it acts no more from the beginning');
  const fromMs = world.clock.now();
  await world.until('b leads', 4_000, () => (b.elector.mandate === undefined ? undefined : b));
  await released;
  t.ok(world.clock.now() - fromMs < 4_000);
  await world.end();
});

t.test('who cannot renew stops on time, long before another one may begin', async (t) => {
  const world = new World();
  const a = world.start('a');
  await world.until('a leads', 13_000, () => world.acquired[0]);
  const b = world.start('b');
  await world.clock.advance(5_000);
  a.link = 'lost';
  const cutMs = world.clock.now();
  const { ended } = a.elector;
  await world.until('a stops', times.renewMs, () => ended?.aborted || undefined);
  const stoppedMs = world.clock.now();
  await world.until('b leads', 15_000, () => (b.elector.mandate === undefined ? undefined : b));
  t.ok(stoppedMs - cutMs <= times.renewMs);
  t.ok(
    world.clock.now() - stoppedMs >= times.leaseMs - times.renewMs - 500,
    'by its own clock, not by a message',
  );
  t.same(world.together, []);
  a.link = 'good';
  await world.clock.advance(10_000);
  t.equal(a.elector.leader?.holder, 'b', 'back again, it waits');
  await world.end();
});

t.test('a manager that hangs costs no lease as long as another one answers', async (t) => {
  const world = new World();
  const a = world.start('a');
  await world.until('a leads', 13_000, () => world.acquired[0]);
  a.hanging = 1;
  await world.clock.advance(60_000);
  t.equal(world.acquired.length, 1);
  t.not(a.elector.mandate, undefined);
  await world.end();
});

t.test(
  'a lease that a hand deletes is made again by its holder, and gives nobody else a start',
  async (t) => {
    const world = new World();
    const a = world.start('a');
    await world.until('a leads', 13_000, () => world.acquired[0]);
    world.start('b');
    await world.clock.advance(5_000);
    world.swarm.configs.delete(live(world.swarm)!.ID);
    await world.clock.advance(20_000);
    t.same(
      world.acquired.map(({ by }) => by.name),
      ['a', 'a'],
      'under another lease: the old term says nothing any more',
    );
    t.match(record(world.swarm), { holder: 'a', term: 1 });
    t.equal(world.holders[0], a);
    await world.end();
  },
);

t.test('a run that one has begun is known to whoever leads next', async (t) => {
  const world = new World();
  const a = world.start('a');
  await world.until('a leads', 13_000, () => world.acquired[0]);
  const note = async (process: Process, schedule: string, run: string | undefined) => {
    let isNew: boolean | Error | undefined;
    process.elector.noteRun(schedule, run, never).then(
      (answer) => (isNew = answer),
      (error: Error) => (isNew = error),
    );
    return world.until('an answer', 10_000, () => isNew);
  };
  t.equal(await note(a, 'crash', 'hash/'), true);
  t.equal(await note(a, 'crash', 'hash/'), false);
  t.equal(await note(a, 'crash', 'hash/today'), true, 'another moment');
  t.equal(await note(a, 'crash', 'hash/'), false, 'no moment is none that is new');
  const b = world.start('b');
  await world.clock.advance(5_000);
  t.match(await note(b, 'crash', 'other/'), /not ours/);
  a.crash();
  await world.until('b leads', 15_000, () => (b.elector.mandate === undefined ? undefined : b));
  t.equal(await note(b, 'crash', 'hash/today'), false);
  t.equal(await note(b, 'crash', undefined), true, 'the schedule is gone');
  t.equal(await note(b, 'crash', 'hash/today'), true);
  await world.end();
});

/** Three processes, to whom everything happens; resolves with the world once it is at peace again. */
async function ordeal(seed: number, more: Partial<LeaseTimes> = {}): Promise<World> {
  const world = new World(seed);
  const { random, clock } = world;
  const pick = <T>(items: readonly T[]): T => items[Math.floor(random() * items.length)]!;
  const start = (name: string) => world.start(name, more, 0.99 + random() * 0.02);
  for (const name of ['a', 'b', 'c']) start(name);
  const alive = () => world.processes.filter(({ isDead }) => !isDead);
  for (let blow = 0; blow < 25; blow++) {
    await clock.advance(random() * 8_000);
    // Mostly who leads: the others have nothing to lose.
    const victim = random() < 0.7 ? (world.holders[0] ?? pick(alive())) : pick(alive());
    const act = pick(['pause', 'lost', 'deaf', 'crash', 'step', 'mend', 'mend', 'delete'] as const);
    if (act === 'pause') victim.pause();
    else if (act === 'lost' || act === 'deaf') victim.link = act;
    else if (act === 'step') victim.wallOffsetMs += (random() - 0.5) * 7_200_000;
    else if (act === 'delete' && random() < 0.3) world.swarm.configs.clear();
    else if (act === 'crash') {
      victim.crash();
      start(`${victim.name}'`);
    } else if (act === 'mend') {
      for (const process of alive()) {
        process.link = 'good';
        process.resume();
      }
    }
    world.check();
  }
  for (const process of alive()) {
    process.link = 'good';
    process.resume();
  }
  await clock.advance(30_000);
  return world;
}

t.test(
  'never two that may act at one time, through pauses, crashes, partitions, lost answers and clock steps',
  async (t) => {
    let terms = 0;
    for (let seed = 1; seed <= runs; seed++) {
      const world = await ordeal(seed);
      t.same(world.together, [], `seed ${seed}`);
      t.equal(world.holders.length, 1, `seed ${seed}: in the end one acts`);
      if (world.holders.length === 0)
        t.comment(
          JSON.stringify(
            world.processes.map((p) => [p.name, p.isDead, p.link, p.elector.problem, p.elector.leader]),
          ),
          world.clock.now(),
          JSON.stringify(record(world.swarm)),
        );
      terms += world.acquired.length;
      await world.end();
    }
    t.ok(terms > 3 * runs, `${terms} terms`);
  },
);

t.test('and this would be seen: with a deadline behind the lease’s end there are two', async (t) => {
  const found: string[] = [];
  for (let seed = 1; seed <= 10 && found.length === 0; seed++) {
    const world = await ordeal(seed, { renewMs: 20_000 });
    found.push(...world.together);
    await world.end();
  }
  t.not(found.length, 0);
});

t.test('a cluster', async (t) => {
  /** An operator in the world, for one cluster. */
  const operator = (world: World, name: string) => {
    const lost: string[] = [];
    const healing: (() => void)[] = [];
    const stop = new AbortController();
    const metrics = createMetrics();
    const leadership = new Leadership({
      ...{ identity: name, times, clock: world.clock, monotonicMs: () => world.clock.now() },
      clusters: () => ['c'],
      managers: async () => [async (): Promise<SwarmGateway> => world.swarm.gateway],
      lost: (_cluster, reason) => void lost.push(reason),
      wake: () => {},
      metrics: metrics.leadership,
      log: { info: () => {}, warn: () => {} },
    });
    const running = leadership.run(
      () => new Promise<void>((resolve) => void healing.push(resolve)),
      stop.signal,
    );
    const status = async () =>
      /leader_election_master_status\{name="c"\} (\d)/.exec((await metrics.render()).text)?.[1];
    return { leadership, lost, healing, status, stop: () => stop.abort(), running };
  };

  t.test('is acted on when what was left there is healed, and not before', async (t) => {
    const world = new World();
    const a = operator(world, 'a');
    t.match(a.leadership.hindrance('c'), /whoever holds its lease \(not asked yet\)/);
    await world.clock.advance(13_000);
    t.equal(a.healing.length, 1);
    t.match(a.leadership.hindrance('c'), /healed/);
    t.throws(() => a.leadership.mandate('c'), /left to this operator once/);
    t.match(a.leadership.mandateToHeal('c'), / 1$/, 'to heal it may');
    a.healing[0]!();
    await settle();
    t.equal(a.leadership.hindrance('c'), undefined);
    t.same(a.leadership.roles(), ['leads c']);
    t.equal(await a.status(), '1');
    const b = operator(world, 'b');
    await world.clock.advance(3_000);
    t.equal(b.leadership.hindrance('c'), 'a, which leads');
    t.equal(await b.status(), '0');
    t.throws(() => b.leadership.beginRun('c', 's', 'hash/', never), /left to a/);
    a.stop();
    await world.clock.advance(2_000);
    t.equal(a.leadership.hindrance('c'), undefined, 'as long as it is not released');
    await a.leadership.release();
    t.same(a.lost.length, 1);
    await world.clock.advance(3_000);
    t.equal(b.healing.length, 1);
    b.stop();
    await world.clock.advance(2_000);
  });

  t.test(
    'whose teardown was begun is finished although its swarm, and the lease in it, are gone',
    async (t) => {
      const world = new World();
      const a = operator(world, 'a');
      a.leadership.tearDown('c');
      t.match(a.leadership.hindrance('c'), /lease/, 'not by who does not lead');
      await world.clock.advance(13_000);
      a.healing[0]!();
      await settle();
      a.leadership.tearDown('c');
      world.swarm.beforeCall = () => {
        throw new Error('no leader');
      };
      await world.clock.advance(20_000);
      t.equal(a.leadership.mandateToHeal('c'), undefined);
      t.equal(a.leadership.hindrance('c'), undefined);
      t.equal(a.leadership.ended('c'), undefined);
      t.throws(() => a.leadership.mandate('c'), /taken down/, 'but no fault');
      t.same(a.lost, []);
      a.stop();
      await world.clock.advance(2_000);
    },
  );
});
