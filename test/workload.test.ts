import t from 'tap';
import type { LiveConfig, LiveService } from '../controller/swarm/swarm-types.ts';
import { boundClock, boundNodeClock } from '../controller/workload/clock-bound.ts';
import { settingsInForce } from '../controller/workload/settings-in-force.ts';
import { readSwarm, withSwarmViews } from '../controller/workload/swarm-views.ts';
import type { NodeHandle } from '../provisioners/contract.ts';
import type { ControlPlaneView } from '../state-machines/recovery/control-planes.ts';
import type { Sample } from '../state-machines/recovery/sample.ts';
import { FakeClock } from './support/fake-clock.ts';
import { FakeSwarm } from './support/fake-swarm.ts';
import { steadyJob } from './support/schedule-lab.ts';

const never = new AbortController().signal;

t.test('the shortest of several round trips bounds a clock', async (t) => {
  let nowMs = 1_000;
  const clock = { now: () => nowMs, sleep: async () => {} };
  const tripsMs = [80, 10, 40];
  let asked = 0;
  const ask = async () => {
    const tripMs = tripsMs[asked++]!;
    nowMs += tripMs;
    // A slow answer is slow on its way back.
    return nowMs - Math.min(5, tripMs) + 500;
  };
  t.same(await boundClock(ask, clock, 3), { offsetMs: 500, boundMs: 5 });

  const node = (stdout: string): NodeHandle => {
    const nodeHandle: Partial<NodeHandle> = {
      name: 'node3',
      exec: async () => ({ code: 0, signal: null, stdout, stderr: '' }),
    };
    return nodeHandle as NodeHandle;
  };
  const frozen = { now: () => 1_700_000_000_000, sleep: async () => {} };
  t.same(await boundNodeClock(node('1700000000250000000\n'), frozen, never), {
    ...{ node: 'node3', offsetMs: 250, boundMs: 0 },
  });
  await t.rejects(boundNodeClock(node('1700000000%N\n'), frozen, never), { code: 'EXEC_FAILED' });
});

t.test(
  'what governs detection is read from what the swarm holds, and nothing that may be secret',
  async (t) => {
    const file = (Name: string, text: string): LiveConfig => ({
      ...{ ID: Name, Version: { Index: 1 }, CreatedAt: '' },
      Spec: { Name, Labels: {}, Data: Buffer.from(text).toString('base64') },
    });
    const service = (Name: string, Env: readonly string[], named: readonly string[]) =>
      ({
        ...{ ID: Name, Version: { Index: 1 }, CreatedAt: '' },
        Spec: {
          ...{ Name, Labels: {}, Mode: { Replicated: { Replicas: 1 } }, EndpointSpec: { Mode: 'vip' } },
          TaskTemplate: {
            ContainerSpec: {
              ...{ Image: `${Name}:1`, Env },
              Configs: named.map((ConfigName) => ({
                ...{ ConfigID: ConfigName, ConfigName },
                File: { Name: `/etc/${ConfigName}`, UID: '0', GID: '0', Mode: 0o444 },
              })),
            },
            RestartPolicy: { Delay: 5e9 },
          },
        },
      }) as LiveService;
    const spark =
      '# spark.network.timeout  9s\n\nspark.network.timeout   120s\nspark.hadoop.secret.key abc\n';
    const configs = [
      file('spark-defaults.conf', spark),
      file('server.properties', 'broker.session.timeout.ms=9000\n'),
      file('job.py', 'TRIGGER = 1\n'),
    ];
    const names = ['spark-defaults.conf', 'job.py'];
    const services = [
      service('driver', ['TRIGGER=1 second', 'PASSWORD=secret', 'RETRIES=3'], names),
      service('worker', ['RETRIES=4'], names),
      service('kafka', [], ['server.properties']),
    ];
    t.same(settingsInForce(services, configs), {
      TRIGGER: '1 second',
      'broker.session.timeout.ms': '9000',
      'driver RETRIES': '3',
      'driver image': 'driver:1',
      'kafka image': 'kafka:1',
      'restart delay': '5s',
      'spark.network.timeout': '120s',
      'worker RETRIES': '4',
      'worker image': 'worker:1',
    });
  },
);

t.test('the swarm as a control plane', async (t) => {
  const clock = new FakeClock();
  const swarm = new FakeSwarm();
  swarm.addNode('node1', 'manager');
  swarm.addNode('node2', 'worker');
  const service = {
    ...{ Name: 'a', Labels: {}, Mode: { Replicated: { Replicas: 2 } } },
    ...{ TaskTemplate: { ContainerSpec: { Image: 'any:1' } }, EndpointSpec: { Mode: 'vip' as const } },
  };
  await swarm.gateway.createService(service, never);

  t.test('counts what is ready, reachable and running, by ids that are never given anew', async (t) => {
    const [nodes, tasks] = [await swarm.gateway.listNodes(never), await swarm.gateway.listTasks({}, never)];
    const { members, parts } = readSwarm(nodes, tasks);
    t.same(parts, { nodesReady: 2, managersReachable: 1, tasksRunning: 2 });
    t.equal(new Set(members).size, 5);
    const starting = tasks.map((task) => ({ ...task, Status: { State: 'starting' } }));
    t.equal(readSwarm(nodes, starting).parts.tasksRunning, 0);
  });

  t.test('is asked twice a second beside the rows, and left out while it does not answer', async (t) => {
    let isSilent = false;
    const gateway = async () => {
      if (isSilent) throw new Error('no manager answers');
      return swarm.gateway;
    };
    const stop = new AbortController();
    const views: (ControlPlaneView | undefined)[] = [];
    const rows: AsyncIterable<Sample> = withSwarmViews(
      steadyJob(clock).samples(stop.signal),
      { swarm: gateway, clock },
      stop.signal,
    );
    const reading = (async () => {
      for await (const row of rows) views.push(row.views.find(({ source }) => source === 'swarm'));
    })();
    await clock.advance(2_000);
    t.match(views.at(-1), { parts: { tasksRunning: 2 }, losses: 0 });
    t.ok(clock.now() - views.at(-1)!.atMs <= 500);
    t.ok(views.at(-1)!.askedMs <= views.at(-1)!.atMs);
    swarm.restartTasks('a');
    await clock.advance(1_000);
    t.match(views.at(-1), { parts: { tasksRunning: 2 }, losses: 2 }, 'who was replaced is lost');
    isSilent = true;
    await clock.advance(1_000);
    t.equal(views.at(-1), undefined);
    isSilent = false;
    await clock.advance(1_000);
    t.match(views.at(-1), { losses: 2 }, 'its silence is not its loss');
    stop.abort(new Error('over'));
    await t.rejects(reading);
    await clock.advance(1_000);
    t.equal(clock.sleeping, 0, 'nobody is asked any more');
  });
});
