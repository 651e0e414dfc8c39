import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import fc from 'fast-check';
import t from 'tap';
import { checkpointStore, checkpointUse, checkpointVariables } from '../controller/stack/checkpoint.ts';
import { UNHONOURED_KEYS } from '../controller/stack/compose-keys.ts';
import { convertStack, type DesiredStack } from '../controller/stack/convert-stack.ts';
import { type ImageSource, imageDelivery, sourcedImages } from '../controller/stack/deliver-images.ts';
import { parseEnvFile, resolveEnvironment } from '../controller/stack/environment.ts';
import { interpolate } from '../controller/stack/interpolate.ts';
import { loadCompose } from '../controller/stack/load-compose.ts';
import { stackLoader } from '../controller/stack/load-stack.ts';
import { mayRunOn, neededImages } from '../controller/stack/needed-images.ts';
import { splitCommand } from '../controller/stack/split-command.ts';
import { checkpointTryer } from '../controller/stack/try-checkpoint.ts';
import { SPEC_HASH_LABEL } from '../controller/swarm/labels.ts';
import type { ServiceSpec } from '../controller/swarm/swarm-types.ts';
import { formatProblem, ManifestError } from '../crds/problem.ts';
import type { NodeHandle } from '../provisioners/contract.ts';
import { messageOf } from '../provisioners/contract.ts';
import { FakeSwarm } from './support/fake-swarm.ts';

const STACK_LABELS = {
  'spark-failures.io/cluster': 'six',
  'spark-failures.io/stack': 'app',
  'com.docker.stack.namespace': 'app',
};
const SECOND = 1_000_000_000;
const never = new AbortController().signal;

/** The stack of a compose text; `files` by the path that the text gives. */
function stackOf(
  text: string,
  variables: Record<string, string> = {},
  files: Record<string, string> = {},
): DesiredStack {
  const contents = new Map(Object.entries(files).map(([path, content]) => [path, Buffer.from(content)]));
  const loaded = loadCompose([{ file: 'stack.yaml', text }], variables);
  const context = { cluster: 'six', stack: 'app', files: contents, folder: '/srv/app', variables };
  return convertStack(loaded, context);
}

/** The one service `web` with these lines under it. */
function serviceOf(lines: string, more = '', variables: Record<string, string> = {}): ServiceSpec {
  const indented = lines.replace(/^/gm, '    ');
  const [service] = stackOf(`services:\n  web:\n    image: web:1\n${indented}\n${more}`, variables).services;
  if (service === undefined) throw new Error('no service');
  return service;
}

const head = 'services:\n  web:\n    image: i\n';

/** A file that has the key, and is wrong in other ways. */
function treeOf(key: string): unknown {
  const steps = key.split('.').flatMap((step) => step.split(/(?=\[\])/));
  return steps.reduceRight<unknown>(
    (value, step) => (step === '[]' ? [value] : { [step === '*' ? 'n' : step]: value }),
    'x',
  );
}

function problemsOf(text: string, variables: Record<string, string> = {}): readonly string[] {
  try {
    loadCompose([{ file: 'stack.yaml', text }], variables);
    return [];
  } catch (error) {
    if (!(error instanceof ManifestError)) throw error;
    return error.problems.map(formatProblem);
  }
}

t.test('interpolation', async (t) => {
  const variables = { V: 'v', EMPTY: '', W: 'w' };
  const cases: readonly (readonly [string, string])[] = [
    ['plain', 'plain'],
    ['$V and ${V}', 'v and v'],
    ['a$$b $${V}', 'a$b ${V}'],
    ['${V:-d}|${EMPTY:-d}|${NOPE:-d}', 'v|d|d'],
    ['${V-d}|${EMPTY-d}|${NOPE-d}', 'v||d'],
    ['${V:+r}|${EMPTY:+r}|${NOPE:+r}', 'r||'],
    ['${V+r}|${EMPTY+r}|${NOPE+r}', 'r|r|'],
    ['${V:?gone}${EMPTY?gone}', 'v'],
    ['${NOPE:-${W}-${ALSO:-x}}', 'w-x'],
    ['${NOPE:-}', ''],
    ['${NOPE:-a:b?c}', 'a:b?c'],
  ];
  for (const [text, want] of cases)
    t.test(`reads ${text}`, async (t) => t.equal(interpolate(text, variables), want));

  const failures: readonly (readonly [string, RegExp])[] = [
    ['${NOPE}', /variable NOPE is not set/],
    ['$NOPE', /variable NOPE is not set/],
    ['${NOPE:?give it}', /variable NOPE must be set: give it/],
    ['${EMPTY:?}', /variable EMPTY must be set/],
    ['${NOPE?}', /variable NOPE must be set/],
    ['costs 5$', /write \$\$/],
    ['${V', /without its }/],
    ['${1x}', /not a variable/],
    ['${toString}', /variable toString is not set/],
  ];
  for (const [text, want] of failures)
    t.test(`refuses ${text}`, async (t) => t.throws(() => interpolate(text, variables), { message: want }));

  t.test('leaves every text without a dollar as it is', async () => {
    fc.assert(
      fc.property(fc.string(), (text) => {
        const safe = text.replaceAll('$', '');
        return interpolate(safe, {}) === safe && interpolate(text.replaceAll('$', '$$$$'), {}) === text;
      }),
    );
  });
});

t.test('a command written as text', async (t) => {
  t.same(splitCommand('sh -c "echo \'a b\' && x"'), ['sh', '-c', "echo 'a b' && x"]);
  t.same(splitCommand(`a\\ b 'c d'e "" "x\\"y"`), ['a b', 'c de', '', 'x"y']);
  t.same(splitCommand('  '), []);
  t.same(splitCommand('a | b # c'), ['a', '|', 'b']);
  t.same(splitCommand('a#b'), ['a#b']);
  t.throws(() => splitCommand('a\\'), { message: /stands before nothing/ });
  t.throws(() => splitCommand('echo "a'), { message: /never closed/ });
});

t.test('what each key of a service becomes', async (t) => {
  const container = (lines: string, more = '') => serviceOf(lines, more).TaskTemplate.ContainerSpec;
  const cases: readonly (readonly [string, string, (lines: string) => unknown, unknown])[] = [
    ['image', '', (it) => container(it).Image, 'web:1'],
    ['command as list', 'command: [a, "b c"]', (it) => container(it).Args, ['a', 'b c']],
    ['command as text', 'command: a "b c"', (it) => container(it).Args, ['a', 'b c']],
    ['entrypoint', 'entrypoint: ["/x"]', (it) => container(it).Command, ['/x']],
    [
      'tmpfs',
      'tmpfs: [/run, "/t:size=1m,mode=700,noexec,rw"]',
      (it) => container(it).Mounts,
      [
        { Type: 'tmpfs', Target: '/run' },
        { Type: 'tmpfs', Target: '/t', TmpfsOptions: { SizeBytes: 1_048_576, Mode: 0o700 } },
      ],
    ],
    [
      'a path of the operator, from the folder of the file',
      'volumes: ["./a:/a:ro"]',
      (it) => container(it).Mounts,
      [{ Type: 'bind', Source: '/srv/app/a', Target: '/a', ReadOnly: true }],
    ],
    [
      'a job',
      'deploy: { mode: replicated-job, replicas: 3 }',
      (it) => serviceOf(it).Mode,
      {
        ReplicatedJob: { MaxConcurrent: 3, TotalCompletions: 3 },
      },
    ],
    [
      'restart',
      'restart: on-failure:3',
      (it) => serviceOf(it).TaskTemplate.RestartPolicy,
      {
        Condition: 'on-failure',
        MaxAttempts: 3,
      },
    ],
    [
      'environment as map, sorted',
      'environment: { B: 1.10, A: "x=y", C: "" }',
      (it) => container(it).Env,
      ['A=x=y', 'B=1.10', 'C='],
    ],
    ['environment as list', 'environment: [B=2, "A=1"]', (it) => container(it).Env, ['A=1', 'B=2']],
    ['hostname', 'hostname: h', (it) => container(it).Hostname, 'h'],
    [
      'labels of the container',
      'labels: { a: b }',
      (it) => container(it).Labels,
      { a: 'b', ...STACK_LABELS },
    ],
    ['labels as list', 'labels: [a=b, c]', (it) => container(it).Labels, { a: 'b', c: '', ...STACK_LABELS }],
    ['user', 'user: "1000:1000"', (it) => container(it).User, '1000:1000'],
    ['working_dir', 'working_dir: /w', (it) => container(it).Dir, '/w'],
    ['init', 'init: true', (it) => container(it).Init, true],
    ['read_only', 'read_only: true', (it) => container(it).ReadOnly, true],
    ['stop_grace_period', 'stop_grace_period: 1m30s', (it) => container(it).StopGracePeriod, 90 * SECOND],
    ['stop_signal', 'stop_signal: SIGINT', (it) => container(it).StopSignal, 'SIGINT'],
    [
      'cap_add, as the engine spells it',
      'cap_add: [net_admin, CAP_CHOWN]',
      (it) => container(it).CapabilityAdd,
      ['CAP_CHOWN', 'CAP_NET_ADMIN'],
    ],
    ['cap_drop', 'cap_drop: [ALL]', (it) => container(it).CapabilityDrop, ['ALL']],
    [
      'ulimits',
      'ulimits: { nproc: 5, nofile: { soft: 1, hard: 2 } }',
      (it) => container(it).Ulimits,
      [
        { Name: 'nofile', Soft: 1, Hard: 2 },
        { Name: 'nproc', Soft: 5, Hard: 5 },
      ],
    ],
    [
      'sysctls',
      'sysctls: { net.core.somaxconn: 1024 }',
      (it) => container(it).Sysctls,
      { 'net.core.somaxconn': '1024' },
    ],
    [
      'extra_hosts as list',
      'extra_hosts: ["a:1.2.3.4", "b=::1"]',
      (it) => container(it).Hosts,
      ['1.2.3.4 a', '::1 b'],
    ],
    ['extra_hosts as map', 'extra_hosts: { a: 1.2.3.4 }', (it) => container(it).Hosts, ['1.2.3.4 a']],
    [
      'dns',
      'dns: 1.1.1.1\ndns_search: [a.b]',
      (it) => container(it).DNSConfig,
      { Nameservers: ['1.1.1.1'], Search: ['a.b'] },
    ],
    [
      'healthcheck as text',
      'healthcheck: { test: curl x, interval: 3s, retries: 4 }',
      (it) => container(it).Healthcheck,
      { Test: ['CMD-SHELL', 'curl x'], Interval: 3 * SECOND, Retries: 4 },
    ],
    [
      'healthcheck as list',
      'healthcheck: { test: [CMD, x], timeout: 1s, start_period: 2s }',
      (it) => container(it).Healthcheck,
      { Test: ['CMD', 'x'], Timeout: SECOND, StartPeriod: 2 * SECOND },
    ],
    [
      'healthcheck off',
      'healthcheck: { disable: true }',
      (it) => container(it).Healthcheck,
      { Test: ['NONE'] },
    ],
    [
      'a bind mount',
      'volumes: ["/a:/b:ro"]',
      (it) => container(it).Mounts,
      [{ Type: 'bind', Source: '/a', Target: '/b', ReadOnly: true }],
    ],
    [
      'a bind mount in long form',
      'volumes: [{ type: bind, source: /, target: /host, read_only: true, bind: { propagation: rslave } }]',
      (it) => container(it).Mounts,
      [
        {
          Type: 'bind',
          Source: '/',
          Target: '/host',
          ReadOnly: true,
          BindOptions: { Propagation: 'rslave' },
        },
      ],
    ],
    [
      'a tmpfs',
      'volumes: [{ type: tmpfs, target: /t, tmpfs: { size: 1k } }]',
      (it) => container(it).Mounts,
      [{ Type: 'tmpfs', Target: '/t', TmpfsOptions: { SizeBytes: 1024 } }],
    ],
    [
      'an anonymous volume',
      'volumes: [{ type: volume, target: /t }]',
      (it) => container(it).Mounts,
      [{ Type: 'volume', Target: '/t' }],
    ],
    [
      'logging',
      'logging: { driver: json-file, options: { max-size: 10m } }',
      (it) => serviceOf(it).TaskTemplate.LogDriver,
      { Name: 'json-file', Options: { 'max-size': '10m' } },
    ],
    [
      'resources',
      'deploy: { resources: { limits: { cpus: "0.5", memory: 1.5G, pids: 9 }, reservations: { cpus: "0.25", memory: 512M } } }',
      (it) => serviceOf(it).TaskTemplate.Resources,
      {
        Limits: { NanoCPUs: 5e8, MemoryBytes: 1.5 * 2 ** 30, Pids: 9 },
        Reservations: { NanoCPUs: 25e7, MemoryBytes: 2 ** 29 },
      },
    ],
    [
      'restart_policy',
      'deploy: { restart_policy: { condition: any, delay: 3s, max_attempts: 4, window: 1m } }',
      (it) => serviceOf(it).TaskTemplate.RestartPolicy,
      { Condition: 'any', Delay: 3 * SECOND, MaxAttempts: 4, Window: 60 * SECOND },
    ],
    [
      'placement',
      'deploy: { placement: { constraints: ["node.labels.place == x"], max_replicas_per_node: 1 } }',
      (it) => serviceOf(it).TaskTemplate.Placement,
      { Constraints: ['node.labels.place == x'], MaxReplicas: 1 },
    ],
    ['one replica when none is said', '', (it) => serviceOf(it).Mode, { Replicated: { Replicas: 1 } }],
    ['replicas', 'deploy: { replicas: 0 }', (it) => serviceOf(it).Mode, { Replicated: { Replicas: 0 } }],
    ['global mode', 'deploy: { mode: global }', (it) => serviceOf(it).Mode, { Global: {} }],
    [
      'update_config',
      'deploy: { update_config: { delay: 1s, failure_action: rollback, monitor: 2s, max_failure_ratio: 0.5, order: start-first } }',
      (it) => serviceOf(it).UpdateConfig,
      {
        Parallelism: 1,
        Delay: SECOND,
        FailureAction: 'rollback',
        Monitor: 2 * SECOND,
        MaxFailureRatio: 0.5,
        Order: 'start-first',
      },
    ],
    [
      'rollback_config',
      'deploy: { rollback_config: { parallelism: 0 } }',
      (it) => serviceOf(it).RollbackConfig,
      { Parallelism: 0 },
    ],
    ['endpoint_mode', 'deploy: { endpoint_mode: dnsrr }', (it) => serviceOf(it).EndpointSpec.Mode, 'dnsrr'],
    ['an explicit mode when none is said', '', (it) => serviceOf(it).EndpointSpec.Mode, 'vip'],
    [
      'ports, sorted',
      'ports: ["90:9/udp", { target: 80, published: 8, mode: host }, 70]',
      (it) => serviceOf(it).EndpointSpec.Ports,
      [
        { Protocol: 'tcp', TargetPort: 70, PublishMode: 'ingress' },
        { Protocol: 'tcp', TargetPort: 80, PublishedPort: 8, PublishMode: 'host' },
        { Protocol: 'udp', TargetPort: 9, PublishedPort: 90, PublishMode: 'ingress' },
      ],
    ],
    [
      'the default network',
      '',
      (it) => serviceOf(it).TaskTemplate.Networks,
      [{ Target: 'app_default', Aliases: ['web'] }],
    ],
  ];
  for (const [title, lines, read, want] of cases) t.test(title, async (t) => t.same(read(lines), want));

  t.test('labels of the service: its own, the stack, the hash', async (t) => {
    const { [SPEC_HASH_LABEL]: hash, ...labels } = serviceOf('deploy: { labels: { role: x } }').Labels;
    t.match(hash, /^[0-9a-f]{16}$/);
    t.same(labels, { role: 'x', 'com.docker.stack.image': 'web:1', ...STACK_LABELS });
  });

  t.test('images as engines list them, the label as it was written', async (t) => {
    const cases = [
      ['web', 'web:latest'],
      ['docker.io/library/web:1', 'web:1'],
      ['index.docker.io/team/web', 'team/web:latest'],
      ['library/web', 'web:latest'],
      ['localhost:5000/library/web', 'localhost:5000/library/web:latest'],
      [`web@sha256:${'0'.repeat(64)}`, `web@sha256:${'0'.repeat(64)}`],
    ] as const;
    for (const [image, want] of cases) {
      const [service] = stackOf(`services: { web: { image: "${image}" } }`).services;
      t.equal(service?.TaskTemplate.ContainerSpec.Image, want);
      t.equal(service?.Labels['com.docker.stack.image'], image);
    }
  });

  t.test("no alias in a network of the node's own", async (t) => {
    const { Networks } = serviceOf(
      'networks: [h]',
      'networks: { h: { external: true, name: host } }',
    ).TaskTemplate;
    t.same(Networks, [{ Target: 'host', Aliases: [] }]);
  });

  t.test('networks with aliases, by their names in the swarm, sorted', async (t) => {
    const more = 'networks: { a: , z: { name: exact }, out: { external: true } }';
    const { Networks } = serviceOf('networks: { z: { aliases: [q] }, a: , out: }', more).TaskTemplate;
    t.same(Networks, [
      { Target: 'app_a', Aliases: ['web'] },
      { Target: 'exact', Aliases: ['q', 'web'] },
      { Target: 'out', Aliases: ['web'] },
    ]);
  });

  t.test('named volumes with driver, labels and nocopy', async (t) => {
    const volumes =
      'volumes: { data: { driver: local, driver_opts: { o: x }, labels: { l: "1" } }, ext: { external: true } }';
    t.same(serviceOf('volumes: ["data:/d:nocopy", "ext:/e:rw"]', volumes).TaskTemplate.ContainerSpec.Mounts, [
      {
        Type: 'volume',
        Source: 'app_data',
        Target: '/d',
        VolumeOptions: {
          NoCopy: true,
          Labels: { l: '1', ...STACK_LABELS },
          DriverConfig: { Name: 'local', Options: { o: 'x' } },
        },
      },
      { Type: 'volume', Source: 'ext', Target: '/e', VolumeOptions: {} },
    ]);
  });

  t.test('x- fields anywhere are for others', async (t) => {
    t.equal(serviceOf('x-note: { any: thing }\ndeploy: { x-a: 1 }', 'x-top: "costs 5$"').Name, 'app_web');
  });
});

t.test('networks, configs and secrets', async (t) => {
  t.test('a network is what the file says, and an overlay when it says nothing', async (t) => {
    const text = `
services: { web: { image: i, networks: [a, b, c] } }
networks:
  a: { driver_opts: { o: x }, attachable: true, internal: true, labels: { l: v }, ipam: { config: [{ subnet: 10.9.0.0/24 }] } }
  b:
  c: { external: true, name: theirs }
  nobodys: { external: true }`;
    const { networks, externals } = stackOf(text);
    t.same(networks, [
      {
        Name: 'app_a',
        Driver: 'overlay',
        Labels: { l: 'v', ...STACK_LABELS },
        Attachable: true,
        Internal: true,
        Options: { o: 'x' },
        IPAM: { Config: [{ Subnet: '10.9.0.0/24' }] },
      },
      { Name: 'app_b', Driver: 'overlay', Labels: STACK_LABELS, Attachable: false, Internal: false },
    ]);
    t.same(externals.networks, ['theirs']);
  });

  const withFiles = `
services:
  web:
    image: i
    configs: [b, { source: a, target: /etc/a, uid: "5", gid: "6", mode: 0640 }, { source: out }]
    secrets: [s]
configs: { a: { file: ./a.conf }, b: { content: "x=\${V}" }, out: { external: true, name: theirs } }
secrets: { s: { file: ./s.txt, labels: { k: v } } }`;

  t.test('names carry the hash of the content, references follow', async (t) => {
    const stack = stackOf(withFiles, { V: '1' }, { './a.conf': 'A', './s.txt': 'S' });
    const [a, b] = stack.configs;
    t.match(a?.Name, /^app_a-[0-9a-f]{8}$/);
    t.equal(Buffer.from(a?.Data ?? '', 'base64').toString(), 'A');
    t.equal(Buffer.from(b?.Data ?? '', 'base64').toString(), 'x=1');
    t.same(stack.secrets[0]?.Labels, { k: 'v', ...STACK_LABELS });
    t.same(stack.externals.configs, ['theirs']);
    const { Configs, Secrets } = stack.services[0]!.TaskTemplate.ContainerSpec;
    t.same(Configs, [
      { File: { Name: '/etc/a', UID: '5', GID: '6', Mode: 0o640 }, ConfigName: a?.Name },
      { File: { Name: 'b', UID: '0', GID: '0', Mode: 0o444 }, ConfigName: b?.Name },
      { File: { Name: 'out', UID: '0', GID: '0', Mode: 0o444 }, ConfigName: 'theirs' },
    ]);
    t.same(Secrets, [
      { File: { Name: 's', UID: '0', GID: '0', Mode: 0o444 }, SecretName: stack.secrets[0]?.Name },
    ]);
  });

  t.test('another content is another name and another service hash', async (t) => {
    const one = stackOf(withFiles, { V: '1' }, { './a.conf': 'A', './s.txt': 'S' });
    const two = stackOf(withFiles, { V: '1' }, { './a.conf': 'B', './s.txt': 'S' });
    t.not(one.configs[0]?.Name, two.configs[0]?.Name);
    t.equal(one.configs[1]?.Name, two.configs[1]?.Name);
    t.not(one.services[0]?.Labels[SPEC_HASH_LABEL], two.services[0]?.Labels[SPEC_HASH_LABEL]);
  });

  t.test('a name for which the hash leaves no space is shortened, and stays one of its own', async (t) => {
    const named = (name: string) =>
      stackOf(`services: { web: { image: i } }\nconfigs: { c: { name: ${name}, content: x } }`).configs[0]!
        .Name;
    const long = 'n'.repeat(63);
    t.match(named('n'.repeat(55)), /^n{55}-[0-9a-f]{8}$/);
    t.match(named(`${long}a`), /^n{46}-[0-9a-f]{8}-[0-9a-f]{8}$/);
    t.not(
      named(`${long}a`).slice(0, 55),
      named(`${long}b`).slice(0, 55),
      'revisions are told by what is before',
    );
  });

  t.test('the order of keys changes nothing', async (t) => {
    const one = serviceOf('environment: { A: 1, B: 2 }\nlabels: { x: y, z: w }');
    const two = serviceOf('labels: { z: w, x: y }\nenvironment: [B=2, A=1]');
    t.equal(one.Labels[SPEC_HASH_LABEL], two.Labels[SPEC_HASH_LABEL]);
  });
});

t.test('anchors and merges', async (t) => {
  const text = `
x-base: &base { image: i, environment: &env { A: 1 } }
x-more: &more { hostname: h }
services:
  one: { <<: [*base, *more], environment: { <<: *env, B: 2 } }
  two: { <<: *base, image: j }`;
  const [one, two] = stackOf(text).services;
  t.match(one?.TaskTemplate.ContainerSpec, { Image: 'i', Hostname: 'h', Env: ['A=1', 'B=2'] });
  t.match(two?.TaskTemplate.ContainerSpec, { Image: 'j', Env: ['A=1'] });
});

t.test('what has no effect is told, and where', async (t) => {
  const warned = (text: string) =>
    loadCompose([{ file: 'stack.yaml', text }], {}).warnings.map(formatProblem);
  const text = `
name: x
services:
  web:
    image: i
    build: { context: $NOT_OURS }
    command: a && b
    extra_hosts: [nowhere]
    ports: ["127.0.0.1:80:80", "81:81"]
    restart: always
    networks: { app: { ipv4_address: 10.0.0.2 } }
    configs: [{ source: c, mode: 444 }, { source: d, mode: 0444 }]
networks: { app: { external: { name: x } } }
configs: { c: { content: x }, d: { content: y } }`;
  t.same(warned(text), [
    'stack.yaml:2:1: name: ignored: the manifest names the stack',
    'stack.yaml:6:5: services.web.build: ignored: nodes run images that were built beforehand',
    'stack.yaml:7:14: services.web.command: taken as words: for a shell write ["sh", "-c", "..."]',
    'stack.yaml:8:19: services.web.extra_hosts[0]: ignored: it has no address',
    'stack.yaml:9:13: services.web.ports[0]: the address is ignored: a swarm publishes on every address of a node',
    'stack.yaml:10:14: services.web.restart: deploy.restart_policy says it, and more',
    'stack.yaml:11:24: services.web.networks.app.ipv4_address: ignored: the swarm gives out the addresses',
    'stack.yaml:12:34: services.web.configs[0].mode: a decimal number: octal is 0444',
    'stack.yaml:13:38: networks.app.external.name: external is deprecated in this form: write external: true, and name',
  ]);
  t.same(warned('services: { web: { image: i } }'), []);
});

t.test('each key that is not honoured has its verdict, and its line in the table for people', async (t) => {
  const readme = await readFile('compose/README.md', 'utf8');
  for (const [key, { verdict, why }] of Object.entries(UNHONOURED_KEYS))
    t.ok(readme.includes(`| \`${key}\` | ${verdict} | ${why} |`), key);
});

t.test('every key of the schemas of compose is known, and no other has a verdict', async (t) => {
  const list = await readFile('test/stacks/compose-keys.txt', 'utf8');
  const keys = list.split('\n').filter((line) => line !== '' && !line.startsWith('#'));
  for (const key of keys) {
    const unknown = problemsOf(JSON.stringify(treeOf(key))).filter((it) => it.includes('unknown key'));
    t.same(unknown, [], key);
  }
  // The CLI forbids it by name, though no schema of version 3 has it.
  const known = new Set([...keys, 'services.*.volume_driver']);
  t.same(
    Object.keys(UNHONOURED_KEYS).filter((key) => !known.has(key)),
    [],
  );
});

t.test('an empty value says nothing where the CLI takes it for nothing', async (t) => {
  const written = `
services:
  web:
    image: i
    configs: [{ source: c, target: "\${NOTHING:-}" }]
    healthcheck: { interval: 1s, test: [] }
    ports: [{ target: 1, mode: "", protocol: "" }]
    volumes: [{ type: volume, target: /v, source: "" }, { type: bind, source: /b, target: /b, bind: { propagation: "" } }]
    networks: [n]
    deploy:
      mode: ""
      endpoint_mode: ""
      resources: { limits: { cpus: "" } }
      restart_policy: { condition: "", delay: 1s }
      update_config: { failure_action: "" }
networks: { n: { name: "" } }
configs: { c: { content: x, name: "", template_driver: "" } }`;
  const left = written.replaceAll(/[a-z_]+: (""|\[\]|"\$\{NOTHING:-\}"),? ?/g, '');
  t.notMatch(left, /""|NOTHING|\[\]/);
  t.same(stackOf(written), stackOf(left));
});

t.test('what a service awaits of others', async (t) => {
  const { dependencies } = stackOf(`
services:
  web: { image: i, depends_on: { db: { condition: service_healthy }, job: { condition: service_completed_successfully }, gone: { required: false } } }
  api: { image: i, depends_on: [db, job] }
  db: { image: i }
  job: { image: i, deploy: { mode: replicated-job } }`);
  t.same(dependencies, {
    app_web: { app_db: 'running', app_job: 'completed' },
    app_api: { app_db: 'running', app_job: 'running' },
  });
});

t.test('whatever a file says, it is understood or refused', async (t) => {
  const deep = (n: number) => `${head}x-a: ${'['.repeat(n)}${']'.repeat(n)}`;
  t.same(problemsOf(deep(90)), []);
  t.same(problemsOf(deep(5000)), ['stack.yaml:4:104: nested deeper than 100 levels']);
  for (const text of [
    'services: &a { a: *a }',
    `${head}x-a: &a [*a, *a]`,
    `${'- '.repeat(5000)}a\nb: c`,
    `${'? '.repeat(5000)}a\nb: c`,
  ])
    t.same(problemsOf(text), ['stack.yaml:1:1: nested deeper than 100 levels']);
  const base = `x-a: &a { b: [1, "\${A:-b}"] }\n${head}    <<: *a\n    depends_on: { b: }\n  b: { image: c }\n`;
  const parts = fc.constantFrom(
    '\n',
    '  ',
    ': ',
    '- ',
    '[',
    '{',
    '}',
    '&a ',
    '*a',
    '<<: *a',
    '!t ',
    '~',
    '"',
    '$',
    '${',
  );
  const names = fc.constantFrom(
    '__proto__',
    'constructor',
    'ports',
    'volumes',
    'tmpfs',
    'deploy',
    '1e999',
    '-0',
    '0x',
  );
  const damaged = fc
    .array(fc.tuple(fc.nat(base.length), fc.nat(9), fc.oneof(parts, names, fc.string({ maxLength: 4 }))), {
      maxLength: 5,
    })
    .map((cuts) => cuts.reduce((it, [at, cut, put]) => it.slice(0, at) + put + it.slice(at + cut), base));
  const read = (text: string) => problemsOf(text).length > 0 || stackOf(text).services.length > 0;
  fc.assert(fc.property(damaged, read), { numRuns: 500 });
});

t.test('several files', async (t) => {
  const merged = (...texts: readonly string[]) =>
    loadCompose(
      texts.map((text, n) => ({ file: `${n}.yaml`, text })),
      {},
    );
  await t.test('are laid over each other', async (t) => {
    const { model } = merged(
      'services: { web: { image: a, command: [x], dns: [1.1.1.1], environment: { A: "1" }, ports: ["80:1"] } }',
      'services: { web: { command: [y], dns: [2.2.2.2], ports: ["80:2"] }, db: { image: d } }',
    );
    t.match(model.services, {
      web: { image: 'a', command: ['y'], dns: ['1.1.1.1', '2.2.2.2'], ports: [{ target: 2, published: 80 }] },
      db: { image: 'd' },
    });
  });
  await t.test('are each named where they are wrong', async (t) => {
    const problems = (...texts: readonly string[]) => {
      try {
        merged(...texts);
        return [];
      } catch (error) {
        return error instanceof ManifestError ? error.problems.map(formatProblem) : [error];
      }
    };
    t.same(problems('services: { web: { imag: a } }', 'services: { web: { image: 1 2 } }'), [
      '0.yaml:1:20: services.web.imag: unknown key (did you mean "image"?)',
      '1.yaml:1:27: services.web.image: expected an image such as name:tag, got "1 2"',
    ]);
    t.same(problems('services: { web: { image: a } }', 'services: { web: { networks: [n] } }'), [
      '1.yaml:1:20: services.web.networks.n: "n" is not declared under networks',
    ]);
  });
});

t.test('an env file', async (t) => {
  const text = '\uFEFF# no\n\nA=1 # kept\n  B="q"\nC=\nD\nE\r\nF=a=b';
  t.same(parseEnvFile(text), { A: '1 # kept', B: '"q"', C: '', D: null, E: null, F: 'a=b' });
  t.throws(() => parseEnvFile('A=1\nB C=2'), { message: /line 2: expected NAME=value/ });
  t.throws(() => parseEnvFile('=1'), { message: /line 1/ });
  const files = new Map([['x.env', Buffer.from(text)]]);
  const parts = [{ path: 'x.env' }, { path: 'absent.env', required: false }, { values: { A: '2', G: null } }];
  t.same(
    resolveEnvironment(parts, files, { C: 'outer', D: 'outer', toString: 'outer' }),
    { A: '2', B: '"q"', C: 'outer', D: 'outer', F: 'a=b', G: null },
    'what has no value has that of the manifest, or none',
  );
});

t.test('what is refused, and where', async (t) => {
  const under = (line: string) => `${head}    ${line}\n`;
  const cases: readonly (readonly [string, string, ...string[]])[] = [
    ['nothing at all', '', 'stack.yaml:1:1: the file is empty'],
    ['a list', '- a', 'stack.yaml:1:1: expected a map, got a list'],
    ['no service', 'services: {}', 'stack.yaml:1:1: services: a stack has at least one service'],
    [
      'two documents',
      'services: {}\n---\nservices: {}',
      'stack.yaml:2:1: a compose file holds one document, this is a second one',
    ],
    [
      'broken YAML',
      'services: {',
      'stack.yaml:1:12: Flow map in block collection must be sufficiently indented and end with a }',
    ],
    ['a key twice', `${head}    image: j`, 'stack.yaml:4:5: Map keys must be unique'],
    [
      'an unknown alias',
      'services: *x',
      'stack.yaml:1:1: Unresolved alias (the anchor must be set before the alias): x',
    ],
    [
      'an unknown top-level key',
      'service: {}',
      'stack.yaml:1:1: service: unknown key (did you mean "services"?)',
    ],
    [
      'a service without an image',
      'services:\n  web: {}',
      'stack.yaml:2:3: services.web: missing, expected image',
    ],
    [
      'a service that is a text',
      'services:\n  web: i',
      'stack.yaml:2:8: services.web: expected a map, got "i"',
    ],
    [
      'a service name with a space',
      'services:\n  "a b": { image: i }',
      'stack.yaml:2:3: services["a b"]: expected a service name of letters, digits, - and _, got "a b"',
    ],
    [
      'a misspelt key',
      under('enviroment: {}'),
      'stack.yaml:4:5: services.web.enviroment: unknown key (did you mean "environment"?)',
    ],
    [
      'what only an engine of one node can do',
      under('mem_limit: 1g'),
      'stack.yaml:4:5: services.web.mem_limit: not supported: use deploy.resources.limits.memory',
    ],
    [
      'to depend on what is not there',
      under('depends_on: [wep]'),
      'stack.yaml:4:5: services.web.depends_on: "wep" is not declared under services (did you mean "web"?)',
    ],
    [
      'to depend on each other',
      `${under('depends_on: { b: { condition: service_healthy } }')}  b: { image: i, depends_on: [web] }`,
      'stack.yaml:4:5: services.web.depends_on: web would wait for itself',
      'stack.yaml:5:18: services.b.depends_on: b would wait for itself',
    ],
    [
      'to wait for the end of what has none',
      `${under('depends_on: { b: { condition: service_completed_successfully } }')}  b: { image: i }`,
      'stack.yaml:4:5: services.web.depends_on: b never completes: its deploy.mode would be replicated-job or global-job',
    ],
    [
      'a merge of another kind',
      under('ports: !reset []'),
      'stack.yaml:4:19: the tag !reset is not understood',
    ],
    [
      'a tmpfs nowhere',
      under('tmpfs: [run]'),
      'stack.yaml:4:13: services.web.tmpfs[0]: expected an absolute path in the container, got "run"',
    ],
    [
      'numbers that nothing can hold',
      under(
        'ulimits: { a: 1e1, b: 99999999999999999999 }\n    stop_grace_period: 9999999h\n    volumes: [{ type: tmpfs, target: /a, tmpfs: { size: 8388608t } }]',
      ),
      'stack.yaml:4:19: services.web.ulimits.a: expected a whole number, got "1e1"',
      'stack.yaml:4:27: services.web.ulimits.b: expected a number that can be counted to',
      'stack.yaml:5:24: services.web.stop_grace_period: expected less than 292 years',
      'stack.yaml:6:57: services.web.volumes[0].tmpfs.size: expected less than 8 EiB',
    ],
    [
      'a name that no object can have',
      under('labels: { __proto__: a }'),
      'stack.yaml:4:15: services.web.labels.__proto__: nothing can have this name',
    ],
    [
      'variables in variables in variables',
      under(`hostname: "${'${A:-'.repeat(25)}${'}'.repeat(25)}"`),
      'stack.yaml:4:15: services.web.hostname: variables nested deeper than 20 levels',
    ],
    [
      'two credential specs',
      under('credential_spec: { file: a, registry: b }'),
      'stack.yaml:4:5: services.web.credential_spec: file and registry exclude each other',
    ],
    [
      'a job that is updated step by step',
      under('deploy: { mode: global-job, update_config: { parallelism: 1 } }'),
      'stack.yaml:4:33: services.web.deploy.update_config: a job is not updated step by step',
    ],
    [
      'ranges of ports that do not match',
      under('ports: ["80-82:80-81"]'),
      'stack.yaml:4:13: services.web.ports[0]: the ranges of "80-82:80-81" are of 3 and 2 ports',
    ],
    [
      'an unknown option of a volume',
      under('volumes: ["/a:/d:d"]'),
      'stack.yaml:4:15: services.web.volumes[0]: unknown volume option "d": use ro, rw or nocopy',
    ],
    [
      'an unknown option of a tmpfs',
      under('tmpfs: /t:exec'),
      'stack.yaml:4:12: services.web.tmpfs: unknown tmpfs option "exec": use size=64m or mode=1777',
    ],
    [
      'a name that is said twice',
      `${head}networks: { n: { name: a, external: { name: b } } }`,
      'stack.yaml:4:27: networks.n.external: expected true or false, got a map',
    ],
    [
      'a variable that is not set',
      under('hostname: ${H}'),
      'stack.yaml:4:15: services.web.hostname: variable H is not set: give it under env, or a default as in ${H:-default}',
    ],
    [
      'a duration without a unit',
      under('stop_grace_period: 10'),
      'stack.yaml:4:24: services.web.stop_grace_period: expected a duration such as 90s or 1m30s, got "10"',
    ],
    [
      'a size that is none',
      under('deploy: { resources: { limits: { memory: lots } } }'),
      'stack.yaml:4:46: services.web.deploy.resources.limits.memory: expected a size such as 512M, got "lots"',
    ],
    [
      'replicas that are none',
      under('deploy: { replicas: many }'),
      'stack.yaml:4:25: services.web.deploy.replicas: expected a whole number, got "many"',
    ],
    [
      'an unknown mode',
      under('deploy: { mode: globl }'),
      'stack.yaml:4:21: services.web.deploy.mode: expected one of replicated, global, replicated-job, global-job, got "globl" (did you mean "global"?)',
    ],
    [
      'a constraint on nothing',
      under('deploy: { placement: { constraints: ["place==x"] } }'),
      'stack.yaml:4:42: services.web.deploy.placement.constraints[0]: expected a constraint such as node.labels.place==compute, got "place==x"',
    ],
    [
      'a network that is not declared',
      `${under('networks: [apq]')}networks: { app: }`,
      'stack.yaml:4:5: services.web.networks.apq: "apq" is not declared under networks (did you mean "app"?)',
    ],
    [
      'a volume that is not declared',
      under('volumes: ["data:/d"]'),
      'stack.yaml:4:15: services.web.volumes[0]: "data" is not declared under volumes',
    ],
    [
      'a relative target',
      under('volumes: ["/a:d"]'),
      'stack.yaml:4:15: services.web.volumes[0]: expected an absolute path in the container, got "d"',
    ],
    [
      'options of another mount type',
      under('volumes: [{ type: bind, source: /a, target: /d, volume: { nocopy: true } }]'),
      'stack.yaml:4:15: services.web.volumes[0]: volume says nothing about a mount of type bind',
    ],
    [
      'two mounts at one place',
      under('volumes: ["/a:/d", "/b:/d"]'),
      'stack.yaml:4:24: services.web.volumes[1]: /d is taken by an earlier entry',
    ],
    [
      'a port out of range',
      under('ports: [{ target: 70000 }]'),
      'stack.yaml:4:23: services.web.ports[0].target: expected at most 65535, got 70000',
    ],
    [
      'one port twice',
      under('ports: ["80:1", "80:2"]'),
      'stack.yaml:4:21: services.web.ports[1]: port 80/tcp is taken by an earlier entry',
    ],
    [
      'an ingress port under dnsrr',
      `${head}    ports: ["80:80"]\n    deploy: { endpoint_mode: dnsrr }`,
      'stack.yaml:4:13: services.web.ports[0]: endpoint_mode dnsrr has no ingress: publish with mode: host',
    ],
    [
      'start-first with a host port',
      `${head}    ports: [{ target: 80, published: 80, mode: host }]\n    deploy: { update_config: { order: start-first } }`,
      'stack.yaml:4:13: services.web.ports[0]: with update order start-first the new task never gets a port of mode host',
    ],
    [
      'replicas of a global service',
      under('deploy: { mode: global, replicas: 2 }'),
      'stack.yaml:4:39: services.web.deploy.replicas: a global service has one task a node',
    ],
    [
      'a health check that is off and on',
      under('healthcheck: { disable: true, test: x }'),
      'stack.yaml:4:5: services.web.healthcheck: disable and test exclude each other',
    ],
    [
      'a config that is not declared',
      under('configs: [c]'),
      'stack.yaml:4:15: services.web.configs[0]: "c" is not declared under configs',
    ],
    [
      'a config from nowhere',
      `${head}configs: { c: {} }`,
      'stack.yaml:4:12: configs.c: expected one of file, content, environment or external: true',
    ],
    [
      'a config from two places',
      `${head}configs: { c: { file: a, content: b } }`,
      'stack.yaml:4:12: configs.c: expected one of file, content, environment or external: true',
    ],
    [
      'an external network with settings',
      `${head}networks: { n: { external: true, driver: overlay } }`,
      'stack.yaml:4:34: networks.n.driver: an external object is taken as it is',
    ],
  ];
  for (const [title, text, ...want] of cases) t.test(title, async (t) => t.same(problemsOf(text), want));

  t.test('all at once, in the order of the file, merged keys where they stand', async (t) => {
    const text = `
x-base: &base
  imagee: i
services:
  one: { <<: *base, image: i, ports: [x] }
  two: { image: "\${A}", hostname: "\${B}" }
`;
    t.same(problemsOf(text), [
      'stack.yaml:3:3: services.one.imagee: unknown key (did you mean "image"?)',
      'stack.yaml:5:39: services.one.ports[0]: expected a port such as "8080:80", "53:53/udp" or "8000-8010:9000-9010", got "x"',
      'stack.yaml:6:17: services.two.image: variable A is not set: give it under env, or a default as in ${A:-default}',
      'stack.yaml:6:35: services.two.hostname: variable B is not set: give it under env, or a default as in ${B:-default}',
    ]);
  });
});

t.test('loading from a folder', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'stack-'));
  t.teardown(() => rm(folder, { recursive: true }));
  const path = join(folder, 'stack.yaml');
  const source = { cluster: 'six', name: 'app', path, variables: {} };
  const text = 'services: { web: { image: i, configs: [c] } }\nconfigs: { c: { file: ./c.conf } }\n';

  t.test('gives the very same stack again until something changes', async (t) => {
    await writeFile(path, text);
    await writeFile(join(folder, 'c.conf'), 'one');
    const load = stackLoader();
    const first = await load(source, never);
    t.equal(await load(source, never), first);
    await writeFile(join(folder, 'c.conf'), 'two');
    const second = await load(source, never);
    t.not(second.configs[0]?.Name, first.configs[0]?.Name);
    t.not(await load({ ...source, variables: { A: 'b' } }, never), second);
  });

  t.test('says which file is missing, and where it is named', async (t) => {
    await writeFile(path, text);
    await rm(join(folder, 'c.conf'), { force: true });
    await t.rejects(stackLoader()(source, never), {
      message: /stack\.yaml:2:23: configs\.c\.file: cannot be read: ENOENT/,
    });
    await t.rejects(stackLoader()({ ...source, path: `${path}.gone` }, never), {
      message: /gone: cannot be read/,
    });
  });

  t.test('says which names are longer than a swarm takes', async (t) => {
    const [most, more] = ['n'.repeat(60), 'n'.repeat(61)];
    const ofNames = (config: string, service: string, secret = 's') =>
      writeFile(
        path,
        `services: { ${service}: { image: i } }\nconfigs: { ${config}: { content: x } }\nsecrets: { ${secret}: { external: true } }`,
      );
    await ofNames(most, most.slice(1), more.repeat(2));
    await stackLoader()(source, never);
    await ofNames(more, most);
    const told = await stackLoader()(source, never).catch(messageOf);
    t.match(told, /stack\.yaml:1:13: services\.n+: with the stack's it has 64 letters: a swarm takes 63/);
    t.match(told, /stack\.yaml:2:12: configs\.n+: with the stack's it has 65 letters: a swarm takes 64/);
  });

  t.test('stops when told to', async (t) => {
    await writeFile(path, text);
    await t.rejects(stackLoader()(source, AbortSignal.abort(new Error('enough'))), { message: 'enough' });
  });
});

t.test('our own stacks convert, and every service of them can be placed on the six nodes', async (t) => {
  const variables = {
    CONTROLLER_TARGET: '192.0.2.1:9464',
    ...checkpointVariables({ checkpoint: { path: {} } }),
    CLUSTER: 'six',
    GENERATOR_IMAGE: 'generator:1',
    OBSERVER_IMAGE: 'observer:1',
    SPARK_KAFKA_IMAGE: 'spark-kafka:1',
    KAFKA_JMX_IMAGE: 'kafka-jmx:1',
  };
  const places = ['control', 'source', 'master', 'compute', 'compute', 'compute'];
  const nodes = places.map((place, n) => ({
    hostname: `node${n + 1}`,
    role: n === 0 ? ('manager' as const) : ('worker' as const),
    labels: { place, ...(place === 'compute' && { slot: String(n - 2) }) },
  }));
  for (const [name, file] of [
    ['streaming', 'streaming/stack.yaml'],
    ['monitoring', 'monitoring/stack.yaml'],
    ['hdfs', 'streaming/hdfs.yaml'],
  ] as const)
    for (const PROFILE of ['defaults', 'fast']) {
      const source = {
        cluster: 'six',
        name,
        path: `compose/${file}`,
        variables: { ...variables, PROFILE },
      };
      const stack = await stackLoader()(source, never);
      for (const service of stack.services)
        t.ok(
          nodes.some((node) => mayRunOn(node, service)),
          `${service.Name} has a node`,
        );
    }
});

const streaming = (variables: Readonly<Record<string, string>>) => {
  const images = ['GENERATOR', 'OBSERVER', 'SPARK_KAFKA', 'KAFKA_JMX'].map((name) => [
    `${name}_IMAGE`,
    'i:1',
  ]);
  return stackLoader()(
    {
      ...{ cluster: 'six', name: 'streaming', path: 'compose/streaming/stack.yaml' },
      variables: { ...Object.fromEntries(images), ...variables },
    },
    never,
  );
};

t.test('the checkpoint is a folder that is mounted, a service that is awaited, or a bucket', async (t) => {
  const look = async (checkpoint: Parameters<typeof checkpointVariables>[0]) => {
    const { services } = await streaming(checkpointVariables(checkpoint));
    const container = (name: string) =>
      services.find(({ Name }) => Name === `streaming_${name}`)!.TaskTemplate.ContainerSpec;
    const { Env = [], Args = [], Mounts = [] } = container('driver');
    t.same(container('spark-worker-1').Mounts, Mounts, 'executors see what the driver sees');
    return {
      dir: Env.filter((line) => line.startsWith('CHECKPOINT_DIR=')),
      awaited: Args.slice(2, Args.indexOf('--')),
      mounts: Mounts.map(({ Type, Source, Target }) => [Type, Source, Target]),
    };
  };
  const folder = '/var/lib/spark-failures/checkpoint';
  t.same(await look({ checkpoint: { path: {} } }), {
    dir: [`CHECKPOINT_DIR=${folder}`],
    awaited: ['spark-master:8080/json/=ALIVE', folder],
    mounts: [['bind', folder, folder]],
  });
  t.same(await look({ checkpoint: { hdfs: { network: 'streaming_app' } } }), {
    dir: ['CHECKPOINT_DIR=hdfs://namenode:8020/checkpoint'],
    awaited: ['spark-master:8080/json/=ALIVE', 'hdfs://namenode:8020/checkpoint'],
    mounts: [['volume', 'streaming_no-checkpoint', folder]],
  });
  const s3a = (more: object) => ({ checkpoint: { s3a: { bucket: 'sf-six', prefix: 'a/b', ...more } } });
  t.same(await look(s3a({})), {
    dir: ['CHECKPOINT_DIR=s3a://sf-six/a/b'],
    awaited: ['spark-master:8080/json/=ALIVE', 's3a://sf-six/a/b'],
    mounts: [['volume', 'streaming_no-checkpoint', folder]],
  });
  const conf = (more: object) => checkpointVariables(s3a(more)).CHECKPOINT_CONF?.split(' ');
  const ofS3a = 'spark.hadoop.fs.s3a';
  const manager =
    'spark.sql.streaming.checkpointFileManagerClass=org.apache.spark.internal.io.cloud.AbortableStreamBasedCheckpointFileManager';
  t.same(
    conf({ region: 'eu-central-1' }),
    [
      manager,
      `${ofS3a}.aws.credentials.provider=org.apache.hadoop.fs.s3a.auth.IAMInstanceCredentialsProvider`,
      `${ofS3a}.endpoint.region=eu-central-1`,
    ],
    'on AWS with the role of the machines',
  );
  t.same(
    conf({ endpoint: 'http://store:9000' }),
    [
      manager,
      `${ofS3a}.aws.credentials.provider=org.apache.hadoop.fs.s3a.AnonymousAWSCredentialsProvider`,
      `${ofS3a}.endpoint=http://store:9000`,
      `${ofS3a}.endpoint.region=us-east-1`,
      `${ofS3a}.path.style.access=true`,
    ],
    'elsewhere without credentials',
  );
  t.match(
    conf({ endpoint: 'http://store:9000', credentials: 'role' })?.[1],
    /IAMInstanceCredentialsProvider$/,
    'or with the role, where that is said',
  );
  await t.rejects(streaming(checkpointVariables({})), {
    message: /variable CHECKPOINT_DIR is not set: give it/,
  });
});

t.test('driver and workers are what uses the checkpoint, and they do so on their own network', async (t) => {
  const checkpoint = { s3a: { bucket: 'sf-six', prefix: 'a' } };
  const store = checkpointStore({ checkpoint })!;
  const { services } = await streaming(checkpointVariables({ checkpoint }));
  const uses = services.flatMap((service) => {
    const use = checkpointUse(store, service);
    return use ? [[service.Name, use.image, use.network]] : [];
  });
  const names = ['spark-worker-1', 'spark-worker-2', 'spark-worker-3', 'driver'];
  t.same(
    uses,
    names.map((name) => [`streaming_${name}`, 'i:1', 'streaming_app']),
  );
});

t.test('a node that cannot use the checkpoint says at what, why, and what to look at', async (t) => {
  const tryCheckpoint = await checkpointTryer(process.cwd());
  const use = { dir: 's3a://b/c', conf: 'a=1 b=2', image: 'i:1', network: 'n' };
  const asked: (readonly string[])[] = [];
  const after = (code: number, stdout = '', stderr = '') => {
    const exec: NodeHandle['exec'] = async (_, args, { stdin }) => {
      asked.push([...args, String(stdin)]);
      return { code, signal: null, stdout, stderr };
    };
    return tryCheckpoint({ name: 'node4', exec } as NodeHandle, use, never);
  };
  await after(0, 'writing to\nreading from\nremoving from\n');
  const [[image, network, whenReady, dir, file, conf, program] = []] = asked;
  t.same([image, network, dir, file, conf], ['i:1', 'n', 's3a://b/c', '.spark-failures-node4', 'a=1 b=2']);
  t.match(whenReady, /^#!\/bin\/bash\n# when-ready/);
  t.match(program, /^"""Writes a small file/);
  const said = async (...end: Parameters<typeof after>) => {
    const error = (await after(...end).catch((reason: unknown) => reason)) as Error;
    t.match(error.message, /; see that the store exists, .* no firewall between$/);
    return error.message.slice(0, error.message.indexOf('; see'));
  };
  t.equal(
    await said(1, 'writing to\nreading from\n', 'WARN something\njava.io.IOException: Forbidden\n'),
    'reading from s3a://b/c over the network n: java.io.IOException: Forbidden',
  );
  t.equal(await said(137), 'waiting for s3a://b/c over the network n: no answer in 40 s');
  t.equal(await said(137, 'writing to\n'), 'writing to s3a://b/c over the network n: no answer in 40 s');
  t.equal(
    await said(125, '', "docker: n is not manually attachable.\nSee 'docker run --help'.\n"),
    'waiting for s3a://b/c over the network n: docker: n is not manually attachable.',
  );
});

t.test('the servers of HDFS are away from whoever uses them, and keep what they have', async (t) => {
  const source = { cluster: 'six', name: 'hdfs', path: 'compose/streaming/hdfs.yaml' };
  const { services, externals } = await stackLoader()(
    { ...source, variables: { STREAMING_NETWORK: 's_app' } },
    never,
  );
  t.same(externals.networks, ['s_app']);
  t.same(
    services.map(({ Name }) => Name),
    ['hdfs_namenode', 'hdfs_datanode'],
  );
  for (const { Name, TaskTemplate, EndpointSpec } of services) {
    const { ContainerSpec, Networks, Placement, Resources } = TaskTemplate;
    const short = Name.replace('hdfs_', '');
    t.match(Networks, [{ Target: 's_app', Aliases: [short] }], 'its name is known where the job is');
    t.equal(EndpointSpec.Mode, 'dnsrr');
    t.same(Placement?.Constraints, ['node.labels.place == master']);
    t.same(
      ContainerSpec.Mounts?.map(({ Type, Source, Target }) => [Type, Source, Target]),
      [['volume', `hdfs_${short}-data`, '/data']],
    );
    t.ok(Resources?.Limits?.MemoryBytes);
    const folders = ContainerSpec.Env?.filter((line) => /\.dir=|^ENSURE_/.test(line)) ?? [];
    t.ok(folders.length > 0 && folders.every((line) => line.includes('/data/')), `${folders}`);
  }
});

t.test('which images a node needs', async (t) => {
  const service = (image: string, ...constraints: string[]): ServiceSpec => {
    const list = JSON.stringify(constraints);
    return stackOf(`services: { web: { image: ${image}, deploy: { placement: { constraints: ${list} } } } }`)
      .services[0]!;
  };
  const node = { hostname: 'node4', role: 'worker' as const, labels: { place: 'compute', slot: '1' } };
  const services = [
    service('everywhere'),
    service('everywhere'),
    service('here', 'node.labels.place==compute', 'node.labels.slot == 1'),
    service('other-slot', 'node.labels.place==compute', 'node.labels.slot == 2'),
    service('managers', 'node.role==manager'),
    service('not-managers', 'node.role!=manager'),
    service('by-name', 'node.hostname == NODE4'),
    service('no-label', 'node.labels.none == x'),
    service('not-labelled', 'node.labels.none != x'),
    service('cannot-tell', 'node.platform.os == linux'),
  ];
  t.same(neededImages(node, services), [
    'by-name:latest',
    'cannot-tell:latest',
    'everywhere:latest',
    'here:latest',
    'not-labelled:latest',
    'not-managers:latest',
  ]);
});

t.test('bringing images to nodes', async (t) => {
  const stored = new Map([
    ['ours:1', 'sha256:ours'],
    ['ours:2', 'sha256:two'],
  ]);
  const saved: string[][] = [];
  const source = (ids: ReadonlyMap<string, string> = stored): ImageSource => ({
    imageId: async (reference) => stored.get(reference),
    save: async (references) => {
      saved.push([...references]);
      return Readable.from(references.map((it) => `${it}=${ids.get(it)}\n`));
    },
  });

  t.test('sends in one archive what is missing or other, and nothing that is there', async (t) => {
    saved.length = 0;
    const swarm = new FakeSwarm();
    const engine = swarm.engine('node1');
    swarm.engineState('node1').images.set('ours:2', 'sha256:older');
    await imageDelivery(source()).deliver(['ours:1', 'ours:2', 'ours:1'], engine, never);
    t.same(saved, [['ours:1', 'ours:2']]);
    t.same([...swarm.engineState('node1').images].sort(), [...stored].sort());
    await imageDelivery(source()).deliver(['ours:1', 'ours:2'], engine, never);
    t.equal(saved.length, 1);
    t.same(swarm.writes, ['loadImages node1']);
  });

  t.test('an image that is there and unknown here is left alone', async (t) => {
    const swarm = new FakeSwarm();
    swarm.engineState('node1').images.set('theirs:1', 'sha256:theirs');
    await imageDelivery(source()).deliver(['theirs:1'], swarm.engine('node1'), never);
    t.same(swarm.writes, []);
  });

  t.test('names every image that can neither be sent nor pulled', async (t) => {
    const deliver = imageDelivery(source()).deliver(
      ['gone:1', 'gone:2', 'ours:1'],
      new FakeSwarm().engine('node1'),
      never,
    );
    await t.rejects(deliver, {
      code: 'NOT_FOUND',
      message: /image gone:1 is not on this machine, and the node cannot pull it: .*; image gone:2/,
    });
  });

  t.test('an engine that ends up with another image is a problem', async (t) => {
    const liar = source(new Map([['ours:1', 'sha256:fake']]));
    const deliver = imageDelivery(liar).deliver(['ours:1'], new FakeSwarm().engine('node1'), never);
    await t.rejects(deliver, {
      message: 'image ours:1 was sent as sha256:ours, and the engine holds sha256:fake',
    });
  });

  t.test('serves no more engines at a time than it may', async (t) => {
    let open = 0;
    let most = 0;
    const swarm = new FakeSwarm();
    const slow: ImageSource = {
      imageId: async () => 'sha256:ours',
      save: async () => {
        open += 1;
        most = Math.max(most, open);
        return Readable.from(['ours:1=sha256:ours\n']).once('close', () => {
          open -= 1;
        });
      },
    };
    const { deliver } = imageDelivery(slow, 2);
    await Promise.all(
      ['a', 'b', 'c', 'd', 'e'].map((name) => deliver(['ours:1'], swarm.engine(name), never)),
    );
    t.equal(most, 2);
  });

  t.test('knows which images are for it to bring', async (t) => {
    t.same(await sourcedImages(['ours:1', 'gone:1'], source(), never), [
      { reference: 'ours:1', id: 'sha256:ours' },
    ]);
  });
});
