import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { mkdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import fc from 'fast-check';
import t, { type Test } from 'tap';
import { systemClock } from '../controller/clock.ts';
import { createClaims } from '../controller/status/claims.ts';
import { findCondition, isTrue, removeCondition, setCondition } from '../controller/status/conditions.ts';
import { EventLog, eventLogPaths, parseEvents } from '../controller/status/event-log.ts';
import { addEvent, addTransitions } from '../controller/status/events.ts';
import { Reserve } from '../controller/status/reserve.ts';
import { journalPath, openRunJournal, readRunJournal } from '../controller/status/run-journal.ts';
import { stateWriteError } from '../controller/status/state-error.ts';
import { lockState, readLockHolder } from '../controller/status/state-lock.ts';
import { openStatusStore } from '../controller/status/status-store.ts';
import { openStatusStores } from '../controller/status/status-stores.ts';
import type { ClusterStatus, Condition, ObjectEvent } from '../crds/status.ts';
import type { Clock } from '../state-machines/contract.ts';
import { exampleRun } from './support/example-run.ts';
import { fill, mountSmallDisk, unmount } from './support/small-disk.ts';

/** Tries again at once where the product waits a little. */
const hasty: Clock = { now: systemClock.now, sleep: (_, signal) => systemClock.sleep(1, signal) };
const never = new AbortController().signal;
const CHILD = join(import.meta.dirname, 'support', 'state-child.js');

interface Thing {
  readonly n: number;
}

function parseThing(value: unknown): Thing {
  if (typeof value === 'object' && value !== null && 'n' in value && typeof value.n === 'number')
    return { n: value.n };
  throw new Error('status has no number n');
}

const openThings = (stateDir: string) => openStatusStore({ stateDir, kind: 'Thing', parse: parseThing });

/** Starts the child and gives its lines; it is killed when the test ends at the latest. */
function startChild(t: Test, what: string, stateDir: string) {
  const child = spawn(process.execPath, [CHILD, what, stateDir], { stdio: ['ignore', 'pipe', 'inherit'] });
  t.teardown(() => child.kill('SIGKILL'));
  return { child, lines: createInterface({ input: child.stdout })[Symbol.asyncIterator]() };
}

async function kill9(child: ChildProcess): Promise<void> {
  const ended = once(child, 'exit');
  child.kill('SIGKILL');
  await ended;
}

t.test('status store', async (t) => {
  t.test('gives back what was written, by name, also to another process', async (t) => {
    const stateDir = t.testdir();
    const store = openThings(stateDir);
    t.same(await store.read('a'), {}, 'never saved');
    t.same((await store.list()).found.size, 0);
    await store.write('b', { n: 2 });
    await store.write('a', { n: 1 });
    await store.write('a', { n: 3 });
    const other = openThings(stateDir);
    t.same(await other.read('a'), { status: { n: 3 } });
    t.same(
      [...(await other.list()).found],
      [
        ['a', { n: 3 }],
        ['b', { n: 2 }],
      ],
    );
    t.same(
      readdirSync(join(stateDir, 'status', 'Thing')).sort(),
      ['a.json', 'b.json'],
      'nothing else is left',
    );
  });

  t.test('the last of many writes at once wins', async (t) => {
    const store = openThings(t.testdir());
    await Promise.all(Array.from({ length: 50 }, (_, n) => store.write('a', { n })));
    t.same(await store.read('a'), { status: { n: 49 } });
  });

  t.test('forgets a removed resource, and does not mind one that is not there', async (t) => {
    const store = openThings(t.testdir());
    await store.write('a', { n: 1 });
    await store.remove('a');
    await store.remove('a');
    await store.remove('never-there');
    t.same(await store.read('a'), {});
  });

  t.test('names files that are torn, foreign or of another version, and reads the others', async (t) => {
    const file = (content: object) =>
      JSON.stringify({ schemaVersion: 1, kind: 'Thing', status: { n: 1 }, ...content });
    const stateDir = t.testdir({
      status: {
        Thing: {
          'good.json': file({ name: 'good' }),
          'torn.json': file({ name: 'torn' }).slice(0, 30),
          'empty.json': '',
          'null.json': 'null',
          'newer.json': file({ name: 'newer', schemaVersion: 2 }),
          'moved.json': file({ name: 'other' }),
          'odd.json': file({ name: 'odd', status: { n: 'one' } }),
          'Not A Name.json': '{}',
          'notes.txt': 'left by somebody',
          'good.json.tmp': 'half of',
        },
      },
    });
    const { found, unreadable } = await openThings(stateDir).list();
    t.same([...found.keys()], ['good']);
    t.same(
      unreadable.map(({ path, problem }) => [
        path.slice(join(stateDir, 'status', 'Thing').length + 1),
        problem,
      ]),
      [
        ['Not A Name.json', 'Not A Name: not a resource name'],
        ['empty.json', 'Unexpected end of JSON input'],
        ['moved.json', 'belongs to Thing/other'],
        ['newer.json', 'schemaVersion 2, this build knows 1'],
        ['null.json', 'not a status file'],
        ['odd.json', 'status has no number n'],
        ['torn.json', unreadable.at(-1)?.problem],
      ],
    );
    t.match(unreadable.at(-1)?.problem, /JSON/);
    t.match(await openThings(stateDir).read('newer'), {
      unreadable: { problem: 'schemaVersion 2, this build knows 1' },
    });
  });

  t.test('keeps an unreadable file beside the new one', async (t) => {
    const stateDir = t.testdir({ status: { Thing: { 'a.json': 'of another world' } } });
    const store = openThings(stateDir);
    await store.write('a', { n: 1 });
    t.same(await store.read('a'), { status: { n: 1 } });
    t.equal(readFileSync(join(stateDir, 'status', 'Thing', 'a.json.unreadable'), 'utf8'), 'of another world');
    t.same((await store.list()).unreadable, []);
  });

  t.test('never builds a path from a name that could leave the folder', async (t) => {
    const store = openThings(t.testdir());
    for (const name of ['../a', '..', '.hidden', '', 'a/b', 'A', 'a\0']) {
      await t.rejects(store.write(name, { n: 1 }), { code: 'STATE_FOREIGN' }, JSON.stringify(name));
    }
  });

  t.test('says that it cannot save, keeps the old status, and recovers by itself', async (t) => {
    const stateDir = t.testdir();
    const store = openThings(stateDir);
    await store.write('a', { n: 1 });
    const blocker = join(stateDir, 'status', 'Thing', 'a.json.tmp');
    mkdirSync(join(blocker, 'x'), { recursive: true }); // root may write anywhere: a folder in the way stops it too
    await t.rejects(store.write('a', { n: 2 }), { code: 'STATE_UNWRITABLE', path: /a\.json$/ });
    t.same(await store.read('a'), { status: { n: 1 } });
    execFileSync('rm', ['-r', blocker]);
    await store.write('a', { n: 3 });
    t.same(await store.read('a'), { status: { n: 3 } });
  });

  t.test('calls a full disk by its name', async (t) => {
    for (const code of ['ENOSPC', 'EDQUOT']) {
      t.match(stateWriteError('/s/a.json', Object.assign(new Error('x'), { code })), {
        code: 'STATE_FULL',
        message: '/s/a.json: no space left to save state',
      });
    }
    t.match(stateWriteError('/s/a.json', Object.assign(new Error('x'), { code: 'EROFS' })), {
      code: 'STATE_UNWRITABLE',
    });
  });
});

const smallDisk = mountSmallDisk();
const noDisk = smallDisk ? {} : { skip: 'no rights to mount a small file system' };

t.test('a full disk: status and journal say so, lose nothing, and go on with space', noDisk, async (t) => {
  const disk = smallDisk ?? '';
  t.teardown(() => unmount(disk));
  const reserve = new Reserve(disk);
  const store = openStatusStore({ stateDir: disk, kind: 'Thing', parse: (value) => value, reserve });
  const journal = await openRunJournal(disk);
  await store.write('a', { n: 1 });
  await journal.write(exampleRun('kept'));
  const filler = fill(disk);
  await t.rejects(store.write('a', { n: 2, padding: 'x'.repeat(50_000) }), { code: 'STATE_FULL' });
  await t.rejects(journal.write(exampleRun('lost', { message: 'x'.repeat(50_000) })), { code: 'STATE_FULL' });
  t.same(await store.read('a'), { status: { n: 1 } });
  t.same(
    (await journal.unfinished()).map(({ runId }) => runId),
    ['kept'],
  );
  await store.tellFull('a', { n: 2, full: true });
  t.same(await store.read('a'), { status: { n: 2, full: true } }, 'told with the space kept aside');
  await t.rejects(store.write('a', { n: 2 }), { code: 'STATE_FULL' }, 'which is for nothing else');
  execFileSync('rm', [filler]);
  await store.write('a', { n: 3 });
  t.ok(existsSync(join(disk, 'reserve')), 'and is set aside again');
  await journal.write(exampleRun('after'));
  t.same(await store.read('a'), { status: { n: 3 } });
  const { runs, problems } = await readRunJournal(disk);
  t.same(
    runs.map(({ runId }) => runId),
    ['kept', 'after'],
  );
  t.same(problems, [], 'what the full disk tore was cut off');
});

t.test(
  'kill -9 at any moment leaves the newest acknowledged status and journal',
  { timeout: 120_000 },
  async (t) => {
    const stateDir = t.testdir();
    let acknowledged = 0;
    for (const writes of [1, 3, 7, 2, 12]) {
      const { child, lines } = startChild(t, 'write', stateDir);
      for (let said = 0; said < writes; said++) acknowledged = Number((await lines.next()).value);
      await kill9(child);
      for (let line = await lines.next(); !line.done; line = await lines.next())
        acknowledged = Number(line.value);
      const { status, unreadable } = await openThings(stateDir).read('a');
      t.equal(unreadable, undefined);
      t.ok(
        status && status.n >= acknowledged && status.n <= acknowledged + 1,
        `status of write ${acknowledged} or the next`,
      );
      const { runs, problems } = await readRunJournal(stateDir);
      t.same(problems, []);
      const newest = Math.max(...runs.map(({ atMs }) => atMs));
      t.ok(
        newest >= acknowledged && newest <= acknowledged + 1,
        `run record of write ${acknowledged} or the next`,
      );
      t.equal(runs.length, Math.min(newest, 10), 'and every unfinished run before it');
      execFileSync('rm', ['-r', journalPath(stateDir)]);
    }
  },
);

t.test('run journal', async (t) => {
  t.test('gives the newest record of each run that is not closed', async (t) => {
    const stateDir = t.testdir();
    const journal = await openRunJournal(stateDir);
    t.same(await journal.unfinished(), []);
    await journal.write(exampleRun('one', { phase: 'prepared' }));
    await journal.write(exampleRun('two', { phase: 'injecting' }));
    await journal.write(exampleRun('one', { phase: 'holding', atMs: 2 }));
    await journal.write(exampleRun('two', { phase: 'healed', outcome: 'Healed' }));
    t.same(await journal.unfinished(), [exampleRun('one', { phase: 'holding', atMs: 2 })]);
    t.same(
      (await journal.runs()).map(({ runId, phase }) => [runId, phase]),
      [
        ['one', 'holding'],
        ['two', 'healed'],
      ],
    );
    t.same(
      await (await openRunJournal(stateDir)).unfinished(),
      await journal.unfinished(),
      'also after a restart',
    );
  });

  t.test('does not open a run again that was closed while somebody healed it', async (t) => {
    const stateDir = t.testdir();
    const journal = await openRunJournal(stateDir);
    await journal.write(exampleRun('one', { phase: 'healing' }));
    await journal.write(exampleRun('one', { phase: 'healed', outcome: 'Aborted' }));
    await journal.write(exampleRun('one', { phase: 'stuck' }));
    t.same(await journal.unfinished(), []);
    t.match(await (await openRunJournal(stateDir)).runs(), [{ outcome: 'Aborted' }]);
  });

  t.test('keeps the order of writes that are asked for at once', async (t) => {
    const stateDir = t.testdir();
    const journal = await openRunJournal(stateDir);
    await Promise.all(Array.from({ length: 20 }, (_, atMs) => journal.write(exampleRun('one', { atMs }))));
    t.equal((await journal.unfinished())[0]?.atMs, 19);
    t.equal(readFileSync(journalPath(stateDir), 'utf8').split('\n').length, 21);
  });

  t.test(
    'wherever the last line is torn, the records before it are read, and later ones written',
    async (t) => {
      const whole = [exampleRun('one'), exampleRun('two')].map((run) => `${JSON.stringify(run)}\n`).join('');
      const firstEnd = whole.indexOf('\n') + 1;
      const stateDir = t.testdir();
      const cuts = fc.integer({ min: firstEnd, max: whole.length - 1 });
      await fc.assert(
        fc.asyncProperty(cuts, fc.boolean(), async (cut, reopened) => {
          writeFileSync(journalPath(stateDir), reopened ? whole.slice(0, cut) : '');
          const journal = await openRunJournal(stateDir);
          if (!reopened) writeFileSync(journalPath(stateDir), whole.slice(0, cut));
          const before = (await journal.unfinished()).map(({ runId }) => runId);
          await journal.write(exampleRun('three'));
          const { runs, problems } = await readRunJournal(stateDir);
          t.same([before, runs.map(({ runId }) => runId), problems], [['one'], ['one', 'three'], []]);
        }),
        { numRuns: 40 },
      );
    },
  );

  t.test(
    'compacts at the start: unfinished and orphaned runs stay, of the closed ones the newest 200',
    async (t) => {
      const closed = Array.from({ length: 300 }, (_, n) => exampleRun(`closed-${n}`, { outcome: 'Healed' }));
      const records = [
        exampleRun('old-unfinished', { phase: 'prepared' }),
        exampleRun('old-unfinished', { phase: 'injecting' }),
        exampleRun('stuck', { phase: 'stuck', outcome: 'Stuck' }),
        exampleRun('unknown', { phase: 'healing', outcome: 'Unknown' }),
        ...closed,
      ];
      const stateDir = t.testdir({
        'journal.ndjson': records.map((record) => `${JSON.stringify(record)}\n`).join(''),
      });
      const runs = await (await openRunJournal(stateDir)).runs();
      t.equal(readFileSync(journalPath(stateDir), 'utf8').split('\n').length, 204);
      t.same(
        runs.slice(0, 4).map(({ runId, phase }) => `${runId} ${phase}`),
        ['old-unfinished injecting', 'stuck stuck', 'unknown healing', 'closed-100 holding'],
      );
      t.equal(runs.at(-1)?.runId, 'closed-299');
    },
  );

  t.test('compacts while it is written, too, and never a run that is not closed', async (t) => {
    const stateDir = t.testdir();
    const lines = () => readFileSync(journalPath(stateDir), 'utf8').split('\n').length - 1;
    const journal = await openRunJournal(stateDir, 50);
    const blocker = `${journalPath(stateDir)}.tmp`;
    mkdirSync(join(blocker, 'x'), { recursive: true });
    await journal.write(exampleRun('open'));
    for (let atMs = 1; atMs < 60; atMs++) await journal.write(exampleRun('closed-0', { atMs }));
    t.equal(lines(), 60, 'what is written is kept where it cannot');
    execFileSync('rm', ['-r', blocker]);
    let most = 0;
    for (let n = 0; n < 400; n++) {
      await journal.write(exampleRun(`closed-${n}`));
      await journal.write(exampleRun(`closed-${n}`, { phase: 'healed', outcome: 'Healed', atMs: n }));
      most = Math.max(most, lines());
    }
    t.ok(most <= 1 + 200 + 50, `at most ${most} lines`);
    t.match(await journal.unfinished(), [{ runId: 'open' }]);
    await journal.write(exampleRun('open', { phase: 'healed', outcome: 'Aborted', atMs: 400 }));
    for (let n = 0; n < 50; n++) await journal.write(exampleRun('next'));
    const known = (await journal.runs()).map(({ runId }) => runId);
    t.equal(known.length, 201);
    t.ok(known.includes('open'), 'who was closed last is forgotten last');
  });

  t.test('reports lines that it cannot understand, and keeps them for the build that can', async (t) => {
    const newer = JSON.stringify({ ...exampleRun('future'), schemaVersion: 2 });
    const phase = JSON.stringify({ ...exampleRun('odd'), phase: 'dancing' });
    const lines = [newer, 'garbage', JSON.stringify(exampleRun('one')), phase, '[]', ''];
    const stateDir = t.testdir({ 'journal.ndjson': lines.join('\n') });
    const journal = await openRunJournal(stateDir);
    t.same(journal.problems.slice(0, 2), [
      { line: 1, problem: 'run future: schemaVersion 2, this build knows 1' },
      { line: 2, problem: 'not JSON: garbage' },
    ]);
    t.match(journal.problems[2], { line: 4, problem: /^run odd: .*phase/ });
    t.equal(journal.problems.length, 4);
    t.equal((await journal.unfinished())[0]?.runId, 'one');
    const text = readFileSync(journalPath(stateDir), 'utf8');
    for (const line of [newer, 'garbage', phase, '[]']) t.ok(text.includes(`${line}\n`), line);
    t.same((await readRunJournal(stateDir)).problems.length, 4, 'and again at the next start');
  });

  t.test('keeps fields that a later contract adds', async (t) => {
    const extended = { ...exampleRun('one'), reason: 'new here' };
    const stateDir = t.testdir();
    await (await openRunJournal(stateDir)).write(extended);
    t.match(await (await openRunJournal(stateDir)).unfinished(), [{ reason: 'new here' }]);
  });

  t.test('reading changes nothing, and finds nothing where nothing is', async (t) => {
    const stateDir = t.testdir();
    t.same(await readRunJournal(stateDir), { runs: [], problems: [] });
    t.notOk(existsSync(journalPath(stateDir)));
  });
});

t.test('state lock', async (t) => {
  t.test('refuses a second writer by the name of the first, until it releases', async (t) => {
    const stateDir = join(t.testdir(), 'made', 'on-demand');
    t.equal(await readLockHolder(stateDir), undefined);
    const lock = await lockState(stateDir, 'watch', hasty, never);
    t.match(await readLockHolder(stateDir), { pid: process.pid, verb: 'watch' });
    await t.rejects(lockState(stateDir, 'apply', hasty, never), {
      code: 'STATE_LOCKED',
      message: new RegExp(`in use by \`controller watch\`, pid ${process.pid} on .*, since 20`),
    });
    t.match(await readLockHolder(stateDir), { verb: 'watch' }, 'the refused one left no trace');
    lock.release();
    lock.release();
    t.equal(await readLockHolder(stateDir), undefined);
    (await lockState(stateDir, 'apply', hasty, never)).release();
  });

  t.test('goes with a process that is killed -9', { timeout: 60_000 }, async (t) => {
    const stateDir = t.testdir();
    const { child, lines } = startChild(t, 'lock', stateDir);
    t.equal((await lines.next()).value, 'ready');
    t.match(await readLockHolder(stateDir), { pid: child.pid, verb: 'watch' });
    await t.rejects(lockState(stateDir, 'apply', hasty, never), {
      message: new RegExp(`pid ${child.pid}`),
    });
    child.kill('SIGSTOP');
    await t.rejects(
      lockState(stateDir, 'apply', hasty, never),
      { code: 'STATE_LOCKED' },
      'a stopped one holds it',
    );
    await kill9(child);
    t.equal(await readLockHolder(stateDir), undefined);
    const lock = await lockState(stateDir, 'apply', hasty, never);
    t.match(await readLockHolder(stateDir), { pid: process.pid, verb: 'apply' });
    lock.release();
  });

  t.test('does not stay with a child that its holder started', { timeout: 60_000 }, async (t) => {
    const stateDir = t.testdir();
    const lock = await lockState(stateDir, 'watch', hasty, never);
    const child = spawn('sleep', ['30']);
    t.teardown(() => child.kill('SIGKILL'));
    lock.release();
    t.equal(await readLockHolder(stateDir), undefined);
  });

  t.test('of many that want it at once exactly one gets it', { timeout: 60_000 }, async (t) => {
    const stateDir = t.testdir();
    const tries = Array.from({ length: 5 }, () => lockState(stateDir, 'apply', hasty, never));
    const results = await Promise.allSettled(tries);
    const won = results.filter((result) => result.status === 'fulfilled');
    t.equal(won.length, 1);
    won[0]?.value.release();
  });

  t.test('gives up when told to', async (t) => {
    const stateDir = t.testdir();
    const lock = await lockState(stateDir, 'watch', hasty, never);
    await t.rejects(lockState(stateDir, 'apply', hasty, AbortSignal.abort(new Error('told to'))), {
      message: 'told to',
    });
    lock.release();
  });

  t.test('says that a state directory cannot be made', async (t) => {
    const folder = t.testdir({ file: 'not a folder' });
    await t.rejects(lockState(join(folder, 'file'), 'watch', hasty, never), {
      code: 'STATE_UNWRITABLE',
    });
  });
});

t.test('claims', async (t) => {
  t.test('a target is held by one owner, until that releases it', async (t) => {
    const freed: string[] = [];
    const claims = createClaims((targets) => freed.push(...targets));
    claims.hold('trial-1', ['node4', 'streaming_driver']);
    claims.hold('trial-1', ['node5']);
    t.throws(() => claims.hold('trial-2', ['node6', 'node5']), {
      code: 'FAULT_REFUSED',
      message: 'node5 is held by trial-1',
    });
    t.equal(claims.heldBy('node4'), 'trial-1');
    t.equal(claims.heldBy('node6'), undefined, 'all or nothing');
    claims.hold('trial-3', ['node7', 'node8'], ['node7']);
    t.equal(claims.heldBy('node7'), undefined, 'the reconciler makes that one anew');
    t.equal(claims.madeAnewFor('node7'), 'trial-3');
    t.same(claims.conflicts('trial-2', ['node7']), ['node7 is held by trial-3'], 'others are kept away');
    t.equal(claims.heldBy('node8'), 'trial-3');
    claims.release('trial-3');
    t.equal(claims.madeAnewFor('node7'), undefined);
    freed.length = 0;
    claims.release('trial-2');
    t.same(freed, []);
    claims.release('trial-1');
    t.same(freed, ['node4', 'streaming_driver', 'node5']);
    claims.hold('trial-2', ['node5']);
    t.equal(claims.heldBy('node5'), 'trial-2');
  });

  t.test('a task is a part of its node and of its service, and of nothing else', async (t) => {
    const claims = createClaims();
    claims.hold('trial-1', ['node4/streaming_kafka']);
    t.same(claims.conflicts('trial-2', ['node4', 'streaming_kafka', 'node4/streaming_kafka']), [
      'node4/streaming_kafka is held by trial-1',
      'node4/streaming_kafka is held by trial-1',
      'node4/streaming_kafka is held by trial-1',
    ]);
    t.same(claims.conflicts('trial-2', ['node5', 'node4/streaming_driver', 'node5/streaming_kafka']), []);
    t.same(['node4', 'streaming_kafka', 'node5', 'streaming_driver'].map(claims.heldBy), [
      ...['trial-1', 'trial-1'],
      ...[undefined, undefined],
    ]);
    t.same(claims.conflicts('trial-1', ['node4']), [], 'its own');
    claims.hold('trial-2', ['node5']);
    t.same(claims.conflicts('trial-1', ['node5/streaming_kafka']), ['node5 is held by trial-2']);
  });
});

t.test('conditions', async (t) => {
  const ready = {
    type: 'Ready',
    status: 'False',
    reason: 'Progressing',
    message: '',
    observedGeneration: 1,
  } as const;

  t.test('the time of transition moves with the status only', async (t) => {
    const first = setCondition([], ready, 1000);
    t.same(first, [{ ...ready, lastTransitionTime: '1970-01-01T00:00:01.000Z' }]);
    const other = setCondition(
      first,
      { ...ready, reason: 'JoinPending', message: 'node4', observedGeneration: 2 },
      2000,
    );
    t.match(other, [
      { reason: 'JoinPending', observedGeneration: 2, lastTransitionTime: '1970-01-01T00:00:01.000Z' },
    ]);
    const flipped = setCondition(other, { ...ready, status: 'True', reason: 'Converged' }, 3000);
    t.match(flipped, [{ status: 'True', lastTransitionTime: '1970-01-01T00:00:03.000Z' }]);
  });

  t.test('there is one of each type, in the order of their arrival', async (t) => {
    let conditions = setCondition([], ready, 0);
    conditions = setCondition(
      conditions,
      { ...ready, type: 'Stalled', status: 'True', reason: 'ProvisionFailed' },
      0,
    );
    conditions = setCondition(conditions, { ...ready, status: 'True', reason: 'Converged' }, 0);
    t.same(
      conditions.map(({ type }) => type),
      ['Ready', 'Stalled'],
    );
    t.equal(findCondition(removeCondition(conditions, 'Stalled'), 'Stalled'), undefined);
  });

  t.test('an observation about an older generation proves nothing', async (t) => {
    const conditions = setCondition([], { ...ready, status: 'True', reason: 'Converged' }, 0);
    t.ok(isTrue(conditions, 'Ready', 1));
    t.notOk(isTrue(conditions, 'Ready', 2));
    t.notOk(isTrue(conditions, 'Accepted', 1));
  });
});

t.test('events', async (t) => {
  const exampleStatus: ClusterStatus = {
    ...{ uid: 'u1', observedGeneration: 1, conditions: [] },
    inventory: { nodes: [], services: [], networks: [], configs: [], secrets: [], stacks: [] },
    nodes: { desired: 0, ready: 0, managers: 0, unreachable: [] },
  };
  const joined = { type: 'Normal', reason: 'Joined', message: 'node4 joined' } as const;

  t.test('equal ones are counted and move to the end', async (t) => {
    let ring = addEvent([], joined, 1000);
    ring = addEvent(ring, { ...joined, message: 'node5 joined' }, 2000);
    ring = addEvent(ring, joined, 3000);
    t.match(ring, [
      { message: 'node5 joined', count: 1 },
      {
        message: 'node4 joined',
        count: 2,
        firstTimestamp: '1970-01-01T00:00:01.000Z',
        lastTimestamp: '1970-01-01T00:00:03.000Z',
      },
    ]);
  });

  t.test('the ring keeps the newest thirty-two of each object', async (t) => {
    let nowMs = 0;
    let ring = addEvent([], { ...joined, message: 'saved' }, nowMs++);
    for (let n = 0; n < 40; n++) ring = addEvent(ring, { ...joined, message: `n${n}` }, nowMs++);
    t.equal(ring.length, 32);
    t.equal(ring[0]?.message, 'n8');
  });

  const statement = (type: string, status: Condition['status'], reason: string, message = reason) => ({
    ...{ type, status, reason, message, observedGeneration: 1, lastTransitionTime: '' },
  });
  const told = (before: readonly Condition[], after: readonly Condition[]) =>
    addTransitions([], before, after, 0).map(({ type, reason, message }) => [type, reason, message]);

  t.test('a condition that says something else is an event under its reason', async (t) => {
    const progressing = statement('Ready', 'False', 'Progressing', '1 of 9 steps done');
    t.same(told([], [progressing]), [['Normal', 'Progressing', '1 of 9 steps done']]);
    t.same(
      told([progressing], [{ ...progressing, message: '2 of 9 steps done' }]),
      [],
      'the same, further on',
    );
    const failed = statement('Ready', 'False', 'ProvisionFailed', 'no memory');
    t.same(told([progressing], [failed]), [['Warning', 'ProvisionFailed', 'no memory']]);
    const stalled = { ...failed, type: 'Stalled', status: 'True' } as const;
    t.same(told([progressing], [failed, stalled]), [['Warning', 'ProvisionFailed', 'no memory']], 'once');
    t.same(told([failed, stalled], [statement('Ready', 'True', 'Converged')]), [
      ['Normal', 'Converged', 'Converged'],
    ]);
    const over = [statement('Active', 'False', 'Idle'), statement('Complete', 'True', 'Finished')];
    t.same(told([statement('Active', 'True', 'Running')], over), [['Normal', 'Finished', 'Finished']]);
  });

  t.test('a store logs what is new in its statuses, a line each', async (t) => {
    const stateDir = t.testdir({});
    const names = eventLogPaths(stateDir);
    const lines = async () => parseEvents(await readFile(names.newest, 'utf8').catch(() => ''));
    const status = (events: readonly ObjectEvent[]): ClusterStatus => ({
      ...exampleStatus,
      events: [...events],
    });
    const ring = addEvent([], joined, 1000);
    const repeated = addEvent(addEvent(ring, { ...joined, message: 'node5 joined' }, 2000), joined, 3000);
    const { clusters } = openStatusStores(stateDir);
    await clusters.write('small', status(ring));
    await clusters.write('small', status(ring));
    await clusters.write('small', status(repeated));
    t.match(await lines(), [
      { kind: 'ClusterSpec', name: 'small', ...joined, count: 1 },
      { message: 'node5 joined', count: 1 },
      { message: 'node4 joined', count: 2, lastTimestamp: '1970-01-01T00:00:03.000Z' },
    ]);
    const next = openStatusStores(stateDir).clusters;
    await next.write('small', status(repeated));
    t.equal((await lines()).length, 3, 'what an earlier process logged is no news');
    await next.remove('small');
    await next.write('small', status(ring));
    t.equal((await lines()).length, 4, 'of another one of that name it is');
  });

  t.test('the log makes room for newer lines, and is never in the way of a status', async (t) => {
    const stateDir = t.testdir({});
    const { newest, before } = eventLogPaths(stateDir);
    const log = new EventLog(stateDir, 1_000);
    const event = (message: string) => ({
      ...{ kind: 'ClusterSpec', name: 'small', ...joined, message, count: 1 },
      ...{ firstTimestamp: '', lastTimestamp: '' },
    });
    for (let n = 0; n < 40; n++) await log.append([event(`n${n}`)]);
    const [old, young] = await Promise.all([before, newest].map((path) => readFile(path, 'utf8')));
    t.ok(old!.length <= 1_000 && young!.length <= 1_000);
    t.equal(parseEvents(young!).at(-1)?.message, 'n39');
    const numbers = parseEvents(old! + young!).map(({ message }) => Number(message.slice(1)));
    t.same(
      numbers,
      numbers.map((_, index) => 40 - numbers.length + index),
      'none of the newest is missing',
    );
    t.same(
      parseEvents(`torn"}\n${JSON.stringify(event('whole'))}\n{"type":"Nor`).map((each) => each.message),
      ['whole'],
    );
    await rm(newest);
    await mkdir(newest);
    await log.append([event('nowhere to go')]);
    const { clusters } = openStatusStores(stateDir);
    await clusters.write('small', { ...exampleStatus, events: addEvent([], joined, 1000) });
    t.match(await clusters.read('small'), { status: { uid: exampleStatus.uid } });
  });
});
