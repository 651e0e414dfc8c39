import { execFile, spawn } from 'node:child_process';
import { mkdir, mkdtemp, readdir, readFile, rm, symlink, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { promisify } from 'node:util';
import t, { type Test } from 'tap';
import { faultKinds } from '../state-machines/faults/catalog.ts';
import { loadScripts } from '../state-machines/load-scripts.ts';
import { exampleFacts } from './contracts/fault-kind.ts';

// loseCheckpoint, expireSession and clockSkew: plans by value, and the scripts that need nothing but a folder, on one.

const run = promisify(execFile);
// Hundreds of small processes.
t.setTimeout(180_000);
const scripts = await loadScripts('state-machines');
const kindOf = (name: string) => faultKinds.find((kind) => kind.name === name)!;
const planOf = (name: string, params: object = {}) => {
  const kind = kindOf(name);
  return kind.plan(kind.params.parse(params), exampleFacts(kind.targets[0]!));
};
const accepts = (name: string, params: object) => kindOf(name).params.safeParse(params).success;

t.test('loseCheckpoint takes files of the folder that is named, on each node that was chosen', async (t) => {
  const path = '/var/lib/spark-failures/checkpoint/job';
  const of = (args: readonly string[]) =>
    ['node4', 'node6'].map((node) => ({ node, target: node, mechanism: 'files', args }));
  t.same(planOf('loseCheckpoint'), of([path, 'move', 'all', 'restore', 'state']));
  const params = {
    path: '/mnt/a/b',
    parts: ['offsets', 'commits', 'offsets'],
    newest: 2,
    how: 'truncate',
    restore: false,
  };
  t.same(planOf('loseCheckpoint', params), of(['/mnt/a/b', 'truncate', '2', 'leave', 'offsets', 'commits']));
});

t.test('loseCheckpoint is refused where the checkpoint is no folder', async (t) => {
  const kind = kindOf('loseCheckpoint');
  const plan = (checkpoint: 'path' | 'hdfs') =>
    kind.plan(kind.params.parse({}), { ...exampleFacts('nodes'), checkpoint });
  t.equal(plan('path').length, 2);
  t.throws(() => plan('hdfs'), { code: 'FAULT_REFUSED', message: /keeps its checkpoint in HDFS/ });
});

t.test('a path that could be a part of the system is refused by the schema', async (t) => {
  for (const path of [
    ...[
      '/',
      '',
      'job',
      '/etc',
      '/etc/job',
      '/var/lib/docker/x',
      '/var/lib/spark-failures/runs',
      '/mnt',
      '/mnt/',
    ],
    ...[
      '/mnt/../etc',
      '/mnt/a/..',
      '/mnt/./a',
      '/mnt//a',
      '/mnt/a b',
      '/mnt/a\nb',
      '/mnta/b',
      "/mnt/$(x)'",
      7,
    ],
  ])
    t.notOk(accepts('loseCheckpoint', { path }), JSON.stringify(path));
  for (const path of ['/mnt/a', '/srv/nfs/job-1', '/var/lib/spark-failures/checkpoint/job', '/mnt/.a/b..'])
    t.ok(accepts('loseCheckpoint', { path }), path);
  for (const params of [{ parts: [] }, { parts: ['job'] }, { newest: 0 }, { newest: 1.5 }, { how: 'delete' }])
    t.notOk(accepts('loseCheckpoint', params), JSON.stringify(params));
});

t.test("expireSession means Spark's masters where nothing is said", async (t) => {
  const args = (first: readonly string[]) => ['0', '1'].map((digit) => [...first, digit.repeat(64)]);
  const master = 'process=org.apache.spark.deploy.master.Master';
  t.same(
    planOf('expireSession').map((step) => step.args),
    args(['2181', master]),
  );
  const params = { process: 'x', port: 2182 };
  t.same(
    planOf('expireSession', params).map((step) => step.args),
    args(['2182', 'process=x']),
  );
  for (const port of [0, 65_536, '2181']) t.notOk(accepts('expireSession', { port }));
});

t.test('clockSkew steps by whole seconds, ahead or back, as far as certificates allow', async (t) => {
  t.same(
    planOf('clockSkew').map(({ args }) => args),
    [['30000'], ['30000']],
  );
  t.same(planOf('clockSkew', { offset: '-5m' })[0]!.args, ['-300000']);
  for (const offset of ['1s', '-1s', '60m', '3600s', '-1h']) t.ok(accepts('clockSkew', { offset }), offset);
  for (const offset of [
    '0s',
    '-0s',
    '61m',
    '-3601s',
    '2h',
    '500ms',
    '1.5s',
    '+30s',
    '30',
    '1m30s',
    '--1s',
    30,
  ])
    t.notOk(accepts('clockSkew', { offset }), String(offset));
});

t.test('clockSkew drifts over whole seconds, and no slower than is seen in time', async (t) => {
  t.same(planOf('clockSkew', { over: '5m' })[0]!.args, ['30000', '300000']);
  t.same(planOf('clockSkew', { offset: '-10s', over: '5s' })[0]!.args, ['-10000', '5000']);
  for (const params of [
    { over: '1s' },
    { over: '30m' },
    { offset: '-1s', over: '60s' },
    { offset: '1m', over: '1h' },
    { offset: '1h', over: '3600s' },
  ])
    t.ok(accepts('clockSkew', params), JSON.stringify(params));
  for (const params of [
    ...['0s', '-5s', '61m', '500ms', '1m30s', '30', 30].map((over) => ({ offset: '1h', over })),
    { over: '31m' },
    { offset: '-1s', over: '61s' },
    { offset: '59s', over: '1h' },
    { offset: '2h', over: '1m' },
  ])
    t.notOk(accepts('clockSkew', params), JSON.stringify(params));
  const problems = (params: object) =>
    kindOf('clockSkew')
      .params.safeParse(params)
      .error?.issues.map(({ path, message }) => `${path.join('.')}: ${message}`);
  t.same(problems({ offset: '-2s', over: '1h' }), [
    'over: expected at most 2m for an offset of -2s, got 1h: a slower drift is not seen in time (250 ms within 15 s)',
  ]);
  t.same(problems({ over: '2h' })?.length, 1, 'said once');
});

/** Every file of a checkpoint, as a job has left it, and what is in it. */
const checkpointFiles = [10, 11, 12].flatMap((batch) => [
  ...['offsets', 'commits'].flatMap((log) => [`${log}/${batch}`, `${log}/.${batch}.crc`]),
  ...[0, 1].map((partition) => `state/0/${partition}/${batch + 1}.delta`),
  `state/0/0/.${batch + 1}.delta.crc`,
]);
const fixedFiles = [
  'metadata',
  '.metadata.crc',
  'sources/0/0',
  'state/0/_metadata/metadata',
  'offsets/.13.x.tmp',
];

/** A checkpoint, a run on it, and the three scripts. */
async function checkpoint(t: Test, args: readonly string[]) {
  const root = await mkdtemp(join(tmpdir(), 'sf-checkpoint-'));
  t.teardown(() => rm(root, { recursive: true, force: true }));
  const path = join(root, 'job');
  const write = async (file: string, text = `${file}\n`) => {
    await mkdir(dirname(join(path, file)), { recursive: true });
    await writeFile(join(path, file), text);
  };
  for (const file of [...checkpointFiles, ...fixedFiles]) await write(file);
  const { inject, undo, check } = scripts.mechanism('files');
  const runs = (name: string) => {
    const dir = join(root, name);
    const sh = async (script: string) => {
      await mkdir(dir, { recursive: true });
      const called = run('sh', ['-c', script, 'sh', path, ...args], {
        env: { ...process.env, SF_RUN_DIR: dir },
      });
      return called.then(
        ({ stdout, stderr }) => ({ code: 0, stdout: stdout.trim(), stderr: stderr.trim() }),
        ({ code, stderr }: { code: number; stderr: string }) => ({ code, stdout: '', stderr: stderr.trim() }),
      );
    };
    return {
      ...{ dir, inject: () => sh(inject), undo: () => sh(undo) },
      check: async () => (await sh(check)).stdout,
    };
  };
  return {
    ...{ root, path, write, runs, ...runs('run-1.0') },
    /** Files with what is in them. */
    async files() {
      const found = await readdir(path, { recursive: true, withFileTypes: true });
      const files = found
        .filter((entry) => !entry.isDirectory())
        .map((entry) => join(entry.parentPath, entry.name));
      return files.map((file) => file.slice(path.length + 1)).sort();
    },
    read: (file: string) => readFile(join(path, file), 'utf8'),
  };
}
const all = [...checkpointFiles, ...fixedFiles].sort();
const isOurs = (file: string) => file.startsWith('.spark-failures');

t.test('loseCheckpoint moves the newest files of each part, and puts them back', async (t) => {
  const job = await checkpoint(t, ['move', '2', 'restore', 'offsets', 'state']);
  t.equal(await job.check(), 'inactive');
  t.same(await job.inject(), { code: 0, stdout: '', stderr: '' });
  t.equal(await job.check(), 'active');
  const lost = all.filter((file) => /^(offsets\/[.]?1[12]|state\/.*\/[.]?1[23][.])/.test(file));
  t.equal(lost.length, 2 * 2 + 2 * 3);
  const left = (await job.files()).filter((file) => !isOurs(file));
  t.same(
    left,
    all.filter((file) => !lost.includes(file)),
  );
  t.match(
    await job.runs('run-2.0').inject(),
    { code: 69, stderr: /lost files already.*run-1.0/ },
    'one run at a time',
  );
  t.same(await job.runs('run-2.0').undo(), { code: 0, stdout: '', stderr: '' });
  t.equal(await job.check(), 'active', "another run's undo leaves it alone");
  t.same(await job.undo(), { code: 0, stdout: '', stderr: '' });
  t.equal(await job.check(), 'inactive');
  t.same(await job.files(), all);
  t.same(
    await Promise.all(all.map(job.read)),
    all.map((file) => `${file}\n`),
  );
  t.same(await job.undo(), { code: 0, stdout: '', stderr: '' }, 'any number of times');
});

t.test('loseCheckpoint moves everything of a part, also what has no number', async (t) => {
  const parts = ['metadata', 'sources', 'offsets', 'commits', 'state'];
  const job = await checkpoint(t, ['move', 'all', 'restore', ...parts]);
  t.equal((await job.inject()).code, 0);
  t.same(
    (await job.files()).filter((file) => !isOurs(file)),
    ['offsets/.13.x.tmp'],
    'but what is being written',
  );
  t.equal(await job.check(), 'active');
  t.equal((await job.undo()).code, 0);
  t.same(await job.files(), all);
});

t.test(
  'loseCheckpoint truncates files and not their checksums, and puts back what was in them',
  async (t) => {
    const job = await checkpoint(t, ['truncate', '1', 'restore', 'commits', 'metadata']);
    t.equal((await job.inject()).code, 0);
    t.equal(await job.check(), 'active');
    const empty: string[] = [];
    for (const file of all) if ((await job.read(file)) === '') empty.push(file);
    t.same(empty, ['commits/12'], 'what has no number is none of the newest');
    t.equal((await job.undo()).code, 0);
    t.equal(await job.check(), 'inactive');
    t.same(await job.files(), all);
    t.same(
      await Promise.all(all.map(job.read)),
      all.map((file) => `${file}\n`),
    );
  },
);

t.test('loseCheckpoint lets files be gone for good where that is asked', async (t) => {
  const moved = await checkpoint(t, ['move', '1', 'leave', 'offsets']);
  t.equal((await moved.inject()).code, 0);
  t.equal((await moved.undo()).code, 0);
  t.equal(await moved.check(), 'inactive');
  t.same(
    await moved.files(),
    all.filter((file) => !/^offsets\/[.]?12/.test(file)),
  );
  const emptied = await checkpoint(t, ['truncate', '1', 'leave', 'offsets']);
  t.equal((await emptied.inject()).code, 0);
  t.equal((await emptied.undo()).code, 0);
  t.same(await emptied.files(), all);
  t.equal(await emptied.read('offsets/12'), '');
});

t.test('what a job has written anew is left to it, and nothing of its future is put back', async (t) => {
  for (const how of ['move', 'truncate']) {
    const job = await checkpoint(t, [how, '2', 'restore', 'offsets', 'commits']);
    t.equal((await job.inject()).code, 0);
    // As the job does it: never into a file that is there.
    await job.write('offsets/new', 'gone back\n');
    await run('mv', [join(job.path, 'offsets/new'), join(job.path, 'offsets/11')]);
    t.equal(await job.check(), 'active', `${how}: what was lost stays lost`);
    t.match(await job.undo(), { code: 0, stderr: /^1 of [48] lost files .* none is put back$/m });
    t.equal(await job.check(), 'inactive');
    t.equal(await job.read('offsets/11'), 'gone back\n');
    t.equal(await job.read('offsets/12').catch(() => ''), '', how);
    t.notOk((await job.files()).some(isOurs));
  }
});

t.test('what a job has purged meanwhile stays purged', async (t) => {
  const job = await checkpoint(t, ['truncate', '2', 'restore', 'offsets']);
  t.equal((await job.inject()).code, 0);
  await rm(join(job.path, 'offsets/11'));
  t.equal((await job.undo()).code, 0);
  t.same(
    await job.files(),
    all.filter((file) => file !== 'offsets/11'),
  );
  t.equal(await job.read('offsets/12'), 'offsets/12\n');
});

t.test('files that somebody puts back during the hold are no effect any more, and no harm', async (t) => {
  const job = await checkpoint(t, ['move', '1', 'restore', 'offsets']);
  t.equal((await job.inject()).code, 0);
  const kept = '.spark-failures/offsets/12';
  await run('mv', [join(job.path, kept), join(job.path, 'offsets/12')]);
  t.equal(await job.check(), 'unknown');
  t.equal((await job.undo()).code, 0);
  t.same(await job.files(), all);
  t.equal(await job.check(), 'inactive');
});

t.test('an inject that was cut off anywhere is undone', async (t) => {
  const lines = scripts.mechanism('files').inject.split('\n');
  const first = lines.findIndex((line) => line.startsWith('stat -c %m'));
  for (const how of ['move', 'truncate']) {
    let cut = 0;
    for (let last = first; last < lines.length; last += 1) {
      const job = await checkpoint(t, [how, '1', 'restore', 'offsets', 'state']);
      const half = `${lines.slice(0, last).join('\n')}\n`;
      // Only where what is left of it is a script.
      if (
        !(await run('sh', ['-n', '-c', half]).then(
          () => true,
          () => false,
        ))
      )
        continue;
      cut += 1;
      await mkdir(job.dir, { recursive: true });
      await run('sh', ['-c', half, 'sh', job.path, how, '1', 'restore', 'offsets', 'state'], {
        env: { ...process.env, SF_RUN_DIR: job.dir },
      });
      t.equal((await job.undo()).code, 0);
      t.equal(await job.check(), 'inactive', `before ${lines[last]}`);
      t.same(await job.files(), all);
    }
    t.ok(cut > 5, `${cut} cuts`);
  }
});

t.test('an undo that was cut off anywhere is finished by the next one', async (t) => {
  for (const [how, parts] of [
    ['move', ['offsets', 'commits']],
    ['truncate', ['offsets', 'commits']],
  ] as const) {
    const job = await checkpoint(t, [how, '1', 'restore', ...parts]);
    t.equal((await job.inject()).code, 0);
    // It goes on file by file, by renames.
    await run('mv', ['-f', join(job.path, '.spark-failures/commits/12'), join(job.path, 'commits/12')]);
    t.same(await job.undo(), { code: 0, stdout: '', stderr: '' }, how);
    t.same(await job.files(), all);
    for (const part of parts) t.equal(await job.read(`${part}/12`), `${part}/12\n`, `${how} ${part}`);
  }
});

t.test('who has lost the run has not lost the files', async (t) => {
  const job = await checkpoint(t, ['move', 'all', 'restore', 'offsets']);
  t.equal((await job.inject()).code, 0);
  await rm(job.dir, { recursive: true });
  t.equal((await job.undo()).code, 0);
  t.same(await job.files(), all);
});

t.test(
  'a checkpoint that is removed takes the fault with it; one that is not mounted does not',
  async (t) => {
    const job = await checkpoint(t, ['move', '1', 'restore', 'offsets']);
    t.equal((await job.inject()).code, 0);
    await rm(job.path, { recursive: true });
    await writeFile(join(job.dir, 'mount'), `${job.root}\n`);
    t.match(await job.undo(), { code: 1, stderr: /is not mounted/ });
    t.equal(await job.check(), '', 'no word is unknown');
    await writeFile(join(job.dir, 'mount'), '/\n');
    t.equal((await job.undo()).code, 0);
    t.equal(await job.check(), 'inactive');
  },
);

t.test('what is no checkpoint is refused, and nothing is touched', async (t) => {
  const args = ['move', 'all', 'restore', 'offsets'];
  for (const part of ['metadata', 'offsets', 'commits']) {
    const job = await checkpoint(t, args);
    await rm(join(job.path, part), { recursive: true });
    const before = await job.files();
    t.match(await job.inject(), { code: 69, stderr: new RegExp(`has no ${part}`) });
    t.same(await job.files(), before);
    t.equal((await job.undo()).code, 0);
    t.same(await job.files(), before);
  }
  const linked = await checkpoint(t, args);
  await run('mv', [linked.path, `${linked.path}-elsewhere`]);
  await symlink(`${linked.path}-elsewhere`, linked.path);
  t.match(await linked.inject(), { code: 69, stderr: /leads to .*elsewhere/ });
  const none = await checkpoint(t, args);
  await rm(none.path, { recursive: true });
  t.match(await none.inject(), { code: 69, stderr: /this node has no / });
  const empty = await checkpoint(t, ['truncate', 'all', 'restore', 'sources']);
  await truncate(join(empty.path, 'sources/0/0'));
  t.match(await empty.inject(), { code: 69, stderr: /has no such file of sources/ });
});

/**
 * Before a script: a clock that is only a file, and services that are files; that of a drift has the number of its first
 * process. Functions, so that nothing real is called.
 */
const pretended = `
bash() {
  read -r off <"$PRETENDED/off"
  command bash "$@" | { read -r now up && echo "$((\${now%.*}\${now#*.} / 1000 + off))000 $up" | sed 's/[0-9]\\{6\\} /.& /'; }
}
date() {
  [ "$1$2" = --utc--set ] || exit 99
  read -r off <"$PRETENDED/off"
  awk -v off="$off" -v change="\${3% seconds}" 'BEGIN { printf "%.0f\\n", off + 1000 * change }' >"$PRETENDED/off.new"
  mv "$PRETENDED/off.new" "$PRETENDED/off"
}
systemctl() {
  [ "$1" != --quiet ] || shift
  case $1 in
  list-units) for unit; do [ ! -e "$PRETENDED/$unit" ] || echo "$unit loaded active running"; done ;;
  stop)
    shift
    for unit; do
      while read -r first; do kill -s KILL -- "-$first"; done <"$PRETENDED/$unit"
      rm "$PRETENDED/$unit"
    done
    ;;
  start) shift; for unit; do : >"$PRETENDED/$unit"; done ;;
  *) exit 99 ;;
  esac
}
`;
/** Called by exec, which takes no function. What it begins keeps nobody waiting for its output. */
const systemdRun = `#!/bin/sh
while :; do
  case $1 in
  --unit=*) unit=\${1#--unit=}.service ;;
  --setenv=*) export "\${1#--setenv=}" ;;
  --*) ;;
  *) break ;;
  esac
  shift
done
setsid "$@" >/dev/null 2>"$PRETENDED/said" &
echo "$!" >"$PRETENDED/$unit"
`;

/** Not as a zombie either, as whoever nobody waits for may stay. */
const lives = async (pid: number | string) =>
  /\) [^ZX] /.test(await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => ''));

async function clock(t: Test, offsetMs: number, overMs?: number) {
  const dir = await mkdtemp(join(tmpdir(), 'sf-clock-'));
  const file = (name: string) => join(dir, name);
  await writeFile(file('off'), '0\n');
  await writeFile(file('chrony.service'), '');
  await Promise.all(['bin', 'run'].map((folder) => mkdir(file(folder))));
  await writeFile(file('bin/systemd-run'), systemdRun, { mode: 0o755 });
  const PATH = `${file('bin')}:${process.env.PATH}`;
  const env = { ...process.env, PATH, SF_RUN_DIR: file('run'), PRETENDED: dir };
  const args = [offsetMs, overMs].flatMap((ms) => (ms === undefined ? [] : [String(ms)]));
  const sh = async (script: string) => {
    const { stdout } = await run('sh', ['-c', pretended + script, 'sh', ...args], { env });
    return stdout.trim();
  };
  const { inject, undo, check } = scripts.mechanism('clock');
  // As arm.sh has written it: what the unit is begun with.
  await writeFile(file('run/inject.sh'), pretended + inject);
  /** The process that lets it drift, as it has saved itself; undefined when it does not live. */
  const drifter = async () => {
    const [pid = ''] = (await readFile(file('run/drift'), 'utf8').catch(() => '')).split(' ');
    return (await lives(pid)) ? Number(pid) : undefined;
  };
  /** With whatever it has just begun: as a unit. */
  const killDrifter = async () => {
    const unit = (await readdir(dir)).find((name) => name.startsWith('sf-drift-'));
    if (unit) process.kill(-Number(await readFile(file(unit), 'utf8')), 'SIGKILL');
  };
  t.teardown(async () => {
    await killDrifter().catch(() => undefined); // it may have ended by itself
    await rm(dir, { recursive: true, force: true });
  });
  return {
    ...{ file, drifter, killDrifter, inject: () => sh(inject), undo: () => sh(undo), check: () => sh(check) },
    off: async () => Number(await readFile(file('off'), 'utf8')),
    set: (ms: number) => writeFile(file('off'), `${ms}\n`),
    keepers: async () => (await readdir(dir)).filter((name) => /^[a-z]+[.]service$/.test(name)),
  };
}
/** The scripts read hundredths of a second, and need some time between two of their readings. */
const isAbout = (ms: number, expected: number) => Math.abs(ms - expected) < 150;

t.test('clockSkew steps a clock, stops what keeps it, and puts both back', async (t) => {
  for (const offsetMs of [30_000, -300_000]) {
    const machine = await clock(t, offsetMs);
    t.equal(await machine.check(), 'inactive');
    await machine.undo();
    t.equal(await machine.off(), 0, 'nothing saved, nothing undone');
    await machine.inject();
    t.ok(isAbout(await machine.off(), offsetMs), `${await machine.off()} ms`);
    t.same(await machine.keepers(), []);
    t.equal(await machine.check(), 'active');
    await machine.undo();
    t.ok(isAbout(await machine.off(), 0), `${await machine.off()} ms`);
    t.same(await machine.keepers(), ['chrony.service'], 'and none that did not run');
    t.equal(await machine.check(), 'inactive');
    const off = await machine.off();
    await machine.undo();
    t.equal(await machine.off(), off, 'any number of times');
  }
});

t.test(
  'a clock that somebody else has set right is left alone, and another wrong one is unknown',
  async (t) => {
    const machine = await clock(t, 30_000);
    await machine.inject();
    await machine.set(10_000);
    t.equal(await machine.check(), 'unknown');
    await machine.set(20);
    t.equal(await machine.check(), 'inactive', 'which ends the hold');
    await machine.undo();
    t.equal(await machine.off(), 20);
  },
);

t.test('after a reboot the clock is another one; what kept it is started all the same', async (t) => {
  const machine = await clock(t, 30_000);
  await machine.inject();
  const [base, , keepers] = (await readFile(machine.file('run/clock'), 'utf8')).split('\n');
  await writeFile(machine.file('run/clock'), `${base}\nan-earlier-boot\n${keepers}\n`);
  await machine.set(-5_000);
  t.equal(await machine.check(), 'inactive');
  await machine.undo();
  t.equal(await machine.off(), -5_000);
  t.same(await machine.keepers(), ['chrony.service']);
});

/** What a look or a reading gives, again and again, until it is as it should be: all of them, in order. */
async function readings<T>(
  what: string,
  read: () => Promise<T>,
  isLast: (value: T) => boolean,
): Promise<T[]> {
  const seen: T[] = [];
  for (const deadlineMs = Date.now() + 20_000; Date.now() < deadlineMs; ) {
    const value = await read();
    seen.push(value);
    if (isLast(value)) return seen;
    await setTimeout(20);
  }
  throw new Error(`not within 20 s: ${what}, but ${seen.join(', ')}`);
}
/** Until the clock is measurably off. */
const seenOff = ({ check }: Awaited<ReturnType<typeof clock>>) =>
  readings('active', check, (verdict) => verdict === 'active');

t.test('clockSkew lets a clock drift evenly to its offset, and then sets it back', async (t) => {
  for (const offsetMs of [30_000, -30_000]) {
    const machine = await clock(t, offsetMs, 4_000);
    await machine.undo();
    t.equal(await machine.off(), 0, 'nothing saved, nothing undone');
    await machine.inject();
    t.same(await machine.keepers(), [], 'what keeps it is stopped, from the first');
    const before = await seenOff(machine);
    t.notOk(before.includes('unknown'), before.join(', '));
    t.ok(await machine.drifter(), 'by a process that has saved itself');
    const looks = await readings(
      'at the offset',
      async () => ({
        verdict: await machine.check(),
        off: await machine.off(),
        pid: await machine.drifter(),
      }),
      ({ pid }) => pid === undefined,
    );
    t.same(new Set(looks.map(({ verdict }) => verdict)), new Set(['active']), 'all the way');
    const way = [...new Set(looks.map(({ off }) => off * Math.sign(offsetMs)))];
    t.ok(way.length > 3, `in small steps: ${way.join(', ')}`);
    t.ok(
      way.every((off, index) => off > (way[index - 1] ?? 0) - 150),
      'in one direction',
    );
    t.ok(isAbout(await machine.off(), offsetMs), `${await machine.off()} ms`);
    t.equal(await machine.check(), 'active', 'and stays there');
    await machine.undo();
    t.ok(isAbout(await machine.off(), 0), `${await machine.off()} ms`);
    t.same(await machine.keepers(), ['chrony.service']);
    t.equal(await machine.check(), 'inactive');
    const off = await machine.off();
    await machine.undo();
    t.equal(await machine.off(), off, 'any number of times');
  }
});

t.test('a drift that is undone on its way ends, and its process with it', async (t) => {
  for (const unit of ['there', 'unknown to systemd']) {
    const machine = await clock(t, 60_000, 20_000);
    await machine.inject();
    await seenOff(machine);
    const pid = await machine.drifter();
    t.ok(pid);
    const units = (await readdir(machine.file('.'))).filter((name) => name.startsWith('sf-drift-'));
    t.equal(units.length, 1);
    if (unit !== 'there') await rm(machine.file(units[0]!));
    await machine.undo();
    const off = await machine.off();
    t.ok(isAbout(off, 0), `${unit}: ${off} ms`);
    t.notOk(await lives(pid!));
    t.equal(await machine.check(), 'inactive');
    t.same(await machine.keepers(), ['chrony.service']);
  }
});

t.test('a drift whose process died is no effect any more, and is undone all the same', async (t) => {
  const machine = await clock(t, 60_000, 20_000);
  await machine.inject();
  await seenOff(machine);
  await machine.killDrifter();
  await readings('gone', machine.drifter, (pid) => pid === undefined);
  t.equal(await machine.check(), 'unknown');
  await machine.undo();
  t.ok(isAbout(await machine.off(), 0), `${await machine.off()} ms`);
  t.equal(await machine.check(), 'inactive');
});

t.test('a drift ends by itself when a heal has begun, and when nobody knows of it any more', async (t) => {
  for (const end of ['healing', 'lost']) {
    const machine = await clock(t, 60_000, 20_000);
    await machine.inject();
    await seenOff(machine);
    const pid = (await machine.drifter())!;
    if (end === 'healing') await writeFile(machine.file('run/tombstone'), '');
    else await rm(machine.file('run'), { recursive: true });
    await readings(
      `${end}: ended`,
      () => lives(pid),
      (there) => !there,
    );
    t.ok((await machine.off()) < 60_000, `on its way, at ${await machine.off()} ms`);
    t.equal(await readFile(machine.file('said'), 'utf8'), '');
  }
});

t.test('a process that only has the number in common is never ended', async (t) => {
  const stranger = spawn('sleep', ['60'], { stdio: 'ignore' });
  t.teardown(() => stranger.kill());
  const pid = stranger.pid!;
  const machine = await clock(t, 60_000, 20_000);
  await machine.inject();
  await seenOff(machine);
  await machine.killDrifter();
  await writeFile(machine.file('run/drift'), `${pid} 1\n`);
  await machine.undo();
  t.ok(isAbout(await machine.off(), 0), `${await machine.off()} ms`);
  t.ok(await lives(pid), 'another start');

  const rebooted = await clock(t, 60_000, 20_000);
  await rebooted.inject();
  await seenOff(rebooted);
  await rebooted.killDrifter();
  const [base, , keepers] = (await readFile(rebooted.file('run/clock'), 'utf8')).split('\n');
  await writeFile(rebooted.file('run/clock'), `${base}\nan-earlier-boot\n${keepers}\n`);
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8');
  const start = stat.replace(/^.*\) /, '').split(' ')[19]!;
  await writeFile(rebooted.file('run/drift'), `${pid} ${start}\n`);
  t.equal(await rebooted.drifter(), pid);
  await rebooted.set(-5_000);
  await rebooted.undo();
  t.ok(await lives(pid), 'another boot');
  t.equal(await rebooted.off(), -5_000);
  t.same(await rebooted.keepers(), ['chrony.service']);
});
