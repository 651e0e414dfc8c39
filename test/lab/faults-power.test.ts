import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { RefusedError, type Target } from '../../state-machines/contract.ts';
import { healNode, scanOrphans } from '../../state-machines/scan-orphans.ts';
import { bindLab, openFaultLab } from '../support/fault-lab.ts';

// Faults of membership and of whole machines, on a swarm of three machines, all of them managers.

const cluster = 'faults-power';
const limitMs = 1_200_000;
const lab = await openFaultLab(t, {
  ...{ cluster, subnet: '10.93.25.0/24', nodes: 3, swarm: true, managers: 3, limitMs },
});
const { signal, until, on } = lab;
const node = (name: string): Target => ({ kind: 'node', node: name });
const tries = (name: string, script: string, ...args: string[]) =>
  lab
    .node(name)
    .exec(script, args, {}, signal)
    .catch(() => ({ code: null, stdout: '' }));
const minute = 60_000;

/** How one machine lists another: `active manager ready reachable`. */
const listed = (from: string, name: string) =>
  on(
    from,
    `docker node inspect "$1" --format '{{.Spec.Availability}} {{.Spec.Role}} {{.Status.State}} {{with .ManagerStatus}}{{.Reachability}}{{end}}'`,
    name,
  );
const isWhole = async (name: string, from: string) =>
  (await listed(from, name).catch(String)) === 'active manager ready reachable';
const identity = (name: string) =>
  on(name, "docker info --format '{{.ID}} {{.Swarm.NodeID}} {{.Swarm.ControlAvailable}}'");
const spec = (from: string, name: string) =>
  on(from, "docker node inspect --format '{{json .Spec}}' $1", name);
const containers = async (name: string) =>
  (await tries(name, 'docker ps --quiet --filter label=com.docker.swarm.task')).stdout.trim();
const boot = (name: string) =>
  on(name, "sed 's/.*) //' /proc/1/stat | cut -d' ' -f20; cat /etc/machine-id; cat /etc/ssh/*.pub");
const members = (from: string) => on(from, 'docker node ls --quiet | sort');

const says = (told: string, { result }: Awaited<ReturnType<typeof lab.run>>) => {
  const { cmdMs = 0, effMs = 0, effResolutionMs, endResolutionMs = 'no' } = result.instants;
  t.comment(
    `${told}: in effect after ${effMs - cmdMs} ms (${effResolutionMs}), undone in ${endResolutionMs} ms`,
  );
};

await on(
  'node1',
  'docker service create --quiet --detach --no-resolve-image --name everywhere --mode global --stop-grace-period 1s debian:trixie-slim sleep 3600',
);
for (const name of ['node1', 'node2', 'node3']) {
  await on('node1', 'docker node update --label-add "kept=$1" "$1"', name);
  await until(`a task runs on ${name}`, minute, async () => (await containers(name)) !== '');
}

await t.test('demoteManager', async (t) => {
  await t.test('takes a manager out of the quorum, and makes it one again', async (t) => {
    const [before, who, tasks] = [
      await spec('node1', 'node3'),
      await identity('node3'),
      await containers('node3'),
    ];
    const during = async () => {
      t.equal(await listed('node1', 'node3'), 'active worker ready');
      await until('it knows itself', minute, async () => (await identity('node3')).endsWith(' false'));
      t.equal(await containers('node3'), tasks, 'its tasks go on');
    };
    const run = await lab.run({ kind: 'demoteManager', targets: [node('node3')], holdMs: 5_000, during });
    t.equal(run.result.outcome, 'Healed', run.result.message ?? '');
    says('demoteManager', run);
    t.ok(await isWhole('node3', 'node1'));
    t.equal(await spec('node1', 'node3'), before);
    await until('it is who it was', minute, async () => (await identity('node3')) === who);
  });

  await t.test('takes the leader too, which leads to another one first', async (t) => {
    const isLeader = "docker node inspect self --format '{{.ManagerStatus.Leader}}'";
    const names = ['node1', 'node2', 'node3'];
    const leads = await Promise.all(names.map((name) => on(name, isLeader)));
    const leader = names[leads.indexOf('true')]!;
    const run = await lab.abandon(t, { kind: 'demoteManager', target: node(leader), fuseMs: 3 * minute });
    // Up to several rounds of five seconds: the new leader demotes nobody before it knows who is left.
    await until('in effect', 2 * minute, async () => (await run.looks()) === 'active');
    t.match(await listed(run.step.node, leader), /^active worker (ready|unknown)$/);
    await run.heal();
    await until('over', 2 * minute, async () => (await run.looks()) === 'inactive');
    await until('it knows itself', minute, async () => (await identity(leader)).endsWith(' true'));
  });

  await t.test('is undone by the surviving manager alone', async (t) => {
    const run = await lab.abandon(t, { kind: 'demoteManager', target: node('node2'), fuseMs: 6_000 });
    t.equal(run.step.node, 'node1');
    await until('in effect', 20_000, async () => (await run.looks()) === 'active');
    await until('healed', minute, run.isHealed);
    await until('whole', minute, () => isWhole('node2', 'node1'));
    t.equal(await run.looks(), 'inactive');
  });

  await t.test('leaves alone what somebody else has made of it meanwhile', async (t) => {
    const run = await lab.abandon(t, { kind: 'demoteManager', target: node('node2') });
    await on('node1', 'docker node promote node2');
    await until('whole', minute, () => isWhole('node2', 'node1'));
    await run.heal();
    t.equal(await run.looks(), 'inactive');
  });
});

await t.test('leaveSwarm', async (t) => {
  const kept = (name: string) => on(name, 'ls -d /var/lib/docker/sf-swarm-* 2>/dev/null || true');

  const swarmState = (name: string) => on(name, "docker info --format '{{.Swarm.LocalNodeState}}'");
  /**
   * An engine that had joined moments before, as after an undo, was once seen to keep an overlay network when it left by
   * hand: most likely that of its ingress, which it sets up beside everything else.
   */
  const hasIngress = (name: string) =>
    until('its ingress is set up', minute, async () =>
      (
        await on(name, "docker network inspect -f '{{json .Containers}}' ingress 2>/dev/null || true")
      ).includes('ingress-sbox'),
    );

  /** What is to be seen of it once it has left, by whatever means. */
  const hasLeft = async (t: Test, name: string, id: string) => {
    t.equal(await swarmState(name), 'inactive');
    await until('given up', minute, async () => / (down|unknown)/.test(await listed('node1', id)));
    t.equal(await on(name, 'docker ps --all --quiet --filter label=com.docker.swarm.task'), '');
    t.equal(await on(name, "docker network ls --filter driver=overlay --format '{{.Name}}'"), '');
  };

  const leavesAndReturns = async (t: Test, name: string) => {
    await hasIngress(name);
    const who = await identity(name);
    const before = await spec('node1', name);
    const [ids, token] = [await members('node1'), await on('node1', 'docker swarm join-token -q manager')];
    const bystander = await on(name, 'docker run -d --stop-timeout 1 debian:trixie-slim sleep 3600');
    const during = async () => {
      await hasLeft(t, name, name);
      t.equal(await on(name, 'docker inspect -f "{{.State.Running}}" "$1"', bystander), 'true');
      t.not(await kept(name), '');
      t.equal(await on(name, 'grep -rsl "$1" /var/lib/spark-failures || true', token), '');
    };
    const run = await lab.run({ kind: 'leaveSwarm', targets: [node(name)], holdMs: 8_000, during });
    t.equal(run.result.outcome, 'Healed', run.result.message ?? '');
    says(`leaveSwarm ${name}`, run);
    t.notOk(JSON.stringify(run.records).includes(token), 'no token in the journal');
    await until('it is who it was', minute, async () => (await identity(name)) === who);
    t.equal(await spec('node1', name), before);
    t.equal(await members('node1'), ids, 'no twin');
    t.equal(await kept(name), '');
    await until('its task is back', minute, async () => (await containers(name)) !== '');
    await on(name, 'docker rm -f "$1"', bystander);
  };

  await t.test(
    'of a worker is what `docker swarm leave` does, and its undo makes the same member',
    async (t) => {
      await on('node1', 'docker node demote node3');
      await until('demoted', minute, async () => (await identity('node3')).endsWith(' false'));
      await leavesAndReturns(t, 'node3');
    },
  );

  await t.test('is left by hand with no other signs, and then come back to as somebody else', async (t) => {
    const [, id = ''] = (await identity('node3')).split(' ');
    await hasIngress('node3');
    await on('node3', 'docker swarm leave --force');
    await hasLeft(t, 'node3', id);
    const token = await on('node1', 'docker swarm join-token -q manager');
    const join = 'docker swarm join --token "$1" --advertise-addr "$2" "$3:2377"';
    await on('node3', join, token, lab.node('node3').address, lab.node('node1').address);
    t.equal((await members('node1')).split('\n').length, 4, 'its twin stays, Down');
    await on('node1', 'docker node rm --force "$1"', id);
    await until('whole', minute, () => isWhole('node3', 'node1'));
    await until('its task is back', minute, async () => (await containers('node3')) !== '');
  });

  await t.test('of a manager is the same, and its raft log comes back with it', async (t) => {
    await leavesAndReturns(t, 'node2');
    await until('whole', minute, () => isWhole('node2', 'node1'));
  });

  await t.test('is undone when the engine did not leave although its state was away', async (t) => {
    const who = await identity('node2');
    const wrapper = '/usr/local/sbin/docker';
    const text = '[ "$1" != swarm ] || exit 1\nexec /usr/bin/docker "$@"';
    await on('node2', 'printf "#!/bin/sh\\n%s\\n" "$1" >"$2"; chmod +x "$2"', text, wrapper);
    const { result } = await lab.run({ kind: 'leaveSwarm', targets: [node('node2')], holdMs: 1_000 });
    await on('node2', 'rm "$1"', wrapper);
    t.match(result, { outcome: 'Unknown', message: /inject\.sh failed/ });
    t.equal(await identity('node2'), who);
    t.equal(await kept('node2'), '');
    await until('whole', minute, () => isWhole('node2', 'node1'));
  });

  await t.test('is refused for another member than was planned for, and by a swarm that locks', async (t) => {
    const other = await lab.arm({ kind: 'leaveSwarm', target: node('node2'), args: ['leave', 'somebody'] });
    await t.rejects(other.inject(), RefusedError);
    await other.close();
    await on('node1', 'docker swarm update --autolock=true >/dev/null');
    const { result } = await lab.run({ kind: 'leaveSwarm', targets: [node('node2')], holdMs: 1_000 });
    await on('node1', 'docker swarm update --autolock=false >/dev/null');
    t.match(result, { outcome: 'Refused', message: /locks its managers/ });
    t.equal(await swarmState('node2'), 'active');
  });

  await t.test('is undone by the node alone', async (t) => {
    const who = await identity('node2');
    const run = await lab.abandon(t, { kind: 'leaveSwarm', target: node('node2'), fuseMs: 4_000 });
    t.equal(await run.looks(), 'active');
    await until('healed', minute, run.isHealed);
    t.equal(await identity('node2'), who);
    t.equal(await run.looks(), 'inactive');
    await until('whole', minute, () => isWhole('node2', 'node1'));
  });

  await t.test('does not outlive a loss of power', async (t) => {
    const who = await identity('node2');
    const run = await lab.abandon(t, { kind: 'leaveSwarm', target: node('node2'), fuseMs: 10 * minute });
    await lab.powerCycle('node2');
    await until('replayed', minute, run.isHealed);
    t.equal(await identity('node2'), who);
    await until('whole', minute, () => isWhole('node2', 'node1'));
  });

  await t.test('is undone by its mark, without a directory of any run', async (t) => {
    const who = await identity('node2');
    const { name } = await lab.abandon(t, { kind: 'leaveSwarm', target: node('node2'), fuseMs: 10 * minute });
    await on('node2', 'systemctl stop "sf-$1.timer"; rm -rf "/var/lib/spark-failures/runs/$1"', name);
    t.match(await scanOrphans(lab.node('node2'), lab.scripts, signal), [
      { kind: 'mark', mechanism: 'membership', mark: /^sf-swarm-\d+$/ },
    ]);
    t.same(await healNode(lab.node('node2'), lab.scripts, signal), []);
    t.equal(await identity('node2'), who);
    await until('whole', minute, () => isWhole('node2', 'node1'));
  });
});

await t.test('rebootNode', async (t) => {
  await t.test('ends one life of the machine, and is over when the next one has its engine', async (t) => {
    const [before, who] = [await boot('node3'), await identity('node3')];
    const run = await lab.run({ kind: 'rebootNode', targets: [node('node3')] });
    t.equal(run.result.outcome, 'Healed', run.result.message ?? '');
    says('rebootNode', run);
    const after = await boot('node3');
    t.not(after.split('\n')[0], before.split('\n')[0], 'another process 1');
    t.same(after.split('\n').slice(1), before.split('\n').slice(1), 'with its keys');
    t.equal(await identity('node3'), who, 'and its store');
    t.same(await scanOrphans(lab.node('node3'), lab.scripts, signal), []);
    await until('whole', minute, () => isWhole('node3', 'node1'));
    await until('its task is back', minute, async () => (await containers('node3')) !== '');
  });

  await t.test('is closed by the boot itself when nobody asks', async (t) => {
    const before = await boot('node3');
    const run = await lab.abandon(t, { kind: 'rebootNode', target: node('node3'), fuseMs: 10 * minute });
    await until('replayed', minute, run.isHealed);
    t.not((await boot('node3')).split('\n')[0], before.split('\n')[0]);
    t.equal(await run.looks(), 'active', 'it has been rebooted');
    await until('whole', minute, () => isWhole('node3', 'node1'));
  });
});

await t.test('powerOffNode', async (t) => {
  const isOff = async (name: string) => (await tries(name, 'true')).code === null;

  await t.test('is seen by a peer alone, and over when the next life has its engine', async (t) => {
    const [before, who] = [await boot('node2'), await identity('node2')];
    const during = async () => {
      t.ok(await isOff('node2'));
      await until('down', minute, async () => (await listed('node1', 'node2')).includes(' down '));
    };
    const run = await lab.run({
      ...{ kind: 'powerOffNode', targets: [node('node2')], holdMs: 20_000, during },
    });
    t.equal(run.result.outcome, 'Healed', run.result.message ?? '');
    says('powerOffNode', run);
    t.not((await boot('node2')).split('\n')[0], before.split('\n')[0]);
    t.equal(await identity('node2'), who);
    t.same(await scanOrphans(lab.node('node2'), lab.scripts, signal), []);
    await until('whole', minute, () => isWhole('node2', 'node1'));
  });

  await t.test('comes back although whoever pulled the plug was killed at once', async (t) => {
    const provisioner = bindLab(lab.access, () => {});
    const machine = async () => (await provisioner.list(signal)).find(({ name }) => name === 'node3')!;
    const { incarnation } = await machine();
    const script = `
      const { throwPowerSwitch } = await import(process.argv[1]);
      await throwPowerSwitch(process.argv[2], Date.now() + 8000);
      process.kill(process.pid, 'SIGKILL');`;
    const file = join(import.meta.dirname, '..', '..', 'provisioners', 'lab', 'power-switch.js');
    const child = spawn(process.execPath, ['--input-type=module', '-e', script, '--', file, incarnation]);
    const [, killedBy] = (await once(child, 'exit')) as [unknown, string];
    t.equal(killedBy, 'SIGKILL');
    await until('off', minute, async () => (await machine()).power === 'off');
    await until('on', minute, async () => (await machine()).power === 'on');
    await until('whole', minute, () => isWhole('node3', 'node1'));
  });

  await t.test('is undone by the switch alone, and closed by the boot', async (t) => {
    const before = await boot('node2');
    const run = await lab.abandon(t, { kind: 'powerOffNode', target: node('node2'), fuseMs: 12_000 });
    await until('in effect', 20_000, async () => (await run.looksFromWitness()) === 'active');
    await until('replayed', minute, run.isHealed);
    t.not((await boot('node2')).split('\n')[0], before.split('\n')[0]);
    t.equal(await run.looksFromWitness(), 'inactive');
    await until('whole', minute, () => isWhole('node2', 'node1'));
  });
});
