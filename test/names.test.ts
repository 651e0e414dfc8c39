import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import t, { type Test } from 'tap';
import { createMetrics } from '../controller/metrics/metrics.ts';
import {
  type Deafness,
  deafOf,
  describeDeafness,
  judgeAnswers,
  stillDeaf,
} from '../controller/names/deafness.ts';
import { planHealing } from '../controller/names/plan-healing.ts';
import { planQuestions, type Question, type SwarmLists } from '../controller/names/plan-questions.ts';
import { nameWatch } from '../controller/names/watch-names.ts';
import { createInterventions } from '../controller/schedule/interventions.ts';
import { createClaims } from '../controller/status/claims.ts';
import type { NewEvent } from '../controller/status/events.ts';
import { CLUSTER_LABEL, NODE_LABEL } from '../controller/swarm/labels.ts';
import type { LiveNode, LiveService, LiveTask } from '../controller/swarm/swarm-types.ts';
import { loadScripts } from '../state-machines/load-scripts.ts';
import { shellcheck } from './contracts/fault-kind.ts';
import { FakeClock, settle } from './support/fake-clock.ts';
import { FakeNode } from './support/fake-node.ts';
import { FakeSwarm } from './support/fake-swarm.ts';
import { scrapeMetrics } from './support/scrape-metrics.ts';

const scripts = await loadScripts('state-machines');
const never = new AbortController().signal;

const liveNode = (name: string, State: LiveNode['Status']['State'] = 'ready'): LiveNode => ({
  ...{ ID: `id-of-${name}`, Version: { Index: 1 }, CreatedAt: '' },
  Spec: { Labels: { [NODE_LABEL]: name }, Role: 'worker', Availability: 'active' },
  ...{ Description: { Hostname: 'any' }, Status: { State } },
});

function liveService(
  Name: string,
  networks: Readonly<Record<string, readonly string[]>>,
  VirtualIPs: readonly { readonly NetworkID: string; readonly Addr: string }[] = [],
): LiveService {
  const Networks = Object.entries(networks).map(([Target, Aliases]) => ({ Target, Aliases }));
  return {
    ...{ ID: `id-of-${Name}`, Version: { Index: 1 }, CreatedAt: '' },
    Spec: {
      ...{ Name, Labels: {}, Mode: { Replicated: {} }, EndpointSpec: { Mode: 'vip' } },
      TaskTemplate: { ContainerSpec: { Image: 'any' }, Networks },
    },
    Endpoint: { VirtualIPs },
  };
}

function liveTask(
  service: string,
  node: string,
  addresses: Readonly<Record<string, readonly string[]>>,
  { State = 'running', DesiredState = 'running' } = {},
): LiveTask {
  const ID = `${service}@${node}`;
  return {
    ...{ ID, ServiceID: `id-of-${service}`, NodeID: `id-of-${node}`, DesiredState, CreatedAt: '', Spec: {} },
    Status: { State, ContainerStatus: { ContainerID: `in-${ID}` } },
    NetworksAttachments: Object.entries(addresses).map(([network, Addresses]) => ({
      ...{ Network: { ID: network }, Addresses },
    })),
  };
}

const network = (Id: string, Driver = 'overlay') => ({
  ...{ Id, Name: `net-${Id}`, Driver, Labels: {}, Attachable: false, Internal: false },
});

/** Two nodes; kafka on the first, and a part of the web on each. */
const lists: SwarmLists = {
  nodes: [liveNode('node1'), liveNode('node2')],
  networks: [network('app')],
  services: [liveService('s_kafka', { app: ['kafka'] }), liveService('s_web', { app: ['web', 'www'] })],
  tasks: [
    liveTask('s_kafka', 'node1', { app: ['10.99.1.5/24'] }),
    liveTask('s_web', 'node1', { app: ['10.99.1.6/24', 'fd00::6/64'] }),
    liveTask('s_web', 'node2', { app: ['10.99.1.7/24'] }),
  ],
};

const asked = (questions: readonly Question[]) =>
  questions.map(({ node, container, name, meanings }) =>
    [
      ...[node, container, name],
      ...meanings.map(({ network: on, running, known }) => `${on}=${running.join('+')}/${known.join('+')}`),
    ].join(' '),
  );

t.test('what a node is asked', async (t) => {
  t.test('is every name of its networks, once, whoever goes by it', async (t) => {
    t.same(asked(planQuestions(lists)), [
      'node1 in-s_kafka@node1 kafka net-app=10.99.1.5/10.99.1.5',
      'node1 in-s_kafka@node1 web net-app=10.99.1.6+10.99.1.7/10.99.1.6+10.99.1.7',
      'node1 in-s_kafka@node1 www net-app=10.99.1.6+10.99.1.7/10.99.1.6+10.99.1.7',
      'node2 in-s_web@node2 kafka net-app=10.99.1.5/10.99.1.5',
      'node2 in-s_web@node2 web net-app=10.99.1.6+10.99.1.7/10.99.1.6+10.99.1.7',
      'node2 in-s_web@node2 www net-app=10.99.1.6+10.99.1.7/10.99.1.6+10.99.1.7',
    ]);
  });

  t.test('with a virtual address is that, and the tasks behind it', async (t) => {
    const vip = [{ NetworkID: 'app', Addr: '10.99.1.2/24' }];
    const services = [liveService('s_web', { app: ['web'] }, vip)];
    t.same(asked(planQuestions({ ...lists, services })), [
      'node1 in-s_kafka@node1 web net-app=10.99.1.2/10.99.1.2',
      'node1 in-s_kafka@node1 tasks.web net-app=10.99.1.6+10.99.1.7/10.99.1.6+10.99.1.7',
      'node2 in-s_web@node2 web net-app=10.99.1.2/10.99.1.2',
      'node2 in-s_web@node2 tasks.web net-app=10.99.1.6+10.99.1.7/10.99.1.6+10.99.1.7',
    ]);
  });

  t.test('need not know tasks that come or go, nor those of a node that is down', async (t) => {
    const web = (node: string, address: string, state: object = {}) =>
      liveTask('s_web', node, { app: [`${address}/24`] }, state);
    const tasks = [
      web('node1', '10.99.1.6'),
      web('node2', '10.99.1.7', { State: 'starting' }),
      web('node2', '10.99.1.8', { DesiredState: 'shutdown' }),
      web('node2', '10.99.1.9', { State: 'shutdown', DesiredState: 'shutdown' }),
      web('node3', '10.99.1.10'),
    ];
    const nodes = [...lists.nodes, liveNode('node3', 'down')];
    const [first, ...others] = asked(planQuestions({ ...lists, nodes, tasks }));
    t.equal(first, 'node1 in-s_web@node1 web net-app=10.99.1.6/10.99.1.6+10.99.1.7+10.99.1.8+10.99.1.10');
    t.equal(others.length, 1, 'www; nobody is there who could ask on node2, and node3 is down');
  });

  t.test('may mean another thing on another network of the same container', async (t) => {
    const both = { app: ['web'], back: ['web'] };
    const services = [liveService('s_web', both), liveService('s_db', { back: ['db'] })];
    const tasks = [
      liveTask('s_web', 'node1', { app: ['10.99.1.6/24'], back: ['10.99.2.6/24'] }),
      liveTask('s_db', 'node1', { back: ['10.99.2.7/24'] }),
    ];
    const networks = [network('app'), network('back'), network('host', 'host')];
    t.same(asked(planQuestions({ ...lists, networks, services, tasks })), [
      'node1 in-s_web@node1 web net-app=10.99.1.6/10.99.1.6 net-back=10.99.2.6/10.99.2.6',
      'node1 in-s_db@node1 web net-back=10.99.2.6/10.99.2.6',
      'node1 in-s_db@node1 db net-back=10.99.2.7/10.99.2.7',
    ]);
  });

  t.test('is by the full name where there is no other, and nothing that is no name', async (t) => {
    const services = [
      liveService('s_web', { app: [] }),
      liveService('s_kafka', { app: ['a b', 'x'.repeat(64)] }),
    ];
    const names = planQuestions({ ...lists, services }).map(({ name }) => name);
    t.same(names, ['s_web', 's_web']);
  });
});

const deafness = (more: Partial<Deafness> = {}): Deafness => ({
  ...{ node: 'node2', network: 'net-app', name: 'web', services: ['s_web'] },
  ...{ missing: ['10.99.1.6'], stale: [] },
  ...more,
});

t.test('an answer', async (t) => {
  const questions = planQuestions(lists).filter(({ node, name }) => node === 'node2' && name === 'web');
  const judged = (state: 'whole' | 'cut' | 'none', ...addresses: readonly string[]) =>
    deafOf(judgeAnswers(questions, [{ container: 'in-s_web@node2', name: 'web', state, addresses }])).map(
      ({ missing, stale }) => ({ missing, stale }),
    );
  t.same(judged('whole', '10.99.1.7', '10.99.1.6'), [], 'with all tasks is right, in any order');
  t.same(judged('none'), [{ missing: ['10.99.1.6', '10.99.1.7'], stale: [] }]);
  t.same(judged('whole', '10.99.1.7'), [{ missing: ['10.99.1.6'], stale: [] }], 'one is missing');
  t.same(judged('whole', '10.99.1.6', '10.99.1.7', '10.99.1.4'), [{ missing: [], stale: ['10.99.1.4'] }]);
  t.same(judged('cut', '10.99.1.6'), [], 'what was cut off may have been there');
  t.same(judged('cut', '10.99.1.4'), [{ missing: [], stale: ['10.99.1.4'] }]);
  const said = ({ heard, key }: { readonly heard: string; readonly key: string }) => `${key}: ${heard}`;
  t.same(judgeAnswers(questions, []).map(said), ['node2 net-app web: unknown']);

  const [question] = questions;
  const other = { network: 'net-back', services: ['b'], running: ['10.99.2.6'], known: ['10.99.2.6'] };
  const ambiguous = { ...question!, meanings: [question!.meanings[0], other] as const };
  const fromOther = {
    container: 'in-s_web@node2',
    name: 'web',
    state: 'whole',
    addresses: ['10.99.2.6'],
  } as const;
  t.same(
    judgeAnswers([ambiguous], [fromOther]).map(said),
    ['node2 net-app web: rightly'],
    'of another network',
  );
});

t.test('only what was missing, or stale, at both looks is', async (t) => {
  const one = deafness({ missing: ['a', 'b'], stale: ['c'] });
  t.same(stillDeaf([one], [deafness({ missing: ['b', 'd'], stale: ['e'] })]), [deafness({ missing: ['b'] })]);
  t.same(stillDeaf([one], [deafness({ missing: ['d'] })]), []);
  t.same(stillDeaf([one], [deafness({ node: 'node3', missing: ['a'] })]), []);
});

t.test('is told with what lacks, of the first five names', async (t) => {
  const all = ['a', 'b', 'c', 'd', 'e', 'f', 'g'].map((name) => deafness({ name }));
  t.match(
    describeDeafness(all),
    /^a on net-app lacks 10\.99\.1\.6; .*; e on net-app lacks 10\.99\.1\.6; and 2 more$/,
  );
  const both = deafness({ stale: ['10.99.1.4'] });
  t.equal(describeDeafness([both]), 'web on net-app lacks 10.99.1.6 and has 10.99.1.4, which no task has');
});

t.test('what is done about a name that stays lost', async (t) => {
  const all = { mayHeal: true, isOurs: () => true, wasTried: () => false };
  const advice = (context: Partial<typeof all>, one = deafness()) => {
    const { restart, beyond } = planHealing([one], { ...all, ...context });
    return [restart, ...beyond.map((each) => each.advice)];
  };
  t.same(planHealing([deafness(), deafness({ node: 'node3' })], all), { restart: ['s_web'], beyond: [] });
  t.same(advice({}, deafness({ missing: [], stale: ['a'] })), [[], 'restart the engine of node2']);
  t.same(advice({ wasTried: () => true }), [
    [],
    'a forced update of s_web did not help: restart the engine of node2',
  ]);
  t.match(advice({ mayHeal: false }), [[], /^the cluster is only reported on: update s_web by force/]);
  t.match(advice({ isOurs: () => false }), [[], /^s_web is not of this cluster: update it by force/]);
  const shared = deafness({ services: ['s_web', 't_web'] });
  const wasTried = (service: string) => service === 's_web';
  t.same(planHealing([shared], { ...all, wasTried }), { restart: ['t_web'], beyond: [] });
});

/** A cluster of three nodes with two services on one network, and the watch over its names. */
class World {
  readonly clock = new FakeClock();
  readonly swarm = new FakeSwarm();
  readonly nodes = [1, 2, 3].map((i) => new FakeNode(`node${i}`, this.clock, scripts));
  readonly claims = createClaims();
  readonly interventions = createInterventions(this.clock);
  readonly metrics = createMetrics();
  readonly events: NewEvent[] = [];
  onTrial = false;
  mayHeal = true;
  /** What node3's name server says otherwise than it should, by name. */
  readonly deaf = new Map<string, string>();
  readonly watch = nameWatch({
    ...{ clock: this.clock, scripts, metrics: this.metrics.clusters },
    clusters: () => ['c'],
    clusterOf: () => ({
      ...{ claims: this.claims, interventions: this.interventions },
      nodes: async (name) => this.nodes.find((node) => node.name === name)!,
      swarm: async () => this.swarm.gateway,
    }),
    isOnTrial: () => this.onTrial,
    mayHeal: () => this.mayHeal,
    tell: (_cluster, event) => void this.events.push(event),
    log: { info: () => {}, warn: () => {}, debug: () => {} },
  });

  async prepare(): Promise<this> {
    for (const { name } of this.nodes) this.swarm.addNode(name);
    const { gateway } = this.swarm;
    const spec = { Driver: 'overlay', Labels: {}, Attachable: false, Internal: false };
    await gateway.createNetwork({ ...spec, Name: 's_app' }, never);
    for (const name of ['kafka', 'web'])
      await gateway.createService(
        {
          ...{ Name: `s_${name}`, Labels: { [CLUSTER_LABEL]: 'c' }, EndpointSpec: { Mode: 'dnsrr' } },
          Mode: name === 'web' ? { Global: {} } : { Replicated: { Replicas: 1 } },
          TaskTemplate: { ContainerSpec: { Image: 'any' }, Networks: [{ Target: 's_app', Aliases: [name] }] },
        },
        never,
      );
    for (const node of this.nodes)
      node.resolves = (name) => (node === this.nodes[2] && this.deaf.get(name)) || this.#told(name);
    this.swarm.writes.length = 0;
    return this;
  }

  /** The forced update of a service mends what node3 does not hear of it. */
  healsBy(service: string): void {
    this.swarm.beforeCall = (call) => {
      if (call === `restartService ${service}`) this.deaf.delete(service.replace('s_', ''));
    };
  }

  settle = () => this.drive(this.watch.settle('c', never));

  /** Moves the clock until the work is done; gives how long that took. */
  async drive(work: Promise<unknown>): Promise<number> {
    const startMs = this.clock.now();
    let isOver = false;
    const over = () => {
      isOver = true;
    };
    void work.then(over, over);
    for (;;) {
      await settle();
      if (isOver) break;
      const { nextWakeMs } = this.clock;
      if (nextWakeMs !== undefined) await this.clock.advance(nextWakeMs - this.clock.now());
    }
    await work;
    return this.clock.now() - startMs;
  }

  get told(): readonly string[] {
    return this.events.map(({ type, reason, message }) => `${type} ${reason}: ${message}`);
  }

  #told(name: string): string {
    const service = [...this.swarm.services.values()].find(({ Spec }) => Spec.Name === `s_${name}`);
    const own = this.swarm.tasks().filter(({ ServiceID }) => ServiceID === service?.ID);
    const addresses = own.flatMap(({ NetworksAttachments }) => NetworksAttachments?.[0]?.Addresses ?? []);
    return `whole ${addresses.map((address) => address.split('/')[0]).join(' ')}`;
  }
}

const lost = 'Warning NameResolutionLost: node3: kafka on s_app lacks 10.99.1.1';

t.test('where all names are heard', async (t) => {
  const world = await new World().prepare();
  t.ok((await world.settle()) < 1_000, 'it is one look');
  t.same(
    world.nodes.map(({ calls }) => calls),
    [['resolve.sh'], ['resolve.sh'], ['resolve.sh']],
  );
  t.same([world.swarm.writes, world.told], [[], []]);
  const look = world.watch.look('c', never);
  await world.drive(look);
  t.equal((await look).judged.length, 6, 'two names on three nodes');
});

t.test('a name that comes back by itself is nobody lost', async (t) => {
  const world = await new World().prepare();
  world.deaf.set('kafka', 'none');
  const settled = world.watch.settle('c', never);
  await world.clock.advance(30_000);
  world.deaf.clear();
  await world.drive(settled);
  t.same([world.swarm.writes, world.told], [[], []]);

  await t.test('nor is one of two that are amiss in turn', async (t) => {
    const node = world.nodes[2]!;
    const told = node.resolves;
    node.resolves = (name, container) => {
      const isEven = node.calls.length % 2 === 0;
      return isEven === (name === 'web') ? 'none' : told(name, container);
    };
    await world.settle();
    t.same([world.swarm.writes, world.told], [[], []]);
  });
});

t.test('a name that stays lost', async (t) => {
  const world = await new World().prepare();
  world.deaf.set('kafka', 'none');
  world.deaf.set('web', 'whole 10.99.2.1');
  world.healsBy('s_kafka');
  const otherTrial = world.interventions;
  const beganMs = world.clock.now();
  const tookMs = await world.settle();
  t.ok(tookMs > 75_000, 'has the time to come by itself');
  t.same(world.swarm.writes, ['restartService s_kafka', 'restartService s_web'], 'one after another');
  t.match(world.told, [
    `${lost}; web on s_app lacks 10.99.2.2, 10.99.2.3`,
    'Normal NameResolutionHealed: node3 resolves kafka again, after a forced update of s_kafka, s_web',
  ]);
  t.same(
    otherTrial.since(beganMs, 'somebody').map(({ by, what }) => `${by}: ${what}`),
    ['the look for deaf nodes: forced update of s_kafka', 'the look for deaf nodes: forced update of s_web'],
    'and trials hear of it',
  );
  t.equal(world.claims.heldBy('s_kafka'), undefined, 'nothing stays claimed');
  t.match(world.watch.problems('c'), [
    {
      ...{ target: 'node3', reason: 'NamesUnresolved' },
      message: /^web on s_app lacks .*: a forced update of s_web did not help: restart the engine of node3$/,
    },
  ]);
  const seen = await scrapeMetrics(world.metrics);
  t.equal(seen.get('sparkfailures_unresolved_names{cluster="c",node="node3"}'), 1);
  t.equal(seen.get('sparkfailures_forced_updates_total{cluster="c",result="healed"}'), 1);
  t.equal(seen.get('sparkfailures_forced_updates_total{cluster="c",result="failed"}'), 1);

  await t.test('and that no forced update mends is not tried again', async (t) => {
    t.ok((await world.settle()) < 1_000, 'nor waited for');
    t.equal(world.swarm.writes.length, 2);
    t.equal(world.told.length, 2, 'nor told again');
    t.equal(world.watch.problems('c').length, 1);
  });

  await t.test('until somebody does', async (t) => {
    world.deaf.clear();
    await world.settle();
    t.match(world.told.at(-1), 'Normal NameResolutionHealed: node3 resolves web again');
    t.same(world.watch.problems('c'), []);
    const after = await scrapeMetrics(world.metrics);
    t.equal(after.get('sparkfailures_unresolved_names{cluster="c",node="node3"}'), undefined);
  });

  await t.test('and is tried for when it is lost anew', async (t) => {
    world.deaf.set('web', 'none');
    world.healsBy('s_web');
    await world.settle();
    t.same(world.swarm.writes.slice(2), ['restartService s_web']);
    t.same(world.watch.problems('c'), []);
  });
});

t.test('an address that no task has is told, and no service restarted for it', async (t) => {
  const world = await new World().prepare();
  world.deaf.set('kafka', 'whole 10.99.1.1 10.99.1.9');
  await world.settle();
  t.same(world.swarm.writes, []);
  t.match(world.watch.problems('c'), [
    {
      target: 'node3',
      message: 'kafka on s_app has 10.99.1.9, which no task has: restart the engine of node3',
    },
  ]);
});

t.test('what a trial holds is left alone, and healed once it is free', async (t) => {
  const world = await new World().prepare();
  world.deaf.set('kafka', 'none');
  world.healsBy('s_kafka');
  world.claims.hold('a trial', ['node1/s_kafka']);
  const beganMs = world.clock.now();
  await world.settle();
  t.same(world.swarm.writes, []);
  t.same(world.told, [lost]);
  t.same(world.watch.problems('c'), [], 'nobody is needed for it');
  t.same(world.interventions.since(beganMs, 'somebody'), []);
  world.claims.release('a trial');
  await world.settle();
  t.same(world.swarm.writes, ['restartService s_kafka']);
  t.match(world.told.at(-1), /NameResolutionHealed/);
});

t.test('where others are to decide', async (t) => {
  const world = await new World().prepare();
  world.deaf.set('kafka', 'none');
  world.mayHeal = false;
  await world.settle();
  world.mayHeal = true;
  world.swarm.editService('s_kafka', (spec) => ({ ...spec, Labels: {} }));
  await world.settle();
  t.same(world.swarm.writes, [], 'nothing is done');
  t.match(world.watch.problems('c'), [{ message: /s_kafka is not of this cluster/ }]);
});

t.test(
  'a node that does not answer, or a container that is gone, is called neither deaf nor healed',
  async (t) => {
    const world = await new World().prepare();
    const [, node2, node3] = world.nodes;
    world.deaf.set('kafka', 'whole 10.99.1.1 10.99.1.9');
    await world.settle();
    t.equal(world.told.length, 1);
    node2!.mood.unreachable = true;
    const resolves = node3!.resolves;
    node3!.resolves = () => 'garbage';
    await world.settle();
    t.equal(world.told.length, 1);
    const seen = await scrapeMetrics(world.metrics);
    t.equal(seen.get('sparkfailures_unresolved_names{cluster="c",node="node3"}'), 1);
    node3!.resolves = resolves;
    world.deaf.clear();
    await world.settle();
    t.match(world.told.slice(1), ['Normal NameResolutionHealed: node3 resolves kafka again']);
  },
);

t.test('without a trial', async (t) => {
  const world = await new World().prepare();
  const end = new AbortController();
  const looks = () => world.nodes[0]!.calls.length;
  world.onTrial = true;
  const running = world.watch.run(end.signal).catch(() => 'ended');
  const advance = async (ms: number) => world.clock.advance(ms);

  await t.test('all is looked at every minute, and sooner when something hints at it', async (t) => {
    await advance(10_000);
    t.equal(looks(), 0, 'a run asks for itself');
    world.onTrial = false;
    world.watch.hint();
    await advance(1_000);
    t.equal(looks(), 1);
    await advance(60_000);
    t.equal(looks(), 2);
  });

  await t.test('a service is not restarted again and again', async (t) => {
    const restarts = () => world.swarm.writes.filter((write) => write === 'restartService s_kafka').length;
    world.healsBy('s_kafka');
    world.deaf.set('kafka', 'none');
    await advance(240_000);
    t.equal(restarts(), 1);
    t.same(world.watch.problems('c'), []);
    world.deaf.set('kafka', 'none');
    await advance(240_000);
    t.equal(restarts(), 1, 'for it was a short time ago');
    t.equal(world.watch.problems('c').length, 1);
    await advance(600_000);
    t.equal(restarts(), 2);
    t.same(world.watch.problems('c'), []);
  });

  await t.test('and none when a run has begun meanwhile', async (t) => {
    await advance(600_000);
    world.deaf.set('web', 'none');
    await advance(61_000);
    world.onTrial = true;
    await advance(120_000);
    t.notOk(world.swarm.writes.includes('restartService s_web'));
    t.equal(world.watch.isHealing('c'), false);
  });
  end.abort(new Error('over'));
  t.equal(await running, 'ended');
});

t.test('the script that asks', async (t) => {
  await shellcheck(t, ['state-machines/names/resolve.sh']);

  t.test('understands what a name server says, and asks again', async (t) => {
    const server = await startNameServer(t);
    const id = 'c'.repeat(64);
    const names = ['kafka', 'tasks.web', 'nobody', 'many', 'late', 'silent', 'broken'];
    const stdin = [...names.map((name) => `${id} ${name}`), `${'d'.repeat(64)} kafka`].join('\n');
    const found = `first_process() { [ "$1" = ${id} ] && echo ${server} || true; }\n`;
    const child = spawn('sh', ['-c', found + (await readFile('state-machines/names/resolve.sh', 'utf8'))]);
    child.stdin.end(stdin);
    let said = '';
    child.stdout.on('data', (data) => {
      said += String(data);
    });
    child.stderr.on('data', (data) => t.comment(String(data)));
    t.same(await once(child, 'close'), [0, null]);
    t.same(said.replaceAll(`${id} `, '').trim().split('\n'), [
      'kafka whole 10.99.1.5',
      'tasks.web whole 10.99.1.6 10.99.1.7',
      'nobody none',
      'many cut 10.99.1.8',
      'late whole 10.99.1.9',
      'silent none',
      'broken none',
    ]);
  });
});

/** Answers as the engine's name server would, at its address, in a network of its own; gives the process to enter it by. */
async function startNameServer(t: Test): Promise<number> {
  const program = `
    const socket = require('node:dgram').createSocket('udp4');
    const known = { kafka: [5], 'tasks.web': [6, 7], nobody: [], many: [8], late: [9], broken: [5] };
    let late = 0;
    socket.on('message', (question, { port, address }) => {
      let at = 12, labels = [];
      while (question[at]) labels.push(question.toString('latin1', at + 1, at += 1 + question[at]));
      const name = labels.join('.'), last = known[name];
      if (!last || (name === 'late' && ++late < 2)) return;
      const head = Buffer.from(question.subarray(0, 12));
      head.writeUInt16BE(0x8180 | (last.length ? 0 : 3) | (name === 'many' ? 0x0200 : 0), 2);
      head.writeUInt16BE(last.length + 1, 6);
      const alias = Buffer.from([0xc0, 12, 0, 5, 0, 1, 0, 0, 0, 0, 0, 2, 0xc0, 12]);
      const rows = last.map((n) => Buffer.from([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 10, 99, 1, n]));
      const answer = Buffer.concat([head, question.subarray(12), alias, ...rows]);
      socket.send(name === 'broken' ? answer.subarray(0, -3) : answer, port, address);
    });
    socket.bind(53, '127.0.0.11', () => process.stdout.write('ready'));`;
  const script = 'ip link set lo up && exec "$0" -e "$1"';
  const child = spawn('unshare', ['--net', 'sh', '-c', script, process.execPath, program]);
  t.teardown(() => child.kill('SIGKILL'));
  child.stderr.on('data', (data) => t.comment(String(data)));
  await once(child.stdout, 'data', { signal: AbortSignal.timeout(20_000) });
  return child.pid!;
}
