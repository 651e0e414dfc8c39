import { spawnSync } from 'node:child_process';
import { createHmac } from 'node:crypto';
import { chmod, mkdir, readdir, readFile, rename, symlink, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import t, { type Test } from 'tap';
import { checkGit, resultsActor } from '../controller/cli/git-source.ts';
import { systemClock } from '../controller/clock.ts';
import { startHttpServer } from '../controller/http-server.ts';
import { Bystander } from '../controller/lease/bystander.ts';
import type { Log } from '../controller/log.ts';
import { resourceKinds } from '../controller/resource-kinds.ts';
import { ActiveRuns } from '../controller/schedule/active-runs.ts';
import type { ScheduledRun } from '../controller/schedule/run-schedule.ts';
import { ScheduleReconciler } from '../controller/schedule/schedule-reconciler.ts';
import { followGit } from '../controller/source/git/follow-git.ts';
import { type GitAccess, openGit } from '../controller/source/git/git-command.ts';
import { GIT_HOOK_PATH, gitHook } from '../controller/source/git/git-hook.ts';
import { type Commit, GitRepository } from '../controller/source/git/git-repository.ts';
import { Nudge } from '../controller/source/git/nudge.ts';
import { pushResults } from '../controller/source/git/push-results.ts';
import { manifestLoader } from '../controller/source/load-manifest.ts';
import { settledReader } from '../controller/source/read-settled.ts';
import {
  type KnownResource,
  ResourceStore,
  type StoredResource,
} from '../controller/source/resource-store.ts';
import { openStatusStores } from '../controller/status/status-stores.ts';
import { formatProblem } from '../crds/problem.ts';
import { generateKeyPair, type KeyPair } from '../provisioners/shared/keys.ts';
import { packageRoot } from './support/examples.ts';
import { FakeClock } from './support/fake-clock.ts';
import { FakeSshd } from './support/fake-sshd.ts';
import { GitRemote, installHook, selfSigned, serveGit } from './support/git-remote.ts';
import { findSshd, freePort, type RunningSshd, startSshd } from './support/openssh.ts';
import { crash, MemoryStatuses, makeSchedule, ScheduleLab } from './support/schedule-lab.ts';
import { exampleFaults, startMs, syntheticCampaign } from './support/synthetic-campaign.ts';

const never = new AbortController().signal;
const environment = { PATH: process.env.PATH ?? '' };
const clusterKey = 'ClusterSpec/a';
const scheduleKey = 'FaultSchedule/crash';

function cluster(nodes = 1, extra = ''): string {
  const list = Array.from({ length: nodes }, (_, i) => `{ name: node${i + 1}, role: manager }`).join(', ');
  return `apiVersion: spark-failures.io/v1alpha1
kind: ClusterSpec
metadata: { name: a }
spec: { provisioner: { lab: {} }, nodes: [${list}]${extra && `, ${extra}`} }
`;
}

const schedule = `apiVersion: spark-failures.io/v1alpha1
kind: FaultSchedule
metadata: { name: crash }
spec:
  clusterRef: { name: a }
  when: { now: {} }
  faults: [{ name: f, target: { services: { matchNames: [a] } }, killContainer: {} }]
`;

interface FollowExtras {
  readonly access?: Partial<GitAccess>;
  readonly verify?: readonly string[];
  readonly path?: string;
  readonly known?: ReadonlyMap<string, KnownResource>;
}

/** A process that follows a repository, with all that it told; it looks again only when it is nudged. */
async function follow(t: Test, remote: GitRemote, extras: FollowExtras = {}) {
  const { access, verify = [], path = 'manifests', known = new Map() } = extras;
  const stateDir = join(remote.folder, 'state');
  const whole = { url: remote.url, environment, ...access };
  const repository = await GitRepository.open({ stateDir, access: whole, ref: 'main', verify });
  const commits: (Commit & { isRewritten: boolean })[] = [];
  const problems: string[][] = [];
  const store = new ResourceStore({ known, onChanged: () => {}, newUid: () => 'uid', confirmMs: 1_000 });
  const nudge = new Nudge();
  const stop = new AbortController();
  const done = followGit(
    {
      ...{ repository, name: whole.url, path, recursive: false, intervalMs: 3_600_000, nudge, store },
      ...{ clock: systemClock, composeDir: resolve('compose'), random: () => 0.5 },
      load: manifestLoader(
        resourceKinds,
        settledReader(0, systemClock),
        resolve('compose/streaming/hdfs.yaml'),
      ),
      onProblems: (all) => problems.push(all.map(formatProblem)),
      onCommit: (commit, isRewritten) => commits.push({ ...commit, isRewritten }),
    },
    stop.signal,
  ).catch(() => undefined);
  const end = async () => {
    stop.abort();
    await done;
  };
  t.teardown(end);
  const until = async (what: string, look: () => boolean) => {
    nudge.give();
    const endMs = Date.now() + 30_000;
    while (!look()) {
      if (Date.now() > endMs) throw new Error(`${what}: not within 30 s`);
      await sleep(20);
    }
  };
  const trouble = (key = clusterKey) => store.get(key)?.source?.trouble?.reason;
  return { store, commits, problems, nudge, until, trouble, end, repository, stateDir };
}

async function place(t: Test): Promise<GitRemote> {
  const remote = await GitRemote.create(join(t.testdir({}), 'git'));
  t.teardown(() => remote.close());
  return remote;
}

t.test('a commit is taken as a whole, under the names that the repository has', async (t) => {
  const remote = await place(t);
  const stack = cluster(1, 'stacks: [{ name: s, compose: ../compose/stack.yaml }]');
  const compose = 'services: { a: { image: x } }\n';
  const files = { 'manifests/a.yaml': stack, 'compose/stack.yaml': compose, 'README.md': 'x' };
  const first = await remote.push({ ...files, 'manifests/crash.yaml': schedule }, 'two\n\nand a body');
  const { store, until, problems, end } = await follow(t, remote);
  await until('both', () => store.list().length === 2);
  const commit = { revision: `main@sha1:${first}`, message: 'two', author: 'Ada' };
  t.match(store.get(clusterKey), { generation: 1, file: 'manifests/a.yaml', problems: [] });
  t.same(store.get(scheduleKey)?.source, { commit, attempted: commit.revision });

  const second = await remote.push({ 'compose/stack.yaml': compose.replace('x', 'y') }, 'newer image');
  await until('the edit', () => store.get(clusterKey)?.generation === 2);
  t.equal(store.get(scheduleKey)?.generation, 1);

  const third = await remote.push({ 'manifests/a.yaml': stack.replace('manager', 'boss') }, 'a typo');
  await until('the typo', () => store.get(clusterKey)?.problems.length === 1);
  t.match(problems.at(-1), [/^manifests\/a\.yaml:4:\d+: spec\.nodes\[0\]\.role: /]);
  const { source, generation } = store.get(clusterKey)!;
  t.match(
    [generation, source?.commit?.revision, source?.attempted],
    [2, `main@sha1:${second}`, `main@sha1:${third}`],
  );
  for (const name of ['x', 'y', 'z']) {
    const sha = await remote.push({ [`${name}.txt`]: name }, name);
    await until(name, () => store.get(clusterKey)?.source?.attempted === `main@sha1:${sha}`);
  }
  const inForce = store.get(clusterKey)!.resource;
  const file = inForce?.kind === 'ClusterSpec' ? inForce.spec.stacks[0]!.compose : '';
  t.match(await readFile(file, 'utf8'), /image: y/, 'what a bad text left in force can still be read');
  await end();
});

t.test('what a commit lacks is gone at once, but no commit empties everything by an accident', async (t) => {
  const remote = await place(t);
  await remote.push({ 'manifests/a.yaml': cluster(), 'manifests/crash.yaml': schedule }, 'both');
  const { store, until, problems, trouble } = await follow(t, remote);
  await until('both', () => store.list().length === 2);
  await remote.push({ 'manifests/crash.yaml': undefined }, 'no more');
  await until('gone', () => store.get(scheduleKey)?.deleting === true);
  await remote.push({ 'manifests/a.yaml': undefined, 'manifests/x.txt': '' }, 'nothing');
  await until('refused', () => trouble() === 'CommitRefused');
  t.match(problems.at(-1), [/remote\.git: main@sha1:\w+ has no manifest in manifests: all stays as it was$/]);
  await remote.push({ 'manifests/x.txt': undefined, 'other/a.yaml': cluster() }, 'moved');
  await until('refused', () => /no folder manifests/.test(String(problems.at(-1))));
  t.equal(store.get(clusterKey)?.deleting, false);
  await remote.push({ 'manifests/a.yaml': cluster(2) }, 'back');
  await until('taken', () => store.get(clusterKey)?.generation === 2);
  t.equal(trouble(), undefined);
});

t.test(
  'a commit that adds a schedule runs it with its revision, one that removes it aborts it',
  async (t) => {
    const remote = await place(t);
    await remote.push({ 'manifests/a.yaml': cluster() }, 'a cluster');
    const { store, until, stateDir } = await follow(t, remote);
    const { schedules } = openStatusStores(stateDir);
    const started: ScheduledRun[] = [];
    const aborted: unknown[] = [];
    const runs = new ActiveRuns(() => {});
    const reconciler = new ScheduleReconciler({
      ...{ status: schedules, runs, clock: systemClock, drawSeed: () => 7, runsOf: async () => [] },
      metrics: { scheduleFaults: () => {}, threshold: () => {} },
      acting: new Bystander(() => 0),
      isClusterReady: async () => true,
      isClusterKnown: () => true,
      runSchedule: (run, signal) => {
        started.push(run);
        return new Promise((resolve) =>
          signal.addEventListener('abort', () => {
            aborted.push(signal.reason);
            resolve();
          }),
        );
      },
    });
    const pass = () => reconciler.reconcile(store.get(scheduleKey)!, never);
    const sha = await remote.push({ 'manifests/crash.yaml': schedule }, 'break it');
    await until('it is seen', () => store.get(scheduleKey) !== undefined);
    await pass();
    const revision = `main@sha1:${sha}`;
    const source = { revision, message: 'break it', author: 'Ada' };
    t.match(started, [{ name: 'crash', status: { source } }]);
    const { status } = await schedules.read('crash');
    t.same(status?.source, { ...source, lastAttemptedRevision: revision, lastAppliedRevision: revision });
    t.match(
      status?.conditions.find(({ type }) => type === 'SourceReady'),
      { status: 'True', reason: 'Fetched' },
    );
    await remote.push({ 'manifests/crash.yaml': undefined }, 'enough');
    await until('it is gone', () => store.get(scheduleKey)?.deleting === true);
    await pass();
    t.match(aborted, [/the schedule was removed/]);
  },
);

t.test(
  'the last good commit stays in force while the repository is away, also after a restart',
  async (t) => {
    const remote = await place(t);
    await remote.push({ 'manifests/a.yaml': cluster() }, 'one');
    const first = await follow(t, remote);
    await first.until('it is seen', () => first.store.get(clusterKey)?.generation === 1);
    await rename(remote.bare, `${remote.bare}.away`);
    await first.until('it is told', () => first.trouble() === 'FetchFailed');
    t.match(first.store.get(clusterKey), {
      deleting: false,
      problems: [],
      source: { commit: { message: 'one' } },
    });
    await first.end();
    const next = await follow(t, remote);
    await next.until('it is in force', () => next.trouble() === 'FetchFailed');
    t.match(next.store.get(clusterKey), { generation: 1, source: { commit: { message: 'one' } } });
    await rename(`${remote.bare}.away`, remote.bare);
    await remote.push({ 'manifests/a.yaml': cluster(2) }, 'two');
    await next.until('it goes on', () => next.store.get(clusterKey)?.generation === 2);
    t.equal(next.trouble(), undefined);
    await remote.git('push', '--quiet', remote.bare, 'HEAD:refs/heads/other');
    await remote.git(`--git-dir=${remote.bare}`, 'update-ref', '-d', 'refs/heads/main');
    await next.until('the branch is gone', () => next.trouble() === 'RefNotFound');
    t.equal(next.store.get(clusterKey)?.deleting, false);
  },
);

t.test('a rewritten history is followed, and said to be one', async (t) => {
  const remote = await place(t);
  const first = await remote.push({ 'manifests/a.yaml': cluster() }, 'one');
  const { store, until, commits } = await follow(t, remote);
  await until('it is seen', () => commits.length === 1);
  await remote.git('commit', '--quiet', '--allow-empty', '-m', 'one that nobody sees by itself');
  await remote.push({ 'manifests/a.yaml': cluster(2) }, 'two');
  await until('an edit', () => commits.length === 2);
  await remote.git('reset', '--quiet', '--hard', first);
  await remote.push({ 'manifests/a.yaml': cluster(3) }, 'instead');
  await until('the other one', () => store.get(clusterKey)?.generation === 3);
  t.same(
    commits.map(({ isRewritten }) => isRewritten),
    [false, false, true],
  );
});

t.test('what git had locked when the power went is not locked for ever', async (t) => {
  const remote = await place(t);
  await remote.push({ 'manifests/a.yaml': cluster() }, 'one');
  const before = await follow(t, remote);
  await before.until('one', () => before.store.get(clusterKey)?.generation === 1);
  await before.end();
  const [folder = ''] = await readdir(join(before.stateDir, 'git'));
  const repository = join(before.stateDir, 'git', folder, 'repository');
  const refs = ['fetched', 'current'].map((name) => `refs/spark-failures/${name}`);
  const locked = ['config', 'shallow', 'packed-refs', 'objects/maintenance', ...refs];
  for (const name of [...locked, '../index']) await writeFile(join(repository, `${name}.lock`), '');
  await remote.push({ 'manifests/a.yaml': cluster(2) }, 'two');
  const { until, commits, problems, end } = await follow(t, remote);
  await until('two', () => problems.flat().length > 0 || commits.some(({ message }) => message === 'two'));
  t.same(problems.flat(), []);
  await end();
  const left = await readdir(repository, { recursive: true });
  t.notOk(left.includes('objects/maintenance.lock'), 'nor is upkeep put off for ever');
});

t.test('git is asked no more often than a commit needs', async (t) => {
  const remote = await place(t);
  const [bin, log] = [join(remote.folder, 'bin'), join(remote.folder, 'asked')];
  await mkdir(bin);
  const tell = `#!/bin/sh\necho "$1" >> ${log}\nPATH=$\{PATH#*:} exec git "$@"\n`;
  await writeFile(join(bin, 'git'), tell, { mode: 0o755 });
  const access = { url: remote.url, environment: { PATH: `${bin}:${environment.PATH}` } };
  const stateDir = join(remote.folder, 'state');
  const repository = await GitRepository.open({ stateDir, access, ref: 'main', verify: [] });
  for (const message of ['one', 'two']) {
    await remote.push({ 'manifests/a.yaml': message }, message);
    await writeFile(log, '');
    await repository.head(never);
    const { commit } = await repository.take(never);
    await repository.keep(commit, () => false, never);
    t.equal(commit.message, message);
  }
  const [asked, after] = [
    ['ls-remote', 'fetch', 'log', 'ls-tree', 'read-tree'],
    ['update-ref', 'maintenance'],
  ];
  t.same((await readFile(log, 'utf8')).trim().split('\n'), [...asked, ...after]);
});

t.test('with keys, only commits that one of them signed are taken, and none twice', async (t) => {
  const remote = await place(t);
  const [ours, theirs, pgp] = [
    await remote.sshSigner('ours'),
    await remote.sshSigner('theirs'),
    await remote.pgpSigner(),
  ];
  const one = await remote.push({ 'manifests/a.yaml': cluster() }, 'one', ...ours.flags);
  const verify = [ours.publicKey, pgp.publicKey];
  const { store, until, trouble, stateDir, end } = await follow(t, remote, { verify });
  await until('a signed one', () => store.get(clusterKey)?.generation === 1);
  const generation = (wanted: number) => () => store.get(clusterKey)?.generation === wanted;
  const bad = [
    ['unsigned', []],
    ['signed by somebody else', theirs.flags],
  ] as const;
  for (const [what, flags] of bad) {
    const sha = await remote.push({ 'manifests/a.yaml': cluster(2) }, what, ...flags);
    await until(what, () => store.get(clusterKey)?.source?.attempted === `main@sha1:${sha}`);
    t.equal(trouble(), 'CommitNotVerified', what);
    t.ok(generation(1)(), 'what was in force stays');
  }
  await remote.push({ 'manifests/a.yaml': cluster(3) }, 'by PGP', ...pgp.flags);
  await until('the next good one', generation(2));
  t.equal(trouble(), undefined);
  await remote.git('push', '--quiet', '--force', remote.bare, `${one}:main`);
  await until('an old one again', () => trouble() === 'HistoryRewritten');
  t.ok(generation(2)());
  await end();
  t.equal((await readdir(join(stateDir, 'git'))).length, 1);
  // A key that is not given any more counts for nothing: not even for what was in force.
  const strict = await follow(t, remote, { verify: [ours.publicKey] });
  await strict.until('the replay is refused, too', () => /does not follow/.test(String(strict.problems)));
  t.match(strict.problems[0], [/bears no good signature of a given key/]);
});

t.test('a commit shows no file of this machine', async (t) => {
  const remote = await place(t);
  await remote.push({ 'manifests/a.yaml': cluster(), 'x/y.yaml': cluster(2) }, 'fine');
  const { store, until, trouble, problems } = await follow(t, remote);
  await until('it is seen', () => store.get(clusterKey)?.generation === 1);
  await symlink('/etc/hostname', join(remote.work, 'manifests/b.yaml'));
  await remote.push({}, 'a way out');
  await until('refused', () => trouble() === 'CommitRefused');
  t.match(problems.at(-1), [
    /manifests\/b\.yaml of main@sha1:\w+ is a link that leads out of the repository/,
  ]);
  const secret = join(remote.folder, 'secret.yaml');
  await writeFile(secret, 'services: { a: { image: x } }\n');
  const outside = cluster(3, `stacks: [{ name: s, compose: ${secret} }]`);
  await remote.push({ 'manifests/b.yaml': undefined, 'manifests/a.yaml': outside }, 'another way out');
  await until('refused', () => store.get(clusterKey)?.problems.length === 1);
  t.match(problems.at(-1), [/manifests\/a\.yaml:.*secret\.yaml lies outside of the repository/]);
  await symlink('../x/y.yaml', join(remote.work, 'manifests/c.yaml'));
  await remote.push({ 'manifests/a.yaml': undefined }, 'a link within');
  await until('taken', () => store.get(clusterKey)?.generation === 2);
});

t.test('neither hooks nor settings of the operator, nor filters of a commit, are run', async (t) => {
  const remote = await place(t);
  const mark = join(remote.folder, 'mark');
  const attributes = '*.yaml filter=evil\n';
  await remote.push({ 'manifests/a.yaml': cluster(), '.gitattributes': attributes }, 'with a filter');
  const settings = `[filter "evil"]\n\tsmudge = touch ${mark}; cat\n[core]\n\thooksPath = ${remote.folder}\n`;
  await writeFile(join(remote.folder, '.gitconfig'), settings);
  await installHook(remote.folder, '../post-checkout', `touch ${mark}`).catch(() => undefined);
  const access = { environment: { ...environment, HOME: remote.folder } };
  const { store, until } = await follow(t, remote, { access });
  await until('it is seen', () => store.get(clusterKey)?.generation === 1);
  t.notOk((await readdir(remote.folder)).includes('mark'));
});

t.test('over http a token opens the door, and stands nowhere', async (t) => {
  const remote = await place(t);
  await remote.push({ 'manifests/a.yaml': cluster() }, 'one');
  const token = 'token-that-nobody-may-read';
  const served = await serveGit(remote.folder, token);
  t.teardown(served.close);
  const tokenFile = join(remote.folder, 'token');
  await writeFile(tokenFile, 'wrong\n');
  const access = { url: `${served.url}/remote.git`, tokenFile };
  const { until, store, problems, stateDir, nudge, end } = await follow(t, remote, { access });
  await until('not let in', () => problems.length > 0);
  t.match(problems[0], [/Authentication failed/]);
  await writeFile(tokenFile, `${token}\n`);
  nudge.give();
  await until('let in', () => store.get(clusterKey)?.generation === 1);
  await end();
  const saved = await readdir(join(stateDir, 'git'), { recursive: true, withFileTypes: true });
  // The upkeep that was cut short may take its lock with it.
  for (const entry of saved.filter((each) => each.isFile() && !each.name.endsWith('.lock')))
    t.notOk((await readFile(join(entry.parentPath, entry.name))).includes(token), entry.name);
});

const noOpenssl = { skip: spawnSync('openssl', ['version']).status !== 0 && 'no openssl here' };
t.test(
  'over https a server is believed whose certificate is, and no other is told the token',
  noOpenssl,
  async (t) => {
    const remote = await place(t);
    await remote.push({ 'manifests/a.yaml': cluster() }, 'one');
    const [ours, theirs] = [
      await selfSigned(remote.folder, 'ours'),
      await selfSigned(remote.folder, 'theirs'),
    ];
    const tokenFile = join(remote.folder, 'token');
    await writeFile(tokenFile, 'sesame\n');
    const served = await serveGit(remote.folder, 'sesame', ours);
    t.teardown(served.close);
    const url = `${served.url}/remote.git`;
    const blind = await follow(t, remote, { access: { url, tokenFile } });
    await blind.until('unknown', () => blind.problems.length > 0);
    t.match(blind.problems[0], [/certificate/]);
    t.same(served.asked, []);
    await blind.end();

    const access = { url, tokenFile, environment: { ...environment, SSL_CERT_FILE: ours.file } };
    const { store, until, trouble } = await follow(t, remote, { access });
    await until('believed', () => store.get(clusterKey)?.generation === 1);
    await served.close();
    const other = await serveGit(remote.folder, 'sesame', theirs, served.port);
    t.teardown(other.close);
    await until('somebody else', () => trouble() === 'AuthenticationFailed');
    t.same(other.asked, []);
    t.match(store.get(clusterKey), { generation: 1, deleting: false, problems: [] });
  },
);

const openssh = await findSshd(AbortSignal.timeout(300_000));
const startFake = async (_folder: string, clientKey: KeyPair, port: number): Promise<RunningSshd> => {
  const sshd = new FakeSshd({ clientKey });
  sshd.port = port;
  return Object.assign(await sshd.listen(), { user: 'operator' });
};
const sshds = {
  'an sshd of ours': { start: startFake },
  "OpenSSH's sshd":
    'missing' in openssh
      ? { skip: openssh.missing, start: startFake }
      : { start: (...how: Parameters<typeof startFake>) => startSshd(openssh, ...how) },
};
for (const [what, { start, ...skip }] of Object.entries(sshds))
  t.test(`over ssh a key opens the door of a host that is known: ${what}`, skip, async (t) => {
    const remote = await place(t);
    await remote.push({ 'manifests/a.yaml': cluster() }, 'one');
    const [clientKey, otherKey] = [generateKeyPair('client'), generateKeyPair('other')];
    const folder = join(remote.folder, 'sshd');
    const port = await freePort();
    const begin = async () => {
      const sshd = await start(folder, clientKey, port);
      t.teardown(() => sshd.close());
      return sshd;
    };
    const sshd = await begin();
    const [sshKeyFile, knownHostsFile] = [join(remote.folder, 'key'), join(remote.folder, 'known hosts')];
    await writeFile(sshKeyFile, otherKey.privateKey, { mode: 0o600 });
    await writeFile(knownHostsFile, '');
    const known = ({ hostKey }: RunningSshd) =>
      writeFile(knownHostsFile, `[127.0.0.1]:${port} ${hostKey.publicKey}\n`);
    const url = `ssh://${sshd.user}@127.0.0.1:${port}${remote.bare}`;
    const access = { url, sshKeyFile, knownHostsFile };
    const { until, store, problems, trouble } = await follow(t, remote, { access });
    const told = (pattern: RegExp) => () => pattern.test(String(problems.at(-1)));
    await until('the host is not believed', told(/Host key verification failed/));
    await known(sshd);
    await until('the key is not', told(/Permission denied/));
    await writeFile(sshKeyFile, clientKey.privateKey, { mode: 0o600 });
    await until('both are', () => store.get(clusterKey)?.generation === 1);

    await sshd.close();
    await remote.push({ 'manifests/a.yaml': cluster(2) }, 'two');
    await until('nobody is there', () => trouble() === 'FetchFailed');
    const another = await begin();
    await until('another one is', () => trouble() === 'AuthenticationFailed');
    t.ok(told(/Host key verification failed/)());
    t.match(
      store.get(clusterKey),
      { generation: 1, deleting: false, problems: [] },
      'the last good state stays',
    );
    await known(another);
    await until('it is believed, too', () => store.get(clusterKey)?.generation === 2);
    t.equal(trouble(), undefined);

    const results = join(remote.folder, 'results');
    const git = await openGit(results, { ...access, environment });
    const files = new Map([['results/report.md', 'all is well']]);
    const pushing = { git, url, branch: 'results', folder: results, files, message: 'results' };
    t.equal(await pushResults(pushing, never), true);
    t.equal(await remote.git(`--git-dir=${remote.bare}`, 'show', 'results:results/report.md'), 'all is well');
  });

t.test('results are pushed on top of what others push, once', async (t) => {
  const remote = await place(t);
  await remote.push({ 'manifests/a.yaml': cluster() }, 'one');
  const folder = join(remote.folder, 'results');
  const git = await openGit(folder, { url: remote.url, environment });
  const results = (text: string) => ({
    ...{ git, url: remote.url, branch: 'results', folder, message: 'results of crash' },
    files: new Map([['results/crash/report.md', text]]),
  });
  t.equal(await pushResults(results('first'), never), true);
  t.equal(await pushResults(results('first'), never), false, 'nothing new, nothing pushed');
  // Somebody is always a little faster, once.
  await remote.push({ 'other.txt': 'x' }, 'theirs');
  await installHook(
    remote.bare,
    'pre-receive',
    `test -e raced && exit 0; touch raced
unset GIT_QUARANTINE_PATH GIT_OBJECT_DIRECTORY GIT_ALTERNATE_OBJECT_DIRECTORIES
tree=$(git rev-parse main^{tree}); commit=$(git -c user.name=x -c user.email=x commit-tree $tree -p results -m race)
git update-ref refs/heads/results $commit`,
  );
  t.equal(await pushResults(results('second'), never), true);
  const show = (what: string) => remote.git(`--git-dir=${remote.bare}`, 'show', what);
  t.equal(await show('results:results/crash/report.md'), 'second');
  t.equal(await show('results:other.txt'), 'x', 'what others pushed is there');
  t.equal(await remote.git(`--git-dir=${remote.bare}`, 'rev-list', '--count', 'results'), '3');
});

/** Schedules of which each has ended with one trial or runs still, and the actor that pushes their results. */
function endingSchedules(t: Test, remote: GitRemote) {
  const { schedule: like, cluster, status } = syntheticCampaign('any', exampleFaults.slice(3));
  const resources = new Map<string, object>([['ClusterSpec/six-nodes', { resource: cluster }]]);
  const statuses = new MemoryStatuses();
  const clock = new FakeClock();
  const lines: object[] = [];
  const log = (fields: object, message: string) => void lines.push({ ...fields, message });
  const know = (name: string) =>
    resources.set(`FaultSchedule/${name}`, { resource: { ...like, metadata: { name } }, specHash: 'newer' });
  const run = (name: string, key: string, endMs?: number, specHash = 'newer') => {
    know(name);
    const finishedAt = new Date(startMs + (endMs ?? 0)).toISOString();
    const source = { revision: `main@sha1:${key}`, message: '', author: '' };
    const condition = { type: 'Complete', status: endMs === undefined ? 'False' : 'True' } as const;
    const told = { reason: 'Any', message: '', observedGeneration: 1, lastTransitionTime: finishedAt };
    statuses.all.set(name, {
      ...{ ...status, specHash, runKey: `uid-1/1/${key}`, conditions: [{ ...condition, ...told }] },
      trials: [{ ...status.trials[0]!, finishedAt, source }],
      source: { ...source, revision: 'main@sha1:newer' },
    });
  };
  const start = () => {
    const stop = new AbortController();
    const actor = resultsActor({
      ...{ access: { url: remote.url, environment }, branch: 'results', schedules: statuses, clock },
      context: { version: '0', packageRoot, stateDir: join(remote.folder, 'state') },
      store: { get: (key) => resources.get(key) as StoredResource | undefined },
      log: { info: log, warn: log } as unknown as Log,
    });
    const done = actor.execute(stop.signal).catch((reason: unknown) => reason);
    const end = () => {
      stop.abort(new Error('asked to end'));
      return done;
    };
    t.teardown(end);
    return end;
  };
  const rest = async () => {
    while (clock.sleeping === 0) await sleep(5);
  };
  /** Lets time pass, and what is done then come to its end. */
  const pass = async (ms: number) => {
    await rest();
    await clock.advance(ms);
    await rest();
  };
  const commits = async () => {
    const all = await remote.git(`--git-dir=${remote.bare}`, 'log', '--reverse', '--format=%s', 'results');
    return all.split('\n');
  };
  return { run, start, pass, commits, lines, statuses, resources, know };
}

t.test('results are pushed once for each schedule that ends, in the order of their ends', async (t) => {
  const remote = await place(t);
  const { run, start, pass, commits, lines } = endingSchedules(t, remote);
  run('a', '1');
  run('b', '1', 20_000);
  const end = start();
  await pass(2_000);
  t.same(
    await commits(),
    ['results of b (main@sha1:1)'],
    'what runs still has no results; the commit that was run is named',
  );
  const show = (what: string) => remote.git(`--git-dir=${remote.bare}`, 'show', `results:results/${what}`);
  t.match(JSON.parse(await show('b/report.json')), {
    campaigns: [{ schedule: { metadata: { name: 'b' } } }],
  });
  t.match(await show('b/report.md'), /six-nodes/);
  run('a', '1', 60_000);
  run('b', '2', 50_000);
  run('c', '1', 40_000, 'older');
  await pass(2_000);
  const all = ['b (main@sha1:1)', 'c (main@sha1:1)', 'b (main@sha1:2)', 'a (main@sha1:1)'];
  t.same(
    await commits(),
    all.map((one) => `results of ${one}`),
  );
  t.match(await show('c/report.md'), /has been edited since/, 'what was edited after its end');
  t.notMatch(await show('a/report.md'), /has been edited since/);
  await rename(remote.bare, `${remote.bare}.away`);
  await pass(20_000);
  await end();
  t.equal(lines.length, 4, 'nobody is asked when there is nothing new');
  await rename(`${remote.bare}.away`, remote.bare);
  start();
  await pass(2_000);
  t.equal((await commits()).length, 4, 'the next process finds that all is there');
});

t.test('what stands in the way of results is told, and they are pushed when it is gone', async (t) => {
  const remote = await place(t);
  const { run, start, pass, commits, lines, statuses, resources, know } = endingSchedules(t, remote);
  await rename(remote.bare, `${remote.bare}.away`);
  run('b', '1', 10_000);
  run('a', '1', 20_000);
  run('c', '1', 30_000);
  resources.delete('FaultSchedule/c');
  const end = start();
  await pass(0);
  const notPushed = (schedule?: string) => ({ message: 'results not pushed', ...(schedule && { schedule }) });
  t.match(lines, [notPushed('b'), notPushed('a')], 'one that fails does not keep others from their turn');
  await pass(2_000);
  t.equal(lines.length, 2, 'not so soon again');
  await rename(`${remote.bare}.away`, remote.bare);
  await pass(28_000);
  const first = ['results of b (main@sha1:1)', 'results of a (main@sha1:1)'];
  t.same(await commits(), first);
  const { list } = statuses;
  statuses.list = () => Promise.reject(new Error('too many open files'));
  await pass(2_000);
  t.match(lines.at(-1), { ...notPushed(), err: { message: 'too many open files' } });
  statuses.list = list;
  know('c');
  await pass(30_000);
  t.same(
    await commits(),
    [...first, 'results of c (main@sha1:1)'],
    'nor is one forgotten that was not known yet',
  );
  t.match(await end(), { message: 'asked to end' });
});

t.test(
  'a branch of results that begins after the commit in force does not make history look rewritten',
  async (t) => {
    const remote = await place(t);
    await remote.push({ 'manifests/a.yaml': cluster() }, 'one');
    const { commits, until, store } = await follow(t, remote);
    await until('it is seen', () => commits.length === 1);
    await remote.push({ 'manifests/a.yaml': cluster(2) }, 'two');
    await remote.git('push', '--quiet', remote.bare, 'HEAD:refs/heads/results');
    const { run, start, pass } = endingSchedules(t, remote);
    run('b', '1', 10_000);
    start();
    await pass(0);
    await remote.push({ 'manifests/a.yaml': cluster(3) }, 'three');
    await until('the next', () => store.get(clusterKey)?.generation === 2);
    t.same(
      commits.map(({ isRewritten }) => isRewritten),
      [false, false],
    );
  },
);

t.test('a webhook hastens the next look, for those who know its secret', async (t) => {
  let hints = 0;
  let nowMs = 0;
  const hook = gitHook(
    'hush',
    () => hints++,
    () => nowMs,
  );
  const server = await startHttpServer({
    ...{ host: '127.0.0.1', port: 0, healthz: [], readyz: [], failed: () => {} },
    metrics: async () => ({ contentType: '', text: '' }),
    posts: new Map([
      [GIT_HOOK_PATH, hook],
      [
        '/hooks/none',
        gitHook(
          undefined,
          () => hints++,
          () => nowMs,
        ),
      ],
    ]),
  });
  t.teardown(() => server.close());
  const body = '{"ref":"refs/heads/main"}';
  const sign = (secret: string) => `sha256=${createHmac('sha256', secret).update(body).digest('hex')}`;
  const post = async (headers: Record<string, string>, path = GIT_HOOK_PATH, text = body) =>
    (await fetch(`http://127.0.0.1:${server.port}${path}`, { method: 'POST', headers, body: text })).status;
  for (const headers of [
    { 'x-hub-signature-256': sign('hush') },
    { 'x-signature': sign('hush') },
    { 'x-gitlab-token': 'hush' },
  ] as Record<string, string>[])
    t.equal(await post(headers), 202, JSON.stringify(Object.keys(headers)));
  t.equal(hints, 3);
  for (const headers of [
    {},
    { 'x-hub-signature-256': sign('shout') },
    { 'x-hub-signature-256': 'sha256=' },
    { 'x-signature': sign('hush').toUpperCase() },
    { 'x-gitlab-token': 'hus' },
  ] as Record<string, string>[])
    t.equal(await post(headers), 401, JSON.stringify(headers));
  t.equal(await post({ 'x-signature': sign('hush') }, '/hooks/none'), 404, 'no secret, no hook');
  t.equal(await post({ 'x-signature': sign('hush') }, GIT_HOOK_PATH, 'x'.repeat((1 << 20) + 1)), 413);
  t.equal(hints, 3);
  const statuses = [await post({}), await post({})];
  t.same(statuses, [401, 429]);
  nowMs += 1_000;
  t.equal(await post({ 'x-signature': sign('hush') }), 202, 'one more each second');
});

t.test('each trial names the commit that it ran with', async (t) => {
  const lab = await new ScheduleLab().prepare();
  const source = { revision: 'main@sha1:1f0c', message: 'kill a worker', author: 'Ada' };
  const { trials } = await lab.run(makeSchedule({ faults: [crash] }), never, { source });
  t.match(trials, [{ source, outcome: 'Healed' }]);
});

t.test('a git that hangs is ended', async (t) => {
  const bin = t.testdir({ git: '#!/bin/sh\ntest "$1" = init || exec sleep 600\n' });
  await chmod(join(bin, 'git'), 0o755);
  const PATH = `${bin}:${environment.PATH}`;
  const git = await openGit(join(bin, 'own'), { url: 'file:///x', environment: { PATH } }, 1_000);
  await t.rejects(git(['ls-remote'], never), {
    code: 'FetchFailed',
    message: 'git ls-remote took longer than 1 s',
  });
});

t.test('without git there is nothing to begin with', async (t) => {
  const access = { url: 'file:///x', environment: { PATH: '/nowhere' } };
  const options = { access, path: '.', intervalMs: 60_000, verify: [] };
  await t.rejects(checkGit(options), { message: '--git needs git, which is not installed here' });
});

t.test('a nudge during work is not lost, and many are one', async (t) => {
  const nudge = new Nudge();
  nudge.give();
  nudge.give();
  await nudge.sleep(3_600_000, systemClock, never);
  const stop = new AbortController();
  const sleeping = nudge.sleep(3_600_000, systemClock, stop.signal);
  stop.abort(new Error('over'));
  await t.rejects(sleeping, { message: 'over' });
});
