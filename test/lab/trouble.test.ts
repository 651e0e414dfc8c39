import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import t, { type Test } from 'tap';
import { stringify } from 'yaml';
import { findCondition } from '../../controller/status/conditions.ts';
import { openStatusStores } from '../../controller/status/status-stores.ts';
import type { Condition } from '../../crds/status.ts';
import { containerName } from '../../provisioners/lab/labels.ts';
import { runCommand } from '../../provisioners/shared/run-command.ts';
import { endController, eventually, startController } from '../support/controller-process.ts';
import { engineOrSkip } from '../support/lab-engine.ts';
import { LabHosts } from '../support/lab-hosts.ts';

// One operator, three managers, and what goes wrong with engines, machines and the quorum while it watches. Its machines
// are those of somebody else: it cannot power them on again.

t.setTimeout(600_000);
await engineOrSkip(t);

const cluster = 'trouble';
const signal = AbortSignal.timeout(590_000);
const specs = ['node1', 'node2', 'node3'].map((name, index) => ({ name, index, role: 'manager' as const }));
const names = specs.map(({ name }) => name);
const machines = await LabHosts.open(
  {
    ...{ name: cluster, subnet: '10.94.12.0/24', specs, seed: ['debian'] },
    progress: (line) => t.comment(line),
  },
  signal,
);
const { hosts, login, work } = machines;
const power = machines.lab.power!;
/** At the machine itself: as many logins as are asked for here sshd would not take. */
const at = async (name: string, script: string) =>
  (await runCommand('docker', ['exec', containerName(cluster, name), 'sh', '-c', script], {}, signal)).trim();
const [folder, state, log] = [join(work, 'manifests'), join(work, 'state'), join(work, 'log')];
const operatorUrl = 'http://127.0.0.1:19466';
mkdirSync(folder);

/** Whole, as editors that mean well write. */
const put = (path: string, text: string) => {
  writeFileSync(`${path}.next`, text);
  renameSync(`${path}.next`, path);
};
/** Three services that show what they were given; one of them has `replicas` tasks. */
const putStack = (secret: string, replicas: number) => {
  put(join(work, 'token'), secret);
  const service = (deploy: object) => ({
    image: machines.images.get('debian'),
    ...{ command: ['sleep', 'infinity'], stop_signal: 'SIGKILL' },
    ...{ secrets: ['token'], configs: ['greeting'] },
    deploy: { endpoint_mode: 'dnsrr', restart_policy: { delay: '1s' }, ...deploy },
  });
  const services = {
    several: service({ replicas }),
    everywhere: { ...service({ mode: 'global' }), networks: ['node'] },
    single: service({ replicas: 1 }),
  };
  const files = { secrets: { token: { file: './token' } }, configs: { greeting: { file: './greeting' } } };
  const networks = { node: { external: true, name: 'host' } };
  put(join(work, 'stack.yaml'), stringify({ services, networks, ...files }));
};
writeFileSync(join(work, 'greeting'), 'hello');
putStack('first', 2);
put(
  join(folder, 'cluster.yaml'),
  stringify({
    apiVersion: 'spark-failures.io/v1alpha1',
    kind: 'ClusterSpec',
    metadata: { name: cluster },
    spec: {
      provisioner: { ssh: { ...login, hosts } },
      nodes: specs.map(({ name, role }) => ({ name, role })),
      stacks: [{ name: 's', compose: join(work, 'stack.yaml') }],
    },
  }),
);

const args = ['--watch', folder, '--state', state, '--listen', operatorUrl.slice('http://'.length)];
const operator = startController([...args, '--log-level', 'info'], log);
const end = new AbortController();
t.teardown(async () => {
  end.abort();
  if (!t.passing()) t.comment(readFileSync(log, 'utf8').slice(-20_000));
  await endController(operator, 'SIGTERM');
  await machines.close();
});

/** What the operator said of the cluster, from change to change. */
const told: (Condition & { readonly atMs: number })[] = [];
const statuses = openStatusStores(state).clusters;
const listen = async () => {
  const { status } = await statuses.read(cluster);
  const ready = findCondition(status?.conditions ?? [], 'Ready');
  const last = told.at(-1);
  if (!ready || (last && `${last.reason} ${last.message}` === `${ready.reason} ${ready.message}`)) return;
  told.push({ ...ready, atMs: Date.now() });
  t.comment(`${ready.reason}: ${ready.message}`);
};
/** What it said of itself when it was not well; nothing of what is tried here is a reason for that. */
const unwell: string[] = [];
const ask = async () => {
  for (const path of ['healthz', 'readyz']) {
    const answer = await fetch(`${operatorUrl}/${path}?verbose`, { signal: AbortSignal.timeout(10_000) });
    const text = await answer.text();
    if (!answer.ok) unwell.push(text);
  }
};
const again = async (ms: number, look: () => Promise<void>) => {
  while (!end.signal.aborted) {
    await look().catch((error: unknown) => void unwell.push(String(error)));
    await sleep(ms, undefined, { signal: end.signal }).catch(() => {});
  }
};

/** The operator says so, at that moment or later. */
const says = (reason: string, sinceMs: number, withinMs: number, about = '') =>
  eventually(`it says ${reason} ${about}`, withinMs, () =>
    told.find((said) => said.atMs >= sinceMs && said.reason === reason && said.message.includes(about)),
  );
const steadyMs = 3_000;
/** It said that something was wrong, and then that all is well. */
const isReadyAgain = async (t: Test, sinceMs: number, withinMs: number) => {
  const trouble = await eventually('it notices', 30_000, () =>
    told.find(({ atMs, status }) => atMs >= sinceMs && status === 'False'),
  );
  // A machine that is back has told nothing of its tasks in the first moment.
  const last = await eventually('it is Ready again, and stays so', withinMs, () => {
    const said = told.at(-1)!;
    return said.status === 'True' && Date.now() - said.atMs > steadyMs ? said : undefined;
  });
  t.pass(`noticed (${trouble.reason}), and Ready ${last.atMs - sinceMs} ms later`);
};

interface Service {
  readonly ID: string;
  readonly CreatedAt: string;
  readonly Spec: {
    readonly Name: string;
    readonly Mode: { readonly Replicated?: { readonly Replicas: number } };
  };
  readonly PreviousSpec?: Service['Spec'];
}
/** What the swarm has, by one of its managers, past everything of ours. */
const inSwarm = async (manager: string) => {
  // Unlike its command line the engine's API fills no defaults in.
  const list = 'curl --silent --show-error --unix-socket /run/docker.sock http://engine/services';
  const services = JSON.parse(await at(manager, list)) as Service[];
  const files = await at(
    manager,
    `for kind in secret config; do docker $kind ls --format '{{.ID}} {{.Name}}'; done | sort`,
  );
  return {
    services: services.sort((a, b) => a.Spec.Name.localeCompare(b.Spec.Name)),
    files: files.split('\n'),
  };
};
type InSwarm = Awaited<ReturnType<typeof inSwarm>>;
const idsOf = ({ services }: InSwarm) =>
  services.map(({ ID, CreatedAt, Spec }) => [Spec.Name, ID, CreatedAt]);

/** What each task finds in its secret and its config. */
const readInTasks = async () => {
  const script = `for id in $(docker ps -q --filter label=com.docker.swarm.service.name); do
    docker inspect -f '{{index .Config.Labels "com.docker.swarm.service.name"}}' "$id" | tr '\\n' ' '
    docker exec "$id" sh -c 'echo $(cat /run/secrets/token) $(cat /greeting)'
  done`;
  const found = await Promise.all(names.map((name) => at(name, script)));
  return found.flatMap((text) => text.split('\n')).sort();
};
const tasksWith = (secret: string, several: number) =>
  [...Array(several).fill('s_several'), ...['s_everywhere', 's_everywhere', 's_everywhere', 's_single']]
    .map((service) => `${service} ${secret} hello`)
    .sort();

/** The same services, secrets and configs, and every task with what it was given. */
const isAsBefore = async (t: Test, before: InSwarm) => {
  const now = await inSwarm('node1');
  t.same(idsOf(now), idsOf(before), 'the same services');
  t.same(
    now.services.map(({ PreviousSpec }) => PreviousSpec),
    before.services.map(({ PreviousSpec }) => PreviousSpec),
    'not updated',
  );
  t.same(now.files, before.files, 'the same secrets and configs');
  t.same(await readInTasks(), tasksWith('first', 2), 'each task runs once, and reads both');
};

const leader = () =>
  eventually('the swarm has a leader', 60_000, async () => {
    const asked = await Promise.all(
      names.map((name) =>
        at(name, `docker node ls --format '{{.Hostname}} {{.ManagerStatus}}'`).catch(() => ''),
      ),
    );
    return /^(\S+) Leader$/m.exec(asked.join('\n'))?.[1];
  });
const others = (name: string) => names.filter((each) => each !== name);
const off = (those: readonly string[]) => Promise.all(those.map((name) => power.off(name, signal)));
const on = (those: readonly string[]) => Promise.all(those.map((name) => power.on(name, signal)));

let first: InSwarm;

await t.test('the cluster is made', async (t) => {
  void again(100, listen);
  await eventually('it is Ready', 120_000, () => told.at(-1)?.status === 'True' || undefined);
  void again(500, ask);
  t.same(await readInTasks(), tasksWith('first', 2));
  first = await inSwarm('node1');
});

await t.test('the engine of the leader is restarted', async (t) => {
  const name = await leader();
  const sinceMs = Date.now();
  await at(name, 'systemctl restart docker.service');
  await isReadyAgain(t, sinceMs, 60_000);
  await isAsBefore(t, first);
});

await t.test('the machine of the leader is lost, and comes back', async (t) => {
  const name = await leader();
  const sinceMs = Date.now();
  await off([name]);
  await says('NodeUnreachable', sinceMs, 60_000, name);
  const [next] = others(name);
  await eventually('the swarm gives it up', 60_000, async () => {
    const nodes = await at(next!, `docker node ls --format '{{.Hostname}} {{.Status}}'`);
    return nodes.includes(`${name} Down`) || undefined;
  });
  t.not(told.at(-1)!.status, 'True', 'it is not Ready without it');
  await on([name]);
  await isReadyAgain(t, sinceMs, 60_000);
  await isAsBefore(t, first);
});

const outageMs = 40_000;
/** A manager whose machine is gone does not even refuse: each that is asked costs some seconds. */
const noticedMs = 30_000;

await t.test('two machines are lost, with them the quorum, and come back', async (t) => {
  const lost = others(await leader());
  const sinceMs = Date.now();
  await off(lost);
  await says('SwarmUnavailable', sinceMs, noticedMs);
  await sleep(Math.max(0, sinceMs + outageMs - Date.now()));
  t.not(told.at(-1)!.status, 'True');
  await on(lost);
  await isReadyAgain(t, sinceMs, 120_000);
  await isAsBefore(t, first);
});

await t.test('what is edited while two engines are down is applied once when they are back', async (t) => {
  const name = await leader();
  const [left, ...rest] = others(name);
  const lost = [name, ...rest];
  const each = (script: string) => Promise.all(lost.map((one) => at(one, script)));
  const sinceMs = Date.now();
  await each('systemctl stop docker.socket docker.service');
  await says('SwarmUnavailable', sinceMs, 60_000);
  putStack('second', 3);
  await sleep(5_000);
  t.not(told.at(-1)!.status, 'True');
  await each('systemctl start docker.service');
  await isReadyAgain(t, sinceMs, 120_000);
  const now = await inSwarm(left!);
  t.same(idsOf(now), idsOf(first), 'the same services');
  t.same(
    now.services.map(({ PreviousSpec }) => PreviousSpec),
    first.services.map(({ Spec }) => Spec),
    'each updated once: a second time would have put the new one in the place of the old one',
  );
  t.same(await readInTasks(), tasksWith('second', 3));
  t.same(
    first.files.filter((file) => !now.files.includes(file)),
    [],
    'what was before is kept for a way back',
  );
  t.equal(now.files.length, first.files.length + 1, 'and one secret is new');
});

await t.test('a service that is removed as the engine restarts is made anew once', async (t) => {
  const name = await leader();
  const before = await inSwarm(name);
  const sinceMs = Date.now();
  await at(name, 'docker service rm s_several >/dev/null; systemctl restart docker.service');
  await isReadyAgain(t, sinceMs, 60_000);
  const now = await inSwarm('node1');
  const isRemoved = ([name]: readonly string[]) => name === 's_several';
  t.notSame(idsOf(now).filter(isRemoved), idsOf(before).filter(isRemoved), 'it is another one');
  const rest = (all: InSwarm) => idsOf(all).filter((each) => !isRemoved(each));
  t.same(rest(now), rest(before));
  t.same(now.files, before.files);
  t.same(await readInTasks(), tasksWith('second', 3));
});

await t.test('and it was the same operator all the time', async (t) => {
  t.equal(operator.exitCode ?? operator.signalCode, null);
  t.same(unwell, [], 'which was well, and could do its work');
  const text = readFileSync(log, 'utf8');
  t.notMatch(text, /"level":[56]0|\n +at /, 'without an error that it has not expected');
  const metrics = await (await fetch(`${operatorUrl}/metrics`)).text();
  t.notMatch(metrics, /^controller_runtime_reconcile_panics_total\S* [1-9]/m);
  const done = [...text.matchAll(/"step":"(\w+-(?:network|config|secret|service))".*"step done"/g)].map(
    ([, kind]) => kind!,
  );
  t.same(
    Object.fromEntries([...new Set(done)].map((kind) => [kind, done.filter((it) => it === kind).length])),
    { 'create-network': 1, 'create-config': 1, 'create-secret': 2, 'create-service': 4, 'update-service': 3 },
    'and did nothing twice',
  );
});
