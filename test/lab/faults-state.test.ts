import t from 'tap';
import type { Target, TaskTarget } from '../../state-machines/contract.ts';
import { missingNeeds } from '../../state-machines/missing-needs.ts';
import { scanOrphans } from '../../state-machines/scan-orphans.ts';
import { exampleCheckpoint } from '../support/example-checkpoint.ts';
import { openFaultLab } from '../support/fault-lab.ts';

// loseCheckpoint on a folder that two machines share, expireSession on a real ZooKeeper and a client of it, and
// clockSkew, which these machines must refuse.

const zookeeperImage = 'zookeeper:3.9.5';
const layout = { cluster: 'faults-state', subnet: '10.93.24.0/24', images: [zookeeperImage] };
const lab = await openFaultLab(t, layout);
const { signal, until, on } = lab;
const minute = 60_000;
const node = (name: string): Target => ({ kind: 'node', node: name });
/** The engine's bridge has a carrier throughout. */
await lab.startTask('node1');

await t.test('loseCheckpoint', async (t) => {
  const job = '/var/lib/spark-failures/checkpoint/job';
  await on('node1', exampleCheckpoint, job, '200');
  const count = (name: string, part: string) => on(name, 'find "$1/$2" -type f | wc -l', job, part);

  await t.test('is seen by every machine of the folder, and is undone', async (t) => {
    const before = [await lab.traces('node1'), await lab.traces('node2')];
    const during = async () => {
      t.equal(await count('node2', 'state'), '0');
      t.equal(await count('node2', 'offsets'), '200');
      t.not(await lab.traces('node2'), before[1], 'these traces would show it');
      const other = await lab.run({ kind: 'loseCheckpoint', targets: [node('node2')], holdMs: 1_000 });
      t.match(other.result, { outcome: 'Refused', message: /has lost files already/ });
      t.equal(await count('node1', 'state'), '0', 'which has undone nothing');
    };
    const { result } = await lab.run({
      ...{ kind: 'loseCheckpoint', targets: [node('node1')], holdMs: 9_000, during },
    });
    t.equal(result.outcome, 'Healed', result.message ?? 'no message');
    t.comment(`1200 files gone after ${result.instants.effMs! - result.instants.cmdMs!} ms`);
    t.same([await lab.traces('node1'), await lab.traces('node2')], before);
    t.same(await scanOrphans(lab.node('node1'), lab.scripts, signal), []);
  });

  await t.test('truncates, and gives the content back', async (t) => {
    const before = await lab.traces('node1');
    const params = { how: 'truncate', parts: ['offsets', 'commits'], newest: 3 };
    const { result } = await lab.run({
      ...{ kind: 'loseCheckpoint', params, targets: [node('node1')], holdMs: 2_000 },
      during: async () => {
        const empty = await on('node2', 'cd "$1" && find . -type f -empty | sort | xargs', job);
        t.equal(
          empty,
          ['commits', 'offsets'].flatMap((log) => [197, 198, 199].map((n) => `./${log}/${n}`)).join(' '),
        );
      },
    });
    t.equal(result.outcome, 'Healed', result.message ?? 'no message');
    t.equal(await lab.traces('node1'), before);
  });

  await t.test('is undone by the node alone, and after its power was away', async (t) => {
    const before = await count('node2', 'state');
    const fault = { kind: 'loseCheckpoint', sees: 'active' } as const;
    const run = await lab.abandon(t, { ...fault, target: node('node1'), fuseMs: 6_000 });
    t.equal(await count('node2', 'state'), '0');
    await until('back', 30_000, async () => (await count('node2', 'state')) === before);
    t.equal(await run.looks(), 'inactive');
    await lab.abandon(t, { ...fault, target: node('node2') });
    t.equal(await count('node1', 'state'), '0');
    await lab.powerCycle('node2');
    await until('back at boot', minute, async () => (await count('node1', 'state')) === before);
  });

  await t.test('refuses what is no checkpoint', async (t) => {
    await on('node1', 'mkdir -p /srv/photos && echo 1 >/srv/photos/offsets');
    const params = { path: '/srv/photos' };
    const { result } = await lab.run({
      ...{ kind: 'loseCheckpoint', params, targets: [node('node1')], holdMs: 1_000 },
    });
    t.match(result, { outcome: 'Refused', message: /has no metadata: it is no checkpoint/ });
    t.equal(await on('node1', 'ls -A /srv/photos'), 'offsets');
  });
  await on('node1', 'rm -rf "$1"', job);
});

await t.test('expireSession', async (t) => {
  const container = (options: string, command: string) =>
    on('node1', `docker run -d ${options} ${zookeeperImage} ${command}`);
  const addressOf = (id: string) =>
    on('node1', `docker inspect -f '{{.NetworkSettings.IPAddress}}' "$1"`, id);
  const words = '-e ZOO_4LW_COMMANDS_WHITELIST=srvr,cons,dump -e ZOO_ADMINSERVER_ENABLED=false';
  const server = await container(`${words} -e ZK_SERVER_HEAP=64`, '');
  const address = await addressOf(server);
  const says = (word: string) =>
    on(
      'node1',
      `timeout 2 bash -c 'exec 3<>/dev/tcp/$1/2181 && printf "$2" >&3 && cat <&3' bash "$1" "$2" || true`,
      address,
      word,
    );
  await until('ZooKeeper answers', minute, async () => /Mode: standalone/.test(await says('srvr')));
  let clients = 0;
  const connect = async (): Promise<TaskTarget> => {
    const containerId = await container(
      '-i -e ZK_CLIENT_HEAP=64',
      `zkCli.sh -timeout 4000 -server ${address}:2181`,
    );
    const own = await addressOf(containerId);
    await until('a session', minute, async () => (await sessionOf(own)) !== undefined);
    clients += 1;
    const service = `client${clients}`;
    return { kind: 'task', node: 'node1', service, taskId: own, containerId, addresses: [] };
  };
  const sessionOf = async (own: string) =>
    new RegExp(`/${own}:\\d+\\[.*sid=(0x[0-9a-f]+)`).exec(await says('cons'))?.[1];
  const isListed = async (session: string) => (await says('dump')).includes(session);
  const stateOf = ({ containerId }: TaskTarget) =>
    on('node1', `ps -o stat= -p "$(docker inspect -f '{{.State.Pid}}' "$1")" | cut -c1`, containerId);
  const log = ({ containerId }: TaskTarget) => on('node1', 'docker logs "$1" 2>&1', containerId);
  const params = { process: 'org.apache.zookeeper.ZooKeeperMain' };
  const abandoned = { kind: 'expireSession', params, sees: 'active' } as const;

  await t.test('needs a hold that is long enough, and a server that tells', async (t) => {
    const client = await connect();
    const fault = { kind: 'expireSession', params, targets: [client] };
    const { result } = await lab.run({ ...fault, holdMs: 12_999 });
    t.match(result, { outcome: 'Refused', message: /lasts 4000 ms: the hold has to be 13000 ms at least/ });
    const wrong = await lab.run({ ...fault, params: { ...params, port: 2888 }, holdMs: 20_000 });
    t.match(wrong.result, { outcome: 'Refused', message: /no server on port 2888 tells a session/ });
    const nobody = await lab.run({ ...fault, params: { process: 'no such' }, holdMs: 20_000 });
    t.match(nobody.result, { outcome: 'Refused', message: /tells a session of "no such"/ });
    t.equal(await stateOf(client), 'S');
    await on('node1', 'docker rm -f "$1"', client.containerId);
  });

  await t.test('outlasts the session of a client, which then learns that it has none', async (t) => {
    const [client, other] = [await connect(), await connect()];
    const [session, others] = [await sessionOf(client.taskId), await sessionOf(other.taskId)];
    const before = await lab.traces('node1');
    let expiredMs = 0;
    const { result } = await lab.run({
      ...{ kind: 'expireSession', params, targets: [client], holdMs: 15_000 },
      during: async () => {
        const startedMs = Date.now();
        t.equal(await stateOf(client), 'T');
        t.equal(await isListed(session!), true, 'not at once');
        await until('expired', 10_000, async () => !(await isListed(session!)));
        expiredMs = Date.now() - startedMs;
        t.notMatch(await log(client), /Expired/i);
        t.equal(await isListed(others!), true);
      },
    });
    t.equal(result.outcome, 'Healed', result.message ?? 'no message');
    t.comment(
      `still after ${result.instants.effMs! - result.instants.cmdMs!} ms, expired ${expiredMs} ms later`,
    );
    await until('it knows', 20_000, async () => /Expired/i.test(await log(client)));
    t.equal(await isListed(session!), false);
    t.equal(await sessionOf(other.taskId), others, 'nobody else lost one');
    t.equal(await lab.traces('node1'), before);
    for (const { containerId } of [client, other]) await on('node1', 'docker rm -f "$1"', containerId);
  });

  await t.test('is not believed to have worked where the server cannot be asked', async (t) => {
    const client = await connect();
    const session = await sessionOf(client.taskId);
    const run = await lab.abandon(t, { ...abandoned, target: client });
    const due = `/var/lib/spark-failures/runs/${run.name}/expired`;
    await on('node1', 'echo 1 >"$1"', due);
    const early = await run.looks();
    if (await isListed(session!)) t.equal(early, 'unknown', 'overdue, and listed still');
    await on('node1', 'docker pause "$1"', server);
    t.equal(await run.looks(), 'unknown');
    await on('node1', 'docker unpause "$1"', server);
    await until('expired', 20_000, async () => !(await isListed(session!)));
    t.equal(await run.looks(), 'active');
    await run.heal();
    t.equal(await run.looks(), 'inactive');
    await on('node1', 'docker rm -f "$1"', client.containerId);
  });

  await t.test('lets the client go on by the deadline, whatever becomes of the controller', async (t) => {
    const client = await connect();
    const run = await lab.abandon(t, { ...abandoned, target: client, fuseMs: 14_000 });
    t.equal(await stateOf(client), 'T');
    await until('it goes on', 30_000, async () => (await stateOf(client)) !== 'T');
    t.equal(await run.looks(), 'inactive');
    await on('node1', 'docker rm -f "$1"', client.containerId);
  });

  await t.test('is refused without a server', async (t) => {
    const client = await connect();
    await on('node1', 'docker rm -f "$1"', server);
    const fault = { kind: 'expireSession', params, targets: [client], holdMs: 20_000 };
    t.match((await lab.run(fault)).result, { outcome: 'Refused', message: /no server on port 2181 tells/ });
    t.equal(await stateOf(client), 'S');
    await on('node1', 'docker rm -f "$1"', client.containerId);
  });
});

await t.test("clockSkew is refused by machines whose clock is their host's", async (t) => {
  t.same(await missingNeeds(lab.node('node1'), ['own-clock'], lab.scripts, signal), ['own-clock']);
  const before = await lab.traces('node1');
  const { result } = await lab.run({ kind: 'clockSkew', targets: [node('node1')], holdMs: 1_000 });
  t.match(result, { outcome: 'Refused', message: /node1: the node lacks own-clock/ });
  t.equal(await lab.traces('node1'), before);
});
