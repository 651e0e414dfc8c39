import { createServer, type IncomingMessage, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Readable } from 'node:stream';
import Dockerode from 'dockerode';
import fc from 'fast-check';
import t, { type Test } from 'tap';
import { diffNetwork } from '../controller/swarm/diff-network.ts';
import { diffService, needsReplacement } from '../controller/swarm/diff-service.ts';
import { engineGateway, swarmGateway } from '../controller/swarm/docker-gateways.ts';
import { ConflictError, EngineError } from '../controller/swarm/engine-error.ts';
import { requestDone } from '../controller/swarm/engine-request.ts';
import { hashService } from '../controller/swarm/normal-service.ts';
import { readEvents } from '../controller/swarm/read-events.ts';
import { References, resolveReferences } from '../controller/swarm/resolve-references.ts';
import type { ContainerSpec, LiveNetwork, ServiceSpec } from '../controller/swarm/swarm-types.ts';
import { anyStack, checkStack, edits, StacksOn } from './support/any-stack.ts';
import { FakeSwarm } from './support/fake-swarm.ts';

const never = new AbortController().signal;
const names: ReadonlyMap<string, string> = new Map([
  ['id-app', 'app'],
  ['id-back', 'back'],
]);

const base: ServiceSpec = {
  Name: 's_web',
  Labels: { role: 'web' },
  TaskTemplate: {
    ContainerSpec: { Image: 'web:1', Env: ['A=1', 'B=2'] },
    Networks: [{ Target: 'app', Aliases: ['web'] }],
  },
  Mode: { Replicated: { Replicas: 1 } },
  EndpointSpec: { Mode: 'dnsrr' },
};

const withContainer = (part: Partial<ContainerSpec>): ServiceSpec => ({
  ...base,
  TaskTemplate: { ...base.TaskTemplate, ContainerSpec: { ...base.TaskTemplate.ContainerSpec, ...part } },
});

const withTask = (part: Partial<ServiceSpec['TaskTemplate']>): ServiceSpec => ({
  ...base,
  TaskTemplate: { ...base.TaskTemplate, ...part },
});

t.test('two services are the same in spite of', async (t) => {
  const cases: readonly (readonly [string, ServiceSpec, ServiceSpec])[] = [
    ['the order of the environment', withContainer({ Env: ['B=2', 'A=1'] }), base],
    ['a network id for its name', base, withTask({ Networks: [{ Target: 'id-app', Aliases: ['web'] }] })],
    [
      'the order of networks and aliases',
      withTask({ Networks: [{ Target: 'app', Aliases: ['a', 'b'] }, { Target: 'back' }] }),
      withTask({ Networks: [{ Target: 'id-back' }, { Target: 'id-app', Aliases: ['b', 'a'] }] }),
    ],
    ['the ForceUpdate counter', base, withTask({ ForceUpdate: 7 })],
    ['a digest that someone resolved', base, withContainer({ Image: 'web:1@sha256:aa' })],
    [
      'the default restart policy',
      base,
      withTask({ RestartPolicy: { Condition: 'any', Delay: 5e9, MaxAttempts: 0 } }),
    ],
    ['the default grace period', base, withContainer({ StopGracePeriod: 10e9 })],
    ['one replica', { ...base, Mode: { Replicated: {} } }, base],
    [
      'the default update policy',
      base,
      {
        ...base,
        UpdateConfig: {
          Parallelism: 1,
          Monitor: 5e9,
          FailureAction: 'pause',
          Order: 'stop-first',
          MaxFailureRatio: 0,
        },
      },
    ],
    [
      'empty lists and maps',
      withContainer({ Mounts: [], Sysctls: {} }),
      withTask({ Resources: {}, Placement: {} }),
    ],
    [
      'ids of configs and secrets',
      withContainer({ Configs: [{ File: { Name: '/a', UID: '0', GID: '0', Mode: 292 }, ConfigName: 'c' }] }),
      withContainer({
        Configs: [{ File: { Name: '/a', UID: '0', GID: '0', Mode: 292 }, ConfigName: 'c', ConfigID: 'x' }],
      }),
    ],
    [
      'the order of constraints',
      withTask({ Placement: { Constraints: ['a==1', 'b==2'] } }),
      withTask({ Placement: { Constraints: ['b==2', 'a==1'] } }),
    ],
  ];
  for (const [title, want, have] of cases)
    t.test(title, async (t) => t.same(diffService(want, have, names), []));

  t.test('what the engine adds by itself', async (t) => {
    const live = JSON.parse(
      `{"Name":"s_web","Labels":{"role":"web"},"TaskTemplate":{"ContainerSpec":{"Image":"web:1","Env":["A=1","B=2"],
        "Privileges":{"CredentialSpec":null,"SELinuxContext":null},"Isolation":"default"},"Resources":{},
        "Placement":{"Platforms":[{"Architecture":"amd64","OS":"linux"}]},
        "Networks":[{"Target":"id-app","Aliases":["web"]}],"ForceUpdate":0,"Runtime":"container"},
        "Mode":{"Replicated":{"Replicas":1}},"EndpointSpec":{"Mode":"dnsrr"}}`,
    ) as ServiceSpec;
    t.same(diffService(base, live, names), []);
  });
});

t.test('a change of one field is one difference, named', async (t) => {
  const container = 'TaskTemplate.ContainerSpec';
  const cases: readonly (readonly [string, ServiceSpec, unknown, unknown])[] = [
    [`${container}.Env.A`, withContainer({ Env: ['A=9', 'B=2'] }), 'A=1', 'A=9'],
    [`${container}.Env.C`, withContainer({ Env: ['A=1', 'B=2', 'C=3'] }), undefined, 'C=3'],
    [`${container}.Env.B`, withContainer({ Env: ['A=1'] }), 'B=2', undefined],
    [`${container}.Image`, withContainer({ Image: 'web:2@sha256:bb' }), 'web:1', 'web:2'],
    [`${container}.Init`, withContainer({ Init: false }), undefined, false],
    [`${container}.Args`, withContainer({ Args: ['b', 'a'] }), undefined, ['b', 'a']],
    [`${container}.StopGracePeriod`, withContainer({ StopGracePeriod: 0 }), 10e9, 0],
    ['Labels.role', { ...base, Labels: { role: 'db' } }, 'web', 'db'],
    ['Labels["x.y/z"]', { ...base, Labels: { role: 'web', 'x.y/z': '1' } }, undefined, '1'],
    ['Mode.Replicas', { ...base, Mode: { Replicated: { Replicas: 0 } } }, 1, 0],
    ['Mode', { ...base, Mode: { Global: {} } }, { Replicas: 1 }, 'global'],
    ['EndpointSpec.Mode', { ...base, EndpointSpec: { Mode: 'vip' } }, 'dnsrr', 'vip'],
    ['UpdateConfig.Parallelism', { ...base, UpdateConfig: { Parallelism: 0 } }, 1, 0],
    ['TaskTemplate.RestartPolicy.Delay', withTask({ RestartPolicy: { Delay: 0 } }), 5e9, 0],
    [
      'TaskTemplate.Networks.app.Aliases',
      withTask({ Networks: [{ Target: 'id-app' }] }),
      { web: true },
      undefined,
    ],
  ];
  for (const [path, have, wanted, had] of cases)
    t.test(`${path} ${JSON.stringify(had)}`, async (t) => {
      t.same(diffService(base, have, names), [{ path, want: wanted, have: had }]);
    });

  t.test('a field that nobody here knows', async (t) => {
    const live = { ...base, TaskTemplate: { ...base.TaskTemplate, ...{ Log: { Name: 'x' } } } };
    t.same(diffService(base, live, names), [
      { path: 'TaskTemplate.Log', want: undefined, have: { Name: 'x' } },
    ]);
  });

  t.test('a variable named like what every object has', async (t) => {
    const odd = withContainer({ Env: ['A=1', 'B=2', 'constructor=x'] });
    const path = 'TaskTemplate.ContainerSpec.Env.constructor';
    t.same(diffService(base, odd, names), [{ path, want: undefined, have: 'constructor=x' }]);
    t.same(diffService(odd, base, names), [{ path, want: 'constructor=x', have: undefined }]);
  });

  t.test('a digest that is wanted', async (t) => {
    const want = withContainer({ Image: 'web:1@sha256:aa' });
    t.equal(diffService(want, base, names).length, 1);
    t.equal(diffService(want, withContainer({ Image: 'web:1@sha256:bb' }), names).length, 1);
  });
});

t.test('only another mode needs another service', async (t) => {
  t.equal(needsReplacement(base, { ...base, Mode: { Global: {} } }), true);
  t.equal(needsReplacement(base, { ...base, Mode: { Replicated: { Replicas: 5 } } }), false);
});

t.test('the hash of a service', async (t) => {
  t.equal(hashService(withContainer({ Env: ['B=2', 'A=1'] })), hashService(base));
  t.equal(
    hashService({ ...base, Labels: { ...base.Labels, 'spark-failures.io/spec-hash': 'x' } }),
    hashService(base),
  );
  t.not(hashService(withContainer({ Env: ['B=2'] })), hashService(base));
});

t.test('a stack that is made differs in nothing, and a change of one field is one update', async () => {
  await fc.assert(
    fc.asyncProperty(anyStack, fc.constantFrom(...Object.keys(edits)), async (stack, edit) => {
      const swarm = new FakeSwarm();
      swarm.addNode('node1', 'manager');
      await checkStack(new StacksOn(swarm.gateway, never), stack, edit);
    }),
    { numRuns: 60, seed: 7 },
  );
});

t.test('networks', async (t) => {
  const want = { Name: 'app', Driver: 'overlay', Labels: { a: 'b' }, Attachable: true, Internal: false };
  const VXLAN = { 'com.docker.network.driver.overlay.vxlanid_list': '4097' };
  const live: LiveNetwork = {
    ...want,
    Id: 'x',
    Options: VXLAN,
    IPAM: { Driver: 'default', Config: [{ Subnet: '10.0.1.0/24', Gateway: '10.0.1.1' }] },
  };
  t.same(diffNetwork(want, live), [], 'what the engine chose is no difference');
  t.same(diffNetwork(want, { ...live, Attachable: false }), [
    { path: 'Attachable', want: true, have: undefined },
  ]);
  t.same(
    diffNetwork(want, { ...live, Labels: {} }).map((it) => it.path),
    ['Labels'],
  );
  const addressed = { ...want, IPAM: { Config: [{ Subnet: '10.9.0.0/24' }] } };
  t.same(diffNetwork(addressed, live), [{ path: 'Subnets', want: ['10.9.0.0/24'], have: ['10.0.1.0/24'] }]);
  const tuned = { ...addressed, Options: { mtu: '1400' } };
  t.same(
    diffNetwork(tuned, live).map((it) => it.path),
    ['Options', 'Subnets'],
  );
  const fresh = { ...live, Driver: '', Options: {}, IPAM: {} };
  t.same(diffNetwork(tuned, fresh), [], 'not allocated yet');
  t.same(diffNetwork(tuned, { ...fresh, Attachable: false }).length, 1);
});

t.test('references to what the swarm lacks are all named', async (t) => {
  const File = { Name: 'f', UID: '0', GID: '0', Mode: 292 };
  const spec = withContainer({ Configs: [{ File, ConfigName: 'c' }], Secrets: [{ File, SecretName: 's' }] });
  const none = new Map<string, string>();
  t.throws(() => resolveReferences(spec, { networks: none, configs: none, secrets: none }), {
    code: 'NOT_FOUND',
    message: 'service s_web needs network app, config c, secret s, which the swarm lacks',
  });
  const ids = {
    networks: new Map([['app', 'n1']]),
    configs: new Map([['c', 'c1']]),
    secrets: new Map([['s', 's1']]),
  };
  const { Networks, ContainerSpec: resolved } = resolveReferences(spec, ids).TaskTemplate;
  t.equal(Networks?.[0]?.Target, 'n1');
  t.equal(resolved.Configs?.[0]?.ConfigID, 'c1');
  t.equal(resolved.Secrets?.[0]?.SecretID, 's1');
});

t.test(
  'references of services that are made together are listed once, and anew for what was not there yet',
  async (t) => {
    const swarm = new FakeSwarm();
    let lists = 0;
    swarm.beforeCall = (call) => {
      if (call === 'listNetworks') lists += 1;
    };
    const resolve = new References();
    const target = async () =>
      (await resolve.resolve(withContainer({}), swarm.gateway, never)).TaskTemplate.Networks?.[0]?.Target;
    await t.rejects(target(), { code: 'NOT_FOUND', message: /network app/ });
    const id = await swarm.gateway.createNetwork(
      { Name: 'app', Driver: 'overlay', Labels: {} } as never,
      never,
    );
    lists = 0;
    t.same(await Promise.all([target(), target()]), [id, id]);
    t.equal(await target(), id);
    t.ok(lists <= 2, `${lists} lists`);
  },
);

/** An engine that answers as told and keeps what it was asked. */
async function engine(t: Test, answer: RequestListener) {
  const asked: { method: string; url: string; headers: IncomingMessage['headers']; body: string }[] = [];
  const server = createServer((request, response) => {
    let body = '';
    request.setEncoding('utf8');
    request.on('data', (chunk) => {
      body += chunk;
    });
    request.on('end', () => {
      asked.push({ method: request.method ?? '', url: request.url ?? '', headers: request.headers, body });
      answer(request, response);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.teardown(() => {
    server.closeAllConnections();
    server.close();
  });
  const docker = new Dockerode({
    protocol: 'http',
    host: '127.0.0.1',
    port: (server.address() as AddressInfo).port,
  });
  return { docker, asked, engine: engineGateway(docker), swarm: swarmGateway(docker) };
}

const json =
  (status: number, body: unknown): RequestListener =>
  (_request, response) =>
    response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));

t.test('what goes over the wire', async (t) => {
  t.test('a spec travels in the body: never in the address, never as credentials', async (t) => {
    const { asked, swarm } = await engine(t, json(201, { ID: 'new' }));
    t.equal(await swarm.createService(base, never), 'new');
    t.equal(await swarm.createSecret({ Name: 's', Labels: {}, Data: 'c2VjcmV0' }, never), 'new');
    t.equal(asked[0]?.url.replace(/\?$/, ''), '/services/create');
    t.same(JSON.parse(asked[0]?.body ?? ''), base);
    t.equal(asked[0]?.headers['x-registry-auth'], undefined);
    t.equal(asked[1]?.url.replace(/\?$/, ''), '/secrets/create');
  });

  t.test('an update names the version, keeps credentials and the ForceUpdate counter', async (t) => {
    const { asked, swarm } = await engine(t, json(200, { Warnings: null }));
    const live = { ID: 'x', Version: { Index: 12 }, Spec: withTask({ ForceUpdate: 3 }) };
    await swarm.updateService(live, base, never);
    t.equal(asked[0]?.url, '/services/x/update?version=12&registryAuthFrom=spec');
    t.same(JSON.parse(asked[0]?.body ?? ''), withTask({ ForceUpdate: 3 }));
  });

  t.test('a restart is the spec as it is, with a ForceUpdate counter that went on', async (t) => {
    const { asked, swarm } = await engine(t, json(200, { Warnings: null }));
    await swarm.restartService(
      { ID: 'x', Version: { Index: 12 }, Spec: withTask({ ForceUpdate: 3 }) },
      never,
    );
    await swarm.restartService({ ID: 'y', Version: { Index: 1 }, Spec: base }, never);
    t.equal(asked[0]?.url, '/services/x/update?version=12&registryAuthFrom=spec');
    t.same(JSON.parse(asked[0]?.body ?? ''), withTask({ ForceUpdate: 4 }));
    t.same(JSON.parse(asked[1]?.body ?? ''), withTask({ ForceUpdate: 1 }), 'never restarted before');
  });

  t.test('filters travel as JSON', async (t) => {
    const { asked, swarm } = await engine(t, json(200, []));
    await swarm.listTasks({ services: ['a'], node: 'b' }, never);
    await swarm.listTasks({ desired: 'running' }, never);
    const filters = asked.map(({ url }) =>
      JSON.parse(new URL(url ?? '', 'http://x').searchParams.get('filters')!),
    );
    t.same(filters, [{ service: ['a'], node: ['b'] }, { 'desired-state': ['running'] }]);
  });

  t.test(
    "the nodes' own networks are listed with the others, and asked for until they are found",
    async (t) => {
      // As of an engine that finds no leader: it lists what it knows itself, and refuses nothing.
      let hasLeader = false;
      const { asked, swarm } = await engine(t, (request, response) => {
        const name = /^\/networks\/(\w+)\?scope=swarm$/.exec(request.url ?? '')?.[1];
        if (name && !hasLeader) return json(404, { message: 'network not found' })(request, response);
        return json(200, name ? { Name: name, Id: name } : [{ Name: 'app', Id: 'made' }])(request, response);
      });
      const names = async () => (await swarm.listNetworks(never)).map(({ Name }) => Name).sort();
      t.same(await names(), ['app']);
      hasLeader = true;
      for (const _ of [1, 2]) t.same(await names(), ['app', 'bridge', 'host']);
      t.equal(asked.length, 3 + 3 + 1, 'not asked for again');
    },
  );

  t.test('images are loaded as they stream, and a failure in the progress is one', async (t) => {
    const { asked, engine: gateway } = await engine(t, json(200, { stream: 'Loaded image' }));
    await gateway.loadImages(Readable.from(['one', 'two']), never);
    t.equal(asked[0]?.body, 'onetwo');
    const full = await engine(t, json(200, { errorDetail: {}, error: 'no space left on "device"' }));
    const archive = Readable.from(['one']);
    await t.rejects(full.engine.loadImages(archive, never), {
      code: 'REFUSED',
      message: 'no space left on "device"',
    });
    t.equal(archive.destroyed, true);
  });

  t.test('a tag is told from a port', async (t) => {
    const { asked, engine: gateway } = await engine(t, json(200, {}));
    for (const it of ['a:1', 'host:5000/a', 'a@sha256:aa']) await gateway.pullImage(it, never);
    t.same(
      asked.map(({ url }) => decodeURIComponent(url.split('?')[1] ?? '')),
      ['fromImage=a&tag=1', 'fromImage=host:5000/a&tag=latest', 'fromImage=a@sha256:aa'],
    );
  });
});

t.test('what an answer means', async (t) => {
  const cases: readonly (readonly [string, number, string])[] = [
    ['CONFLICT', 500, 'rpc error: code = Unknown desc = update out of sequence'],
    ['NOT_A_MANAGER', 503, 'This node is not a swarm manager. Use "docker swarm init"'],
    ['NOT_FOUND', 404, 'service x not found'],
    ['NAME_TAKEN', 409, 'name conflicts with an existing object'],
    ['REFUSED', 400, 'invalid'],
    ['UNAVAILABLE', 500, 'rpc error: code = DeadlineExceeded'],
    ['UNAVAILABLE', 503, 'This node is already part of a swarm'],
  ];
  for (const [code, status, message] of cases)
    t.test(`${status} ${message}: ${code}`, async (t) => {
      const { swarm } = await engine(t, json(status, { message }));
      await t.rejects(swarm.createService(base, never), {
        code,
        message: `POST /services/create: ${message}`,
      });
      if (code === 'CONFLICT') await t.rejects(swarm.createService(base, never), ConflictError);
    });

  t.test("a refused stream says why in the engine's words", async (t) => {
    const { engine: gateway } = await engine(t, json(500, { message: 'lookup: no such host' }));
    await t.rejects(gateway.pullImage('a:1', never), {
      message: 'POST /images/create: lookup: no such host',
    });
  });

  t.test('an empty list may come as null', async (t) => {
    const { swarm } = await engine(t, json(200, null));
    t.same(await swarm.listConfigs(never), []);
  });

  t.test('half an answer is none', async (t) => {
    const { swarm } = await engine(t, (_request, response) => response.writeHead(200).end('[{"ID":'));
    await t.rejects(swarm.listServices(never), { code: 'UNAVAILABLE' });
    await t.rejects(swarm.inspectSwarm(never), { code: 'UNAVAILABLE' });
  });

  t.test('no answer at all', async (t) => {
    const { swarm } = await engine(t, (request) => request.socket.destroy());
    await t.rejects(swarm.listServices(never), { code: 'UNAVAILABLE' });
  });

  t.test('an image that is not there is no failure', async (t) => {
    const { engine: gateway } = await engine(t, json(404, { message: 'No such image' }));
    t.equal(await gateway.imageId('a:1', never), undefined);
  });

  t.test('an image has one id, whatever kind of store an engine keeps it in', async (t) => {
    const Layers = ['sha256:l1', 'sha256:l2'];
    const Config = { Env: ['A=1'], Cmd: ['run'], Labels: { b: '2', a: '1' } };
    const idOf = async (image: object) => {
      const { engine: gateway } = await engine(t, json(200, { RootFS: { Layers }, ...image }));
      return gateway.imageId('a:1', never);
    };
    const old = {
      ...Config,
      Hostname: '',
      Entrypoint: null,
      Volumes: null,
      WorkingDir: '',
      Labels: { a: '1', b: '2' },
    };
    const id = await idOf({ Id: 'sha256:of-the-config', Config: old });
    t.match(id, /^[0-9a-f]+$/);
    t.equal(await idOf({ Id: 'sha256:of-the-manifest', Config }), id);
    t.not(await idOf({ Id: 'sha256:of-the-config', Config: { ...Config, Cmd: ['walk'] } }), id);
    t.not(await idOf({ Id: 'sha256:of-the-config', Config, RootFS: { Layers: ['sha256:l1'] } }), id);
  });

  t.test('images are listed together, and each is looked into once', async (t) => {
    const asked: string[] = [];
    const held = (Id: string) => json(200, { Id, RootFS: { Layers: [Id] }, Config: {} });
    const { engine: gateway } = await engine(t, (request, response) => {
      const url = new URL(request.url ?? '', 'http://engine');
      asked.push(url.pathname);
      if (url.pathname === '/images/json') {
        t.same(JSON.parse(url.searchParams.get('filters') ?? ''), {
          reference: ['a:1', 'docker.io/library/b:2', 'c:3'],
        });
        json(200, [
          { Id: 'sha256:a', RepoTags: ['a:1'] },
          { Id: 'sha256:x', RepoTags: null },
        ])(request, response);
      } else if (url.pathname.includes('/b:2/')) held('sha256:b')(request, response);
      else if (url.pathname.includes('/sha256:a/')) held('sha256:a')(request, response);
      else json(404, { message: 'No such image' })(request, response);
    });
    const references = ['a:1', 'docker.io/library/b:2', 'c:3'];
    const ids = await gateway.imageIds(references, never);
    t.match(ids, { 'a:1': /^[0-9a-f]+$/, 'docker.io/library/b:2': /^[0-9a-f]+$/, 'c:3': undefined });
    t.equal(asked.length, 4);
    t.same(await gateway.imageIds(references, never), ids);
    t.same(asked.slice(4).sort(), ['/images/c:3/json', '/images/docker.io/library/b:2/json', '/images/json']);
    t.same(await gateway.imageIds([], never), {});
    t.equal(asked.length, 7, 'nothing is asked about nothing');
  });

  t.test('a join that takes longer than the engine waits is still going on', async (t) => {
    const message = 'Timeout was reached before node joined. The attempt to join the swarm will continue';
    const { engine: gateway } = await engine(t, json(500, { message }));
    const options = { advertiseAddr: '10.0.0.2', remoteAddrs: ['10.0.0.1:2377'], token: 'x' };
    t.equal(await gateway.joinSwarm(options, never), 'pending');
  });

  t.test('an answer that does not come is given up, whoever asks', async (t) => {
    const { docker } = await engine(t, () => {});
    const create = { method: 'POST', path: '/services/create', body: {}, limitMs: 50 } as const;
    await t.rejects(requestDone(docker, create, never), {
      code: 'UNAVAILABLE',
      message: 'POST /services/create: no answer within 0.05 s',
    });
  });

  t.test('giving up rejects with the reason given', async (t) => {
    const { swarm } = await engine(t, () => {});
    const reason = new Error('enough');
    const giveUp = new AbortController();
    const listing = swarm.listServices(giveUp.signal);
    giveUp.abort(reason);
    await t.rejects(listing, reason);
    await t.rejects(swarm.listServices(AbortSignal.abort(reason)), reason);
  });
});

t.test('events', async (t) => {
  const event = (Action: string) =>
    `{"Type":"service","Action":"${Action}","Actor":{"ID":"x","Attributes":{"name":"é"}}}\n`;

  t.test('arrive whole however the stream is cut', async () => {
    const text = Buffer.from(event('create') + event('remove'));
    await fc.assert(
      fc.asyncProperty(fc.array(fc.nat(text.length)), async (cuts) => {
        const at = [0, ...cuts.sort((a, b) => a - b), text.length];
        const chunks = at.slice(1).map((end, n) => text.subarray(at[n], end));
        const seen = [];
        for await (const { action, actor } of readEvents(Readable.from(chunks), never))
          seen.push(`${action} ${actor}`);
        return seen.join() === 'create é,remove é';
      }),
    );
  });

  t.test('end quietly when told to, and loudly when the connection breaks', async (t) => {
    const started: RequestListener = (_request, response) => {
      response.writeHead(200).write(event('create'));
    };
    const quiet = await engine(t, started);
    const stop = new AbortController();
    const seen: string[] = [];
    for await (const { action } of quiet.engine.events(['service'], stop.signal)) {
      seen.push(action);
      stop.abort();
    }
    t.same(seen, ['create']);
    const { searchParams } = new URL(quiet.asked[0]!.url, 'http://engine');
    const { event: actions } = JSON.parse(searchParams.get('filters')!) as Record<string, string[]>;
    t.same(actions, ['create', 'update', 'remove', 'destroy'], 'not each task that joins its network');

    const broken = await engine(t, (request, response) => {
      response.writeHead(200).write(event('create'), () => request.socket.destroy());
    });
    const read = async () => {
      for await (const _ of broken.engine.events(['service'], never));
    };
    await t.rejects(read(), EngineError);
  });
});
