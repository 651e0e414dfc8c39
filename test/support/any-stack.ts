import { setTimeout as sleep } from 'node:timers/promises';
import fc from 'fast-check';
import { systemClock } from '../../controller/clock.ts';
import { applyPlan } from '../../controller/cluster/apply-plan.ts';
import { applyStep } from '../../controller/cluster/apply-step.ts';
import type { ClusterPlan } from '../../controller/cluster/cluster-plan.ts';
import { formatPlan } from '../../controller/cluster/format-plan.ts';
import type { PlanContext } from '../../controller/cluster/plan-context.ts';
import { joinParts } from '../../controller/cluster/plan-part.ts';
import { nextRollouts } from '../../controller/cluster/plan-rollout.ts';
import { planStacks } from '../../controller/cluster/plan-stacks.ts';
import { RolloutWatch } from '../../controller/cluster/rollout-watch.ts';
import type { StepTools } from '../../controller/cluster/step-tools.ts';
import type { DesiredStack } from '../../controller/stack/convert-stack.ts';
import { CLUSTER_LABEL, STACK_LABEL } from '../../controller/swarm/labels.ts';
import { References } from '../../controller/swarm/resolve-references.ts';
import type { SwarmGateway } from '../../controller/swarm/swarm-gateway.ts';
import type {
  ContainerSpec,
  LiveService,
  NetworkSpec,
  PublishedPort,
  ServiceSpec,
  TaskSpec,
} from '../../controller/swarm/swarm-types.ts';
import type { Rollouts } from '../../crds/status.ts';

/** As on everything of the stack `s` of the cluster `any`. */
const Labels = { [CLUSTER_LABEL]: 'any', [STACK_LABEL]: 's' };

const second = 1e9;
const word = fc.stringMatching(/^[a-z][a-z0-9]{0,5}$/);
/** A value that people choose may be empty. */
const words = fc.dictionary(word, fc.oneof(word, fc.constant('')), { maxKeys: 3, noNullPrototype: true });
const unique = <T>(of: fc.Arbitrary<T>, key: (it: T) => unknown) =>
  fc.uniqueArray(of, { selector: key, maxLength: 3 });
const optional = <T>(fields: { readonly [K in keyof T]: fc.Arbitrary<T[K]> }) =>
  fc.record(fields, { requiredKeys: [] });

const file = fc.record({
  ...{ Name: word.map((it) => `/${it}`), UID: fc.constant('0'), GID: fc.constantFrom('0', '7') },
  Mode: fc.nat(0o777),
});

const mount = fc.oneof(
  fc.record({
    ...{ Type: fc.constant('bind' as const), Source: fc.constant('/etc'), ReadOnly: fc.boolean() },
    BindOptions: fc.record({ Propagation: fc.constantFrom('rprivate', 'rshared') }),
  }),
  fc.record({
    ...{ Type: fc.constant('volume' as const), Source: word },
    VolumeOptions: optional({
      ...{ NoCopy: fc.boolean(), Labels: words },
      DriverConfig: fc.record({ Name: fc.constant('local'), Options: words }),
    }),
  }),
  fc.record({
    Type: fc.constant('tmpfs' as const),
    TmpfsOptions: optional({ SizeBytes: fc.nat(1 << 20), Mode: fc.nat(0o777) }),
  }),
);

/** All that compose files may say of a container, but for what engines have kept only lately. */
const container: fc.Arbitrary<ContainerSpec> = fc.record(
  {
    Image: fc
      .tuple(word, fc.constantFrom('', ':1', ':2', `:1@sha256:${'a'.repeat(64)}`))
      .map((it) => it.join('')),
    Labels: words,
    Command: fc.array(word),
    Args: fc.array(fc.oneof(word, fc.constant(''))),
    Hostname: word,
    Env: words.map((it) => Object.entries(it).map(([key, value]) => `${key}=${value}`)),
    Dir: word.map((it) => `/${it}`),
    User: word,
    Groups: unique(word, (it) => it),
    TTY: fc.boolean(),
    OpenStdin: fc.boolean(),
    Init: fc.boolean(),
    ReadOnly: fc.boolean(),
    StopSignal: fc.constantFrom('SIGINT', 'SIGUSR1'),
    StopGracePeriod: fc.nat(20).map((it) => it * second),
    Hosts: unique(
      word.map((it) => `10.0.0.1 ${it}`),
      (it) => it,
    ),
    DNSConfig: optional({
      Nameservers: unique(fc.constantFrom('10.0.0.2', '10.0.0.3'), (it) => it),
      ...{ Search: fc.array(word, { maxLength: 2 }), Options: fc.array(word, { maxLength: 2 }) },
    }),
    Healthcheck: optional({
      Test: fc.constantFrom(['NONE'], ['CMD', 'true'], ['CMD-SHELL', 'x']),
      ...{ Interval: fc.nat(9).map((it) => it * second), Timeout: fc.nat(9).map((it) => it * second) },
      ...{ StartPeriod: fc.nat(9).map((it) => it * second), Retries: fc.nat(3) },
    }),
    Sysctls: fc.dictionary(
      fc.constantFrom('net.core.somaxconn', 'net.ipv4.ip_forward'),
      fc.constantFrom('1', '2'),
      {
        noNullPrototype: true,
      },
    ),
    CapabilityAdd: unique(fc.constantFrom('CAP_NET_ADMIN', 'CAP_SYS_TIME'), (it) => it),
    CapabilityDrop: unique(fc.constantFrom('CAP_CHOWN', 'CAP_KILL'), (it) => it),
    Ulimits: unique(
      fc.record({ Name: fc.constantFrom('core', 'nofile'), Soft: fc.nat(3), Hard: fc.constant(9) }),
      (it) => it.Name,
    ),
    Mounts: unique(
      fc.tuple(mount, word).map(([it, at]) => ({ ...it, Target: `/mnt/${at}` })),
      (it) => it.Target,
    ),
    Configs: unique(fc.record({ File: file, ConfigName: fc.constantFrom('c1', 'c2') }), (it) => it.File.Name),
    Secrets: unique(fc.record({ File: file, SecretName: fc.constantFrom('s1', 's2') }), (it) => it.File.Name),
  },
  { requiredKeys: ['Image'] },
);

const megabytes = fc.integer({ min: 8, max: 64 }).map((it) => it << 20);
const cpus = fc.integer({ min: 1, max: 9 }).map((it) => it * 1e8);

const task: fc.Arbitrary<TaskSpec> = fc.record(
  {
    ContainerSpec: container,
    Resources: optional({
      Limits: optional({ NanoCPUs: cpus, MemoryBytes: megabytes, Pids: fc.nat(99) }),
      Reservations: optional({
        ...{ NanoCPUs: cpus, MemoryBytes: megabytes },
        GenericResources: unique(
          fc.record({ DiscreteResourceSpec: fc.record({ Kind: word, Value: fc.nat(9) }) }),
          (it) => it.DiscreteResourceSpec.Kind,
        ),
      }),
    }),
    RestartPolicy: optional({
      Condition: fc.constantFrom('any' as const, 'none' as const, 'on-failure' as const),
      ...{ Delay: fc.nat(9).map((it) => it * second), MaxAttempts: fc.nat(3), Window: fc.nat(9) },
    }),
    Placement: fc.record({
      // Nowhere: what is compared are specs, and no task has to run.
      Constraints: unique(word, (it) => it).map((all) => [
        'node.labels.never==here',
        ...all.map((it) => `node.labels.${it}!=x`),
      ]),
      Preferences: fc.array(
        fc.record({ Spread: fc.record({ SpreadDescriptor: word.map((it) => `node.labels.${it}`) }) }),
        {
          maxLength: 2,
        },
      ),
    }),
    Networks: unique(
      fc.record({ Target: fc.constantFrom('app', 'back'), Aliases: unique(word, (it) => it) }),
      (it) => it.Target,
    ),
    LogDriver: fc.record({ Name: fc.constant('json-file'), Options: words }),
  },
  { requiredKeys: ['ContainerSpec', 'Placement'] },
);

const update = optional({
  ...{
    Parallelism: fc.nat(3),
    Delay: fc.nat(9),
    Monitor: fc.nat(9),
    MaxFailureRatio: fc.constantFrom(0, 0.5),
  },
  FailureAction: fc.constantFrom('pause' as const, 'rollback' as const, 'continue' as const),
  Order: fc.constantFrom('stop-first' as const, 'start-first' as const),
});
const rollback = update.map((it) =>
  it.FailureAction === 'rollback' ? { ...it, FailureAction: 'pause' as const } : it,
);

const endpoint: fc.Arbitrary<ServiceSpec['EndpointSpec']> = fc.oneof(
  fc.record({ Mode: fc.constantFrom('vip' as const, 'dnsrr' as const), Ports: ports('host') }),
  fc.record({ Mode: fc.constant('vip' as const), Ports: ports('ingress') }),
);

function ports<M extends 'host' | 'ingress'>(PublishMode: M) {
  return unique(
    fc.record({
      Protocol: fc.constantFrom('tcp' as const, 'udp' as const),
      TargetPort: fc.integer({ min: 80, max: 82 }),
      PublishedPort: fc.integer({ min: 1, max: 9 }),
      PublishMode: fc.constant(PublishMode),
    }),
    (it) => `${it.PublishedPort}/${it.Protocol}`,
  );
}

const mode = fc.oneof(
  fc.record({ Replicated: optional({ Replicas: fc.nat(3) }) }),
  fc.constant({ Global: {} }),
  fc.record({
    ReplicatedJob: optional({
      MaxConcurrent: fc.integer({ min: 1, max: 2 }),
      TotalCompletions: fc.integer({ min: 2, max: 3 }),
    }),
  }),
  fc.constant({ GlobalJob: {} }),
);

/** A service that an engine takes: all but its name is chosen. */
function anyService(Name: string, place: number): fc.Arbitrary<ServiceSpec> {
  return fc
    .record(
      {
        Labels: words,
        TaskTemplate: task,
        Mode: mode,
        EndpointSpec: endpoint,
        UpdateConfig: update,
        RollbackConfig: rollback,
      },
      { requiredKeys: ['Labels', 'TaskTemplate', 'Mode', 'EndpointSpec'] },
    )
    .map(({ UpdateConfig, RollbackConfig, ...spec }) => ({
      ...spec,
      Name,
      Labels: { ...spec.Labels, ...Labels },
      EndpointSpec: {
        ...spec.EndpointSpec,
        Ports: (spec.EndpointSpec.Ports ?? []).map((it) => apart(it, place)),
      },
      // Jobs are not updated, so they have no policy for it.
      ...(!isJob(spec) && UpdateConfig && { UpdateConfig }),
      ...(!isJob(spec) && RollbackConfig && { RollbackConfig }),
    }));
}

/** Two services cannot publish the same port. */
const apart = (port: PublishedPort, place: number): PublishedPort => ({
  ...port,
  PublishedPort: 20_000 + place * 100 + (port.PublishedPort ?? 0),
});

const isJob = ({ Mode }: Pick<ServiceSpec, 'Mode'>): boolean =>
  'ReplicatedJob' in Mode || 'GlobalJob' in Mode;

/** Three services, and what they may use. */
export const anyStack: fc.Arbitrary<DesiredStack> = fc
  .tuple(...['a', 'b', 'c'].map((name, place) => anyService(`s_${name}`, place)))
  // Plain, as the converter's: what is generated may be without a prototype.
  .map((services) => stackOf(JSON.parse(JSON.stringify(services)) as ServiceSpec[]));

/** Services, and all that those of `anyStack` may use. */
export function stackOf(
  services: readonly ServiceSpec[],
  networks = ['app', 'back'].map(network),
): DesiredStack {
  return {
    ...{ name: 's', networks, services, externals: { networks: [], configs: [], secrets: [] } },
    ...{ warnings: [], dependencies: {} },
    configs: ['c1', 'c2'].map((Name) => ({ Name, Labels, Data: 'eA==' })),
    secrets: ['s1', 's2'].map((Name) => ({ Name, Labels, Data: 'eA==' })),
  };
}

/** A service that says as little as can be. */
export function plainService(
  Name: string,
  container: ContainerSpec,
  change: Partial<ServiceSpec> = {},
): ServiceSpec {
  const Mode = { Replicated: { Replicas: 1 } };
  return {
    Name,
    Labels,
    TaskTemplate: { ContainerSpec: container },
    Mode,
    EndpointSpec: { Mode: 'dnsrr' },
    ...change,
  };
}

/** A network that says as little as can be. */
export function network(Name: string): NetworkSpec {
  return { Name, Driver: 'overlay', Labels, Attachable: true, Internal: false };
}

const inContainer =
  (edit: (it: ContainerSpec) => object) =>
  (spec: ServiceSpec): ServiceSpec =>
    inTask((it) => ({ ContainerSpec: { ...it.ContainerSpec, ...edit(it.ContainerSpec) } }))(spec);

const inTask =
  (edit: (it: TaskSpec) => object) =>
  (spec: ServiceSpec): ServiceSpec => ({
    ...spec,
    TaskTemplate: { ...spec.TaskTemplate, ...edit(spec.TaskTemplate) },
  });

const more = (text: string | undefined): string => `${text ?? ''}x`;
const aFile = { Name: '/not/there', UID: '0', GID: '0', Mode: 0o444 };

/** Each makes one field of a service another one. */
export const edits: Readonly<Record<string, (spec: ServiceSpec) => ServiceSpec>> = {
  label: (spec) => ({ ...spec, Labels: { ...spec.Labels, 'not.there': '' } }),
  replicas: (spec) =>
    'Replicated' in spec.Mode ? { ...spec, Mode: { Replicated: { Replicas: 7 } } } : edits.label!(spec),
  endpointMode: (spec) => ({
    ...spec,
    EndpointSpec: { Mode: spec.EndpointSpec.Mode === 'vip' ? 'dnsrr' : 'vip', Ports: [] },
  }),
  port: (spec) => ({
    ...spec,
    EndpointSpec: {
      ...spec.EndpointSpec,
      Ports: [
        ...(spec.EndpointSpec.Ports ?? []),
        { Protocol: 'tcp', TargetPort: 80, PublishedPort: 30_001, PublishMode: 'host' },
      ],
    },
  }),
  updateConfig: (spec) =>
    isJob(spec)
      ? edits.label!(spec)
      : { ...spec, UpdateConfig: { ...spec.UpdateConfig, Monitor: 77 * second } },
  rollbackConfig: (spec) =>
    isJob(spec)
      ? edits.label!(spec)
      : { ...spec, RollbackConfig: { ...spec.RollbackConfig, Delay: 77 * second } },
  image: inContainer(() => ({ Image: 'another:7' })),
  digest: inContainer(() => ({ Image: `web:1@sha256:${'b'.repeat(64)}` })),
  containerLabel: inContainer((it) => ({ Labels: { ...it.Labels, not_there: '' } })),
  command: inContainer((it) => ({ Command: [...(it.Command ?? []), 'x'] })),
  args: inContainer((it) => ({ Args: [...(it.Args ?? []), ''] })),
  hostname: inContainer((it) => ({ Hostname: more(it.Hostname) })),
  env: inContainer((it) => ({ Env: [...(it.Env ?? []), 'NOT_THERE='] })),
  dir: inContainer((it) => ({ Dir: more(it.Dir ?? '/') })),
  user: inContainer((it) => ({ User: more(it.User) })),
  groups: inContainer((it) => ({ Groups: ['notthere', ...((it as { Groups?: string[] }).Groups ?? [])] })),
  tty: inContainer((it) => ({ TTY: (it as { TTY?: boolean }).TTY !== true })),
  init: inContainer((it) => ({ Init: it.Init !== true })),
  readOnly: inContainer((it) => ({ ReadOnly: it.ReadOnly !== true })),
  stopSignal: inContainer(() => ({ StopSignal: 'SIGHUP' })),
  stopGracePeriod: inContainer(() => ({ StopGracePeriod: 77 * second })),
  hosts: inContainer((it) => ({ Hosts: [...(it.Hosts ?? []), '10.0.0.9 notthere'] })),
  dns: inContainer((it) => ({ DNSConfig: { ...it.DNSConfig, Search: ['not.there'] } })),
  healthcheck: inContainer((it) => ({ Healthcheck: { ...it.Healthcheck, Retries: 7 } })),
  sysctl: inContainer((it) => ({ Sysctls: { ...it.Sysctls, 'net.ipv4.tcp_tw_reuse': '' } })),
  capability: inContainer((it) => ({ CapabilityAdd: [...(it.CapabilityAdd ?? []), 'CAP_SYS_NICE'] })),
  ulimit: inContainer((it) => ({ Ulimits: [...(it.Ulimits ?? []), { Name: 'nproc', Soft: 0, Hard: 0 }] })),
  mount: inContainer((it) => ({ Mounts: [...(it.Mounts ?? []), { Type: 'tmpfs', Target: '/not/there' }] })),
  config: inContainer((it) => ({ Configs: [...(it.Configs ?? []), { File: aFile, ConfigName: 'c1' }] })),
  secret: inContainer((it) => ({ Secrets: [...(it.Secrets ?? []), { File: aFile, SecretName: 's1' }] })),
  resources: inTask((it) => ({
    Resources: { ...it.Resources, Limits: { ...it.Resources?.Limits, MemoryBytes: 777 << 20 } },
  })),
  restartDelay: inTask((it) => ({ RestartPolicy: { ...it.RestartPolicy, Delay: 77 * second } })),
  constraint: inTask((it) => ({
    Placement: { ...it.Placement, Constraints: [...(it.Placement?.Constraints ?? []), 'node.labels.q==1'] },
  })),
  preference: inTask((it) => ({
    Placement: { ...it.Placement, Preferences: [{ Spread: { SpreadDescriptor: 'node.labels.not.there' } }] },
  })),
  alias: inTask(() => ({ Networks: [{ Target: 'app', Aliases: ['notthere'] }] })),
  logOption: inTask(() => ({ LogDriver: { Name: 'json-file', Options: { 'not-there': '' } } })),
};

/** The same stack with one of its services edited. */
export function edited(
  stack: DesiredStack,
  name: string,
  edit: (spec: ServiceSpec) => ServiceSpec,
): DesiredStack {
  return { ...stack, services: stack.services.map((spec) => (spec.Name === name ? edit(spec) : spec)) };
}

/** Plans and carries out stacks on a swarm, real or not, as passes do, without the machines around it. */
export class StacksOn {
  readonly #swarm: SwarmGateway;
  readonly #signal: AbortSignal;
  readonly #watch = new RolloutWatch(systemClock);
  /** As the status remembers them. */
  rollouts: Rollouts = {};
  #looked: PlanContext | undefined;

  constructor(swarm: SwarmGateway, signal: AbortSignal) {
    this.#swarm = swarm;
    this.#signal = signal;
  }

  async plan(stacks: readonly DesiredStack[], mayReplace = false): Promise<ClusterPlan> {
    const [nodes, networks, configs, secrets, services] = await Promise.all([
      this.#swarm.listNodes(this.#signal),
      this.#swarm.listNetworks(this.#signal),
      this.#swarm.listConfigs(this.#signal),
      this.#swarm.listSecrets(this.#signal),
      this.#swarm.listServices(this.#signal),
    ]);
    const swarm = { manager: 'any', nodes, networks, configs, secrets, services };
    const tasks = await this.#watch.look(swarm, this.rollouts, async () => this.#swarm, this.#signal);
    this.#looked = {
      desired: {
        ...{ name: 'any', nodes: [], stacks, brokenStacks: [], images: [] },
        ...{ prune: true, allowLargePrune: true, mayReplace },
      },
      observed: { machines: [], swarm, tasks },
      rollouts: this.rollouts,
      heldBy: () => undefined,
      inventory: undefined,
    };
    return joinParts([planStacks(this.#looked, [])]);
  }

  /** Throws with the first step that failed; false when one is to be planned again, from what the swarm is now. */
  async apply(plan: ClusterPlan): Promise<boolean> {
    const { steps } = plan;
    const swarm = this.#swarm;
    if (this.#looked) this.rollouts = nextRollouts(this.#looked, plan, steps);
    const pool = { managers: () => ['any'], connection: async () => ({ swarm }) };
    const tools = { pool, references: new References(), clock: systemClock } as unknown as StepTools;
    const results = await applyPlan(
      { steps },
      (step, signal) => applyStep(step, tools, () => undefined, signal),
      () => {},
      this.#signal,
    );
    for (const { step, outcome } of results)
      if (outcome.state === 'failed') throw new Error(`${step.id}: ${outcome.message}`);
    return results.every(({ outcome }) => outcome.state === 'done');
  }

  /** Plans and applies until nothing is left to be done; each plan is `check`ed before. */
  async carryOut(
    stacks: readonly DesiredStack[],
    check: (plan: ClusterPlan) => void = () => {},
    mayReplace = false,
  ): Promise<void> {
    for (let passes = 0; passes < 100; passes++) {
      const plan = await this.plan(stacks, mayReplace);
      check(plan);
      if (await this.apply(plan)) return;
      await sleep(50); // the swarm is at it
    }
    throw new Error('does not come to an end');
  }

  async service(name: string): Promise<LiveService> {
    const found = (await this.#swarm.listServices(this.#signal)).find(({ Spec }) => Spec.Name === name);
    if (found === undefined) throw new Error(`no service ${name}`);
    return found;
  }
}

/**
 * A stack that is made shows no difference; a change of one field, there and back, is one update of one service that
 * puts it right; and nothing that was asked for is missing in what the swarm then has. Throws where that is not so.
 */
export async function checkStack(on: StacksOn, stack: DesiredStack, editName: string): Promise<void> {
  const next = edited(stack, 's_b', edits[editName]!);
  await on.carryOut([stack]);
  expectSteps(await on.plan([stack]), []);
  for (const wanted of [next, stack]) {
    await on.carryOut([wanted], (plan) => expectSteps(plan, ['update-service/s_b']));
    expectSteps(await on.plan([wanted]), []);
    for (const want of wanted.services) expectKept(want, (await on.service(want.Name)).Spec);
  }
}

function expectSteps(plan: ClusterPlan, ids: readonly string[]): void {
  const found = [...plan.steps.map(({ id }) => id), ...plan.problems.map(({ target }) => target)];
  if (found.join() !== ids.join()) throw new Error(`${ids} expected\n${formatPlan('found', plan)}`);
}

/** Every leaf that was asked for is there, by its own value; the engine writes ids for the names of networks. */
function expectKept(want: unknown, have: unknown, path = ''): void {
  if (Array.isArray(want)) {
    if (want.length > 0 && (!Array.isArray(have) || have.length !== want.length))
      throw new Error(`${path} is lost`);
    for (const [index, each] of want.entries())
      expectKept(each, (have as unknown[])[index], `${path}[${index}]`);
  } else if (typeof want === 'object' && want !== null) {
    for (const [key, each] of Object.entries(want)) {
      const inside = (have as Record<string, unknown> | undefined)?.[key];
      if (!/Networks\[\d\]$/.test(path) || key !== 'Target') expectKept(each, inside, `${path}.${key}`);
    }
  } else if (want !== have && !isNothing(want)) throw new Error(`${path}: ${have} and not ${want}`);
}

const isNothing = (value: unknown): boolean => value === false || value === 0;
