import { createHmac } from 'node:crypto';
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { endController, startController } from '../support/controller-process.ts';
import { GitRemote, installHook } from '../support/git-remote.ts';
import { type BenchSite, type Measure, until } from './bench-site.ts';
import { median } from './figure.ts';

const runs = 15;
/** The webhook takes no more than one a second for long. */
const hookRefillMs = 1_000;
const port = 9464;
const url = `http://127.0.0.1:${port}`;

/**
 * From `git push` to a local bare repository, whose post-receive hook calls the webhook, to the first call that the
 * operator makes because of it: its connection to the machine of a cluster that the commit adds. Beside it what git alone
 * takes to see and check out the same commit, and it is in the push that both wait for.
 */
export const measureGitToApi: Measure<'git-to-api'> = async (site, signal) => {
  const n = site.runs ?? runs;
  site.progress(`git-to-api: ${n} pushes`);
  const remote = await GitRemote.create(join(site.workDir, 'git'));
  await remote.push({ 'manifests/README.yaml': '# no resource yet\n' }, 'empty');
  const keyFile = (await remote.sshSigner('key')).publicKey.replace(/\.pub$/, '');
  // One that calls nobody: a look at its push would be in the way of the next one that is measured.
  const silent = await GitRemote.create(join(site.workDir, 'silent'));
  const operator = await startOperator(site, remote, signal);
  try {
    const times: number[] = [];
    const plain: number[] = [];
    for (let run = 0; run < n; run++) {
      await sleep(hookRefillMs, undefined, { signal });
      const machine = await listen();
      const manifests = {
        'manifests/README.yaml': undefined,
        [`manifests/c${run}.yaml`]: cluster(run, machine.port, keyFile),
      };
      const startMs = performance.now();
      await remote.push(manifests, `cluster ${run}`);
      times.push((await withDeadline(machine.called, signal)) - startMs);
      machine.close();
      plain.push(await checkOutPlainly(silent, join(site.workDir, `plain${run}`), run));
    }
    const target = { of: 'value', sign: '<', limit: 1_000 } as const;
    return { 'git-to-api': { value: median(times), unit: 'ms', n, baseline: median(plain), target } };
  } finally {
    await endController(operator, 'SIGTERM');
    await Promise.all([remote, silent].map((one) => one.close()));
  }
};

async function startOperator(site: BenchSite, remote: GitRemote, signal: AbortSignal) {
  const secret = join(remote.folder, 'secret');
  await writeFile(secret, 'hush');
  const signature = createHmac('sha256', 'hush').update('{}').digest('hex');
  // In the background: whoever pushes does not wait for it.
  const call = `curl -s -m 5 -H 'X-Hub-Signature-256: sha256=${signature}' -d '{}' ${url}/hooks/git`;
  await installHook(remote.bare, 'post-receive', `${call} >/dev/null 2>&1 &`);
  const state = ['--state', join(site.workDir, 'state'), '--cache', join(site.workDir, 'cache')];
  const git = ['--git', remote.url, '--ref', 'main', '--path', 'manifests', '--git-hook-secret', secret];
  const args = ['--watch', ...git, '--interval', '1h', ...state, '--listen', `127.0.0.1:${port}`];
  const operator = startController(args, join(site.workDir, 'git-to-api.log'));
  const ready = { what: 'the operator is ready', everyMs: 100, deadlineMs: 30_000 };
  await until(
    ready,
    async () => ((await fetch(`${url}/readyz`).catch(() => undefined))?.ok ? true : undefined),
    signal,
  );
  return operator;
}

/** A machine that says nothing: what counts is that somebody calls. */
async function listen() {
  const server = createServer((socket) => socket.on('error', () => {}).destroy()).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const called = once(server, 'connection').then(() => performance.now());
  const address = server.address();
  return {
    port: typeof address === 'object' && address ? address.port : 0,
    called,
    close: () => server.close(),
  };
}

async function withDeadline(called: Promise<number>, signal: AbortSignal): Promise<number> {
  const over = new AbortController();
  const late = sleep(30_000, undefined, { signal: AbortSignal.any([signal, over.signal]) });
  const never = late.then(() => Promise.reject(new Error('nobody called within 30 s')));
  return Promise.race([called, never]).finally(() => over.abort());
}

/** What anybody would do by hand: push, ask, fetch and check out. */
async function checkOutPlainly(remote: GitRemote, folder: string, run: number): Promise<number> {
  await remote.git('init', '--quiet', folder);
  const startMs = performance.now();
  await remote.push({ 'plain.txt': `${run}` }, `plain ${run}`);
  await remote.git('ls-remote', remote.url, 'refs/heads/main');
  const at = ['-C', folder];
  await remote.git(...at, 'fetch', '--quiet', '--depth=1', remote.url, 'main');
  await remote.git(...at, 'checkout', '--quiet', 'FETCH_HEAD');
  return performance.now() - startMs;
}

const cluster = (
  run: number,
  sshPort: number,
  keyFile: string,
): string => `apiVersion: spark-failures.io/v1alpha1
kind: ClusterSpec
metadata: { name: c${run} }
spec:
  provisioner:
    ssh:
      user: operator
      keyFile: ${keyFile}
      trustOnFirstUse: true
      hosts: { node1: { host: 127.0.0.1, port: ${sshPort} } }
  nodes: [{ name: node1, role: manager }]
`;
