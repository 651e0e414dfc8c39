import fc from 'fast-check';
import t from 'tap';
import { applyPlan, type StepOutcome } from '../controller/cluster/apply-plan.ts';
import type { ClusterPlan, Step } from '../controller/cluster/cluster-plan.ts';
import { formatPlan } from '../controller/cluster/format-plan.ts';
import { planCluster } from '../controller/cluster/plan-cluster.ts';
import type { DesiredCluster, ObservedCluster, ObservedMachine } from '../controller/cluster/plan-context.ts';
import { Bystander } from '../controller/lease/bystander.ts';
import { type LeaseRecord, leaseData, leaseLabels, leaseName } from '../controller/lease/lease-record.ts';
import { ControlLoop } from '../controller/loop/control-loop.ts';
import type { StoredResource } from '../controller/source/resource-store.ts';
import type { CheckpointUse } from '../controller/stack/checkpoint.ts';
import type { DesiredStack } from '../controller/stack/convert-stack.ts';
import { EngineError } from '../controller/swarm/engine-error.ts';
import { CLUSTER_LABEL, NODE_LABEL, TRIED_LABEL } from '../controller/swarm/labels.ts';
import type { SwarmGateway } from '../controller/swarm/swarm-gateway.ts';
import type { ContainerSpec, EngineInfo, LiveNode, ServiceSpec } from '../controller/swarm/swarm-types.ts';
import type { ClusterSpec } from '../crds/cluster-spec.ts';
import { ManifestError } from '../crds/problem.ts';
import { ProvisionError } from '../provisioners/contract.ts';
import { seededRandom } from '../state-machines/seeded-random.ts';
import {
  app,
  config,
  convergedWorld,
  node,
  service,
  stack,
  threeNodes,
  World,
} from './support/cluster-world.ts';
import { settle } from './support/fake-clock.ts';
import { flaky } from './support/flaky.ts';
import { scrapeMetrics } from './support/scrape-metrics.ts';

const live = new AbortController().signal;

const ids = ({ steps }: Pick<ClusterPlan, 'steps'>): readonly string[] => steps.map(({ id }) => id);

t.test('a run that began before an edit works on the cluster as it is now', async (t) => {
  const world = new World();
  await world.converge();
  const before = world.stored().resource as ClusterSpec;
  world.spec = { provisioner: { lab: { memory: '3Gi' } } as ClusterSpec['spec']['provisioner'] };
  world.generation++;
  await world.pass();
  const bound = world.bound.length;
  await world.reconciler.swarm(before, live);
  await world.reconciler.nodes(before)('node1');
  world.reconciler.provisioner(before);
  t.equal(world.bound.length, bound, 'nobody goes back to the old settings');
  t.match(world.bound.at(-1), { lab: { memory: '3Gi' } });
});

t.test('whoever asks for the swarm waits for connections that are being made', async (t) => {
  const world = await convergedWorld();
  let open = () => {};
  world.provisioner.open = new Promise((resolve) => {
    open = resolve;
  });
  world.restart();
  const asked = world.reconciler.swarm(world.stored().resource as ClusterSpec, live);
  await world.clock.advance(3_000); // a pass has no more patience
  open();
  t.ok(await asked);
  world.reconciler.close();
});

t.test('plan of a cluster', async (t) => {
  t.test(
    'of which nothing exists makes each machine, the swarm and the stacks, each as soon as it can',
    async (t) => {
      const world = new World();
      world.images.set('lab/web:1', 'sha256:web');
      const text = formatPlan('small', await world.plan());
      t.equal(
        text,
        `small: 19 steps
  + create-machine  node1: manager, the machine does not exist
  ~ verify-engine   node1: the machine is new
  + init-swarm      node1: no machine is in a swarm yet
  ~ label-node      node1: it joins the swarm
  ~ deliver-images  node1: lab/web:1: the machine is new
  + create-machine  node2: worker, the machine does not exist
  ~ verify-engine   node2: the machine is new
  + join-swarm      node2: as a worker: it is in no swarm
  ~ label-node      node2: it joins the swarm
  ~ deliver-images  node2: lab/web:1: the machine is new
  + create-machine  node3: worker, the machine does not exist
  ~ verify-engine   node3: the machine is new
  + join-swarm      node3: as a worker: it is in no swarm
  ~ label-node      node3: it joins the swarm
  ~ deliver-images  node3: lab/web:1: the machine is new
  + create-network  app_default: the network does not exist
  + create-service  app_web: the service does not exist
  + create-service  app_db: the service does not exist
  + create-service  app_queue: the service does not exist
`,
      );
      const after = new Map((await world.plan()).steps.map((step) => [step.id, step.after]));
      t.same(
        after.get('join-swarm/node2'),
        ['verify-engine/node2', 'init-swarm/node1'],
        'no barrier over all machines',
      );
      t.same(world.swarm.writes, [], 'a plan changes nothing');
      world.reconciler.close();
    },
  );

  t.test('on a machine without an engine is of a lab that is not there, and says so', async (t) => {
    const world = await convergedWorld();
    world.engineHere = false;
    world.provisioner.list = () => Promise.reject(new Error('connect ECONNREFUSED'));
    world.images.set('lab/web:1', 'sha256:web');
    const [told] = (await world.plan()).steps;
    t.match(told, { id: 'create-machine/node1' });
    const text = formatPlan('small', await world.plan());
    t.notMatch(text, 'deliver-images');
    t.match(text, / {2}i note EngineUnavailable this machine: no Docker engine answers: /);
    await t.rejects(world.pass(), { message: 'connect ECONNREFUSED' }, 'a pass takes no lab for gone');
    world.spec = { provisioner: { aws: {} } } as never;
    await t.rejects(world.plan(), { message: 'connect ECONNREFUSED' }, 'machines elsewhere are asked for');
    world.reconciler.close();
  });

  t.test('mends what machines share before one is made on it, and tells what machines cost', async (t) => {
    const world = new World();
    let lacks = ['vpc is not there', 'group lets in tcp 8080 from 0.0.0.0/0'];
    world.provisioner.shape = ({ role }) => (role === 'manager' ? 'm6i.large' : 'm6i.large, spot');
    world.provisioner.shared = {
      lacks: async () => lacks,
      ensure: async () => {
        world.swarm.write('ensureShared');
        lacks = [];
      },
    };
    const plan = await world.plan();
    const lines = formatPlan('small', plan).split('\n');
    t.equal(lines[1], '  ~ ensure-shared   small: vpc is not there; group lets in tcp 8080 from 0.0.0.0/0');
    t.equal(lines[2], '  + create-machine  node1: manager, m6i.large, the machine does not exist');
    t.equal(lines.at(-2), '  i 3 machine-hours each hour, 72 a day: 1 x m6i.large; 2 x m6i.large, spot');
    for (const step of plan.steps.filter(({ kind }) => kind === 'create-machine'))
      t.same(step.after, ['ensure-shared/small']);
    await world.converge();
    t.equal(world.swarm.writes[0], 'ensureShared');
    t.equal(world.condition('Ready')?.status, 'True');
    lacks = ['routes has no way out'];
    t.same(ids(await world.plan()), ['ensure-shared/small'], 'also when all machines are there');
    world.reconciler.close();
  });

  t.test('that is as desired is empty', async (t) => {
    const world = await convergedWorld();
    const plan = await world.plan();
    t.same(plan, { steps: [], held: [], waiting: [], problems: [], notes: [] });
    world.reconciler.close();
  });

  t.test('that got a node and lost another says both', async (t) => {
    const world = await convergedWorld();
    world.nodes = [threeNodes[0]!, threeNodes[1]!, node('node4', 'worker', { place: 'compute', slot: '3' })];
    t.same(ids(await world.plan()), [
      'create-machine/node4',
      'verify-engine/node4',
      'join-swarm/node4',
      'label-node/node4',
      'leave-swarm/node3',
      'remove-node/node3',
      'destroy-machine/node3',
    ]);
    world.reconciler.close();
  });

  t.test('whose manager goes demotes it after the new one has come', async (t) => {
    const world = await convergedWorld();
    world.nodes = [node('node9', 'manager'), threeNodes[1]!, threeNodes[2]!];
    const { steps } = await world.plan();
    const demotion = steps.find(({ id }) => id === 'set-role/node1');
    t.same(demotion?.after, ['join-swarm/node9']);
    await world.converge();
    t.same([...world.provisioner.machines.keys()].sort(), ['node2', 'node3', 'node9']);
    t.equal(world.condition('Ready')?.status, 'True');
    world.reconciler.close();
  });

  t.test('corrects a label that someone changed', async (t) => {
    const world = await convergedWorld();
    const { ID } = world.memberOf('node2')!;
    world.swarm.editNode(ID, (member) => ({
      ...member,
      Spec: { ...member.Spec, Labels: { ...member.Spec.Labels, slot: '9', odd: 'x' } },
    }));
    const { steps } = await world.plan();
    t.same(
      steps.map(({ id, reason }) => [id, reason]),
      [['label-node/node2', 'labels differ: odd, slot']],
    );
    world.reconciler.close();
  });

  t.test('makes a service anew that someone removed', async (t) => {
    const world = await convergedWorld();
    world.swarm.services.delete(world.service('app_db')!.ID);
    t.same(ids(await world.plan()), ['create-service/app_db']);
    world.reconciler.close();
  });

  t.test('updates a service that someone changed, naming the field', async (t) => {
    const world = await convergedWorld();
    world.swarm.editService('app_db', (spec) => ({ ...spec, Mode: { Replicated: { Replicas: 3 } } }));
    t.equal(
      formatPlan('small', await world.plan()),
      'small: 1 step\n  ~ update-service  app_db: 1 difference\n      Mode.Replicas: 3 -> 1\n',
    );
    const before = world.changed.length;
    await world.pass();
    t.same(world.changed.slice(before), ['update-service app_db'], 'trials hear of what was done');
    await world.pass();
    t.equal(world.changed.length, before + 1, 'and of nothing that was not');
    world.reconciler.close();
  });

  t.test('does not mind that a service was restarted by force', async (t) => {
    const world = await convergedWorld();
    const [service] = await world.swarm.gateway.listServices(live);
    await world.swarm.gateway.restartService(service!, live);
    t.same((await world.plan()).steps, []);
    world.reconciler.close();
  });

  t.test('removes the stale twin of a node that came back, and only once it is ready', async (t) => {
    const world = await convergedWorld();
    const old = world.memberOf('node3')!;
    await world.provisioner
      .openEngine(
        await world.provisioner.connect(world.provisioner.machines.get('node3')!, live),
        undefined,
        live,
      )
      .then(({ engine }) => engine.leaveSwarm({ force: true }, live));
    t.same(ids(await world.plan()), ['join-swarm/node3', 'label-node/node3'], 'not yet');
    await world.pass();
    t.same(ids(await world.plan()), [`remove-twin/${old.ID}`]);
    await world.converge();
    t.equal(world.swarm.nodes.size, 3);
    world.reconciler.close();
  });

  t.test('makes a machine anew that someone removed', async (t) => {
    const world = await convergedWorld();
    world.provisioner.lose('node2');
    await world.converge();
    t.same([...world.provisioner.machines.keys()].sort(), ['node1', 'node2', 'node3']);
    t.equal(world.swarm.nodes.size, 3);
    t.equal(world.condition('Ready')?.status, 'True');
    world.reconciler.close();
  });

  t.test('powers a machine on that is off', async (t) => {
    const world = await convergedWorld();
    const machine = world.provisioner.machines.get('node2')!;
    world.provisioner.machines.set('node2', { ...machine, power: 'off' });
    t.same(ids(await world.plan()), ['create-machine/node2', 'verify-engine/node2']);
    world.reconciler.close();
  });

  t.test('leaves alone what a trial holds, and says so', async (t) => {
    const world = await convergedWorld();
    world.claims.hold('trial-1', ['node2', 'node3/app_db']);
    world.provisioner.lose('node2');
    world.swarm.services.delete(world.service('app_db')!.ID);
    const plan = await world.plan();
    t.same(plan.steps, []);
    t.same(plan.held, [
      { target: 'node2', owner: 'trial-1' },
      { target: 'node3', owner: 'trial-1' },
      { target: 'app_db', owner: 'trial-1' },
    ]);
    await world.pass();
    t.match(world.condition('Ready'), { status: 'False', reason: 'HeldByTrial' });
    world.claims.release('trial-1');
    await world.converge();
    t.equal(world.condition('Ready')?.status, 'True', 'repaired when the trial has ended');
    world.reconciler.close();
  });

  t.test('stays Ready while a trial holds what is as it should be', async (t) => {
    const world = await convergedWorld();
    world.claims.hold('trial-1', ['node2']);
    await world.pass();
    t.equal(world.condition('Ready')?.status, 'True');
    world.reconciler.close();
  });

  t.test('prunes what no stack asks for any more', async (t) => {
    const world = await convergedWorld();
    world.stacks.set('app', stack('app', [service('app', 'web'), service('app', 'db')]));
    t.same(ids(await world.plan()), ['remove-service/app_queue']);
    world.spec = { prune: false };
    t.same(ids(await world.plan()), [], 'unless it is told not to');
    world.reconciler.close();
  });

  t.test('refuses to prune more than half of the services without the annotation', async (t) => {
    const world = await convergedWorld();
    world.stacks.set('app', stack('app', [service('app', 'web')]));
    const plan = await world.plan();
    t.same(plan.steps, []);
    t.match(plan.problems, [{ reason: 'PruneRefused', message: /2 of 3 services/ }]);
    world.annotations = { 'spark-failures.io/allow-prune': 'true' };
    t.same(ids(await world.plan()), ['remove-service/app_db', 'remove-service/app_queue']);
    world.reconciler.close();
  });

  t.test('removes nothing at all while a compose file cannot be read', async (t) => {
    const world = await convergedWorld(threeNodes, [app, stack('extra', [service('extra', 'one')])]);
    const problem = { file: 'app.yaml', line: 3, column: 1, path: '', message: 'not valid YAML' };
    world.stacks.set('app', new ManifestError([problem]));
    world.stacks.set('extra', stack('extra', [service('extra', 'two')]));
    world.nodes = threeNodes.slice(0, 2);
    const plan = await world.plan();
    t.same(
      ids(plan),
      ['create-service/extra_two'],
      'the other stack goes on, without removals, of machines too',
    );
    t.match(plan.problems, [
      { target: 'app', reason: 'StackRefused', message: 'app.yaml:3:1: not valid YAML' },
    ]);
    world.reconciler.close();
  });

  t.test('takes a compose file without any service for broken', async (t) => {
    const world = await convergedWorld();
    world.stacks.set('app', stack('app', []));
    const plan = await world.plan();
    t.same(plan.steps, []);
    t.match(plan.problems, [{ reason: 'StackRefused', message: /no service/ }]);
    world.reconciler.close();
  });

  const filesOf = ({ swarm }: World) =>
    [...swarm.configs.values(), ...swarm.secrets.values()].map(({ Spec }) => Spec.Name).sort();

  t.test('keeps one earlier revision of a config and of a secret, and removes older ones', async (t) => {
    const world = await convergedWorld(threeNodes, [appWithSecret('00000001')]);
    for (const hash of ['00000002', '00000003']) {
      world.stacks.set('app', appWithSecret(hash));
      await world.converge();
    }
    const kept = ['app_job-00000002', 'app_job-00000003', 'app_key-00000002', 'app_key-00000003'];
    t.same(filesOf(world), kept);
    t.equal(world.condition('Ready')?.status, 'True');
    world.stacks.set('app', {
      ...appWithSecret('00000003'),
      services: app.services,
      configs: [],
      secrets: [],
    });
    await world.converge();
    t.same(filesOf(world), [], 'what no stack asks for in any revision goes with all of them');
    world.reconciler.close();
  });

  t.test('keeps the revision to which the engine went back, whatever came after it', async (t) => {
    const world = await convergedWorld(threeNodes, [appWithSecret('00000001')]);
    for (const hash of ['00000002', '00000003']) {
      world.stacks.set('app', appWithSecret(hash));
      await world.pass();
      world.swarm.failUpdate('app_web', 'rollback', 'no');
      await world.converge();
      t.equal(world.condition('Stalled')?.reason, 'RolloutFailed');
    }
    const used = ['app_job-00000001', 'app_job-00000003', 'app_key-00000001', 'app_key-00000003'];
    t.same(filesOf(world), used);
    world.stacks.set('app', appWithSecret('00000004'));
    const before = world.swarm.writes.length;
    await world.pass();
    t.notMatch(
      world.swarm.writes.slice(before).join(),
      /00000001/,
      'the way back is there while the update goes on',
    );
    world.reconciler.close();
  });

  t.test('never touches an object of that name which it did not make', async (t) => {
    const world = await convergedWorld();
    world.swarm.editService('app_db', (spec) => ({
      ...spec,
      Labels: {},
      Mode: { Replicated: { Replicas: 5 } },
    }));
    const plan = await world.plan();
    t.same(plan.steps, []);
    t.match(plan.problems, [{ target: 'app_db', reason: 'StackRefused' }]);
    world.reconciler.close();
  });

  t.test('never removes what carries our labels and is in no inventory', async (t) => {
    const world = await convergedWorld();
    await world.swarm.gateway.createService(
      { ...service('app', 'copy'), TaskTemplate: { ContainerSpec: { Image: 'x' } } },
      live,
    );
    t.same((await world.plan()).steps, []);
    world.reconciler.close();
  });

  t.test('takes the labels for the inventory when the status was lost', async (t) => {
    const world = await convergedWorld();
    world.statuses.clear();
    world.restart();
    world.stacks.set('app', stack('app', [service('app', 'web'), service('app', 'db')]));
    t.same(ids(await world.plan()), ['remove-service/app_queue']);
    world.reconciler.close();
  });

  t.test(
    'says that a machine was made with other settings, and replaces workers one by one when told to',
    async (t) => {
      const world = await convergedWorld();
      world.provisioner.settings = 'settings-2';
      const plan = await world.plan();
      t.same(plan.steps, []);
      t.same(
        plan.notes.map(({ target }) => target),
        ['node1', 'node2', 'node3'],
      );
      t.match(plan.notes[1]?.message, /with `replace: allow` workers are made anew/);
      world.spec = { replace: 'allow' };
      t.same(ids(await world.plan()), ['leave-swarm/node2', 'remove-node/node2', 'destroy-machine/node2']);
      await world.converge();
      const hashes = [...world.provisioner.machines.values()].map(
        ({ name, settingsHash }) => `${name} ${settingsHash}`,
      );
      t.same(hashes.sort(), ['node1 settings-1', 'node2 settings-2', 'node3 settings-2'], 'managers stay');
      world.reconciler.close();
    },
  );

  t.test('delivers an image only to nodes that may run it and lack it', async (t) => {
    const pinned = service('app', 'web', { Placement: { Constraints: ['node.labels.slot==2'] } });
    const world = await convergedWorld(threeNodes, [stack('app', [pinned, service('app', 'db')])]);
    world.images.set('lab/web:1', 'sha256:web');
    await world.clock.advance(31_000);
    t.same(ids(await world.plan()), ['deliver-images/node3']);
    await world.converge();
    t.same((await world.plan()).steps, []);
    world.reconciler.close();
  });

  t.test('waits for every answer, where a pass goes on with what is known', async (t) => {
    const world = await convergedWorld(threeNodes, [stack('app', [service('app', 'web')])]);
    world.images.set('lab/web:1', 'sha256:web');
    for (const name of ['node1', 'node2', 'node3'])
      world.swarm.engineState(name).images.set('lab/web:1', 'sha256:web');
    world.restart();
    let answer = () => {};
    world.swarm.lateImages = new Promise((resolve) => {
      answer = resolve;
    });
    const plan = world.plan();
    for (let second = 0; second < 5; second++) await world.clock.advance(1_000);
    answer();
    t.same((await plan).steps, []);
    world.reconciler.close();
  });

  t.test('lets a machine that outlives the cluster know of images before they come', async (t) => {
    const world = await convergedWorld(threeNodes, [stack('app', [service('app', 'web')])]);
    world.provisioner.noteImages = async ({ name }, references) =>
      world.swarm.write(`note ${name} ${references.join(' ')}`);
    world.images.set('lab/web:1', 'sha256:web');
    await world.clock.advance(31_000);
    world.swarm.writes.length = 0;
    await world.converge();
    const calls = world.swarm.writes.filter((call) => /node1|engine-node1/.test(call));
    t.match(calls, [/^note node1 lab\/web:1$/, /^deliver .*node1.* lab\/web:1$/]);
    world.reconciler.close();
  });
});

t.test('plan from what was seen', async (t) => {
  const desired: DesiredCluster = {
    name: 'small',
    nodes: threeNodes.map(({ name, role, labels }) => ({ name, role, labels, settingsHash: 's' })),
    stacks: [],
    brokenStacks: [],
    images: [],
    prune: true,
    allowLargePrune: false,
    mayReplace: false,
  };
  const plan = (observed: ObservedCluster) =>
    planCluster({ desired, observed, heldBy: () => undefined, inventory: undefined });

  t.test('never makes a second swarm while a manager cannot be asked', async (t) => {
    const machines = [
      seen('node1', { state: 'unreachable', message: 'timed out' }),
      seen('node2', up({ LocalNodeState: 'inactive' })),
      seen('node3', up({ LocalNodeState: 'inactive' })),
    ];
    const { steps, problems } = plan({ machines });
    t.same(steps, []);
    t.same(
      problems.map(({ reason }) => reason),
      ['SwarmUnavailable', 'NodeUnreachable'],
    );
  });

  t.test(
    'makes a new swarm when the only manager lost it, and brings the stranded workers over',
    async (t) => {
      const stranded = {
        LocalNodeState: 'active',
        NodeID: 'lost',
        RemoteManagers: [{ NodeID: 'x', Addr: '10.98.0.1:2377' }],
      } as const;
      const machines = [
        seen('node1', up({ LocalNodeState: 'inactive' })),
        seen('node2', up(stranded)),
        seen('node3', up({ LocalNodeState: 'inactive' })),
      ];
      const { steps } = plan({ machines });
      t.match(
        steps.find(({ id }) => id === 'join-swarm/node2'),
        { leaveFirst: true, after: ['init-swarm/node1'] },
      );
    },
  );

  t.test('never makes an engine leave a swarm that is not ours', async (t) => {
    const foreign = {
      LocalNodeState: 'active',
      NodeID: 'f',
      RemoteManagers: [{ NodeID: 'x', Addr: '192.0.2.1:2377' }],
    } as const;
    const machines = [
      seen('node1', up({ LocalNodeState: 'active', NodeID: 'n1', ControlAvailable: true })),
      seen('node2', up(foreign)),
      seen('node3', up({ LocalNodeState: 'active', NodeID: 'n3' })),
    ];
    const swarm = {
      manager: 'node1',
      nodes: [member('n1', 'node1', 'manager'), member('n3', 'node3')],
      networks: [],
      configs: [],
      secrets: [],
      services: [],
    };
    const { steps, problems } = plan({ machines, swarm });
    t.same(steps, []);
    t.match(problems, [{ target: 'node2', message: /another swarm/ }]);
  });

  t.test('waits for a join that goes on in the background', async (t) => {
    const machines = [
      seen('node1', up({ LocalNodeState: 'active', NodeID: 'n1', ControlAvailable: true })),
      seen('node2', up({ LocalNodeState: 'pending' })),
      seen('node3', up({ LocalNodeState: 'active', NodeID: 'n3' })),
    ];
    const nodes = [member('n1', 'node1', 'manager'), member('n3', 'node3')];
    const swarm = { manager: 'node1', nodes, networks: [], configs: [], secrets: [], services: [] };
    const { steps, waiting, problems } = plan({ machines, swarm });
    t.same([steps, problems], [[], []]);
    t.match(waiting, [{ target: 'node2', reason: 'JoinPending' }]);
  });
});

function seen(name: string, look: ObservedMachine['look']): ObservedMachine {
  const address = `10.98.0.${name.slice(-1)}`;
  return { machine: { name, power: 'on', address, incarnation: name, settingsHash: 's' }, look };
}

function up(swarm: Partial<EngineInfo['Swarm']>): ObservedMachine['look'] {
  const none = {
    NodeID: '',
    LocalNodeState: 'inactive',
    ControlAvailable: false,
    Error: '',
  } as const;
  return {
    state: 'up',
    info: { ID: 'e', Name: 'e', Swarm: { ...none, ...swarm } },
    images: {},
  };
}

function member(ID: string, name: string, Role: 'manager' | 'worker' = 'worker'): LiveNode {
  const labels = threeNodes.find((entry) => entry.name === name)?.labels ?? {};
  return {
    ID,
    Version: { Index: 1 },
    CreatedAt: '2026-01-01T00:00:00Z',
    Spec: {
      Role,
      Availability: 'active',
      Labels: { ...labels, [CLUSTER_LABEL]: 'small', [NODE_LABEL]: name },
    },
    Description: { Hostname: name },
    Status: { State: 'ready' },
  };
}

t.test('plans in general', async (t) => {
  t.test('depend only on steps of their own, and on nothing in a circle', async () => {
    await fc.assert(
      fc.asyncProperty(changes(), async (change) => {
        const world = await changedWorld(change);
        for (const { steps } of [await new World().plan(), await world.plan()]) {
          const known = new Set(ids({ steps }));
          if (known.size !== steps.length) throw new Error('two steps of one id');
          for (const { after } of steps)
            for (const id of after) if (!known.has(id)) throw new Error(`no step ${id}`);
          if (!isAcyclic(steps)) throw new Error('a circle');
        }
        world.reconciler.close();
      }),
      { numRuns: 60 },
    );
  });

  t.test('never name what a trial holds', async () => {
    await fc.assert(
      fc.asyncProperty(
        changes(),
        fc.subarray(['node2', 'node3', 'app_db', 'node2/app_web']),
        async (change, held) => {
          const world = await changedWorld(change);
          world.claims.hold('trial', held);
          const targets = new Set(held.flatMap((target) => target.split('/')));
          const writes = await world.writesOf(() => world.pass().catch(() => {}));
          const { steps } = await world.plan();
          if (steps.some(({ target }) => targets.has(target))) throw new Error('a step on a held target');
          if (writes.some((write) => targets.has(write.split(' ').at(-1) ?? '')))
            throw new Error(`wrote ${writes}`);
          world.reconciler.close();
        },
      ),
      { numRuns: 60 },
    );
  });

  t.test('once carried out leave nothing to plan, whatever someone did', async () => {
    await fc.assert(
      fc.asyncProperty(changes(), async (change) => {
        const world = await changedWorld(change);
        await world.converge();
        const plan = await world.plan();
        if (plan.steps.length > 0) throw new Error(formatPlan('small', plan));
        const writes = await world.writesOf(() => world.pass());
        if (writes.length > 0) throw new Error(`an idle pass wrote ${writes}`);
        world.reconciler.close();
      }),
      { numRuns: 60 },
    );
  });
});

type Change =
  | 'service'
  | 'replicas'
  | 'label'
  | 'machine'
  | 'network'
  | 'config'
  | 'node added'
  | 'node removed'
  | 'edit';

function changes(): fc.Arbitrary<readonly Change[]> {
  const all: Change[] = [
    'service',
    'replicas',
    'label',
    'machine',
    'network',
    'config',
    'node added',
    'node removed',
    'edit',
  ];
  return fc.uniqueArray(fc.constantFrom(...all), { maxLength: 4 });
}

async function changedWorld(list: readonly Change[]): Promise<World> {
  const withConfig = (hash: string) => stack('app', app.services, [config('app', 'job', hash)]);
  const world = await convergedWorld(threeNodes, [withConfig('00000001')]);
  for (const change of list) makeChange(world, change, withConfig);
  return world;
}

function makeChange(world: World, change: Change, withConfig: (hash: string) => DesiredStack): void {
  const { swarm } = world;
  switch (change) {
    case 'service':
      swarm.services.delete(world.service('app_db')?.ID ?? '');
      break;
    case 'replicas':
      if (world.service('app_web')) {
        swarm.editService('app_web', (spec) => ({ ...spec, Mode: { Replicated: { Replicas: 4 } } }));
      }
      break;
    case 'label':
      swarm.editNode(world.memberOf('node3')!.ID, (each) => ({
        ...each,
        Spec: { ...each.Spec, Labels: {} },
      }));
      break;
    case 'machine':
      world.provisioner.lose('node2');
      break;
    case 'network':
      swarm.services.clear();
      swarm.networks.clear();
      break;
    case 'config':
      swarm.configs.clear();
      break;
    case 'node added':
      world.nodes.push(node('node7'));
      break;
    case 'node removed':
      world.nodes = world.nodes.filter(({ name }) => name !== 'node3');
      break;
    case 'edit':
      world.stacks.set('app', withConfig('00000002'));
      break;
    default:
      change satisfies never;
  }
}

function isAcyclic(steps: readonly Step[]): boolean {
  let left = [...steps];
  for (;;) {
    const waiting = new Set(left.map(({ id }) => id));
    const next = left.filter(({ after }) => after.some((id) => waiting.has(id)));
    if (next.length === left.length) return left.length === 0;
    left = next;
  }
}

t.test('carrying out a plan', async (t) => {
  const step = (id: string, after: readonly string[] = []): Step => {
    return { id, target: id, reason: '', after, kind: 'verify-engine' };
  };
  const run = (steps: readonly Step[], execute: (id: string) => Promise<StepOutcome>, signal = live) =>
    applyPlan(
      { steps },
      ({ id }) => execute(id),
      () => {},
      signal,
    );
  const done: StepOutcome = { state: 'done' };

  t.test('starts each step when those that it names are done, and not later', async (t) => {
    const started: string[] = [];
    const slow = new AbortController();
    const result = run([step('slow'), step('a'), step('b', ['a']), step('c', ['b', 'slow'])], async (id) => {
      started.push(id);
      if (id === 'slow') await new Promise((resolve) => slow.signal.addEventListener('abort', resolve));
      return done;
    });
    await settle();
    t.same(started, ['slow', 'a', 'b'], 'b did not wait for the slow one');
    slow.abort();
    await result;
    t.same(started, ['slow', 'a', 'b', 'c']);
  });

  t.test('has as many steps wait for an answer as there are', async (t) => {
    const warnings: string[] = [];
    const warned = ({ name }: Error) => void warnings.push(name);
    process.on('warning', warned);
    const { signal } = new AbortController();
    const wait = async (): Promise<StepOutcome> => {
      const heard = () => {};
      signal.addEventListener('abort', heard);
      await settle();
      signal.removeEventListener('abort', heard);
      return done;
    };
    await run(
      Array.from({ length: 30 }, (_, index) => step(`${index}`)),
      wait,
      signal,
    );
    await settle();
    process.off('warning', warned);
    t.same(warnings, [], 'node takes that for no leak');
  });

  t.test('skips what follows a failed, pending or left out step, and does all else', async (t) => {
    const steps = [
      step('bad'),
      step('late'),
      step('good'),
      step('x', ['bad']),
      step('y', ['late']),
      step('z', ['gone']),
    ];
    const results = await run(steps, async (id) => {
      if (id === 'bad') throw new Error('no disk');
      return id === 'late' ? { state: 'pending', message: 'soon' } : done;
    });
    t.same(
      results.map(({ outcome }) => outcome.state),
      ['failed', 'pending', 'done', 'skipped', 'skipped', 'skipped'],
    );
  });

  t.test('rejects with the reason of the signal, after the steps have returned', async (t) => {
    const abort = new AbortController();
    let returned = false;
    const result = run(
      [step('a'), step('b', ['a'])],
      async () => {
        await settle();
        returned = true;
        return done;
      },
      abort.signal,
    );
    await Promise.resolve();
    await Promise.resolve();
    abort.abort(new Error('a newer edit'));
    await t.rejects(result, { message: 'a newer edit' });
    t.ok(returned);
  });
});

t.test('the reconciler', async (t) => {
  t.test('makes a cluster Ready and then writes nothing more', async (t) => {
    const world = new World();
    await world.converge();
    t.match(world.condition('Ready'), { status: 'True', reason: 'Converged', observedGeneration: 1 });
    t.notOk(world.condition('Reconciling'));
    t.same(world.statuses.get('small')?.nodes, { desired: 3, ready: 3, managers: 1, unreachable: [] });
    const before = JSON.stringify(world.statuses.get('small'));
    const writes = await world.writesOf(async () => {
      for (let pass = 0; pass < 5; pass++) await world.pass();
    });
    t.same(writes, []);
    t.equal(JSON.stringify(world.statuses.get('small')), before, 'not even the status');
    world.reconciler.close();
  });

  t.test('lists in the inventory what it is about to make, before it makes it', async (t) => {
    const world = new World();
    let listed: readonly string[] | undefined;
    world.provisioner.beforeCall = (call) => {
      if (call === 'create node3') listed = world.statuses.get('small')?.inventory.nodes;
    };
    await world.converge();
    t.same(listed, ['node1', 'node2', 'node3']);
    world.reconciler.close();
  });

  t.test('is Ready only when all desired tasks run', async (t) => {
    const world = new World();
    let state = 'starting';
    world.swarm.taskState = () => state;
    let requeueAfterMs: number | undefined;
    for (let pass = 0; pass < 5; pass++) ({ requeueAfterMs } = await world.pass());
    t.match(world.condition('Ready'), {
      status: 'False',
      reason: 'TasksNotRunning',
      message: /app_web: 0 of 1/,
    });
    t.equal(requeueAfterMs, 250, 'watched closely');
    const list = world.provisioner.list.bind(world.provisioner);
    world.provisioner.list = async (signal) => {
      await world.clock.sleep(100, signal);
      return list(signal);
    };
    const slow = world.pass();
    await world.clock.advance(100);
    t.equal((await slow).requeueAfterMs, 1_900, 'but watching takes a twentieth of the time at most');
    world.provisioner.list = list;
    state = 'running';
    ({ requeueAfterMs } = await world.pass());
    t.match(world.condition('Ready'), {
      status: 'False',
      message: /app_web: its tasks run, and have to for 5 s/,
    });
    t.equal(requeueAfterMs, 1000, 'in no hurry');
    await world.converge();
    t.equal(world.condition('Ready')?.status, 'True');
    world.reconciler.close();
  });

  t.test('makes and changes a service once the tasks of those before it run', async (t) => {
    const ordered = (image: string): DesiredStack => ({
      ...stack('app', [
        service('app', 'web', { ContainerSpec: { Image: image } }),
        service('app', 'db', { ContainerSpec: { Image: image } }),
      ]),
      dependencies: { app_web: { app_db: 'running' } },
    });
    const world = new World(threeNodes, [ordered('lab/app:1')]);
    let state = 'starting';
    world.swarm.taskState = () => state;
    for (let pass = 0; pass < 5; pass++) await world.pass();
    t.ok(world.service('app_db'), 'the first is there');
    t.notOk(world.service('app_web'), 'the second is not, while the first is not healthy');
    t.match(await world.plan(), {
      waiting: [
        { target: 'app_web', reason: 'DependencyNotReady', message: 'waits for app_db' },
        { target: 'app_db' },
      ],
    });
    state = 'running';
    await world.pass();
    t.ok(world.service('app_web'), 'as soon as its tasks run, not once they have for long');
    await world.converge();

    world.stacks.set('app', ordered('lab/app:2'));
    world.generation += 1;
    t.same(ids(await world.plan()), ['update-service/app_db'], 'where both change, in order');
    await world.converge();
    t.equal(world.service('app_web')?.Spec.TaskTemplate.ContainerSpec.Image, 'lab/app:2');

    state = 'failed';
    world.swarm.editService('app_web', (spec) => ({ ...spec, Mode: { Replicated: { Replicas: 3 } } }));
    t.same(ids(await world.plan()), [], 'it waits when the first does not run');
    world.swarm.services.delete(world.service('app_db')!.ID);
    t.same(ids(await world.plan()), ['create-service/app_db']);
    world.reconciler.close();
  });

  t.test('makes a service once the job before it has completed, where that is what it needs', async (t) => {
    const ReplicatedJob = { MaxConcurrent: 1, TotalCompletions: 1 };
    const job = { ...service('app', 'migrate'), Mode: { ReplicatedJob } };
    for (const [awaited, released] of [
      ['completed', 'complete'],
      ['running', 'running'],
    ] as const) {
      const world = new World(threeNodes, [
        {
          ...stack('app', [service('app', 'web'), job]),
          dependencies: { app_web: { app_migrate: awaited } },
        },
      ]);
      let state = 'starting';
      world.swarm.taskState = () => state;
      for (let pass = 0; pass < 5; pass++) await world.pass();
      if (awaited === 'completed') state = 'running';
      await world.pass();
      t.notOk(world.service('app_web'), `not while it is ${state}`);
      state = released;
      await world.pass();
      t.ok(world.service('app_web'), `${awaited} when it is ${state}`);
      world.reconciler.close();
    }
  });

  t.test('tells what compose files say in vain, and is Ready', async (t) => {
    const warnings = [
      'stack.yaml:4:5: services.web.build: ignored: nodes run images that were built beforehand',
    ];
    const world = new World(threeNodes, [{ ...app, warnings }]);
    await world.converge();
    t.match(world.condition('Ready'), {
      status: 'True',
      message: /, but app: stack\.yaml:4:5: services\.web\.build/,
    });
    t.match((await world.plan()).notes, [{ target: 'app', reason: 'ComposeWarning', message: warnings[0] }]);
    world.reconciler.close();
  });

  t.test('tells in its metrics what runs, and nothing of a cluster that is gone', async (t) => {
    const world = new World();
    let state = 'starting';
    world.swarm.taskState = () => state;
    for (let pass = 0; pass < 5; pass++) await world.pass();
    let seen = await scrapeMetrics(world.metrics);
    const tasks = 'sparkfailures_service_tasks{cluster="small",service="app_web",state=';
    t.equal(seen.get('sparkfailures_cluster_ready{cluster="small"}'), 0);
    t.equal(seen.get('sparkfailures_cluster_nodes{cluster="small",state="ready"}'), 3);
    t.same([seen.get(`${tasks}"desired"}`), seen.get(`${tasks}"running"}`)], [1, 0]);
    state = 'running';
    await world.converge();
    seen = await scrapeMetrics(world.metrics);
    t.equal(seen.get('sparkfailures_cluster_ready{cluster="small"}'), 1);
    t.same([seen.get(`${tasks}"desired"}`), seen.get(`${tasks}"running"}`)], [1, 1]);
    world.provisioner.beforeCall = () => {
      throw new Error('the machines cannot be listed');
    };
    await t.rejects(world.pass(), /cannot be listed/);
    t.equal((await scrapeMetrics(world.metrics)).get('sparkfailures_cluster_ready{cluster="small"}'), 0);
    world.reconciler.close();
  });

  t.test('is Stalled when only somebody can mend why its machines cannot be listed', async (t) => {
    const world = await convergedWorld();
    for (const needsHelp of [false, true]) {
      world.provisioner.beforeCall = () => {
        throw new ProvisionError(['the credentials have expired'], { needsHelp });
      };
      await t.rejects(world.pass(), /have expired/);
      t.match(world.condition('Ready'), { status: 'False', reason: 'ProvisionFailed' });
      t.equal(world.condition('Stalled')?.status === 'True', needsHelp);
    }
    world.reconciler.close();
  });

  t.test('tells which host keys were taken at first contact', async (t) => {
    const world = await convergedWorld();
    t.equal(world.statuses.get('small')?.nodes.trustedOnFirstUse, undefined);
    const node2 = world.provisioner.machines.get('node2')!;
    world.provisioner.machines.set('node2', { ...node2, trustedKey: 'SHA256:abc' });
    await world.pass();
    t.same(world.statuses.get('small')?.nodes.trustedOnFirstUse, { node2: 'SHA256:abc' });
    world.reconciler.close();
  });

  t.test('goes on with the others when a node cannot be reached, and notices when it can', async (t) => {
    const world = await convergedWorld();
    world.provisioner.unreachable.add('node3');
    world.restart();
    world.swarm.services.delete(world.service('app_db')!.ID);
    await world.converge();
    t.ok(world.service('app_db'), 'the swarm is kept as it should be');
    t.match(world.condition('Ready'), {
      status: 'False',
      reason: 'NodeUnreachable',
      message: /node3: node3: connect failed/,
    });
    t.same(world.statuses.get('small')?.nodes.unreachable, ['node3']);
    world.provisioner.unreachable.clear();
    for (let pass = 0; pass < 3; pass++) {
      await world.clock.advance(2500);
      await world.pass();
    }
    t.equal(world.condition('Ready')?.status, 'True');
    world.reconciler.close();
  });

  t.test('takes a list without the networks of its services for no answer', async (t) => {
    const world = await convergedWorld();
    const all = [...world.swarm.networks];
    world.swarm.networks.clear();
    t.same(await world.writesOf(() => world.pass()), []);
    t.match(world.condition('Ready'), {
      status: 'False',
      reason: 'SwarmUnavailable',
      message: /networks lacks/,
    });
    for (const [id, network] of all) world.swarm.networks.set(id, network);
    t.same(await world.writesOf(() => world.converge()), []);
    t.equal(world.condition('Ready')?.status, 'True');
  });

  t.test('asks the other managers when those before let wait', async (t) => {
    const world = new World(threeNodes.map((node) => ({ ...node, role: 'manager' as const })));
    const silent = new Set<string>();
    world.openEngine = async (node, ...call) => {
      const opened = await world.provisioner.openEngine(node, ...call);
      const listServices: SwarmGateway['listServices'] = (signal) =>
        silent.has(node.name)
          ? new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason as Error)))
          : opened.swarm.listServices(signal);
      return { ...opened, swarm: { ...opened.swarm, listServices } };
    };
    await world.converge();
    for (const name of ['node1', 'node2']) silent.add(name);
    world.swarm.services.delete(world.service('app_db')!.ID);
    const startMs = performance.now();
    t.same(await world.writesOf(() => world.pass()), ['createService app_db']);
    t.ok(performance.now() - startMs < 4_500, 'before the first one is given up');
    world.reconciler.close();
  });

  t.test('takes the word of a manager that most others have left for no answer', async (t) => {
    const managers = threeNodes.map((node) => ({ ...node, role: 'manager' as const }));
    const world = await convergedWorld(managers);
    const reach = (name: string, Reachability: 'reachable' | 'unreachable') =>
      world.swarm.editNode(world.memberOf(name)!.ID, (node) => {
        return { ...node, ManagerStatus: { ...node.ManagerStatus!, Reachability } };
      });
    reach('node3', 'unreachable');
    await world.pass();
    t.match(world.condition('Ready'), { status: 'False', reason: 'NodeUnreachable', message: /node3/ });
    world.swarm.services.delete(world.service('app_db')!.ID);
    reach('node2', 'unreachable');
    t.same(await world.writesOf(() => world.pass()), [], 'what could not be written is not tried');
    t.match(world.condition('Ready'), {
      status: 'False',
      reason: 'SwarmUnavailable',
      message: /1 of 3 managers/,
    });
    for (const name of ['node2', 'node3']) reach(name, 'reachable');
    t.same(await world.writesOf(() => world.converge()), ['createService app_db']);
    t.equal(world.condition('Ready')?.status, 'True');
  });

  t.test('has the names looked at when a node comes back, and is not Ready while one is deaf', async (t) => {
    const world = await convergedWorld();
    world.returns = 0;
    const setState = async (State: LiveNode['Status']['State']) => {
      world.swarm.editNode(world.memberOf('node3')!.ID, (node) => ({ ...node, Status: { State } }));
      await world.pass();
    };
    await setState('down');
    t.equal(world.returns, 0);
    await setState('ready');
    await world.pass();
    t.equal(world.returns, 1);

    const message = 'web on app_default lacks 10.99.1.1: restart the engine of node3';
    world.deafNodes = [{ target: 'node3', reason: 'NamesUnresolved', message }];
    world.reconciler.tell('small', { type: 'Warning', reason: 'NameResolutionLost', message: 'node3: web' });
    world.reconciler.tell('unknown', { type: 'Warning', reason: 'NameResolutionLost', message: 'nobody' });
    t.same(world.woken.slice(-1), ['ClusterSpec/small']);
    t.same(await world.writesOf(() => world.pass()), []);
    t.match(world.condition('Ready'), {
      status: 'False',
      reason: 'NamesUnresolved',
      message: `node3: ${message}`,
    });
    t.match(world.condition('Stalled'), { status: 'True' });
    await world.pass();
    const events = world.statuses.get('small')?.events?.filter(({ reason }) => reason.startsWith('Name'));
    t.match(events, [{ type: 'Warning', reason: 'NameResolutionLost', message: 'node3: web', count: 1 }]);

    world.deafNodes = [];
    await world.pass();
    t.equal(world.condition('Ready')?.status, 'True');
  });

  t.test('waits only once for a machine that does not even refuse', async (t) => {
    const world = await convergedWorld();
    world.provisioner.silent.add('node3');
    world.restart();
    world.swarm.services.delete(world.service('app_db')!.ID);
    const first = world.pass();
    await world.clock.advance(3000);
    await first;
    t.ok(world.service('app_db'), 'the others were looked after');
    await world.pass();
    await world.pass();
    t.equal(world.condition('Ready')?.status, 'False', 'no later pass waited for it');
    world.reconciler.close();
  });

  t.test('connects anew to a machine that was made anew', async (t) => {
    const world = await convergedWorld();
    const { connections } = world.provisioner;
    world.provisioner.lose('node2');
    await world.converge();
    t.equal(world.provisioner.connections, connections + 1);
    const { resource } = world.stored();
    const handle = await world.reconciler.nodes(resource as ClusterSpec)('node2');
    t.match(await handle.exec('true', [], {}, live), { code: 0 });
    world.reconciler.close();
  });

  t.test('tells a dead engine from a dead machine', async (t) => {
    const world = await convergedWorld();
    const { ID } = world.memberOf('node2')!;
    world.swarm.editNode(ID, (each) => ({ ...each, Status: { State: 'down' } }));
    world.provisioner.engineDown.add('node2');
    await world.pass();
    t.match(world.condition('Ready'), { status: 'False', reason: 'EngineUnavailable' });
    world.provisioner.engineDown.clear();
    world.swarm.editNode(ID, (each) => ({ ...each, Status: { State: 'ready' } }));
    for (let pass = 0; pass < 3; pass++) {
      await world.clock.advance(2500);
      await world.pass();
    }
    t.equal(world.condition('Ready')?.status, 'True');
    world.reconciler.close();
  });

  t.test('that cannot be remembered does nothing, says so, and goes on when there is space', async (t) => {
    const world = new World();
    world.full = true;
    await t.rejects(world.pass(), { code: 'STATE_FULL' });
    t.match(world.condition('Ready'), { status: 'False', reason: 'StateDirectoryFull' });
    t.match(world.condition('Stalled'), { status: 'True', message: /no space left/ });
    t.equal(world.provisioner.machines.size, 0, 'nothing is made that could not be found again');
    world.full = false;
    await world.converge();
    t.match(world.condition('Ready'), { status: 'True' });
    t.equal(world.condition('Stalled'), undefined);
    world.reconciler.close();
  });

  t.test('tells of all steps that failed at once', async (t) => {
    const world = new World(threeNodes, []);
    world.provisioner.beforeCall = (call) => {
      if (/^create node[23]/.test(call)) throw new ProvisionError([`no memory left to ${call}`]);
    };
    await t.rejects(world.pass());
    t.match(world.condition('Ready'), {
      reason: 'ProvisionFailed',
      message:
        'create-machine/node2: no memory left to create node2; create-machine/node3: no memory left to create node3',
    });
    world.reconciler.close();
  });

  t.test('is stalled by what only a person can mend, and goes on when it was mended', async (t) => {
    const world = new World(threeNodes, []);
    let isMended = false;
    world.provisioner.beforeCall = (call) => {
      if (call === 'create node3' && !isMended)
        throw new ProvisionError(['another key'], { needsHelp: true });
    };
    await t.rejects(world.pass(), { message: 'another key' });
    t.match(world.condition('Stalled'), {
      status: 'True',
      reason: 'ProvisionFailed',
      message: /another key/,
    });
    isMended = true;
    await world.converge();
    t.equal(world.condition('Stalled'), undefined);
    world.reconciler.close();
  });

  t.test('tries a failed step again with backoff, and goes on with everything else', async (t) => {
    const world = new World(threeNodes, []);
    let failures = 0;
    world.provisioner.beforeCall = (call) => {
      if (call !== 'create node3' || failures >= 3) return;
      failures += 1;
      throw new ProvisionError(['no memory left']);
    };
    await t.rejects(world.pass(), { message: 'no memory left' });
    t.equal(world.swarm.nodes.size, 2, 'the others joined');
    t.match(world.condition('Ready'), { status: 'False', reason: 'ProvisionFailed', message: /node3/ });
    t.same(world.woken.slice(0, 1), ['ClusterSpec/small']);
    await world.pass();
    t.equal(failures, 1, 'not tried again at once');
    await world.converge();
    t.equal(failures, 3);
    t.equal(world.condition('Ready')?.status, 'True');
    const events = world.statuses.get('small')?.events ?? [];
    t.match(
      events.find(({ reason }) => reason === 'CreateMachineFailed'),
      { type: 'Warning', count: 3 },
    );
    const told = (wanted: string) => events.filter(({ reason }) => reason === wanted);
    t.match(told('ProvisionFailed'), [{ type: 'Warning', count: 1 }], 'a condition that stays is told once');
    t.match(told('Converged'), [{ type: 'Normal', count: 1 }]);
    world.reconciler.close();
  });

  t.test('a clock that is set back an hour makes no wait longer', async (t) => {
    const world = await convergedWorld();
    world.provisioner.unreachable.add('node3');
    world.restart();
    world.swarm.services.delete(world.service('app_db')!.ID);
    world.swarm.beforeCall = (call) => {
      if (call === 'createService app_db') throw new EngineError('UNAVAILABLE', 'no leader');
    };
    await t.rejects(world.pass());
    world.clock.set(world.clock.now() - 3_600_000);
    world.swarm.beforeCall = () => {};
    await world.pass();
    t.ok(world.service('app_db'), 'the step is tried again');
    world.provisioner.unreachable.clear();
    for (let pass = 0; pass < 3; pass++) {
      await world.clock.advance(2500);
      await world.pass();
    }
    t.equal(world.condition('Ready')?.status, 'True', 'and the machine asked again');
    world.reconciler.close();
  });

  t.test('waits for a removed network that its last containers still use', async (t) => {
    const world = await convergedWorld(threeNodes, [app, stack('extra', [service('extra', 'one')])]);
    world.stacks.delete('extra');
    // Gone from the swarm, still listed by the engine: what Docker 26 answers to the second removal.
    world.swarm.beforeCall = (call) => {
      if (call === 'removeNetwork extra_default')
        throw new EngineError('UNAVAILABLE', 'DELETE /networks/n: network n not found');
    };
    const { requeueAfterMs } = await world.pass();
    t.ok((requeueAfterMs ?? 0) < 1000, 'looked at again soon');
    world.swarm.beforeCall = () => {};
    await world.converge();
    t.equal(world.condition('Ready')?.status, 'True');
    world.reconciler.close();
  });

  t.test('asks for the claim again before the write', async (t) => {
    const world = await convergedWorld();
    world.swarm.services.delete(world.service('app_db')!.ID);
    world.swarm.beforeCall = (call) => {
      if (call === 'listNetworks') world.claims.hold('late', ['app_db']);
    };
    const writes = await world.writesOf(() => world.pass());
    t.same(writes, []);
    world.reconciler.close();
  });

  t.test('only reports drift when it is told so, but carries out edits', async (t) => {
    const world = new World();
    world.spec = { drift: 'report' };
    await world.converge();
    world.swarm.services.delete(world.service('app_db')!.ID);
    t.same(await world.writesOf(() => world.pass()), []);
    t.match(world.condition('Ready'), {
      status: 'False',
      reason: 'DriftReported',
      message: /create-service\/app_db/,
    });
    world.restart();
    t.same(await world.writesOf(() => world.pass()), [], 'also after a restart');
    world.generation = 2;
    await world.converge();
    t.ok(world.service('app_db'));
    world.reconciler.close();
  });

  t.test('keeps the last good text in force while the newest is wrong', async (t) => {
    const world = await convergedWorld();
    const problems = [{ file: 'm.yaml', line: 1, column: 1, path: 'spec', message: 'missing' }];
    await world.reconciler.reconcile({ ...world.stored(), problems }, live);
    t.match(world.condition('Accepted'), {
      status: 'False',
      reason: 'InvalidManifest',
      message: 'm.yaml:1:1: spec: missing',
    });
    t.equal(world.condition('Ready')?.status, 'True');
    const { resource: _, ...unknown } = world.stored();
    await world.reconciler.reconcile({ ...unknown, problems }, live);
    t.equal(world.swarm.services.size, 3, 'nothing is removed for want of a text');
    world.reconciler.close();
  });

  t.test('wakes up for an event of the swarm', async (t) => {
    const world = await convergedWorld();
    await world.clock.advance(1000);
    world.woken.length = 0;
    world.swarm.emit({ type: 'service', action: 'remove' });
    await settle();
    t.same(world.woken, ['ClusterSpec/small']);
    world.swarm.emit({ type: 'config', action: 'update', actor: 'spark-failures-lease-small' });
    await settle();
    t.equal(world.woken.length, 1, 'a lease that is renewed is no news');
    world.reconciler.close();
  });

  t.test('shares its connections with those who run faults', async (t) => {
    const world = await convergedWorld();
    const { connections } = world.provisioner;
    const { resource } = world.stored();
    const handle = await world.reconciler.nodes(resource as ClusterSpec)('node2');
    t.match(await handle.exec('true', [], {}, live), { code: 0 });
    t.equal(world.provisioner.connections, connections);
    await t.rejects(world.reconciler.nodes(resource as ClusterSpec)('node9'), {
      message: /no machine node9/,
    });
    world.reconciler.close();
  });
});

t.test('a checkpoint behind a network', async (t) => {
  const checkpoint = '/var/lib/spark-failures/checkpoint';
  const ofJob = (name: string, ...Constraints: string[]) =>
    service('app', name, {
      ContainerSpec: { Image: 'lab/job:1', Mounts: [{ Type: 'volume', Target: checkpoint }] },
      Placement: { Constraints },
    });
  const job = stack('app', [
    service('app', 'broker'),
    // One task, for which there are two nodes.
    ofJob('driver', 'node.labels.place == control'),
    ofJob('worker', 'node.labels.slot == 1'),
  ]);
  const fourNodes = [...threeNodes, node('node4', 'worker', { place: 'control' })];
  const s3a = { s3a: { bucket: 'store', prefix: 'six' } };
  const begin = (spec: Partial<ClusterSpec['spec']> = { checkpoint: s3a }) => {
    const world = new World(fourNodes, [job]);
    world.spec = spec;
    return world;
  };
  const tries = ({ steps }: ClusterPlan) => steps.filter(({ kind }) => kind === 'try-checkpoint');

  t.test('is used by each node on which the job may run, once, before the cluster is Ready', async (t) => {
    const world = begin();
    t.same(tries(await world.plan()), [], 'not while anything else is to be done');
    const uses: CheckpointUse[] = [];
    world.tryCheckpoint = (_, use) => {
      t.not(world.condition('Ready')?.status, 'True');
      uses.push(use);
    };
    await world.converge();
    t.same(world.tried, ['node1', 'node2', 'node4'], 'not node3, to which no task of the job can come');
    const [use] = uses;
    t.match(use, { dir: 's3a://store/six', image: 'lab/job:1', network: 'app_default' });
    t.match(use?.conf, 'spark.hadoop.fs.s3a.aws.credentials.provider=', 'as the job is told');
    t.equal(world.condition('Ready')?.status, 'True');
    world.restart();
    t.same(await world.writesOf(() => world.pass()), [], 'nor anew after a restart');
    t.equal(world.tried.length, 3);
    world.reconciler.close();
  });

  t.test('is looked for on the network that the manifest names', async (t) => {
    const world = begin({ checkpoint: { hdfs: { network: 'app_other' } } });
    const uses = new Set<string>();
    world.tryCheckpoint = (_, { dir, network }) => void uses.add(`${dir} ${network}`);
    await world.converge();
    t.same([...uses], ['hdfs://namenode:8020/checkpoint app_other']);
    world.reconciler.close();
  });

  t.test('is not asked for when it is a folder, or the manifest says nothing', async (t) => {
    for (const spec of [{ checkpoint: { path: {} } }, {}]) {
      const world = begin(spec);
      await world.converge();
      t.same(world.tried, []);
      t.equal(world.condition('Ready')?.status, 'True');
      world.reconciler.close();
    }
  });

  t.test('that a node cannot use is told with the node, and tried there again with backoff', async (t) => {
    const world = begin();
    let failures = 0;
    world.tryCheckpoint = (name) => {
      if (name !== 'node4' || failures >= 3) return;
      failures += 1;
      throw new Error('writing to s3a://store/six: no such bucket');
    };
    while (failures === 0) await world.pass().catch(() => {});
    t.match(world.condition('Ready'), {
      status: 'False',
      reason: 'CheckpointUnreachable',
      message: /^try-checkpoint\/node4: writing to s3a:\/\/store\/six: no such bucket$/,
    });
    t.same(world.tried, ['node1', 'node2'], 'the others have passed');
    await world.pass();
    t.equal(failures, 1, 'not tried again at once');
    t.equal(world.condition('Ready')?.reason, 'CheckpointUnreachable', 'told as long as it is so');
    await world.converge();
    t.same([failures, world.tried], [3, ['node1', 'node2', 'node4']]);
    t.equal(world.condition('Ready')?.status, 'True');
    world.reconciler.close();
  });

  t.test('is told to be out of reach though the job itself does not run', async (t) => {
    const world = begin();
    world.swarm.taskState = (task) => (task.service === 'app_driver' ? 'failed' : 'running');
    world.tryCheckpoint = () => {
      throw new Error('no route');
    };
    await world.pass();
    await world.pass();
    await t.rejects(world.pass(), { message: /no route/ });
    t.equal(world.condition('Ready')?.reason, 'CheckpointUnreachable');
    world.reconciler.close();
  });

  t.test('is used anew by a node that was made anew, and by all when it is another', async (t) => {
    const world = begin();
    await world.converge();
    world.provisioner.lose('node2');
    await world.converge();
    t.same(world.tried.slice(3), ['node2']);
    world.spec = { checkpoint: { s3a: { ...s3a.s3a, bucket: 'other' } } };
    world.generation++;
    await world.converge();
    t.same(world.tried.slice(4), ['node1', 'node2', 'node4']);
    world.reconciler.close();
  });

  t.test('is not disturbed in a trial that has a node made anew, and the node is', async (t) => {
    const world = begin();
    await world.converge();
    world.claims.hold('trial', ['node2'], ['node2']);
    world.provisioner.lose('node2');
    for (let passes = 0; passes < 6; passes++) await world.pass();
    t.ok(world.provisioner.machines.has('node2'));
    t.equal(world.memberOf('node2')?.Status.State, 'ready');
    t.equal(world.tried.length, 3, 'its checkpoint can wait');
    t.match(world.condition('Ready'), { status: 'False', reason: 'HeldByTrial' });
    world.claims.release('trial');
    await world.converge();
    t.same(world.tried.slice(3), ['node2']);
    t.equal(world.condition('Ready')?.status, 'True');
    world.reconciler.close();
  });

  t.test('is left alone while a trial holds anything, and then the cluster is not Ready', async (t) => {
    const world = begin();
    await world.converge();
    const [{ ID }] = [world.memberOf('node2')!];
    world.swarm.editNode(ID, (live) => ({ ...live, Spec: { ...live.Spec, Labels: {} } }));
    world.claims.hold('trial', ['app_broker']);
    await world.pass(); // the node's labels are put right
    await world.pass();
    t.match(world.condition('Ready'), {
      status: 'False',
      reason: 'HeldByTrial',
      message: /^node2: it has not/,
    });
    t.equal(world.tried.length, 3);
    world.claims.release('trial');
    await world.converge();
    t.same(world.tried.slice(3), ['node2']);
    t.equal(world.condition('Ready')?.status, 'True');
    world.reconciler.close();
  });

  t.test('is no drift', async (t) => {
    const world = begin({ checkpoint: s3a, drift: 'report' });
    await world.converge();
    const { ID } = world.memberOf('node2')!;
    world.swarm.editNode(ID, (live) => {
      const { [TRIED_LABEL]: _, ...Labels } = live.Spec.Labels;
      return { ...live, Spec: { ...live.Spec, Labels } };
    });
    await world.converge();
    t.same(world.tried.slice(3), ['node2']);
    t.equal(world.condition('Ready')?.status, 'True');
    world.reconciler.close();
  });
});

t.test('a manifest that is gone', async (t) => {
  async function destroy(world: World): Promise<boolean> {
    for (let pass = 0; pass < 10; pass++) {
      const { finalized } = await world.pass(true);
      if (finalized) return true;
      await world.clock.advance(1000);
    }
    return false;
  }

  t.test('takes everything with it, in order, and its status last', async (t) => {
    const world = await convergedWorld();
    const writes = await world.writesOf(async () => t.ok(await destroy(world)));
    t.equal(writes.at(-1), 'destroyShared');
    t.ok(writes.indexOf('removeService app_db') < writes.indexOf('removeNetwork app_default'));
    t.ok(writes.indexOf('removeNetwork app_default') < writes.indexOf('destroy node1'));
    t.equal(world.provisioner.machines.size, 0);
    t.equal(world.statuses.size, 0);
    t.same(world.removed, [['small', []]]);
    const series = [...(await scrapeMetrics(world.metrics)).keys()];
    t.same(
      series.filter((name) => name.includes('cluster="small"')),
      [],
    );
  });

  t.test('is not forgotten before those who ask for it were told', async (t) => {
    const world = await convergedWorld();
    world.journalFull = true;
    await t.rejects(destroy(world), { code: 'STATE_FULL' });
    t.ok(world.statuses.size > 0);
    world.journalFull = false;
    t.ok(await destroy(world));
    t.same(world.removed, [['small', []]]);
  });

  t.test('leaves the machines when they are to be retained', async (t) => {
    const world = await convergedWorld();
    world.spec = { deletionPolicy: 'retain' };
    t.ok(await destroy(world));
    t.equal(world.provisioner.machines.size, 3);
    t.equal(world.swarm.services.size + world.swarm.networks.size, 0);
    t.same(world.removed, [['small', ['node1', 'node2', 'node3']]]);
  });

  t.test('waits for a trial to end before anything goes', async (t) => {
    const world = await convergedWorld();
    world.claims.hold('trial', ['node2']);
    t.same(await world.writesOf(() => world.pass(true)), []);
    t.match(world.condition('Ready'), { reason: 'Deleting', message: /held by trial/ });
    world.claims.release('trial');
    t.ok(await destroy(world));
  });

  t.test('goes even when no manager answers', async (t) => {
    const world = await convergedWorld();
    world.provisioner.unreachable.add('node1');
    world.restart();
    t.ok(await destroy(world));
    t.equal(world.provisioner.machines.size, 0);
  });

  t.test('destroys only what the inventory lists', async (t) => {
    const world = await convergedWorld();
    const machine = world.provisioner.machines.get('node3')!;
    world.provisioner.machines.set('other', { ...machine, name: 'other', incarnation: 'other' });
    t.ok(await destroy(world));
    t.same([...world.provisioner.machines.keys()], ['other']);
    t.same(world.removed, [['small', ['other']]]);
  });
});

t.test('a rollout', async (t) => {
  const twoWebs = (image: string, monitorMs?: number): DesiredStack => {
    const web: ServiceSpec = {
      ...service('app', 'web', { ContainerSpec: { Image: image } }),
      Mode: { Replicated: { Replicas: 2 } },
      ...(monitorMs !== undefined && { UpdateConfig: { Monitor: monitorMs * 1e6 } }),
    };
    return stack('app', [web, service('app', 'db'), service('app', 'queue')]);
  };
  const imageOf = (world: World) =>
    world.service('app_web')?.Spec.TaskTemplate.ContainerSpec.Image.replace('lab/', '');

  /** An edit of the stack, and the pass that carries it out. */
  async function edit(world: World, image: string, monitorMs?: number): Promise<readonly string[]> {
    world.stacks.set('app', twoWebs(image, monitorMs));
    world.generation++;
    return world.writesOf(() => world.pass());
  }

  /** Passes for as long as nothing but the clock moves, and whatever they write. */
  async function wait(world: World, ms: number): Promise<readonly string[]> {
    return world.writesOf(async () => {
      for (let spent = 0; spent < ms; spent += 500) {
        await world.clock.advance(500);
        await world.pass();
      }
    });
  }

  t.test('is over when tasks of the new spec have run for as long as the update watches them', async (t) => {
    for (const [monitorMs, length] of [
      [undefined, 5000],
      [2000, 2000],
    ] as const) {
      const world = await convergedWorld(threeNodes, [twoWebs('web:1')]);
      world.swarm.outdated.add('app_web');
      t.same(await edit(world, 'web:2', monitorMs), ['updateService app_web']);
      await wait(world, 8000);
      t.match(world.condition('Ready'), {
        status: 'False',
        message: /app_web: 0 of 2 tasks run as they are asked for now/,
      });
      world.swarm.outdated.clear();
      await world.clock.advance(1000);
      await world.pass();
      await wait(world, length - 500);
      t.equal(world.condition('Ready')?.status, 'False');
      t.same(await wait(world, 1500), []);
      t.equal(world.condition('Ready')?.status, 'True');
      t.notOk(world.statuses.get('small')?.rollouts, 'nothing is left to remember');
      world.reconciler.close();
    }
  });

  t.test('counts from the start again when a task is another one', async (t) => {
    const world = await convergedWorld(threeNodes, [twoWebs('web:1')]);
    await edit(world, 'web:2');
    await wait(world, 4000);
    world.swarm.restartTasks('app_web');
    await wait(world, 4000);
    t.equal(world.condition('Ready')?.status, 'False');
    await wait(world, 2500);
    t.equal(world.condition('Ready')?.status, 'True');
    world.reconciler.close();
  });

  t.test('does not count tasks on a node that is down', async (t) => {
    const world = await convergedWorld(threeNodes, [twoWebs('web:1')]);
    await edit(world, 'web:2');
    const tasks = world.swarm.tasks();
    // As the swarm tells it: they are listed as running for as long as their node does not answer.
    world.swarm.tasks = () => tasks;
    world.swarm.editNode(world.memberOf('node2')!.ID, (each) => ({
      ...each,
      Status: { ...each.Status, State: 'down' },
    }));
    await wait(world, 8000);
    const { waiting } = await world.plan();
    t.match(
      waiting.find(({ target }) => target === 'app_web')?.message,
      /1 of 2 tasks run as they are asked for now/,
    );
    world.reconciler.close();
  });

  t.test(
    'that the engine rolled back is Stalled, says what its task said, and is not tried again',
    async (t) => {
      const world = await convergedWorld(threeNodes, [twoWebs('web:1')]);
      t.same(await edit(world, 'web:2'), ['updateService app_web']);
      world.swarm.failUpdate('app_web', 'rollback', 'task: non-zero exit (3)');
      t.same(await wait(world, 20_000), []);
      t.equal(imageOf(world), 'web:1');
      for (const type of ['Ready', 'Stalled'])
        t.match(world.condition(type), {
          status: type === 'Ready' ? 'False' : 'True',
          reason: 'RolloutFailed',
          message:
            'app_web: its update was rolled back: task: non-zero exit (3); this revision is not applied again',
        });
      world.restart();
      t.same(await wait(world, 5000), [], 'also after a restart');
      t.equal(world.condition('Stalled')?.reason, 'RolloutFailed');
      world.generation++;
      t.same(await wait(world, 1000), [], 'nor by an edit of something else');
      t.same(await edit(world, 'web:3'), ['updateService app_web'], 'but another revision is');
      await world.converge();
      t.equal(imageOf(world), 'web:3');
      t.equal(world.condition('Ready')?.status, 'True');
      world.reconciler.close();
    },
  );

  t.test('that failed is not tried again while other services go on', async (t) => {
    const world = await convergedWorld(threeNodes, [twoWebs('web:1')]);
    await edit(world, 'web:2');
    world.swarm.failUpdate('app_web', 'rollback', 'no');
    await wait(world, 1000);
    world.swarm.services.delete(world.service('app_db')!.ID);
    t.same(await wait(world, 8000), ['createService app_db']);
    t.equal(world.condition('Stalled')?.reason, 'RolloutFailed');
    world.reconciler.close();
  });

  t.test('that failed is left behind by going back to what runs', async (t) => {
    const world = await convergedWorld(threeNodes, [twoWebs('web:1')]);
    await edit(world, 'web:2');
    world.swarm.failUpdate('app_web', 'rollback', 'no');
    await wait(world, 1000);
    t.same(await edit(world, 'web:1'), []);
    t.equal(world.condition('Ready')?.status, 'True');
    t.notOk(world.statuses.get('small')?.rollouts);
    world.reconciler.close();
  });

  t.test('that was paused is Stalled, and over when its tasks run after all', async (t) => {
    const world = await convergedWorld(threeNodes, [twoWebs('web:1')]);
    await edit(world, 'web:2');
    world.swarm.outdated.add('app_web');
    world.swarm.failUpdate('app_web', 'pause', 'No such image: lab/web:2');
    await wait(world, 3000);
    t.match(world.condition('Stalled'), { reason: 'RolloutFailed', message: /its update was paused/ });
    world.swarm.editService('app_web', (spec) => ({ ...spec, Labels: { ...spec.Labels, by: 'hand' } }));
    t.same(await wait(world, 3000), [], 'an edit by hand does not have it applied again');
    world.swarm.editService('app_web', ({ Labels: { by: _, ...Labels }, ...spec }) => ({ ...spec, Labels }));
    world.swarm.outdated.clear();
    t.same(await wait(world, 8000), []);
    t.equal(world.condition('Ready')?.status, 'True');
    world.reconciler.close();
  });

  t.test('is not taken for the one before, of which the engine still tells the end', async (t) => {
    const world = await convergedWorld(threeNodes, [twoWebs('web:1')]);
    await edit(world, 'web:2');
    world.swarm.failUpdate('app_web', 'rollback', 'no');
    await wait(world, 1000);
    world.swarm.beforeCall = (call) => {
      if (call === 'updateService app_web') throw new EngineError('UNAVAILABLE', 'no answer');
    };
    await t.rejects(edit(world, 'web:3'), { message: 'no answer' });
    world.restart();
    world.swarm.beforeCall = () => {};
    await world.converge();
    t.equal(imageOf(world), 'web:3');
    world.reconciler.close();
  });

  t.test('gives way to a newer one', async (t) => {
    const world = await convergedWorld(threeNodes, [twoWebs('web:1')]);
    world.swarm.outdated.add('app_web');
    await edit(world, 'web:2');
    await wait(world, 1000);
    t.same(await edit(world, 'web:3'), ['updateService app_web'], 'at once');
    t.match(world.statuses.get('small')?.rollouts, { app_web: { state: 'Rolling' } });
    world.reconciler.close();
  });

  t.test('of which nothing is known is tried once more', async (t) => {
    const world = await convergedWorld(threeNodes, [twoWebs('web:1')]);
    await edit(world, 'web:2');
    world.swarm.failUpdate('app_web', 'rollback', 'no');
    world.restart();
    world.statuses.clear();
    t.same(await wait(world, 1000), ['updateService app_web']);
    world.swarm.failUpdate('app_web', 'rollback', 'no');
    t.same(await wait(world, 5000), []);
    world.reconciler.close();
  });

  t.test('is remembered while no manager answers, and while a compose file cannot be read', async (t) => {
    const world = await convergedWorld(threeNodes, [twoWebs('web:1')]);
    await edit(world, 'web:2');
    world.swarm.failUpdate('app_web', 'rollback', 'no');
    await wait(world, 1000);
    const good = world.stacks.get('app')!;
    world.stacks.set('app', new ManifestError([{ file: 'f', line: 1, column: 1, path: '', message: 'bad' }]));
    await wait(world, 1000);
    world.stacks.set('app', good);
    t.same(await wait(world, 1000), []);
    world.swarm.beforeCall = (call) => {
      if (call === 'listNodes') throw new EngineError('UNAVAILABLE', 'no leader');
    };
    await world.pass().catch(() => {});
    world.swarm.beforeCall = () => {};
    t.same(await wait(world, 1000), []);
    t.equal(world.condition('Ready')?.reason, 'RolloutFailed');
    world.reconciler.close();
  });

  t.test('of a new service whose tasks fail says what they say', async (t) => {
    const world = new World();
    world.swarm.taskState = ({ service }) => (service === 'app_db' ? 'rejected' : 'running');
    world.swarm.taskError = () => 'No such image: lab/db:1';
    await wait(world, 4000);
    t.match(world.condition('Ready'), {
      status: 'False',
      reason: 'TasksNotRunning',
      message: 'app_db: 0 of 1 tasks run: No such image: lab/db:1',
    });
    world.reconciler.close();
  });

  t.test('costs reads only for as long as it goes on', async (t) => {
    const world = await convergedWorld(threeNodes, [twoWebs('web:1')]);
    const calls: string[] = [];
    world.swarm.beforeCall = (call) => void calls.push(call);
    await wait(world, 5000);
    t.equal(calls.filter((call) => call === 'listTasks').length, 0);
    await edit(world, 'web:2');
    await wait(world, 4000);
    const looks = calls.filter((call) => call === 'listTasks').length;
    t.ok(looks >= 3 && looks <= 5, `${looks} looks in four seconds`);
    await wait(world, 3000);
    calls.length = 0;
    await wait(world, 5000);
    t.equal(calls.filter((call) => call === 'listTasks').length, 0);
    world.reconciler.close();
  });

  t.test('is computed anew from what somebody else has written meanwhile', async (t) => {
    const world = await convergedWorld(threeNodes, [twoWebs('web:1')]);
    let others = 2;
    world.swarm.beforeCall = (call) => {
      if (call !== 'updateService app_web' || others-- <= 0) return;
      world.swarm.editService('app_web', (spec) => ({
        ...spec,
        Labels: { ...spec.Labels, [`by${others}`]: 'hand' },
      }));
    };
    const writes = await world.writesOf(async () => {
      await edit(world, 'web:2');
      await world.converge();
    });
    t.same(writes, ['updateService app_web', 'updateService app_web', 'updateService app_web']);
    const { Labels } = world.service('app_web')!.Spec;
    t.same([imageOf(world), Object.keys(Labels).filter((key) => key.startsWith('by'))], ['web:2', []]);
    world.reconciler.close();
  });

  t.test('ends although the engine is too old for a field, and says which', async (t) => {
    const world = await convergedWorld(threeNodes, [twoWebs('web:1')]);
    world.swarm.drops.add('OomScoreAdj');
    const ContainerSpec = { Image: 'lab/db:1', ...{ OomScoreAdj: 5 } };
    world.stacks.set(
      'app',
      stack('app', [
        service('app', 'db', { ContainerSpec }),
        ...twoWebs('web:1').services.filter(({ Name }) => Name !== 'app_db'),
      ]),
    );
    t.same(await wait(world, 10_000), ['updateService app_db', 'updateService app_db']);
    t.match(world.condition('Ready'), {
      status: 'True',
      message: /app_db: the engine does not keep .*OomScoreAdj/,
    });
    world.swarm.editService('app_db', (spec) => ({ ...spec, Mode: { Replicated: { Replicas: 3 } } }));
    await wait(world, 10_000);
    t.same(world.service('app_db')?.Spec.Mode, { Replicated: { Replicas: 1 } }, 'all else is put right');
    world.reconciler.close();
  });
});

t.test('what cannot be changed in place', async (t) => {
  const globalDb = { ...service('app', 'db'), Mode: { Global: {} } };
  const withDb = (db: ServiceSpec) => stack('app', [service('app', 'web'), db, service('app', 'queue')]);
  const attachable = (stackOf: DesiredStack): DesiredStack => ({
    ...stackOf,
    networks: stackOf.networks.map((network) => ({ ...network, Attachable: true })),
  });

  t.test('is a problem that says how, without permission', async (t) => {
    const world = await convergedWorld();
    world.stacks.set('app', attachable(withDb(globalDb)));
    t.same(await world.writesOf(() => world.pass()), []);
    t.match((await world.plan()).problems, [
      {
        target: 'app_default',
        reason: 'ReplacementNeeded',
        message:
          'differs in Attachable, and a network cannot be changed: with `replace: allow` it is made anew, and what uses it with it: app_web, app_db, app_queue',
      },
      { target: 'app_db', reason: 'ReplacementNeeded', message: /differs in Mode, .*with `replace: allow`/ },
    ]);
    t.equal(world.condition('Stalled')?.reason, 'ReplacementNeeded');
    world.reconciler.close();
  });

  t.test('a service of another mode goes, and comes back when its tasks are gone', async (t) => {
    for (const modes of [
      [{ Global: {} }, { Replicated: { Replicas: 1 } }],
      [{ ReplicatedJob: { TotalCompletions: 2 } }, { GlobalJob: {} }],
    ]) {
      const world = await convergedWorld();
      const before = world.service('app_db')!.ID;
      world.spec = { replace: 'allow' };
      for (const Mode of modes) {
        world.stacks.set('app', withDb({ ...service('app', 'db'), Mode }));
        const plan = await world.plan();
        t.same(ids(plan), ['remove-service/app_db', 'await-tasks-gone/app_db', 'create-service/app_db']);
        t.match(formatPlan('small', plan), /differs in Mode/);
        t.same(await world.writesOf(() => world.pass()), ['removeService app_db', 'createService app_db']);
        await world.converge();
        t.equal(world.condition('Ready')?.status, 'True');
      }
      t.not(world.service('app_db')?.ID, before);
      world.reconciler.close();
    }
  });

  t.test('a network goes after all that use it, and they come back after it', async (t) => {
    const world = await convergedWorld(threeNodes, [app, stack('extra', [service('extra', 'one')])]);
    const untouched = world.service('extra_one')!.ID;
    world.spec = { replace: 'allow' };
    world.stacks.set('app', attachable(app));
    const writes = await world.writesOf(() => world.converge());
    const at = (write: string) => writes.indexOf(write);
    t.equal(writes.length, 8);
    for (const name of ['app_web', 'app_db', 'app_queue']) {
      t.ok(at(`removeService ${name}`) < at('removeNetwork app_default'));
      t.ok(at(`createService ${name}`) > at('createNetwork app_default'));
    }
    t.ok(at('removeNetwork app_default') < at('createNetwork app_default'));
    t.equal(world.service('extra_one')?.ID, untouched);
    t.equal(world.condition('Ready')?.status, 'True');
    world.reconciler.close();
  });

  t.test('a network goes, too, where services wait for others that use it', async (t) => {
    const ordered: DesiredStack = { ...app, dependencies: { app_web: { app_db: 'running' } } };
    const world = await convergedWorld(threeNodes, [ordered]);
    world.spec = { replace: 'allow' };
    world.stacks.set('app', attachable(ordered));
    const writes = await world.writesOf(() => world.converge());
    const at = (write: string) => writes.indexOf(write);
    t.equal(writes.length, 8);
    t.ok(at('removeService app_web') < at('removeNetwork app_default'));
    t.ok(at('createService app_db') < at('createService app_web'), 'still in their order');
    t.equal(world.condition('Ready')?.status, 'True');
    world.reconciler.close();
  });

  t.test('is gone on with by a process that comes after', async (t) => {
    for (const last of ['removeNetwork app_default', 'createNetwork app_default', 'createService app_db']) {
      const world = await convergedWorld();
      world.spec = { replace: 'allow' };
      world.stacks.set('app', attachable(app));
      world.swarm.beforeCall = (call) => {
        if (call === last) throw new EngineError('UNAVAILABLE', 'the process dies');
      };
      await t.rejects(world.pass());
      world.restart();
      world.swarm.beforeCall = () => {};
      await world.converge();
      t.equal(world.service('app_db') && [...world.swarm.networks.values()][0]?.Attachable, true, last);
      world.reconciler.close();
    }
  });

  t.test('a network stays while something uses it that has to', async (t) => {
    const world = await convergedWorld();
    world.spec = { replace: 'allow' };
    world.stacks.set('app', attachable(app));
    world.claims.hold('trial', ['app_db']);
    t.same(await world.writesOf(() => world.pass()), []);
    world.claims.release('trial');
    const other = { ...service('app', 'other'), Labels: {} };
    await world.swarm.gateway.createService(other, live);
    t.same(await world.writesOf(() => world.pass()), []);
    t.match((await world.plan()).problems, [
      { target: 'app_default', message: /is used by app_other, which cannot go now/ },
    ]);
    world.swarm.services.delete(world.service('app_other')!.ID);
    await world.converge();
    t.equal(world.condition('Ready')?.status, 'True');
    world.reconciler.close();
  });
});

const withWeb = (ContainerSpec: ContainerSpec): DesiredStack =>
  stack('app', [service('app', 'web', { ContainerSpec }), service('app', 'db'), service('app', 'queue')]);

t.test('a cluster that is suspended', async (t) => {
  t.test('is left as it is, edited or changed by others, and goes on when it is not', async (t) => {
    const world = await convergedWorld();
    const { prepared } = world;
    world.spec = { suspend: true };
    world.generation++;
    world.stacks.set('app', withWeb({ Image: 'lab/web:2' }));
    world.swarm.editService('app_db', (spec) => ({ ...spec, Mode: { Replicated: { Replicas: 3 } } }));
    world.provisioner.lose('node3');
    const writes = await world.writesOf(async () => {
      for (let pass = 0; pass < 5; pass++) {
        await world.pass();
        await world.clock.advance(2500);
      }
    });
    t.same(writes, []);
    t.match(world.condition('Ready'), { status: 'False', reason: 'Suspended', observedGeneration: 2 });
    t.notOk(world.condition('Reconciling') ?? world.condition('Stalled'), 'it is neither');
    t.match(
      world.statuses.get('small')?.drift?.find(({ target }) => target === 'app_web'),
      { field: 'TaskTemplate.ContainerSpec.Image', want: '"lab/web:2"', have: '"lab/web:1"' },
    );
    t.equal(world.prepared, prepared, 'nor is anything made ready for it');
    t.same(await world.pass(), { requeueAfterMs: 2500 });
    t.match(formatPlan('small', await world.plan()), /i note Suspended small: nothing of this is done/);
    world.spec = {};
    world.generation++;
    await world.converge();
    t.notOk(world.statuses.get('small')?.drift);
    t.ok(world.provisioner.machines.has('node3'));
    world.reconciler.close();
  });

  t.test('stays when its manifest goes, until it is given back without', async (t) => {
    const world = await convergedWorld();
    world.spec = { suspend: true };
    const writes = await world.writesOf(async () => {
      for (let pass = 0; pass < 3; pass++) t.notOk((await world.pass(true)).finalized);
    });
    t.same(writes, []);
    t.match(world.condition('Ready'), {
      reason: 'Suspended',
      message: /nothing is removed; give it back without/,
    });
    world.spec = {};
    await world.pass();
    for (let pass = 0; pass < 5; pass++) await world.pass(true);
    t.equal(world.provisioner.machines.size, 0);
    world.reconciler.close();
  });
});

t.test('a new value of reconcile-at', async (t) => {
  t.test('is told when a pass has seen it, and has tried again what was given up', async (t) => {
    const world = await convergedWorld();
    world.stacks.set('app', withWeb({ Image: 'lab/web:2' }));
    await world.pass();
    world.swarm.failUpdate('app_web', 'rollback', 'no');
    t.same(await world.writesOf(() => world.pass()), []);
    world.annotations = { 'spark-failures.io/reconcile-at': 'now' };
    t.same(await world.writesOf(() => world.pass()), ['updateService app_web']);
    t.equal(world.statuses.get('small')?.lastHandledReconcileAt, 'now');
    world.swarm.failUpdate('app_web', 'rollback', 'no');
    world.restart();
    t.same(await world.writesOf(() => world.pass()), [], 'once for each value');
    world.reconciler.close();
  });

  t.test('asks every engine, and ends what holds failed steps back', async (t) => {
    const world = await convergedWorld();
    const asked: string[] = [];
    world.swarm.beforeCall = (call) => {
      if (call.startsWith('info')) asked.push(call);
      if (call === 'createService app_db') throw new EngineError('UNAVAILABLE', 'no');
    };
    world.swarm.services.delete(world.service('app_db')!.ID);
    for (let pass = 0; pass < 3; pass++) await world.pass().catch(() => {});
    t.same(asked, [], 'facts are believed for a while');
    world.annotations = { 'spark-failures.io/reconcile-at': '1' };
    world.swarm.beforeCall = (call) => void (call.startsWith('info') && asked.push(call));
    await world.pass();
    t.equal(world.swarm.writes.at(-1), 'createService app_db');
    t.same(asked.sort(), ['info node1', 'info node2', 'info node3']);
    world.reconciler.close();
  });
});

t.test('drift that is only reported', async (t) => {
  t.test('is listed field by field, without what looks like a secret, until it is gone', async (t) => {
    const Env = ['PASSWORD=one', 'RATE=100', 'URL=kafka://me:two@host'];
    const world = new World(threeNodes, [withWeb({ Image: 'lab/web:1', Env })]);
    world.spec = { drift: 'report' };
    await world.converge();
    world.swarm.editService('app_web', (spec) => ({
      ...spec,
      Labels: { ...spec.Labels, by: 'hand' },
      Mode: { Replicated: { Replicas: 3 } },
      TaskTemplate: {
        ...spec.TaskTemplate,
        ContainerSpec: {
          Image: 'lab/web:1',
          Env: ['PASSWORD=three', 'RATE=9', 'URL=kafka://me:four@host'],
        },
      },
    }));
    world.swarm.services.delete(world.service('app_db')!.ID);
    t.same(await world.writesOf(() => world.pass()), []);
    const step = 'update-service';
    const env = 'TaskTemplate.ContainerSpec.Env';
    const hidden = { want: '(not shown)', have: '(not shown)' };
    t.same(world.statuses.get('small')?.drift, [
      { target: 'app_web', field: 'Labels.by', have: '"hand"', step },
      { target: 'app_web', field: 'Mode.Replicas', want: '1', have: '3', step },
      { target: 'app_web', field: `${env}.PASSWORD`, ...hidden, step },
      { target: 'app_web', field: `${env}.RATE`, want: '"RATE=100"', have: '"RATE=9"', step },
      { target: 'app_web', field: `${env}.URL`, ...hidden, step },
      { target: 'app_db', step: 'create-service: the service does not exist' },
    ]);
    t.notMatch(formatPlan('small', await world.plan()), /one|three|two|four/);
    world.spec = { drift: 'correct' };
    await world.converge();
    t.notOk(world.statuses.get('small')?.drift);
    world.reconciler.close();
  });
});

t.test('one of several operators', async (t) => {
  const waiting = async (): Promise<World> => {
    const world = await convergedWorld();
    world.lease.elsewhere = 'other, which leads';
    world.lease.leader = { holder: 'other', term: 3 };
    world.lease.calls.length = 0;
    return world;
  };

  t.test('that does not lead observes and tells, and writes nothing', async (t) => {
    const world = await waiting();
    await world.swarm.gateway.removeService(world.service('app_web')!.ID, live);
    t.same(await world.writesOf(() => world.pass()), []);
    t.same(world.lease.calls, [], 'nor does it build what only a leader needs');
    t.match(world.condition('Ready'), {
      status: 'False',
      reason: 'NotLeading',
      message: 'left to other, which leads: create-service/app_web',
    });
    const { leader, events } = world.statuses.get('small')!;
    t.same(leader, { holder: 'other', term: 3 });
    const election = events!.find(({ reason }) => reason === 'LeaderElection');
    t.match(election, { message: 'other became leader, term 3', count: 1 });
    const written = JSON.stringify(world.statuses.get('small'));
    await world.pass();
    t.equal(JSON.stringify(world.statuses.get('small')), written, 'said once');
    world.lease.elsewhere = undefined;
    await world.converge();
    t.ok(world.service('app_web'), 'and acts as soon as it may');
  });

  t.test('that does not lead calls it Ready when it is', async (t) => {
    const world = await waiting();
    await world.pass();
    t.match(world.condition('Ready'), { status: 'True' });
  });

  t.test('that loses the lease during a pass leaves the rest of its steps', async (t) => {
    const world = await waiting();
    world.lease.elsewhere = undefined;
    for (const name of ['app_web', 'app_db'])
      await world.swarm.gateway.removeService(world.service(name)!.ID, live);
    world.swarm.beforeCall = (call) => {
      if (call.startsWith('createService')) world.lease.elsewhere = 'other, which leads';
    };
    t.equal((await world.writesOf(() => world.pass())).length, 1, 'the one that was being made');
    world.lease.elsewhere = undefined;
    world.lease.end.abort(new Error('over'));
    t.same(await world.pass(), { requeueAfterMs: 100 }, 'a pass that is cut short has not failed');
  });

  t.test('that does not lead forgets a cluster when it is gone, and takes nothing down', async (t) => {
    const world = await waiting();
    t.same(await world.writesOf(() => world.pass(true)), []);
    t.match(world.condition('Ready'), { reason: 'Deleting' });
    world.lease.elsewhere = undefined;
    const leader = world.statuses.get('small')!;
    while (!(await world.pass(true)).finalized) await world.clock.advance(1_000);
    t.same([...new Set(world.lease.calls)], ['tearDown', 'prepare', 'forget']);
    world.statuses.set('small', leader);
    world.lease.elsewhere = 'other, which leads';
    t.match(await world.pass(true), { finalized: true });
  });

  t.test('that stands for no lease leaves a cluster to who renews one, and to nobody else', async (t) => {
    const world = await convergedWorld();
    world.bystander = new Bystander(() => world.clock.now());
    world.restart();
    const { gateway } = world.swarm;
    const name = leaseName('small');
    const put = async (record: Partial<LeaseRecord>) => {
      const whole = { holder: 'other', term: 3, durationMs: 10_000, renewed: '', runs: {}, ...record };
      const Labels = leaseLabels('small', whole);
      const known = await gateway.findConfig(name, live);
      if (known) await gateway.labelConfig(known, Labels, live);
      else await gateway.createConfig({ Name: name, Labels, Data: leaseData }, live);
    };
    const message = () => world.condition('Ready')?.message;
    const twice = async () => {
      await world.pass(); // sees it
      await world.pass();
    };
    await put({});
    let open = () => {};
    world.provisioner.open = new Promise((resolve) => {
      open = resolve;
    });
    world.restart();
    const removal = world.writesOf(() => world.pass(true));
    await world.clock.advance(3_000); // a pass has no more patience
    t.same(await removal, []);
    t.match(world.condition('Ready')?.reason, 'Deleting', 'not before the swarm has told who leads');
    await world.clock.advance(9_999);
    t.same(await world.writesOf(() => world.pass()), []);
    open();
    await settle();
    await gateway.removeService(world.service('app_web')!.ID, live);
    t.same(await world.writesOf(() => world.pass()), []);
    t.equal(message(), 'left to other, if that still renews its lease: create-service/app_web');
    await put({});
    t.same(await world.writesOf(() => world.pass()), []);
    t.equal(message(), 'left to other, which leads: create-service/app_web');
    t.match(world.statuses.get('small')?.leader, { holder: 'other', term: 3 });
    await world.clock.advance(9_999);
    t.same(await world.writesOf(() => world.pass()), []);
    await world.clock.advance(1);
    t.match(await world.writesOf(twice), [/createService app_web/], 'it stands still');
    await gateway.removeService(world.service('app_web')!.ID, live);
    t.match(
      await world.writesOf(() => world.pass()),
      [/createService app_web/],
      'and is not waited for again',
    );
    await gateway.removeService(world.service('app_web')!.ID, live);
    await put({ renewed: 'again' });
    t.same(await world.writesOf(() => world.pass()), []);
    await put({ holder: '' });
    t.match(await world.writesOf(twice), [/createService app_web/], 'it is let go');
    await world.converge();
    t.equal(world.condition('Ready')?.status, 'True');
    await put({});
    world.provisioner.open = new Promise(() => {});
    world.bystander = new Bystander(() => world.clock.now());
    world.restart();
    const first = world.writesOf(() => world.pass(true));
    await world.clock.advance(3_000);
    t.same(await first, []);
    await world.clock.advance(10_000);
    await world.pass(true);
    t.match(await world.writesOf(() => world.pass(true)), ['destroy node1'], 'a dead swarm has no leader');
    world.reconciler.close();
  });
});

/** A stack with a config and a secret of a revision, which one of its services uses. */
function appWithSecret(revision: string): DesiredStack {
  const File = { Name: '/job', UID: '0', GID: '0', Mode: 292 };
  const Configs = [{ File, ConfigName: `app_job-${revision}` }];
  const Secrets = [{ File, SecretName: `app_key-${revision}` }];
  const web = service('app', 'web', { ContainerSpec: { Image: 'lab/web:1', Configs, Secrets } });
  const made = stack(
    'app',
    [web, service('app', 'db'), service('app', 'queue')],
    [config('app', 'job', revision)],
  );
  return { ...made, secrets: [config('app', 'key', revision)] };
}

t.test('an hour in which one call of twenty fails or hangs ends as it should', async (t) => {
  for (const seed of [1, 2, 3, 4]) {
    const random = seededRandom(seed);
    const world = new World(threeNodes, [appWithSecret('00000000')]);
    let chance = 0.05;
    /** What the operator did to the swarm, by call and name. */
    const did: string[] = [];
    const lost: string[] = [];
    const done = (method: string, [first]: readonly unknown[]) => {
      if (/^(create|remove)(Service|Secret|Config)$/.test(method))
        did.push(`${method} ${(first as { Name?: string }).Name ?? ''}`);
      const held = new Set(world.swarm.secrets.keys());
      for (const { Spec } of world.swarm.services.values())
        for (const { SecretID, SecretName } of Spec.TaskTemplate.ContainerSpec.Secrets ?? [])
          if (!held.has(SecretID ?? '')) lost.push(`${SecretName} of ${Spec.Name}, by ${method}`);
    };
    const options = { chance: () => chance, random, clock: world.clock, done };
    world.openEngine = async (...call) => {
      const opened = await world.provisioner.openEngine(...call);
      return { ...opened, engine: flaky(opened.engine, options), swarm: flaky(opened.swarm, options) };
    };
    world.provisioner.beforeCall = (call) => {
      if (random() < chance) throw new ProvisionError([`${call}: no answer`]);
    };

    /** The operator, until it is asked to end. */
    const start = () => {
      const end = new AbortController();
      const loop = new ControlLoop<StoredResource>({
        reconciler: { kind: 'ClusterSpec', reconcile: (...call) => world.reconciler.reconcile(...call) },
        resources: { get: () => world.stored(), finalized: () => {} },
        log: { warn: () => {}, error: () => {}, debug: () => {}, within: (_, work) => work() },
        ...{ clock: world.clock, random, passLimitMs: 1_800_000 },
      });
      const running = loop.run(end.signal);
      loop.add('ClusterSpec/small');
      return async () => {
        end.abort(new Error('ended'));
        await running;
        world.restart();
      };
    };

    let stop = start();
    const byHand = { web: 0, db: 0, queue: 0 };
    const names = Object.keys(byHand) as (keyof typeof byHand)[];
    let revision = 0;
    for (let minute = 1; minute <= 60; minute++) {
      await world.clock.advance(60_000);
      const name = names[Math.floor(random() * names.length)]!;
      const live = world.service(`app_${name}`);
      if (minute % 3 === 0 && live) {
        world.swarm.services.delete(live.ID);
        byHand[name]++;
      }
      if (minute % 5 === 0 && world.service('app_db'))
        world.swarm.editService('app_db', (spec) => ({ ...spec, Mode: { Replicated: { Replicas: 7 } } }));
      if (minute % 11 === 0) world.provisioner.lose('node3');
      if (minute % 13 === 0) {
        world.stacks.set('app', appWithSecret(`0000000${++revision}`));
        world.generation++;
      }
      if (minute % 17 === 0) {
        await stop();
        stop = start();
      }
    }
    await stop();
    chance = 0;
    await world.converge();

    t.equal(world.condition('Ready')?.status, 'True', `seed ${seed}`);
    t.same(
      [...world.swarm.services.values()].map(({ Spec }) => Spec.Name).sort(),
      ['app_db', 'app_queue', 'app_web'],
      'each service once',
    );
    for (const name of names) {
      const made = did.filter((call) => call === `createService app_${name}`).length;
      t.equal(made, 1 + byHand[name], `${name} was made as often as somebody removed it, and once`);
    }
    t.same(
      did.filter((call) => call.startsWith('removeService')),
      [],
    );
    t.same(lost, []);
    const secrets = did.filter((call) => call.startsWith('createSecret'));
    t.equal(secrets.length, new Set(secrets).size, 'no secret was made twice');
    t.ok([...world.swarm.secrets.values()].some(({ Spec }) => Spec.Name === `app_key-0000000${revision}`));
    t.equal(world.provisioner.machines.size, 3);
    t.same(await world.writesOf(() => world.pass()), [], 'and nothing is left to do');
    world.reconciler.close();
  }
});
