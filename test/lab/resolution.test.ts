import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { homedir, tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { BenchLab } from '../bench/bench-lab.ts';
import { eventually } from '../support/controller-process.ts';
import { engineOrSkip } from '../support/lab-engine.ts';

// Engines that lose the name of a healthy task, as after a partition (moby#53141): all that tells is what they answer. The
// entry is taken out of the table that engines tell each other, by the door that the engine has for that.

t.setTimeout(590_000);
await engineOrSkip(t);
const limit = AbortSignal.timeout(580_000);
const workDir = mkdtempSync(join(tmpdir(), 'spark-failures-resolution-'));
const nodes = [{ place: 'control' }, { place: 'owner' }, { place: 'other' }];
const layout = { name: 'resolution-test', subnet: '10.93.27.0/24', nodes };
const lab = new BenchLab({ workDir, cacheDir: join(homedir(), '.cache', 'spark-failures') }, layout, limit);
await lab.removeLeftovers();
t.teardown(async () => {
  if (!t.passing()) t.comment(readFileSync(lab.log, 'utf8').split('\n').slice(-100).join('\n'));
  await lab.down();
  rmSync(workDir, { recursive: true, force: true });
});

const compose = join(workDir, 'names.yaml');
const service = `
    image: \${DEBIAN_IMAGE}
    command: [sleep, infinity]
    networks: [app]
    stop_grace_period: 1s`;
writeFileSync(
  compose,
  `
version: "3.13"
services:
  listener:${service}
    deploy: { mode: global, endpoint_mode: dnsrr }
  lost:${service}
    deploy: &owner { endpoint_mode: dnsrr, placement: { constraints: ["node.labels.place == owner"] } }
  dead:${service}
    deploy: *owner
networks: { app: { driver: overlay } }
`,
);

const owner = 2;
const statusOf = async () => (await lab.statuses.clusters.read(layout.name)).status;
const ready = async () => (await statusOf())?.conditions.find(({ type }) => type === 'Ready');
/** How often this was told so far. */
const count = async (reason: string, message: RegExp) => {
  const events = (await statusOf())?.events ?? [];
  const those = events.filter((event) => event.reason === reason && message.test(event.message));
  return those.reduce((sum, event) => sum + event.count, 0);
};
const untilTold = (reason: string, message: RegExp, times = 1) =>
  eventually(`${reason} ${message.source}`, 200_000, async () => {
    return (await count(reason, message)) >= times || undefined;
  });
const forced = (name: string) =>
  lab.onNode(1, 'docker', 'service', 'inspect', '-f', '{{.Spec.TaskTemplate.ForceUpdate}}', `names_${name}`);

/** Has the engine of that node take a task's entry out of the table of all engines; what it tells itself it leaves as it is. */
const forget = async (node: number, name: string) => {
  const [network, endpoint] = (
    await lab.onTask(owner, `names_${name}`, [
      'inspect',
      '-f',
      '{{with index .NetworkSettings.Networks "names_app"}}{{.NetworkID}} {{.EndpointID}}{{end}}',
    ])
  ).split(' ');
  const answer = await lab.onNode(
    node,
    ...['bash', '-euc', askEngine, 'bash'],
    `/deleteentry?nid=${network}&tname=endpoint_table&key=${endpoint}`,
  );
  t.match(answer, /OK/);
};
const askEngine = `
grep -q diagnostic /etc/docker/daemon.json || sed -i '1s/{/{ "network-diagnostic-port": 2399,/' /etc/docker/daemon.json
systemctl reload docker
for _ in $(seq 50); do
  if exec 3<>/dev/tcp/127.0.0.1/2399; then break; fi 2>/dev/null
  sleep 0.1
done
printf 'GET %s HTTP/1.0\\r\\n\\r\\n' "$1" >&3
cat <&3`;

t.test('a name that all others have lost is theirs again after a forced update', async (t) => {
  await lab.watch();
  lab.save([{ name: 'names', compose }]);
  await eventually('three services', 240_000, async () => {
    return /3 services are/.test((await ready())?.message ?? '') || undefined;
  });
  t.equal(await forced('lost'), '0');
  await forget(owner, 'lost');
  for (const node of [1, 3])
    await untilTold('NameResolutionLost', new RegExp(`^node${node}: lost on names_app lacks 10\\.99\\.`));
  const healed = 'resolves lost again, after a forced update of names_lost$';
  for (const node of [1, 3]) await untilTold('NameResolutionHealed', new RegExp(`^node${node} ${healed}`));
  t.equal(await forced('lost'), '1');
  t.equal(await count('NameResolutionLost', /^node2/), 0, 'who runs it has heard of it all the time');
  await lab.untilReady();
});

t.test('a name that stays a dead one on one node is told, with what to do', async (t) => {
  await forget(3, 'dead');
  const told = await eventually('a deaf node', 240_000, async () => {
    const condition = await ready();
    return condition?.reason === 'NamesUnresolved' ? condition : undefined;
  });
  const dead =
    /^node3: dead on names_app has 10\.99\.\d+\.\d+, which no task has: restart the engine of node3$/;
  t.match(told, { status: 'False', message: dead });
  t.same([await forced('dead'), await forced('lost')], ['1', '1'], 'once, for those that had lost it');
  await lab.onNode(3, 'systemctl', 'restart', 'docker');
  await untilTold('NameResolutionHealed', /^node3 resolves dead again$/);
  await lab.untilReady();
});
