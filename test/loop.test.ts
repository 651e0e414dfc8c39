import fc from 'fast-check';
import t from 'tap';
import { ControlLoop, type ReconcileOutcome } from '../controller/loop/control-loop.ts';
import {
  type LoopResource,
  type ReconcileResult,
  type Reconciler,
  TerminalError,
} from '../controller/loop/reconciler.ts';
import { type Actor, runGroup } from '../controller/loop/run-group.ts';
import { retryDelayMs, WorkQueue, type WorkQueueState } from '../controller/loop/work-queue.ts';
import { FakeClock, settle } from './support/fake-clock.ts';

const KEYS = ['a', 'b', 'c', 'd'];

function makeQueue(random = () => 0) {
  const clock = new FakeClock();
  return { clock, queue: new WorkQueue({ clock, random }) };
}

t.test('work queue', async (t) => {
  t.test('hands keys out in the order in which they came, each once', async (t) => {
    const { queue } = makeQueue();
    for (const key of ['b', 'a', 'b', 'c', 'a']) queue.add(key);
    t.same([await queue.get(), await queue.get(), await queue.get()], ['b', 'a', 'c']);
    t.equal(queue.length, 0);
  });

  t.test('queues a key that was added during processing when it is done, and not before', async (t) => {
    const { queue } = makeQueue();
    queue.add('a');
    t.equal(await queue.get(), 'a');
    queue.add('a');
    queue.add('a');
    t.equal(queue.length, 0);
    queue.done('a');
    t.equal(queue.length, 1);
    t.equal(await queue.get(), 'a');
    queue.done('a');
    t.equal(queue.length, 0);
  });

  t.test('gives a waiting worker the key that arrives', async (t) => {
    const { queue } = makeQueue();
    const first = queue.get();
    const second = queue.get();
    queue.add('a');
    queue.add('b');
    t.same(await Promise.all([first, second]), ['a', 'b']);
  });

  t.test('of several delays the earliest wins', async (t) => {
    const { queue, clock } = makeQueue();
    queue.addAfter('a', 5_000);
    queue.addAfter('a', 1_000);
    queue.addAfter('a', 3_000);
    t.equal(clock.sleeping, 1);
    await clock.advance(999);
    t.equal(queue.length, 0);
    await clock.advance(1);
    t.equal(await queue.get(), 'a');
    queue.done('a');
    await clock.advance(60_000);
    t.equal(queue.length, 0, 'the later ones are gone');
  });

  t.test('adds at once when the delay is not positive', async (t) => {
    const { queue } = makeQueue();
    queue.addAfter('a', 0);
    queue.addAfter('b', -1);
    t.equal(queue.length, 2);
  });

  t.test('doubles the delay with each retry up to a minute, and starts anew when forgotten', async (t) => {
    const { queue } = makeQueue();
    const delays = Array.from({ length: 11 }, () => queue.retry('a'));
    t.same(delays, [250, 500, 1000, 2000, 4000, 8000, 16_000, 32_000, 60_000, 60_000, 60_000]);
    t.equal(queue.failures('a'), 11);
    t.equal(queue.retry('b'), 250, 'keys count apart');
    queue.forget('a');
    t.equal(queue.failures('a'), 0);
    t.equal(queue.retry('a'), 250);
  });

  t.test('jitter only shortens, by a fifth at most', async () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 5000 }),
        fc.double({ min: 0, max: 0.999, noNaN: true }),
        (failures, random) => {
          const fullMs = retryDelayMs(failures, 0);
          const delayMs = retryDelayMs(failures, random);
          return delayMs <= fullMs && delayMs >= Math.floor(fullMs * 0.8) && fullMs <= 60_000;
        },
      ),
    );
  });

  t.test(
    'drains on shutdown: what waits is handed out, delays are dropped, nothing more is taken',
    async (t) => {
      const { queue, clock } = makeQueue();
      queue.add('a');
      queue.add('b');
      queue.addAfter('late', 10);
      t.equal(await queue.get(), 'a');
      let drained = false;
      const shutDown = queue.shutDown().then(() => {
        drained = true;
      });
      queue.add('c');
      queue.addAfter('c', 1);
      t.equal(clock.sleeping, 0);
      t.equal(await queue.get(), 'b');
      t.equal(await queue.get(), undefined);
      queue.done('a');
      await settle();
      t.notOk(drained, 'b is still in the hands of a worker');
      queue.done('b');
      await shutDown;
      t.equal(await queue.get(), undefined);
    },
  );

  t.test('a key that came back during the last pass is handed out before the end', async (t) => {
    const { queue } = makeQueue();
    queue.add('a');
    await queue.get();
    queue.add('a');
    const drained = queue.shutDown();
    queue.done('a');
    t.equal(await queue.get(), 'a');
    queue.done('a');
    await drained;
  });

  t.test('sends workers home who wait at shutdown', async (t) => {
    const { queue } = makeQueue();
    const waiting = [queue.get(), queue.get()];
    await queue.shutDown();
    t.same(await Promise.all(waiting), [undefined, undefined]);
  });

  t.test('reports depth, adds, retries and durations', async (t) => {
    const clock = new FakeClock();
    const seen: string[] = [];
    const metrics = {
      added: () => seen.push('added'),
      retried: () => seen.push('retried'),
      queued: (seconds: number) => seen.push(`queued ${seconds}`),
      worked: (seconds: number) => seen.push(`worked ${seconds}`),
      state(read: () => WorkQueueState) {
        state = read;
      },
    };
    let state: () => WorkQueueState = () => ({ depth: 0, ageSeconds: [] });
    const queue = new WorkQueue({ clock, metrics, random: () => 0 });
    t.same(state(), { depth: 0, ageSeconds: [] });
    queue.add('a');
    queue.add('a');
    t.same(state(), { depth: 1, ageSeconds: [] });
    await clock.advance(2_000);
    await queue.get();
    await clock.advance(3_000);
    t.same(state(), { depth: 0, ageSeconds: [3] });
    queue.done('a');
    t.same(state(), { depth: 0, ageSeconds: [] });
    queue.retry('a');
    t.same(seen, ['added', 'queued 2', 'worked 3', 'retried']);
  });
});

/** The queue as a child would write it: lists, searched from end to end. */
class NaiveQueue {
  waiting: string[] = [];
  processing: string[] = [];
  again: string[] = [];
  delayed: { key: string; atMs: number }[] = [];
  nowMs = 0;

  add(key: string) {
    if (this.processing.includes(key)) this.again = [...this.again.filter((k) => k !== key), key];
    else if (!this.waiting.includes(key)) this.waiting.push(key);
  }
  addAfter(key: string, ms: number) {
    if (ms <= 0) return this.add(key);
    const old = this.delayed.find((d) => d.key === key);
    if (old && old.atMs <= this.nowMs + ms) return;
    this.delayed = [...this.delayed.filter((d) => d !== old), { key, atMs: this.nowMs + ms }];
  }
  take() {
    const key = this.waiting.shift();
    if (key) this.processing.push(key);
    return key;
  }
  done(key: string) {
    this.processing = this.processing.filter((k) => k !== key);
    if (!this.again.includes(key)) return;
    this.again = this.again.filter((k) => k !== key);
    this.waiting.push(key);
  }
  advance(ms: number) {
    this.nowMs += ms;
    const due = this.delayed.filter((d) => d.atMs <= this.nowMs).sort((a, b) => a.atMs - b.atMs);
    this.delayed = this.delayed.filter((d) => d.atMs > this.nowMs);
    for (const { key } of due) this.add(key);
  }
}

type Operation =
  | { readonly do: 'add' | 'done' | 'forget' | 'retry'; readonly key: string }
  | { readonly do: 'addAfter'; readonly key: string; readonly ms: number }
  | { readonly do: 'advance'; readonly ms: number }
  | { readonly do: 'get' };

const key = fc.constantFrom(...KEYS);
const ms = fc.integer({ min: -1, max: 2_000 });
const operation: fc.Arbitrary<Operation> = fc.oneof(
  { weight: 4, arbitrary: fc.record({ do: fc.constant('add' as const), key }) },
  { weight: 4, arbitrary: fc.record({ do: fc.constant('get' as const) }) },
  { weight: 4, arbitrary: fc.record({ do: fc.constant('done' as const), key }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('addAfter' as const), key, ms }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('advance' as const), ms: fc.nat({ max: 2_500 }) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constantFrom('retry' as const, 'forget' as const), key }) },
);

t.test('work queue and a naive model of it never differ', async (t) => {
  await fc.assert(
    fc.asyncProperty(fc.array(operation, { maxLength: 60 }), async (operations) => {
      const { clock, queue } = makeQueue();
      const model = new NaiveQueue();
      const failures = new Map<string, number>();
      for (const op of operations) {
        switch (op.do) {
          case 'add':
            queue.add(op.key);
            model.add(op.key);
            break;
          case 'addAfter':
            queue.addAfter(op.key, op.ms);
            model.addAfter(op.key, op.ms);
            break;
          case 'retry':
            failures.set(op.key, (failures.get(op.key) ?? 0) + 1);
            model.addAfter(op.key, retryDelayMs(failures.get(op.key)!, 0));
            queue.retry(op.key);
            break;
          case 'forget':
            failures.delete(op.key);
            queue.forget(op.key);
            break;
          case 'advance':
            await clock.advance(op.ms);
            model.advance(op.ms);
            break;
          case 'get':
            if (model.waiting.length > 0 && (await queue.get()) !== model.take()) return false;
            break;
          case 'done':
            queue.done(op.key);
            model.done(op.key);
            break;
        }
        if (queue.length !== model.waiting.length || clock.sleeping !== model.delayed.length) return false;
      }
      return true;
    }),
    { numRuns: 300 },
  );
  t.pass('300 sequences');
});

t.test('no key is lost, and none is in two hands, whatever workers and adders do', async (t) => {
  const schedule = fc.array(fc.record({ key, gapMs: fc.nat({ max: 30 }), workMs: fc.nat({ max: 50 }) }), {
    minLength: 1,
    maxLength: 40,
  });
  await fc.assert(
    fc.asyncProperty(schedule, fc.integer({ min: 1, max: 4 }), async (adds, workers) => {
      const { clock, queue } = makeQueue();
      const never = new AbortController().signal;
      const busy = new Set<string>();
      const lastAdd = new Map<string, number>();
      const lastPass = new Map<string, number>();
      let order = 0;
      let overlaps = 0;
      const work = async (durations: readonly number[]) => {
        for (let taken = await queue.get(), n = 0; taken !== undefined; taken = await queue.get(), n++) {
          if (busy.has(taken)) overlaps++;
          busy.add(taken);
          lastPass.set(taken, order++);
          await clock.sleep(durations[n % durations.length]!, never);
          busy.delete(taken);
          queue.done(taken);
        }
      };
      const running = Array.from({ length: workers }, () => work(adds.map((add) => add.workMs)));
      for (const { key, gapMs } of adds) {
        lastAdd.set(key, order++);
        queue.add(key);
        await clock.advance(gapMs);
      }
      const drained = queue.shutDown();
      await clock.advance(40 * 51);
      await Promise.all([drained, ...running]);
      const lost = [...lastAdd].filter(([key, added]) => (lastPass.get(key) ?? -1) < added);
      return overlaps === 0 && lost.length === 0;
    }),
    { numRuns: 60 },
  );
  t.pass('60 schedules');
});

interface Thing extends LoopResource {
  readonly colour: string;
}

interface LoopFixture {
  readonly things: Map<string, Thing>;
  readonly clock: FakeClock;
  readonly outcomes: ReconcileOutcome[];
  readonly logged: { level: string; message: string; fields: Record<string, unknown> }[];
  readonly passes: Thing[];
  readonly loop: ControlLoop<Thing>;
  readonly stop: () => Promise<void>;
}

function thing(key: string, generation = 1, more: Partial<Thing> = {}): Thing {
  return { key, generation, deleting: false, colour: 'red', ...more };
}

/** A running loop over `things`, with a reconciler made of one function. */
function startLoop(
  reconcile: Reconciler<Thing>['reconcile'],
  workers = 2,
  more: { readonly passLimitMs?: number } = {},
): LoopFixture {
  const clock = new FakeClock();
  const things = new Map<string, Thing>();
  const outcomes: ReconcileOutcome[] = [];
  const logged: LoopFixture['logged'] = [];
  const passes: Thing[] = [];
  const context: Record<string, string>[] = [];
  const note = (level: string) => (fields: object, message: string) =>
    logged.push({ level, message, fields: { ...context.at(-1), ...fields } });
  const loop = new ControlLoop<Thing>({
    reconciler: {
      kind: 'Thing',
      reconcile: (resource, signal) => {
        passes.push(resource);
        return reconcile(resource, signal);
      },
    },
    resources: { get: (key) => things.get(key), finalized: (key) => things.delete(key) },
    clock,
    workers,
    ...more,
    random: () => 0,
    log: {
      warn: note('warn'),
      error: note('error'),
      debug: note('debug'),
      within: (fields, work) => {
        context.push({ ...fields });
        return work();
      },
    },
    metrics: {
      queue: { added() {}, retried() {}, queued() {}, worked() {}, state() {} },
      reconcile: { started() {}, finished: (outcome) => outcomes.push(outcome) },
    },
  });
  const end = new AbortController();
  const running = loop.run(end.signal);
  const stop = async () => {
    end.abort(new Error('test over'));
    await running;
  };
  return { things, clock, outcomes, logged, passes, loop, stop };
}

/** Waits for ever, or until the signal. */
function untilAborted(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) =>
    signal.addEventListener('abort', () => reject(signal.reason), { once: true }),
  );
}

t.test('control loop', async (t) => {
  t.test(
    'gives the reconciler the resource as it is now, once for many hints, and logs nothing',
    async (t) => {
      const { things, loop, passes, outcomes, logged, stop } = startLoop(async () => ({}));
      things.set('Thing/a', thing('Thing/a', 3, { colour: 'blue' }));
      for (let hint = 0; hint < 5; hint++) loop.add('Thing/a');
      await settle();
      t.same(
        passes.map(({ generation, colour }) => [generation, colour]),
        [[3, 'blue']],
      );
      t.same(outcomes, ['success']);
      t.same(logged, []);
      await stop();
    },
  );

  t.test('ignores a key that names nothing', async (t) => {
    const { loop, passes, outcomes, stop } = startLoop(async () => ({}));
    loop.add('Thing/none');
    await settle();
    t.same(passes, []);
    t.same(outcomes, []);
    await stop();
  });

  t.test('retries an error with growing delays, and resets them after a success', async (t) => {
    let failing = true;
    const { things, loop, clock, passes, logged, stop } = startLoop(async () => {
      if (failing) throw new Error('down');
      return {};
    });
    things.set('Thing/a', thing('Thing/a'));
    loop.add('Thing/a');
    for (const delayMs of [250, 500, 1000]) {
      await clock.advance(delayMs - 1);
      const before = passes.length;
      await clock.advance(1);
      t.equal(passes.length, before + 1, `after ${delayMs} ms`);
    }
    t.same(
      logged.map(({ fields }) => fields.retryInMs),
      [250, 500, 1000, 2000],
    );
    t.match(logged[0], {
      level: 'warn',
      message: 'reconcile failed',
      fields: { kind: 'Thing', key: 'Thing/a' },
    });
    t.match(logged[0]?.fields.reconcileId, /^[0-9a-f-]{36}$/);
    failing = false;
    await clock.advance(2_000);
    t.equal(clock.sleeping, 0, 'nothing more to do');
    failing = true;
    loop.add('Thing/a');
    await settle();
    t.equal(logged.at(-1)?.fields.retryInMs, 250);
    await stop();
  });

  t.test('looks again after requeueAfterMs, and that resets the backoff', async (t) => {
    const answers: (() => ReconcileResult)[] = [
      () => {
        throw new Error('once');
      },
      () => ({ requeueAfterMs: 10_000 }),
      () => {
        throw new Error('again');
      },
      () => ({}),
    ];
    const { things, loop, clock, outcomes, logged, stop } = startLoop(async () => answers.shift()!());
    things.set('Thing/a', thing('Thing/a'));
    loop.add('Thing/a');
    await clock.advance(250 + 9_999);
    t.same(outcomes, ['error', 'requeue_after']);
    await clock.advance(1);
    t.equal(logged.at(-1)?.fields.retryInMs, 250);
    await clock.advance(250);
    t.same(outcomes, ['error', 'requeue_after', 'error', 'success']);
    await stop();
  });

  t.test('counts a terminal error and waits for an edit', async (t) => {
    const { things, loop, clock, outcomes, logged, stop } = startLoop(async ({ generation }) => {
      if (generation === 1) throw new TerminalError('two provisioners');
      return {};
    });
    things.set('Thing/a', thing('Thing/a'));
    loop.add('Thing/a');
    await clock.advance(3_600_000);
    t.same(outcomes, ['terminal_error']);
    t.equal(logged[0]?.level, 'error');
    things.set('Thing/a', thing('Thing/a', 2));
    loop.add('Thing/a');
    await settle();
    t.same(outcomes, ['terminal_error', 'success']);
    await stop();
  });

  t.test('takes what is thrown, whatever it is, as an error, and goes on with other keys', async (t) => {
    const { things, loop, outcomes, passes, stop } = startLoop(({ key }) => {
      if (key === 'Thing/bad') throw 'not even an Error'; // eslint-disable-line @typescript-eslint/only-throw-error
      return Promise.resolve({});
    }, 1);
    for (const name of ['Thing/bad', 'Thing/good']) things.set(name, thing(name));
    loop.add('Thing/bad');
    loop.add('Thing/good');
    await settle();
    t.same(outcomes, ['error', 'success']);
    t.equal(passes.length, 2);
    await stop();
  });

  t.test('a newer generation aborts the pass in progress and runs at once', async (t) => {
    const { things, loop, outcomes, passes, logged, stop } = startLoop(async ({ generation }, signal) =>
      generation === 1 ? untilAborted(signal) : {},
    );
    things.set('Thing/a', thing('Thing/a'));
    loop.add('Thing/a');
    await settle();
    things.set('Thing/a', thing('Thing/a', 2));
    loop.add('Thing/a');
    await settle();
    t.same(
      passes.map(({ generation }) => generation),
      [1, 2],
    );
    t.same(outcomes, ['superseded', 'success']);
    t.same(
      logged.map(({ level }) => level),
      ['debug'],
    );
    await stop();
  });

  t.test('a hint without an edit lets the pass in progress finish, and runs once more', async (t) => {
    let finish: () => void = () => {};
    const { things, loop, outcomes, passes, stop } = startLoop(
      () =>
        new Promise((resolve) => {
          finish = () => resolve({});
        }),
    );
    things.set('Thing/a', thing('Thing/a'));
    loop.add('Thing/a');
    await settle();
    loop.add('Thing/a');
    loop.add('Thing/a');
    await settle();
    t.equal(passes.length, 1, 'never two passes over one key');
    finish();
    await settle();
    t.equal(passes.length, 2);
    finish();
    await settle();
    t.same(outcomes, ['success', 'success']);
    await stop();
  });

  t.test(
    'an error that is thrown while a newer edit waits is not mistaken for the abort of another key',
    async (t) => {
      const { things, loop, outcomes, stop } = startLoop(async (_, signal) => {
        if (signal.aborted) return {};
        throw new Error('real');
      });
      things.set('Thing/a', thing('Thing/a'));
      loop.add('Thing/a');
      await settle();
      t.same(outcomes, ['error']);
      await stop();
    },
  );

  t.test(
    'a deleted resource is reconciled with `deleting` until it says finalized, then dropped',
    async (t) => {
      let left = 2;
      const { things, loop, clock, passes, stop } = startLoop(async ({ deleting }) => {
        if (!deleting) return {};
        left -= 1;
        return left > 0 ? { requeueAfterMs: 1_000 } : { finalized: true };
      });
      things.set('Thing/a', thing('Thing/a'));
      loop.add('Thing/a');
      await settle();
      things.set('Thing/a', thing('Thing/a', 1, { deleting: true }));
      loop.add('Thing/a');
      await settle();
      t.ok(things.has('Thing/a'), 'still there while something is left');
      await clock.advance(1_000);
      t.notOk(things.has('Thing/a'));
      t.same(
        passes.map(({ deleting }) => deleting),
        [false, true, true],
      );
      await stop();
    },
  );

  t.test('deletion aborts the pass that still creates', async (t) => {
    const { things, loop, outcomes, stop } = startLoop(async ({ deleting }, signal) =>
      deleting ? { finalized: true } : untilAborted(signal),
    );
    things.set('Thing/a', thing('Thing/a'));
    loop.add('Thing/a');
    await settle();
    things.set('Thing/a', thing('Thing/a', 1, { deleting: true }));
    loop.add('Thing/a');
    await settle();
    t.same(outcomes, ['superseded', 'success']);
    t.equal(things.size, 0);
    await stop();
  });

  t.test('a resource that was made anew during its deletion is not dropped', async (t) => {
    let finish: () => void = () => {};
    const { things, loop, passes, stop } = startLoop(({ deleting }) =>
      deleting
        ? new Promise((resolve) => {
            finish = () => resolve({ finalized: true });
          })
        : Promise.resolve({}),
    );
    things.set('Thing/a', thing('Thing/a', 1, { deleting: true }));
    loop.add('Thing/a');
    await settle();
    things.set('Thing/a', thing('Thing/a', 2));
    loop.add('Thing/a');
    finish(); // it ignored the abort and finished
    await settle();
    t.ok(things.has('Thing/a'));
    t.equal(passes.at(-1)?.generation, 2);
    await stop();
  });

  t.test('only `deleting` resources can be finalized', async (t) => {
    const { things, loop, stop } = startLoop(async () => ({ finalized: true }));
    things.set('Thing/a', thing('Thing/a'));
    loop.add('Thing/a');
    await settle();
    t.ok(things.has('Thing/a'));
    await stop();
  });

  t.test('stopping aborts the pass in progress, awaits it, and starts none that wait', async (t) => {
    let cleanedUp = false;
    const { things, loop, clock, passes, logged, stop } = startLoop(async (_, signal) => {
      try {
        return await untilAborted(signal);
      } finally {
        await settle();
        cleanedUp = true;
      }
    }, 1);
    for (const name of ['Thing/a', 'Thing/b']) things.set(name, thing(name));
    loop.add('Thing/a');
    loop.add('Thing/b');
    await settle();
    await stop();
    t.ok(cleanedUp);
    t.equal(passes.length, 1);
    t.equal(clock.sleeping, 0, 'no retry is left behind');
    t.same(
      logged.map(({ level }) => level),
      ['debug'],
    );
  });

  t.test(
    'a mistake of the program is told from what the world does, and tried again all the same',
    async (t) => {
      const thrown = [
        new TypeError('x is undefined'),
        new TypeError('fetch failed', { cause: new Error('reset') }),
        new Error('down'),
      ];
      const { things, loop, clock, outcomes, stop } = startLoop(async () => {
        const next = thrown.shift();
        if (next) throw next;
        return {};
      });
      things.set('Thing/a', thing('Thing/a'));
      loop.add('Thing/a');
      await clock.advance(250 + 500 + 1_000);
      t.same(outcomes, ['panic', 'error', 'error', 'success']);
      await stop();
    },
  );

  t.test('a pass that takes too long is aborted, counted and tried again', async (t) => {
    let patient = false;
    const { things, loop, clock, outcomes, logged, stop } = startLoop(
      (_, signal) => (patient ? Promise.resolve({}) : untilAborted(signal)),
      2,
      { passLimitMs: 5_000 },
    );
    things.set('Thing/a', thing('Thing/a'));
    loop.add('Thing/a');
    await clock.advance(4_999);
    t.same(outcomes, []);
    await clock.advance(1);
    t.same(outcomes, ['timeout']);
    t.match(logged[0], { level: 'warn', fields: { err: { message: 'no pass may take longer than 5 s' } } });
    t.equal(loop.trouble(), undefined);
    patient = true;
    await clock.advance(250);
    t.same(outcomes, ['timeout', 'success']);
    t.equal(clock.sleeping, 0, 'who returns in time is not watched any more');
    await stop();
  });

  t.test('a pass that goes on although it was aborted makes the loop unwell until it returns', async (t) => {
    let finish: () => void = () => {};
    const { things, loop, clock, outcomes, stop } = startLoop(
      () =>
        new Promise((resolve) => {
          finish = () => resolve({});
        }),
      2,
      { passLimitMs: 5_000 },
    );
    things.set('Thing/a', thing('Thing/a'));
    loop.add('Thing/a');
    await clock.advance(5_000);
    clock.set(clock.now() + 86_400_000);
    await settle();
    t.equal(loop.trouble(), undefined, 'it may still leave, whatever the time of day');
    await clock.advance(60_000);
    t.equal(loop.trouble(), 'stuck: Thing/a');
    finish();
    await settle();
    t.equal(loop.trouble(), undefined);
    t.same(outcomes, ['success']);
    await stop();
    t.equal(loop.trouble(), undefined, 'who was asked to end is not unwell');
  });

  t.test('a loop that ended by itself is unwell', async (t) => {
    const loop = new ControlLoop<Thing>({
      reconciler: { kind: 'Thing', reconcile: async () => ({}) },
      resources: {
        get() {
          throw new Error('a bug');
        },
        finalized() {},
      },
      clock: new FakeClock(),
      log: { warn() {}, error() {}, debug() {}, within: (_, work) => work() },
    });
    const running = loop.run(new AbortController().signal);
    loop.add('Thing/a');
    await t.rejects(running, { message: 'a bug' });
    t.equal(loop.trouble(), 'the loop has ended');
  });

  t.test('as many passes run at once as there are workers', async (t) => {
    const { things, loop, passes, stop } = startLoop(async (_, signal) => untilAborted(signal), 3);
    for (const name of ['a', 'b', 'c', 'd', 'e']) {
      things.set(`Thing/${name}`, thing(`Thing/${name}`));
      loop.add(`Thing/${name}`);
    }
    await settle();
    t.equal(passes.length, 3);
    await stop();
  });
});

/** An actor that ends when told to, or when interrupted. */
function toldActor(name: string, log: string[]) {
  let end: (error?: Error) => void = () => {};
  const actor: Actor = {
    name,
    async execute(signal) {
      const error = await new Promise<Error | undefined>((resolve) => {
        end = resolve;
        signal.addEventListener('abort', () => resolve(undefined), { once: true });
      });
      await settle();
      log.push(`${name} ended`);
      if (error) throw error;
    },
  };
  return { actor, end: (error?: Error) => end(error) };
}

t.test('run group', async (t) => {
  t.test('the first actor to end interrupts the others, and all are awaited', async (t) => {
    const log: string[] = [];
    const [a, b, c] = ['a', 'b', 'c'].map((name) => toldActor(name, log));
    const group = runGroup([a!.actor, b!.actor, c!.actor]);
    b!.end();
    t.same(await group, { first: 'b' });
    t.same(log.toSorted(), ['a ended', 'b ended', 'c ended']);
  });

  t.test('fails with the error of the actor that failed, after the others are through', async (t) => {
    const log: string[] = [];
    const a = toldActor('a', log);
    const b = toldActor('b', log);
    const group = runGroup([a.actor, b.actor]);
    a.end(new Error('port in use'));
    await t.rejects(group, { message: 'port in use' });
    t.equal(log.length, 2);
  });

  t.test('an actor that leaves by throwing the interruption has not failed', async (t) => {
    const log: string[] = [];
    const a = toldActor('a', log);
    const group = runGroup([a.actor, { name: 'b', execute: (signal) => untilAborted(signal) }]);
    a.end();
    t.same(await group, { first: 'a' });
  });

  t.test('keeps every error when several fail', async (t) => {
    const log: string[] = [];
    const a = toldActor('a', log);
    const bad: Actor = {
      name: 'b',
      execute: (signal) => untilAborted(signal).catch(() => Promise.reject(new Error('and could not close'))),
    };
    const group = runGroup([a.actor, bad]);
    a.end(new Error('first'));
    await t.rejects(group, { errors: [{ message: 'first' }, { message: 'and could not close' }] });
  });
});
