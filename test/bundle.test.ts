import { mkdir, readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { dirname, join } from 'node:path';
import fc from 'fast-check';
import t from 'tap';
import { extract } from 'tar';
import { redactJson, redactLines, redactText, redactTree, redactYaml } from '../controller/bundle/redact.ts';
import { type BundleOptions, writeBundle } from '../controller/bundle/write-bundle.ts';
import { resourceKinds } from '../controller/resource-kinds.ts';

const never = new AbortController().signal;

/** Something that must be nowhere, of which there is another one each time. */
function canaries() {
  const planted: string[] = [];
  return {
    planted,
    canary(what: string) {
      planted.push(`canary${planted.length}-${what.replaceAll(' ', '-')}`);
      return planted.at(-1)!;
    },
  };
}

t.test('what looks like a secret is taken out, and the rest is left', async (t) => {
  for (const [text, expected] of [
    ['clone of https://user:hunter2@host/repo failed', 'clone of https://[redacted]@host/repo failed'],
    ['git+ssh://tok@host:22/x', 'git+ssh://[redacted]@host:22/x'],
    ['postgres://u:p@ss@db:5432/x?a=1', 'postgres://[redacted]@db:5432/x?a=1'],
    ['http://host:80/a@b', 'http://host:80/a@b'],
    [
      'docker swarm join --token SWMTKN-1-abc-def 10.0.0.1:2377',
      'docker swarm join --token [redacted] 10.0.0.1:2377',
    ],
    ['it said SWMTKN-1-abc-def', 'it said [redacted]'],
    ['DB_PASSWORD=hunter2 RATE=5', 'DB_PASSWORD=[redacted] RATE=5'],
    ["password: 'two words', n: 1", 'password: [redacted], n: 1'],
    ['"apiKey":"a\\"b","n":1', '"apiKey":[redacted],"n":1'],
    ['Server=x;Password=a;Database=y', 'Server=x;Password=[redacted];Database=y'],
    ['run --db-password hunter2 --rate 5', 'run --db-password [redacted] --rate 5'],
    ['Authorization: Bearer abc.def', 'Authorization: [redacted] [redacted]'],
    [
      '-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----\nrest',
      '[redacted]\nrest',
    ],
    ['the password of node4 was refused', 'the password of node4 was refused'],
    ['AKIAIOSFODNN7EXAMPLE', '[redacted]'],
    ['key: ClusterSpec/a', 'key: ClusterSpec/a'],
  ] as const)
    t.equal(redactText(text), expected, text);
  t.same(
    redactTree({
      environment: { POSTGRES_PASSWORD: 'x', RATE: '5', SSH_KEY: 'k', DEBUG: true },
      list: ['API_TOKEN=x', 'RATE=5'],
      command: ['serve', '--password', 'x', '--rate', '5'],
      secrets: ['db', 'tls'],
      passwords: ['a', 'b'],
      nested: { secret: { deep: [{ anything: 'x' }] } },
      configs: { app: { content: 'x', file: './app.conf' } },
      counts: { tokens: null, key: 7 },
    }),
    {
      environment: { POSTGRES_PASSWORD: '[redacted]', RATE: '5', SSH_KEY: '[redacted]', DEBUG: true },
      list: ['API_TOKEN=[redacted]', 'RATE=5'],
      command: ['serve', '--password', '[redacted]', '--rate', '5'],
      secrets: ['db', 'tls'],
      passwords: ['[redacted]', '[redacted]'],
      nested: { secret: { deep: [{ anything: '[redacted]' }] } },
      configs: { app: { content: '[redacted]', file: './app.conf' } },
      counts: { tokens: null, key: 7 },
    },
  );
  t.equal(
    redactYaml('a: 1 # the password is hunter2\n---\nb: &x [2]\nc: *x\n'),
    'a: 1\n---\nb:\n  - 2\nc:\n  - 2\n',
  );
  t.equal(redactYaml('a: [\nPASSWORD: x'), undefined);
  t.equal(redactJson('{"a": '), undefined);
  t.equal(
    redactLines('{"token":"x"}\nTOKEN=x\n{torn TOKEN=x'),
    '{"token":"[redacted]"}\nTOKEN=[redacted]\n{torn TOKEN=[redacted]',
  );
});

t.test('whatever a secret consists of, its name is enough to take it out of YAML and JSON', async (t) => {
  const secret = fc.string({ minLength: 4, unit: 'grapheme' }).map((text) => `canary${text}`);
  const name = fc.constantFrom(
    'PASSWORD',
    'db_password',
    'apiToken',
    'clientSecret',
    'PRIVATE_KEY',
    'SMTP_PASS',
  );
  fc.assert(
    fc.property(name, secret, (key, text) => {
      const tree = { services: { web: { environment: { [key]: text, RATE: '5' } } } };
      const json = redactJson(JSON.stringify(tree)) ?? '';
      const line = redactLines(JSON.stringify({ msg: 'x', [key]: text }));
      return [json, line, JSON.stringify(redactTree(tree))].every(
        (out) => !out.includes('canary') && out.includes(key),
      );
    }),
  );
  t.pass();
});

t.test('a support bundle has all that is known, and no secret of it', async (t) => {
  const { canary, planted } = canaries();
  const folder = t.testdir({});
  const stateDir = join(folder, 'state');
  const pem = (what: string) =>
    `-----BEGIN OPENSSH PRIVATE KEY-----\n${canary(what)}\n-----END OPENSSH PRIVATE KEY-----\n`;
  const put = async (path: string, text: string) => {
    await mkdir(dirname(join(folder, path)), { recursive: true });
    await writeFile(join(folder, path), text);
    return join(folder, path);
  };

  // What is never opened.
  await put('state/provisioner/small/id_ed25519', pem('provisioner key'));
  await put('state/provisioner/small/machines.json', JSON.stringify({ node1: { note: canary('machine') } }));
  await put('state/provisioner/small/join-token', canary('join token file'));
  await put('state/git/config', canary('git'));
  await put('state/samples/run-1.ndjson.gz', canary('samples'));
  await put('state/reserve', canary('reserve'));
  await put('secrets/db.txt', canary('secret file'));
  await put('secrets/hook', canary('hook secret'));
  await put('one.env', `PLAIN=${canary('env file')}`);
  await put('app.conf', canary('config file'));

  // What is read.
  const status = {
    events: [{ message: `fetch of https://me:${canary('event url')}@host/repo: refused` }],
    conditions: [{ message: `join failed: SWMTKN-1-${canary('status token')}` }],
    inventory: { secrets: ['app_db-1a2b3c4d'] },
  };
  await put('state/status/ClusterSpec/small.json', JSON.stringify({ status }));
  await put('state/status/ClusterSpec/torn.json', `{"password": "${canary('torn status')}`);
  const env = { DB_PASSWORD: canary('stack env'), URL: `amqp://u:${canary('env url')}@mq/`, RATE: '5' };
  await put(
    'state/accepted/ClusterSpec/small.json',
    JSON.stringify({ status: { resource: { spec: { stacks: [{ env }] } } } }),
  );
  await put(
    'state/journal.ndjson',
    `${JSON.stringify({ runId: 'run-1', message: `token=${canary('journal')}` })}\n`,
  );
  await put(
    'state/events.ndjson',
    `${JSON.stringify({ reason: 'Converged', message: `PASSWORD=${canary('event')}` })}\n`,
  );
  await put('state/events.1.ndjson', `{"message": "torn, secret: ${canary('torn event')}"\n`);
  const compose = await put(
    'stack.yaml',
    `services:
  web:
    image: nginx # ${canary('comment')}
    environment: { POSTGRES_PASSWORD: "${canary('map env')}", PLAIN: kept-by-name }
    command: [serve, --api-key, "${canary('flag')}", "--token=${canary('flag with =')}"]
    env_file: one.env
    secrets: [db]
  worker:
    image: busybox
    environment:
      - SMTP_PASS=${canary('list env')}
      - PROXY=http://u:${canary('proxy')}@proxy:3128
    healthcheck: { test: "curl -H 'Authorization: Bearer ${canary('bearer')}' localhost" }
secrets: { db: { file: secrets/db.txt } }
configs: { app: { file: app.conf }, inline: { content: "${canary('inline')}" } }
`,
  );
  const manifest = await put(
    'small.yaml',
    `kind: ClusterSpec\nmetadata: { name: small, annotations: { apiToken: ${canary('annotation')} } }\n`,
  );
  const broken = await put('broken.yaml', `kind: [\nPASSWORD: |\n  ${canary('broken manifest')}\n`);
  const logFile = await put(
    'operator.log',
    `${JSON.stringify({ level: 30, msg: 'step done', token: canary('log field') })}\nplain: password=${canary('log line')}\n`,
  );

  const server = createServer((request, response) =>
    response.end(`# of ${request.url}\nup{url="https://u:${canary('metrics')}@h/"} 1\n`),
  );
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.teardown(() => server.close());

  const resource = resourceKinds.ClusterSpec.parse({
    ...{ apiVersion: 'spark-failures.io/v1alpha1', kind: 'ClusterSpec', metadata: { name: 'small' } },
    spec: {
      provisioner: { lab: {} },
      nodes: [{ name: 'node1', role: 'manager' }],
      stacks: [{ name: 'app', compose, env }],
    },
  });
  let hung: AbortSignal | undefined;
  const handles: Readonly<Record<string, object>> = {
    node1: {
      exec: async () => ({
        stdout: `== docker info\nHTTP Proxy: http://u:${canary('node proxy')}@proxy\n${pem('node key')}--token SWMTKN-1-${canary('node token')}\n== uptime\n`,
      }),
    },
    node2: {
      exec(_script: string, _args: string[], _options: object, signal: AbortSignal) {
        hung = signal;
        return Promise.reject(new Error(`login with password=${canary('error')} failed`));
      },
    },
  };
  const operator = {
    store: { list: () => [{ name: 'small', resource }] },
    access: () => ({ nodes: async (node: string) => handles[node] }),
  } as unknown as BundleOptions['operator'];
  const file = join(folder, 'bundle.tar.gz');
  await writeBundle(
    {
      ...{ file, stateDir, logFile, operator, version: '1.2.3', manifests: [manifest, broken] },
      port: (server.address() as AddressInfo).port,
      nodes: ['node1', 'node2'].map((node) => ({ cluster: 'small', node })),
      findings: [{ check: 'git', state: 'problem', message: `https://${canary('finding')}@host is refused` }],
    },
    never,
  );

  t.equal((await stat(file)).mode & 0o777, 0o600, 'nobody else reads it');
  const out = join(folder, 'out');
  await mkdir(out);
  await extract({ file, cwd: out });
  const names = (await readdir(out, { recursive: true, withFileTypes: true }))
    .filter((entry) => entry.isFile())
    .map(({ parentPath, name }) => join(parentPath, name).slice(out.length + 1))
    .toSorted();
  t.same(names, [
    'about.json',
    'compose/small/app/0-stack.yaml',
    'doctor.json',
    'manifests/0-small.yaml',
    'nodes/small/node1.txt',
    'notes.txt',
    'operator.log',
    'operator/healthz.txt',
    'operator/metrics.txt',
    'operator/readyz.txt',
    'state/accepted/ClusterSpec/small.json',
    'state/events.1.ndjson',
    'state/events.ndjson',
    'state/journal.ndjson',
    'state/status/ClusterSpec/small.json',
  ]);
  const texts = new Map(
    await Promise.all(names.map(async (name) => [name, await readFile(join(out, name), 'utf8')] as const)),
  );
  t.ok(planted.length >= 33, 'all of them were planted');
  for (const each of planted)
    t.same(
      [...texts].filter(([, text]) => text.includes(each)).map(([name]) => name),
      [],
      each,
    );

  const text = (name: string) => texts.get(name)!;
  t.match(text('about.json'), '"version": "1.2.3"');
  t.match(
    text('compose/small/app/0-stack.yaml'),
    /image: nginx[\s\S]*PLAIN: kept-by-name[\s\S]*file: secrets\/db\.txt/,
  );
  t.match(text('state/status/ClusterSpec/small.json'), 'app_db-1a2b3c4d');
  t.match(text('state/accepted/ClusterSpec/small.json'), '"RATE": "5"');
  t.match(text('state/events.ndjson'), 'Converged');
  t.match(text('operator.log'), 'step done');
  t.match(text('operator/healthz.txt'), '/healthz?verbose');
  t.match(text('nodes/small/node1.txt'), '== uptime');
  t.match(text('notes.txt'), /manifests\/1-broken\.yaml: not understood/);
  t.match(text('notes.txt'), /torn\.json: not understood/);
  t.match(text('notes.txt'), /nodes\/small\/node2\.txt: login with password=\[redacted\] failed/);
  t.ok(hung, 'who asks a node has a time for it');
});
