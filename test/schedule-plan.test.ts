import fc from 'fast-check';
import t from 'tap';
import { gatherFacts, gatherInventory } from '../controller/schedule/gather-facts.ts';
import { guardRun } from '../controller/schedule/guard-run.ts';
import { createInterventions } from '../controller/schedule/interventions.ts';
import { contaminationOf, type TrialEvidence } from '../controller/schedule/judge-contamination.ts';
import { firstOfEach, phaseOf, planCampaign, titleOf } from '../controller/schedule/plan-campaign.ts';
import { type Inventory, selectTargets } from '../controller/schedule/select-targets.ts';
import { NODE_LABEL } from '../controller/swarm/labels.ts';
import { targetName } from '../state-machines/contract.ts';
import { loadScripts } from '../state-machines/load-scripts.ts';
import { seededRandom } from '../state-machines/seeded-random.ts';
import { FakeClock } from './support/fake-clock.ts';
import { FakeNode } from './support/fake-node.ts';
import { FakeSwarm } from './support/fake-swarm.ts';
import { completeOf, crash, makeSchedule, ScheduleLab, silence, workers } from './support/schedule-lab.ts';

const never = new AbortController().signal;

const worker = (slot: number, tasks = 1) => ({
  name: `streaming_spark-worker-${slot}`,
  ...{ id: `worker-${slot}`, replicated: true },
  labels: { role: 'spark-worker' },
  tasks: Array.from({ length: tasks }, (_, i) => ({
    node: `node${slot + 3}`,
    taskId: `t${slot}${i}`,
    containerId: `c${slot}${i}`,
  })),
});

const inventory: Inventory = {
  nodes: [1, 2, 3, 4, 5, 6].map((i) => ({
    name: `node${i}`,
    ...{ id: `id-${i}`, role: i === 1 ? 'manager' : 'worker', controls: i === 1 },
    labels: { place: i > 3 ? 'compute' : 'other' },
  })),
  services: [
    worker(1),
    worker(2),
    worker(3),
    {
      name: 'streaming_kafka',
      ...{ id: 'kafka', replicated: true },
      labels: {},
      tasks: [{ node: 'node2', taskId: 'tk', containerId: 'ck' }],
    },
  ],
};

type Service = Inventory['services'][number];

t.test('the same seed and the same world give the same targets, in whatever order they were listed', (t) => {
  const draw = () => 0.7;
  const reversed = { ...inventory, services: [...inventory.services].reverse() };
  t.same(selectTargets(workers, inventory, draw), selectTargets(workers, reversed, draw));
  t.equal(selectTargets(workers, inventory, draw).length, 1, 'one when nothing is said');
  const slots = [1, 2, 3, 10].map((slot) => ({
    ...{ node: 'node4', taskId: `t${slot}`, containerId: `c${slot}`, slot: String(slot) },
  }));
  const pool = (tasks: typeof slots) => ({ ...inventory, services: [{ ...worker(1), tasks }] });
  t.same(
    selectTargets(workers, pool(slots), draw),
    selectTargets(workers, pool([...slots].reverse()), draw),
    'several tasks of a service on one node, too',
  );
  t.end();
});

t.test('a service answers to its full name and to the one in its compose file', (t) => {
  for (const name of ['kafka', 'streaming_kafka']) {
    const targets = selectTargets({ services: { matchNames: [name] } }, inventory, () => 0);
    t.same(targets.map(targetName), ['node2/streaming_kafka']);
  }
  t.same(
    selectTargets({ services: { matchNames: ['afka'] } }, inventory, () => 0),
    [],
  );
  t.end();
});

t.test('a kind that is aimed at services gets each one whole, however many tasks it has', (t) => {
  const services = [worker(1, 2), { ...worker(2, 0), replicated: false }];
  const chosen = selectTargets(
    { ...workers, pick: 'all', whole: true },
    { ...inventory, services },
    () => 0.9,
  );
  t.same(
    [...chosen].sort((a, b) => (targetName(a) < targetName(b) ? -1 : 1)),
    [
      { kind: 'service', service: 'streaming_spark-worker-1', serviceId: 'worker-1', replicated: true },
      { kind: 'service', service: 'streaming_spark-worker-2', serviceId: 'worker-2', replicated: false },
    ],
  );
  const nodes = { nodes: { matchLabels: { place: 'compute' } }, pick: 'all', whole: true } as const;
  t.same(
    selectTargets(nodes, inventory, () => 0).map(({ kind }) => kind),
    ['node', 'node', 'node'],
  );
  t.end();
});

t.test('pick and count say how many, and too few candidates give none', (t) => {
  const many = (selector: object) => selectTargets({ ...workers, ...selector }, inventory, () => 0.3).length;
  t.equal(many({ pick: 'all' }), 3);
  t.equal(many({ pick: 'minority' }), 1);
  t.equal(many({ pick: 'majority' }), 2);
  t.equal(many({ count: 2 }), 2);
  t.equal(many({ count: 4 }), 0);
  t.end();
});

t.test('a choice is always a set of distinct candidates that match', (t) => {
  const label = (name: string) => inventory.nodes.find((node) => node.name === name)?.labels.place;
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 3 }),
      fc.infiniteStream(fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true })),
      (count, draws) => {
        const random = () => draws.next().value as number;
        const chosen = selectTargets(
          { nodes: { matchLabels: { place: 'compute' } }, count },
          inventory,
          random,
        );
        const names = chosen.map(targetName);
        return new Set(names).size === count && names.every((name) => label(name) === 'compute');
      },
    ),
  );
  t.end();
});

t.test(
  'a node-wide fault may not hit what the measurement depends on, nor take the quorum, unless it is said',
  (t) => {
    const strict = { allowQuorumLoss: false, allowMeasurementNodes: false };
    const at = (node: string) => [{ kind: 'node', node } as const];
    t.same(guardRun(at('node4'), inventory, strict), []);
    t.match(guardRun(at('node2'), inventory, strict), [/^node2 runs streaming_kafka/]);
    const second = { ...inventory.services.at(-1)!, name: 'streaming_kafka-2' };
    const numbered = { ...inventory, services: [second] };
    t.match(guardRun(at('node2'), numbered, { ...strict, allowQuorumLoss: true }), [
      /^node2 runs streaming_kafka-2/,
    ]);
    const permitted = { allowQuorumLoss: true, allowMeasurementNodes: true };
    t.same(guardRun(at('node2'), inventory, permitted), []);
    t.equal(guardRun(at('node2'), inventory, strict).length, 2, 'all reasons at once');
    t.match(guardRun(at('node1'), inventory, strict), [/^0 of 1 swarm managers/]);
    t.same(guardRun(at('node1'), inventory, { ...strict, allowQuorumLoss: true }), []);
    const managers = (...reached: readonly number[]): Inventory => ({
      services: [],
      nodes: inventory.nodes.map((node, index) => ({
        ...node,
        ...(index < 3 && { role: 'manager' as const, controls: reached.includes(index + 1) }),
      })),
    });
    t.same(guardRun(at('node1'), managers(1, 2, 3), strict), []);
    t.match(guardRun(at('node1'), managers(1, 2), strict), [/^1 of 3 swarm managers/], 'one is lost already');
    t.same(guardRun(at('node4'), managers(1, 2), strict), []);
    const task = (called: string) =>
      selectTargets({ services: { matchNames: [called] } }, inventory, () => 0);
    t.same(guardRun(task('spark-worker-1'), inventory, strict), [], 'a task beside the measurement');
    const whole = (called: string) =>
      selectTargets({ services: { matchNames: [called] }, whole: true }, inventory, () => 0);
    t.same(guardRun(whole('spark-worker-1'), inventory, strict), []);
    t.match(guardRun(whole('kafka'), inventory, strict), [/^streaming_kafka is what the measurement/]);
    t.same(guardRun(whole('kafka'), inventory, permitted), []);
    t.end();
  },
);

t.test('a quorum of ZooKeeper, or the in-sync replicas of Kafka, is not taken by accident', (t) => {
  const strict = { allowQuorumLoss: false, allowMeasurementNodes: true };
  const service = (name: string, nodes: readonly string[], desired = nodes.length): Service => ({
    ...{ name, id: name, replicated: true, labels: {}, desired },
    tasks: nodes.map((node, i) => ({ node, taskId: `${name}.${i}`, containerId: `${name}.${i}` })),
  });
  const world = (...services: readonly Service[]): Inventory => ({ nodes: inventory.nodes, services });
  const tasksHit = (from: Inventory, called: string, count: number) =>
    guardRun(
      selectTargets({ services: { matchNames: [called] }, count }, from, () => 0),
      from,
      strict,
    );
  const nodesHit = (from: Inventory, ...names: readonly string[]) =>
    guardRun(
      names.map((node) => ({ kind: 'node', node })),
      from,
      strict,
    );

  const one = world(service('streaming_zookeeper', ['node4']), service('streaming_kafka', ['node5']));
  t.same(tasksHit(one, 'zookeeper', 1), [
    '0 of 1 servers of streaming_zookeeper would be left: no quorum (allowQuorumLoss: true permits it)',
  ]);
  t.same(tasksHit(one, 'kafka', 1), [
    '0 of 1 brokers of streaming_kafka would be left: no in-sync replicas (allowQuorumLoss: true permits it)',
  ]);
  t.equal(nodesHit(one, 'node4', 'node5').length, 2);
  t.same(nodesHit(one, 'node6'), []);

  const three = world(service('a_zookeeper', ['node4', 'node5', 'node6']));
  t.same(tasksHit(three, 'zookeeper', 1), []);
  t.match(tasksHit(three, 'zookeeper', 2), [/^1 of 3 servers of a_zookeeper/]);
  const numbered = world(
    ...[1, 2, 3].map((i) => service(`a_zookeeper-${i}`, [`node${i + 3}`])),
    service('b_zookeeper', ['node4']),
  );
  t.same(nodesHit(numbered, 'node5'), [], 'three services, one ensemble');
  t.match(nodesHit(numbered, 'node5', 'node6'), [/^1 of 3 servers of a_zookeeper/]);
  t.match(nodesHit(numbered, 'node4'), [/^0 of 1 servers of b_zookeeper/], 'each stack has its own');
  const lame = world(service('a_zookeeper', ['node4', 'node5'], 3), service('a_app', ['node4', 'node6']));
  t.match(tasksHit(lame, 'zookeeper', 1), [/^1 of 3 servers/], 'one is lost already');
  t.same(nodesHit(lame, 'node6'), [], 'a fault that hits none of them is not to blame');

  const brokers = (count: number) =>
    world(
      service(
        'a_kafka',
        Array.from({ length: count }, (_, i) => `node${i + 1}`),
      ),
    );
  t.match(tasksHit(brokers(2), 'kafka', 1), [/^1 of 2 brokers/]);
  t.same(tasksHit(brokers(3), 'kafka', 1), []);
  t.match(tasksHit(brokers(5), 'kafka', 2), [/^3 of 5 brokers/], 'both may hold the same partition');
  const ui = world(service('a_kafka-ui', ['node4']), service('a_my-zookeeper-exporter', ['node4']));
  t.same(nodesHit(ui, 'node4'), [], 'what only sounds like it');
  t.end();
});

t.test('facts say what the swarm knows of each node, and nothing of a stale twin', async (t) => {
  const scripts = await loadScripts('state-machines');
  const swarm = new FakeSwarm();
  for (const i of [1, 2]) swarm.addNode(`node${i}`, 'manager', { [NODE_LABEL]: `node${i}` });
  const twin = swarm.addNode('node3', 'worker', { [NODE_LABEL]: 'node3' });
  swarm.editNode(twin.ID, (node) => ({ ...node, Status: { State: 'down' } }));
  const current = swarm.addNode('node3', 'worker', { [NODE_LABEL]: 'node3' });
  const deaf = [...swarm.nodes.values()].find(({ Description }) => Description.Hostname === 'node2')!;
  swarm.editNode(deaf.ID, (node) => ({
    ...node,
    ManagerStatus: { Reachability: 'unreachable', Addr: '10.0.0.2:2377' },
  }));
  const seen = await gatherInventory(swarm.gateway, never);
  t.same(
    seen.nodes.map((node) => node.name),
    ['node1', 'node2', 'node3'],
  );
  const nodeNames = ['node1', 'node2', 'node3', 'node4'];
  const nodes = async (of: string) => new FakeNode(of, new FakeClock(), scripts);
  const facts = await gatherFacts([], seen, { nodeNames, nodes }, never);
  t.match(
    facts.nodes.map((node) => node.swarm),
    [
      { role: 'manager', controls: true },
      { role: 'manager', controls: false },
      { id: current.ID, role: 'worker', controls: false },
      undefined,
    ],
  );
});

t.test('the run of a schedule, when it is planned', async (t) => {
  t.test('that a guard refuses is recorded, and touches no node', async (t) => {
    const lab = await new ScheduleLab().prepare();
    const target = { nodes: { matchNames: ['node2'] } };
    const status = await lab.run(makeSchedule({ faults: [{ ...silence, target }] }));
    t.match(status.trials, [{ outcome: 'Refused', targets: [], message: /node2 runs streaming_kafka/ }]);
    t.match(completeOf(status), { reason: 'Refused', message: /allowMeasurementNodes: true permits it/ });
    t.same(lab.touched, []);
    t.same(lab.records, []);
    const faults = [{ ...silence, target }];
    const permitted = { faults, allowMeasurementNodes: true, allowQuorumLoss: true };
    t.match((await lab.run(makeSchedule(permitted))).trials, [{ outcome: 'Healed' }]);
  });

  t.test('on the machine of the operator itself is refused, unless it is permitted', async (t) => {
    const lab = await new ScheduleLab().prepare();
    lab.nodes[3]!.mood.hasController = true;
    const { trials } = await lab.run(makeSchedule({ faults: [silence] }));
    t.match(trials, [{ outcome: 'Refused', targets: [], message: /^node4 runs this operator/ }]);
    t.match((await lab.run(makeSchedule())).trials, [{ outcome: 'Healed' }], 'a task there may be hit');
    const permitted = makeSchedule({ faults: [silence], allowMeasurementNodes: true });
    t.match((await lab.run(permitted)).trials, [{ outcome: 'Healed' }]);
  });

  t.test('on a machine that the operator on it reaches by another address is refused, too', async (t) => {
    const lab = await new ScheduleLab().prepare();
    lab.ownAddresses = ['172.17.0.1', '10.0.0.4'];
    const { trials } = await lab.run(makeSchedule({ faults: [silence] }));
    t.match(trials, [{ outcome: 'Refused', targets: [], message: /^node4 runs this operator/ }]);
  });

  t.test('whose target is not there is refused, too', async (t) => {
    const lab = await new ScheduleLab().prepare();
    const target = { services: { matchNames: ['no-such-service'] } };
    const { trials } = await lab.run(makeSchedule({ faults: [{ ...crash, target }] }));
    t.match(trials, [{ outcome: 'Refused', message: /nothing that runs now matches/ }]);
  });

  t.test('is refused for every reason that there is, before any node is touched', async (t) => {
    const lab = await new ScheduleLab().prepare();
    lab.nodes[1]!.mood.lacks = ['iptables', 'systemd'];
    lab.nodes[3]!.mood.lacks = ['iptables'];
    lab.claims.hold('FaultSchedule/other', ['node4/streaming_spark-worker-1']);
    const both = { ...silence, target: { nodes: { matchNames: ['node2', 'node4'] }, pick: 'all' } };
    const status = await lab.run(makeSchedule({ faults: [both, crash] }));
    t.match(completeOf(status), { reason: 'Refused' });
    const message = completeOf(status)?.message ?? '';
    for (const reason of [
      'node2 runs streaming_kafka, which the measurement depends on',
      '0 of 1 brokers of streaming_kafka would be left',
      'node2 lacks systemd, iptables',
      'node4 lacks iptables',
      'node4/streaming_spark-worker-1 is held by FaultSchedule/other',
    ])
      t.ok(message.includes(reason), reason);
    t.same(lab.touched, []);
    t.same(lab.records, []);
    t.same(
      status.trials.map(({ fault, outcome }) => [fault, outcome]),
      [['silence', 'Refused']],
      'nor is what could be done begun',
    );
  });

  t.test('tells also what the kind itself refuses, beside what the nodes lack', async (t) => {
    const lab = await new ScheduleLab().prepare();
    lab.nodes[3]!.mood.lacks = ['iptables'];
    const partition = { from: { nodes: { matchNames: ['node9'] } } };
    const { isolateNode: _isolate, ...rest } = silence;
    const { trials } = await lab.run(makeSchedule({ faults: [{ ...rest, partition }] }));
    t.equal(trials[0]?.message, 'partition: the cluster has no node "node9"; node4 lacks iptables');
  });

  t.test('of a node that serves the checkpoint is no matter of course: the record says so', async (t) => {
    const lab = await new ScheduleLab().prepare();
    for (const name of ['namenode', 'datanode']) await lab.addService(name, 'node3', name);
    lab.checkpoint = 'hdfs';
    const target = { nodes: { matchNames: ['node3'] } };
    const { trials } = await lab.run(
      makeSchedule({
        faults: [
          { ...silence, target },
          { ...silence, name: 'other' },
        ],
      }),
    );
    const both = ['streaming_datanode', 'streaming_namenode'];
    t.same(
      trials.map(({ targets, outcome, checkpointHit }) => [targets, outcome, checkpointHit]),
      [
        [['node3'], 'Healed', both],
        [['node4'], 'Healed', undefined],
      ],
    );
    t.match(lab.records[0]?.checkpointHit, both, 'the journal, too');
    const said = lab.said.find((line) => line.endsWith('inject'));
    t.match(
      said,
      /^silence on node3, which hits the checkpoint, too \(streaming_datanode, streaming_namenode\)/,
    );
  });

  t.test('that would take files of a checkpoint which is no folder is refused', async (t) => {
    const lab = await new ScheduleLab().prepare();
    lab.checkpoint = 'hdfs';
    const lost = { name: 'lost', target: silence.target, hold: '20s', loseCheckpoint: {} };
    const { trials } = await lab.run(makeSchedule({ faults: [lost] }));
    t.match(trials, [
      { outcome: 'Refused', message: /^loseCheckpoint: the job keeps its checkpoint in HDFS/ },
    ]);
    t.same(lab.touched, []);
  });

  t.test('tells of each machine that nobody can switch off', async (t) => {
    const lab = await new ScheduleLab().prepare();
    lab.nodes[3]!.mood.lacks = ['docker-unit'];
    const dark = {
      name: 'dark',
      target: { nodes: { matchNames: ['node4'] } },
      hold: '20s',
      powerOffNode: {},
    };
    const { trials } = await lab.run(makeSchedule({ faults: [dark] }));
    t.equal(
      trials[0]?.message,
      'node4 lacks docker-unit; node4: its provisioner has no power switch',
      'beside all other reasons',
    );
    t.same(lab.nodes[3]!.runs.size, 0, 'and the node is not touched');
  });

  t.test('tells of zones and lent machines that nobody could take away', async (t) => {
    const lab = await new ScheduleLab().prepare();
    const at = (name: string, kind: object) => ({
      ...{ name, target: { nodes: { matchNames: ['node6'] } } },
      ...kind,
    });
    const cut = at('cut', { hold: '20s', blackholeZone: {} });
    const ended = at('ended', { interruptNode: {} });
    const why = async (fault: object) =>
      (await lab.run(makeSchedule({ faults: [fault] }))).trials[0]?.message;
    t.equal(await why(cut), 'node6 is in no zone that its provisioner could cut off');
    t.equal(await why(ended), 'node6 is no spot machine: nobody takes it back');
    for (const { name } of lab.nodes) {
      const zone = name === 'node6' ? 'b' : 'a';
      const machine = { name, address: '', incarnation: '', settingsHash: '', power: 'on' as const };
      lab.machines.set(name, { ...machine, zone, ...(zone === 'b' && { spot: true as const }) });
    }
    t.equal(await why(cut), 'node6: its provisioner cannot cut off a zone');
    t.equal(await why(ended), 'node6: its provisioner has no spot machines');
    t.same(lab.touched, []);
  });

  t.test('names every node that is out of reach', async (t) => {
    const lab = await new ScheduleLab().prepare();
    for (const node of lab.nodes.slice(3, 5)) node.mood.unreachable = true;
    const target = { nodes: { matchNames: ['node4', 'node5'] }, pick: 'all' };
    const { trials } = await lab.run(makeSchedule({ faults: [{ ...silence, target }] }));
    t.equal(trials[0]?.message, 'node4: connection lost; node5: connection lost');
    t.same(lab.touched, []);
  });

  t.test('leaves alone what another schedule holds, and says whose it is', async (t) => {
    const lab = await new ScheduleLab().prepare();
    const hold = async (targets: readonly string[]) => {
      lab.claims.release('FaultSchedule/other');
      lab.claims.hold('FaultSchedule/other', targets);
      return (await lab.run(makeSchedule({ faults: [silence] }))).trials[0];
    };
    t.match(await hold(['node4']), { outcome: 'Refused', message: 'node4 is held by FaultSchedule/other' });
    t.match(await hold(['node4/streaming_kafka']), { outcome: 'Refused' }, 'a part of it');
    t.match(await hold(['node5', 'streaming_kafka']), { outcome: 'Healed' });
    t.equal(lab.claims.heldBy('node4'), undefined);
    t.equal(lab.claims.heldBy('node5'), 'FaultSchedule/other', 'whose claim stays');
  });
});

t.test('the leader', async (t) => {
  const manifest = (target: object, kind: object = { killContainer: {} }, spec: object = {}) =>
    makeSchedule({ faults: [{ name: 'lost', target, ...kind }], ...spec });
  const worker = (slot: number) => `streaming_spark-worker-${slot}`;
  const master = (status: string) => `HTTP/1.1 200 OK\r\n\r\n{\n  "status" : "${status}"\n}`;
  const masters = { ...workers, pick: 'leader', leads: { sparkMaster: {} } };

  t.test('of the services is the one that says so', async (t) => {
    const lab = await new ScheduleLab().prepare();
    for (const [i, status] of ['STANDBY', 'ALIVE', 'STANDBY'].entries())
      lab.nodes[i + 3]!.answers.set(8080, master(status));
    const { trials } = await lab.run(manifest(masters));
    t.match(trials, [{ outcome: 'Healed', targets: [`node5/${worker(2)}`] }]);
    const stopped = await lab.run(manifest(masters, { hold: '20s', stopService: {} }));
    t.match(
      stopped.trials,
      [{ outcome: 'Healed', targets: [worker(2)] }],
      'or the service that it belongs to',
    );
  });

  t.test('is asked where the manifest says, and a silent one does not hide it', async (t) => {
    const lab = await new ScheduleLab().prepare();
    lab.nodes[4]!.answers.set(2182, 'Zookeeper version: 3.9.5\nMode: leader\nNode count: 5\n');
    const target = { ...masters, leads: { zookeeper: { port: 2182 } } };
    const { trials } = await lab.run(manifest(target));
    t.match(trials, [{ targets: [`node5/${worker(2)}`] }]);
  });

  t.test('that nobody is, or that two claim to be, refuses the run with what each said', async (t) => {
    const lab = await new ScheduleLab().prepare();
    lab.nodes[3]!.answers.set(8080, master('STANDBY'));
    lab.nodes[4]!.answers.set(8080, 'HTTP/1.1 404 Not Found\r\n\r\n');
    const none = await lab.run(manifest(masters));
    t.equal(
      none.trials[0]?.message,
      `nobody leads Spark's masters: node4/${worker(1)} follows, ` +
        `node5/${worker(2)} is not clear (what answers is no Spark master), ` +
        `node6/${worker(3)} is not clear (ask.sh failed)`,
    );
    t.match(none.trials, [{ outcome: 'Refused' }]);
    for (const i of [3, 4]) lab.nodes[i]!.answers.set(8080, master('ALIVE'));
    const two = await lab.run(manifest(masters));
    t.match(two.trials[0]?.message, /^several claim to lead .*: node4\/\S+ leads, node5\/\S+ leads$/);
    t.same(lab.touched, []);
  });

  t.test('of the swarm is a node, if it is among those of the target', async (t) => {
    const lab = await new ScheduleLab().prepare();
    const silenced = { hold: '20s', isolateNode: {} };
    const target = { nodes: { matchNames: ['node1', 'node3'] }, pick: 'leader' };
    const { trials } = await lab.run(manifest(target, silenced, { allowQuorumLoss: true }));
    t.match(trials, [{ outcome: 'Healed', targets: ['node1'] }]);
    const others = { nodes: { matchNames: ['node3'] }, pick: 'leader' };
    const refused = await lab.run(manifest(others, silenced));
    t.match(refused.trials, [
      { message: /^node1 leads the swarm, and is not among the nodes of the target$/ },
    ]);
    for (const { ID } of lab.swarm.nodes.values())
      lab.swarm.editNode(ID, ({ ManagerStatus: _lost, ...node }) => node);
    const headless = await lab.run(manifest(target, silenced));
    t.match(headless.trials, [{ message: 'nobody leads the swarm' }]);
  });
});

/** The spec of a campaign over so many faults. */
const campaignOf = (faults: number, spec: object = {}) =>
  makeSchedule({
    preset: 'quick',
    faults: Array.from({ length: faults }, (_, index) => ({ ...crash, name: `f${index}` })),
    ...spec,
  }).spec;

t.test('a campaign', async (t) => {
  const quick = campaignOf(2, { trials: 3, controls: 2 });
  const any = fc.record({
    faults: fc.integer({ min: 1, max: 6 }),
    trials: fc.integer({ min: 1, max: 12 }),
    controls: fc.integer({ min: 0, max: 30 }),
    seed: fc.integer({ min: 0, max: 2 ** 32 - 1 }),
  });
  const drawn = ({
    faults,
    trials,
    controls,
    seed,
  }: { [K in 'faults' | 'trials' | 'controls' | 'seed']: number }) =>
    planCampaign(campaignOf(faults, { trials, controls }), seed);

  t.test('has one order for a seed, and another for another', async (t) => {
    const order = (seed: number) => planCampaign(quick, seed).map(titleOf).join(' ');
    t.equal(order(42), 'f1 f0 f1 control f0 control f0 f1');
    t.equal(order(43), 'control f0 f0 f1 control f1 f1 f0');
    t.same(
      planCampaign(quick, 42).map(({ number, seed }) => [number, seed]),
      [1, 2, 3, 4, 5, 6, 7, 8].map((number) => [number, 41 + number]),
    );
    t.ok(new Set(Array.from({ length: 50 }, (_, seed) => order(seed))).size > 40, 'seeds differ');
    fc.assert(
      fc.property(any, (one) => {
        const [first, again] = [drawn(one), drawn(one)].map((campaign) => JSON.stringify(campaign));
        return first === again;
      }),
    );
  });

  t.test('has each fault as often as it is measured, and its controls', async () => {
    fc.assert(
      fc.property(any, (one) => {
        const titles = drawn(one).map(titleOf);
        const count = (title: string) => titles.filter((each) => each === title).length;
        return (
          titles.length === one.faults * one.trials + one.controls &&
          count('control') === one.controls &&
          Array.from({ length: one.faults }, (_, index) => count(`f${index}`)).every((n) => n === one.trials)
        );
      }),
    );
  });

  t.test(
    'has a control in each of as many equal stretches, and they stand for all faults alike',
    async () => {
      fc.assert(
        fc.property(any, (one) => {
          const all = drawn(one);
          const controls = all.filter(({ isControl }) => isControl);
          const bound = (index: number) => Math.floor((index * all.length) / one.controls);
          const models = Array.from(
            { length: one.faults },
            (_, index) => controls.filter(({ group }) => group.name === `f${index}`).length,
          );
          return (
            controls.every(({ number }, index) => number > bound(index) && number <= bound(index + 1)) &&
            Math.max(...models) - Math.min(...models) <= 1
          );
        }),
      );
    },
  );

  t.test('puts every fault first about as often as any other', async (t) => {
    const spec = campaignOf(4, { trials: 2, controls: 0 });
    const first = Array.from({ length: 2_000 }, (_, seed) => titleOf(planCampaign(spec, seed)[0]!));
    for (const fault of ['f0', 'f1', 'f2', 'f3']) {
      const times = first.filter((each) => each === fault).length;
      t.ok(times > 420 && times < 580, `${fault}: ${times} of 2000`); // 500, four standard deviations of 19
    }
  });

  t.test('that measures nothing is a script: in the order in which it is written, once', async (t) => {
    const spec = campaignOf(5, { preset: 'none' });
    for (const seed of [1, 2, 3])
      t.same(planCampaign(spec, seed).map(titleOf), ['f0', 'f1', 'f2', 'f3', 'f4']);
  });

  t.test('is foreseen by the first trial of each of its faults', async (t) => {
    const first = firstOfEach(planCampaign(quick, 42));
    t.same(first.map(titleOf).sort(), ['f0', 'f1']);
    for (const { number, group } of first)
      t.notOk(
        planCampaign(quick, 42).some(
          (one) => !one.isControl && one.group.name === group.name && one.number < number,
        ),
      );
  });
});

t.test('the phase of a fault', async (t) => {
  /** How many of so many seeds fall into each tenth of a period. */
  const tenths = (triggerMs: number, periodMs: number) => {
    const counts = Array.from({ length: 10 }, () => 0);
    for (let seed = 0; seed < 4_000; seed++)
      counts[Math.floor(((phaseOf(seed, triggerMs) % periodMs) / periodMs) * 10)]! += 1;
    return counts;
  };
  t.test('is uniform in the trigger interval and in the window, whatever their ratio', async (t) => {
    for (const triggerMs of [500, 1_000, 2_000, 5_000, 10_000])
      for (const periodMs of [triggerMs, 5_000]) {
        const counts = tenths(triggerMs, periodMs);
        // Binomial with mean 400 and standard deviation 19.
        t.ok(Math.min(...counts) > 310 && Math.max(...counts) < 490, `${triggerMs}, ${periodMs}: ${counts}`);
      }
  });
  t.test('takes no longer than the window when that is a multiple of the trigger interval', async (t) => {
    const phases = Array.from({ length: 4_000 }, (_, seed) => phaseOf(seed, 1_000));
    t.ok(Math.max(...phases) < 5_000 && Math.min(...phases) >= 0);
    t.ok(phases.every(Number.isInteger));
  });
  t.test('does not decide which target is drawn', async (t) => {
    const early = Array.from({ length: 4_000 }, (_, seed) => seed).filter(
      (seed) => phaseOf(seed, 1_000) < 2_500,
    );
    const low = early.filter((seed) => seededRandom(seed)() < 0.5).length;
    t.ok(Math.abs(low / early.length - 0.5) < 0.05, `${low} of ${early.length}`);
  });
});

t.test('a trial is contaminated', async (t) => {
  const settings = { 'streaming.TRIGGER': '1 second' };
  const task = { service: 'streaming_generator', node: 'node2', taskId: 't1' };
  const view = { ready: ['node1', 'node2', 'node4'], measuring: [task] };
  const clock = { node: 'node2', offsetMs: 3, boundMs: 2 };
  const clean: TrialEvidence = {
    targets: ['node4/streaming_spark-worker-1'],
    ...{ before: view, after: view, interventions: [], clocks: [clock, clock] },
    elapsed: { wallMs: 100_000, monotonicMs: 100_020 },
    settings: { campaign: settings, trial: settings },
  };
  const reasons = (change: Partial<TrialEvidence>) => contaminationOf({ ...clean, ...change });

  t.test('not by what its targets and clocks may do', async (t) => {
    t.same(contaminationOf(clean), []);
    t.same(reasons({ after: { ...view, ready: ['node1', 'node2'] } }), [], 'the node of its target');
    for (const target of ['node2', 'streaming_generator', 'node2/streaming_generator'])
      t.same(reasons({ targets: [target], after: { ...view, measuring: [] } }), [], target);
    const { before: _before, after: _after, ...unseen } = clean;
    t.same(contaminationOf(unseen), [], 'nobody could be asked');
    t.same(reasons({ elapsed: { wallMs: 600_000, monotonicMs: 600_300 } }), [], 'a clock that is slewed');
    t.same(reasons({ clocks: [clock, { ...clock, offsetMs: 150 }] }), []);
    t.same(reasons({ clocks: [] }), []);
  });

  t.test('by whatever else changed the cluster', async (t) => {
    const intervention = { by: 'the reconciler', what: 'update-service streaming_kafka', fromMs: 1, toMs: 1 };
    t.same(reasons({ interventions: [intervention, intervention] }), [
      'the reconciler changed the cluster: update-service streaming_kafka',
    ]);
  });

  t.test('by the loss of a bystander', async (t) => {
    t.same(reasons({ after: { ...view, ready: ['node2', 'node4'] } }), [
      'node1 is not ready any more, and was no target',
    ]);
    const ended = ['a task of streaming_generator, on which the measurement depends, ended'];
    t.same(reasons({ after: { ...view, measuring: [{ ...task, taskId: 't2' }] } }), ended);
    const kafka = { targets: ['node2/streaming_kafka'], after: { ...view, measuring: [] } };
    t.same(reasons(kafka), ended, 'who shares a node with a target is none');
  });

  t.test('by a clock that was set', async (t) => {
    t.same(reasons({ elapsed: { wallMs: 98_000, monotonicMs: 100_000 } }), [
      'the clock of the controller was set by -2000 ms',
    ]);
    const other = { node: 'node3', offsetMs: -7, boundMs: 20 };
    const stepped = { ...clock, offsetMs: 1_003 };
    t.same(reasons({ clocks: [other, clock, stepped, other] }), [
      "the clock of node2 moved by 1000 ms against the controller's",
    ]);
    t.same(reasons({ clocks: [other, { ...other, offsetMs: -993 }] }).length, 1, 'whoever is on that node');
    t.same(reasons({ targets: ['node2'], clocks: [clock, stepped] }), [], 'but for a target');
  });

  t.test('by other settings than its campaign began with', async (t) => {
    const trial = { 'streaming.TRIGGER': '2 seconds', 'streaming.RATE': '1' };
    t.same(reasons({ settings: { campaign: settings, trial } }), [
      'streaming.TRIGGER is not what it was at the beginning of the campaign',
      'streaming.RATE is not what it was at the beginning of the campaign',
    ]);
  });
});

t.test('interventions are those of others, from an instant on', async (t) => {
  const clock = new FakeClock(0);
  const all = createInterventions(clock);
  all.note('the reconciler', 'early');
  const over = all.begin('FaultSchedule/a', 'crash');
  await clock.advance(1_000);
  over();
  all.begin('FaultSchedule/b', 'silence');
  await clock.advance(1_000);
  all.note('the reconciler', 'late');
  const what = (fromMs: number, owner = 'FaultSchedule/mine') =>
    all.since(fromMs, owner).map((one) => one.what);
  t.same(what(0), ['early', 'crash', 'silence', 'late']);
  t.same(what(500), ['crash', 'silence', 'late'], 'what was going on then counts');
  t.same(what(1_500), ['silence', 'late']);
  t.same(what(5_000), ['silence'], 'what never ended');
  t.same(what(1_500, 'FaultSchedule/b'), ['late'], 'not what oneself does');
});
