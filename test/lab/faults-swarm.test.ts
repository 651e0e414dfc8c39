import { isDeepStrictEqual } from 'node:util';
import t from 'tap';
import type { Target } from '../../state-machines/contract.ts';
import { missingNeeds } from '../../state-machines/missing-needs.ts';
import { openFaultLab } from '../support/fault-lab.ts';

// Faults of engines and of the swarm itself, on a swarm of three machines: node1 is its only manager.

const cluster = 'faults-swarm';
const lab = await openFaultLab(t, { cluster, subnet: '10.93.4.0/24', nodes: 3, swarm: true });
const { signal, until, on } = lab;
const node = (name: string): Target => ({ kind: 'node', node: name });
const tries = (name: string, script: string, ...args: string[]) =>
  lab.node(name).exec(script, args, {}, signal);
const manager = (script: string, ...args: string[]) => on('node1', script, ...args);
const containers = (name: string) => on(name, 'docker ps --quiet --filter label=com.docker.swarm.task');
const minute = 60_000;

/** A service of sleepers; they hear no SIGTERM, so that each takes its whole grace period to stop. */
async function startService(name: string, options: string, grace = '1s'): Promise<Target> {
  const create = `docker service create --quiet --detach --no-resolve-image --name "$1" --stop-grace-period ${grace} ${options} debian:trixie-slim sleep 3600`;
  const serviceId = await manager(create, name);
  await runs(name);
  return { kind: 'service', service: name, serviceId, replicated: true };
}

const replicasOf = (name: string) =>
  manager('docker service ls --filter "name=$1" --format "{{.Replicas}}"', name);
const stateOf = (name: string) => manager(`docker node inspect --format '{{.Status.State}}' ${name}`);
const specOf = (type: 'node' | 'service', name: string) =>
  manager(`docker ${type} inspect --format '{{json .Spec}}' "$1"`, name);
const runs = (name: string) =>
  until(`${name} runs`, minute, async () => /^([1-9]\d*)\/\1\b/.test(await replicasOf(name)));

await t.test('stopEngine', async (t) => {
  const ping = 'curl --silent --max-time 2 --unix-socket /run/docker.sock http://engine/_ping';
  const units = 'systemctl is-active docker.socket docker.service containerd.service || true';
  await startService('pinned', '--constraint node.hostname==node2', '10s');

  await t.test('refuses every client, ends every container, and is over when it says so', async (t) => {
    // An engine that starts puts its own rules in another order, and its containers are others.
    const traces = async () =>
      (await lab.traces('node2'))
        .replaceAll(/[0-9a-f]{64}/g, 'id')
        .split('\n')
        .sort();
    const before = await traces();
    t.equal(await on('node2', ping), 'OK');
    const during = async () => {
      t.equal((await tries('node2', ping)).code, 7, 'refused');
      t.not((await tries('node2', 'docker ps')).code, 0);
      t.equal((await tries('node2', 'pgrep -x dockerd')).code, 1);
      t.equal((await tries('node2', 'pgrep -x sleep')).code, 1, 'its containers are gone');
      t.equal(await on('node2', units), 'inactive\ninactive\nactive', 'and no question has started it');
    };
    const { result } = await lab.run({ kind: 'stopEngine', targets: [node('node2')], holdMs: 8_000, during });
    t.equal(result.outcome, 'Healed', result.message ?? 'no message');
    const { cmdMs, effMs, effResolutionMs, endMs, endResolutionMs } = result.instants;
    t.comment(`in effect after ${effMs! - cmdMs!} ms (${effResolutionMs}), undone in ${endResolutionMs} ms`);
    t.ok(endMs! - effMs! >= 8_000);
    t.equal(await on('node2', ping), 'OK');
    t.equal(await on('node2', units), 'active\nactive\nactive');
    await until('its task is back', minute, async () => (await containers('node2')) !== '');
    // The engine goes on to make its ingress network after it answers.
    await until('all is as before', minute, async () => isDeepStrictEqual(await traces(), before)).catch(
      async () => t.same(await traces(), before),
    );
  });

  await t.test('is undone by the node alone, also in the midst of the stop', async (t) => {
    await runs('pinned');
    // Healed at the instant at which its managers give it up, it would stay Down in their list.
    const run = await lab.abandon(t, { kind: 'stopEngine', target: node('node2'), fuseMs: 3_000 });
    t.equal(await run.looks(), 'unknown', 'its container has a grace period of 10 s');
    await until('healed', minute, run.isHealed);
    t.equal(await on('node2', ping), 'OK');
    t.equal(await run.looks(), 'inactive');
    await until('its managers know', minute, async () => (await stateOf('node2')) === 'ready');
    await until('its task is back', minute, async () => (await containers('node2')) !== '');
  });

  await t.test('ends when somebody starts the engine, which goes on', async (t) => {
    await runs('pinned');
    const during = async () => void (await on('node2', 'systemctl start docker.service'));
    const { result } = await lab.run({
      ...{ kind: 'stopEngine', targets: [node('node2')], holdMs: minute, during },
    });
    t.equal(result.outcome, 'Unknown');
    t.match(result.message, /lost the effect during the hold \("inactive"\)/);
    t.equal(await on('node2', ping), 'OK');
  });

  await t.test('does not outlive a reboot, and is closed by it', async (t) => {
    const run = await lab.abandon(t, { kind: 'stopEngine', target: node('node2'), fuseMs: 10 * minute });
    await until('in effect', 20_000, async () => (await run.looks()) === 'active');
    await lab.powerCycle('node2');
    await until('replayed', minute, run.isHealed);
    await until('answers', minute, async () => (await tries('node2', ping)).stdout === 'OK');
  });

  await t.test('is refused where the engine does not run, or is not run by systemd', async (t) => {
    t.same(await missingNeeds(lab.node('node2'), ['docker-unit'], lab.scripts, signal), []);
    await on('node2', 'systemctl stop docker.socket docker.service');
    const { result } = await lab.run({ kind: 'stopEngine', targets: [node('node2')], holdMs: 1_000 });
    t.match(result, { outcome: 'Refused', message: /before the fault its check says/ });
    t.equal(await on('node2', units), 'inactive\ninactive\nactive', 'and stays as it was');
    await on('node2', 'systemctl mask --quiet --runtime docker.service');
    t.same(await missingNeeds(lab.node('node2'), ['docker-unit'], lab.scripts, signal), ['docker-unit']);
    await on('node2', 'systemctl unmask --quiet --runtime docker.service');
    await on('node2', 'systemctl reset-failed docker.service; systemctl start docker.socket docker.service');
  });
});

const availability = (name: string) =>
  manager(`docker node inspect --format '{{.Spec.Availability}}' "$1"`, name);

await t.test('drainNode', async (t) => {
  const drain = { kind: 'drainNode', targets: [node('node3')] };
  await startService('stays', '--constraint node.hostname==node3');
  await startService('moves', '--replicas 3 --constraint node.role==worker');

  await t.test('leaves no task on the node, and gives it back as it was', async (t) => {
    for (const before of ['active', 'pause']) {
      await manager('docker node update --availability "$1" node3', before);
      const [traces, spec] = [await lab.traces('node1'), await specOf('node', 'node3')];
      const during = async () => {
        t.equal(await containers('node3'), '');
        t.equal((await tries('node3', 'pgrep -x sleep')).code, 1);
      };
      const { result } = await lab.run({ ...drain, holdMs: 4_000, during });
      t.equal(result.outcome, 'Healed', result.message ?? 'no message');
      t.comment(`in effect after ${result.instants.effMs! - result.instants.cmdMs!} ms`);
      t.equal(await specOf('node', 'node3'), spec);
      t.equal(await lab.traces('node1'), traces);
    }
    await manager('docker node update --availability active node3');
    await runs('stays');
    t.not(await containers('node3'), '', 'and it takes tasks again');
  });

  await t.test('is undone by the manager alone, again and again until that can be done', async (t) => {
    const run = await lab.abandon(t, { kind: 'drainNode', target: node('node3'), fuseMs: 4_000 });
    t.equal(await availability('node3'), 'drain');
    await on('node1', 'systemctl stop docker.socket docker.service');
    const failures = `journalctl --quiet -u "sf-$1.service" -g 'Failed with result' | wc -l`;
    await until('a heal has failed', minute, async () => Number(await manager(failures, run.name)) > 0);
    t.notOk(await run.isHealed(), 'loudly not healed');
    await on('node1', 'systemctl start docker.socket docker.service');
    await until('healed', minute, run.isHealed);
    t.equal(await availability('node3'), 'active');
  });

  await t.test('is undone when its manager has been rebooted', async (t) => {
    const run = await lab.abandon(t, { kind: 'drainNode', target: node('node3'), fuseMs: 10 * minute });
    await lab.powerCycle('node1');
    await until('replayed', minute, run.isHealed);
    t.equal(await availability('node3'), 'active');
  });

  await t.test('is refused for a node that is drained, and leaves alone what others change', async (t) => {
    await manager('docker node update --availability drain node3');
    const { result } = await lab.run({ ...drain, holdMs: 1_000 });
    t.match(result, { outcome: 'Refused', message: /before the fault its check says/ });
    t.equal(await availability('node3'), 'drain');
    await manager('docker node update --availability active node3');
    const run = await lab.abandon(t, { kind: 'drainNode', target: node('node3') });
    await manager('docker node update --availability pause node3');
    await run.heal();
    t.equal(await availability('node3'), 'pause');
    await manager('docker node update --availability active node3');
  });

  await t.test('is gone with a node that is no member any more', async (t) => {
    const run = await lab.abandon(t, { kind: 'drainNode', target: node('node3') });
    await on('node3', 'docker swarm leave');
    await until('down', minute, async () => (await stateOf('node3')) === 'down');
    await manager('docker node rm node3');
    await run.heal();
    t.equal(await run.looks(), 'inactive');
  });
});

await t.test('stopService', async (t) => {
  const onNodes = async () => (await Promise.all(['node1', 'node2'].map(sleepers))).join('');
  const sleepers = (name: string) =>
    on(name, 'docker ps --quiet --filter label=com.docker.swarm.service.name=web');
  const web = await startService('web', '--replicas 2 --constraint node.role==worker');
  const stop = { kind: 'stopService', targets: [web] };

  await t.test('leaves no task anywhere, and then has as many replicas as before', async (t) => {
    const [traces, spec] = [await lab.traces('node1'), await specOf('service', 'web')];
    const during = async () => {
      t.equal(await onNodes(), '');
      t.equal(await replicasOf('web'), '0/0');
    };
    const { result, records } = await lab.run({ ...stop, holdMs: 4_000, during });
    t.equal(result.outcome, 'Healed', result.message ?? 'no message');
    t.comment(`in effect after ${result.instants.effMs! - result.instants.cmdMs!} ms`);
    t.match(records[0]?.steps, [{ node: 'node1', target: 'web' }]);
    t.equal(await specOf('service', 'web'), spec);
    await runs('web');
    t.equal(await replicasOf('web'), '2/2');
    t.equal(await lab.traces('node1'), traces);
  });

  await t.test('is undone by the manager alone', async (t) => {
    const run = await lab.abandon(t, { kind: 'stopService', target: web, fuseMs: 4_000 });
    await until('in effect', 20_000, async () => (await run.looks()) === 'active');
    await until('healed', minute, run.isHealed);
    t.equal(await run.looks(), 'inactive');
    await runs('web');
    t.equal(await replicasOf('web'), '2/2');
  });

  await t.test('is gone with its service, and never touches another one of that name', async (t) => {
    const run = await lab.abandon(t, { kind: 'stopService', target: web });
    await manager('docker service rm web');
    t.equal(await run.looks(), 'inactive');
    await startService('web', '--replicas 1 --constraint node.role==worker');
    const spec = await specOf('service', 'web');
    await run.heal();
    t.equal(await specOf('service', 'web'), spec);
    t.equal(await run.looks(), 'inactive');
  });
});
