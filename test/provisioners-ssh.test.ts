import { spawn } from 'node:child_process';
import { EventEmitter, once } from 'node:events';
import { readFile, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import ssh2 from 'ssh2';
import t from 'tap';
import { ProvisionError } from '../provisioners/contract.ts';
import { fingerprintOf, generateKeyPair, pinOf } from '../provisioners/shared/keys.ts';
import { offeredHostKey, SshNode } from '../provisioners/shared/ssh-node.ts';
import { sshConfigSchema } from '../provisioners/ssh/config.ts';
import { type HostFacts, parseHostFacts, whyNotAdopted } from '../provisioners/ssh/host-facts.ts';
import { completeAdoption, keepAdoption, noteComing } from '../provisioners/ssh/host-scripts.ts';
import { sshProvisioner } from '../provisioners/ssh/provisioner.ts';
import { eventually } from './support/controller-process.ts';
import { FakeSshd } from './support/fake-sshd.ts';

const signal = AbortSignal.timeout(60_000);

const sshd = await new FakeSshd().listen();
const bastion = await new FakeSshd().listen();
t.teardown(() => Promise.all([sshd.close(), bastion.close()]));
const door = ({ port, clientKey, hostKey }: FakeSshd) => ({
  ...{ host: '127.0.0.1', port, user: 'operator', privateKey: clientKey.privateKey },
  hostKey: pinOf(hostKey.publicKey),
});

t.test('a machine behind a bastion is reached through it, and only through the right one', async (t) => {
  const node = new SshNode({ ...sshd.target(), bastion: door(bastion) });
  t.match(await node.exec('echo "$1"', ['here'], {}, signal), { code: 0, stdout: 'here\n' });
  t.equal(bastion.logins, 1);
  t.same(bastion.commands, [], 'nothing runs there');
  bastion.drop();
  await t.resolves(eventually('reached anew after a loss', 5_000, () => node.exec('true', [], {}, signal)));
  node.close();
  const other = new SshNode({
    ...sshd.target(),
    bastion: { ...door(bastion), hostKey: pinOf(sshd.hostKey.publicKey) },
  });
  await t.rejects(other.connect(signal), { code: 'EXEC_FAILED' });
  other.close();
});

t.test('the agent may have the key', async (t) => {
  const path = join(t.testdir(), 'agent.sock');
  const key = ssh2.utils.parseKey(sshd.clientKey.privateKey);
  if (key instanceof Error) throw key;
  const agent = createServer((socket) => {
    const protocol = new ssh2.AgentProtocol(false);
    protocol.on('identities', (request) => protocol.getIdentitiesReply(request, [key]));
    protocol.on('sign', (request, _key, data) => protocol.signReply(request, key.sign(data) as Buffer));
    socket.pipe(protocol).pipe(socket);
  });
  await once(agent.listen(path), 'listening');
  t.teardown(() => agent.close());
  const { privateKey: _, ...rest } = door(sshd);
  const node = new SshNode({ ...rest, name: 'node1', address: '10.98.0.11', agent: path });
  t.match(await node.exec('true', [], {}, signal), { code: 0 });
  node.close();
});

t.test('the key that a machine shows is told without logging in', async (t) => {
  const logins = sshd.logins;
  t.same(await offeredHostKey('node1', door(sshd), signal), pinOf(sshd.hostKey.publicKey));
  t.equal(sshd.logins, logins);
  await t.rejects(offeredHostKey('node1', { host: '127.0.0.1', port: 1 }, signal), { code: 'EXEC_FAILED' });
});

const fine: HostFacts = {
  ...{ distribution: 'debian 13', architecture: 'x86_64', hostname: 'node1', machineId: 'a1' },
  ...{ addresses: ['10.0.0.11'], hasSystemd: true, hasOverlay: true, hasVxlan: true, diskBytes: 20e9 },
  ...{ clockMs: { offset: 4, bound: 6 }, engine: null, swarm: null, hasStore: false },
  hasBridge: false,
  ...{ ports: [], packages: [] },
};
const wanted = { cluster: 'six', node: 'node1', address: '10.0.0.11' };

t.test('facts are read from what the machine says', async (t) => {
  const answer = [
    ...['distribution debian 13', 'architecture x86_64', 'hostname node1', 'machine a1', 'address 10.0.0.11'],
    ...['clock 1700000000010000000', 'systemd yes', 'overlay yes', 'vxlan yes', 'disk 19531250'],
    ...['engine 26.1.5', 'swarm abc', 'bridge yes', 'port tcp/2377', 'port tcp/2377', 'package docker.io'],
    'adoption {"cluster":"six","node":"node1","incarnation":"i","settingsHash":"h","installed":[],"complete":true}',
  ].join('\n');
  t.same(parseHostFacts(answer, { askedMs: 1_700_000_000_000, answeredMs: 1_700_000_000_012 }), {
    ...fine,
    ...{ engine: '26.1.5', swarm: 'abc', hasBridge: true, ports: ['tcp/2377'], packages: ['docker.io'] },
    adoption: {
      cluster: 'six',
      node: 'node1',
      incarnation: 'i',
      settingsHash: 'h',
      installed: [],
      complete: true,
    },
  });
});

t.test('a machine is taken as it is, or all reasons against it are told', async (t) => {
  t.same(whyNotAdopted(fine, wanted), []);
  const adoption = {
    cluster: 'six',
    node: 'node1',
    incarnation: 'i',
    settingsHash: 'h',
    installed: [],
    complete: true,
  };
  const ours = { ...fine, adoption, swarm: 'abc', ports: ['tcp/2377'], diskBytes: 1e9 };
  t.same(whyNotAdopted(ours, wanted), [], 'in our swarm, and full of our images');
  t.match(whyNotAdopted({ ...ours, adoption: { ...adoption, cluster: 'other' } }, wanted), [
    /adopted by cluster other/,
    /in a swarm already/,
    /GiB free/,
  ]);
  const wrong: HostFacts = {
    ...fine,
    ...{ distribution: 'fedora 43', architecture: 'aarch64', hostname: 'web3', addresses: ['10.0.0.9'] },
    ...{ hasSystemd: false, hasOverlay: false, hasVxlan: false, diskBytes: 1e9, ports: ['udp/4789'] },
    clockMs: { offset: -60_000, bound: 10 },
  };
  t.match(whyNotAdopted(wrong, wanted), [
    ...[/fedora 43: only Debian and Ubuntu/, /is aarch64/, /no systemd/, /overlay/, /vxlan/],
    ...[/calls itself web3/, /has no address 10.0.0.11, but 10.0.0.9/, /listens on udp\/4789/],
    ...[/has 0.9 GiB free/, /-60.0 s off/],
  ]);
  t.match(whyNotAdopted({ ...fine, swarm: 'abc', ports: ['tcp/2377'] }, wanted), [/in a swarm already/]);
  t.match(whyNotAdopted({ ...fine, hasStore: true }, wanted), [/files in \/var\/lib\/docker/]);
  t.same(whyNotAdopted({ ...fine, engine: '26.1.5', hasStore: true }, wanted), []);
});

t.test('settings are checked', async (t) => {
  const hosts = { node1: { host: '10.0.0.11' } };
  t.match(sshConfigSchema.parse({ hosts }), { user: 'root', port: 22, trustOnFirstUse: false });
  const problems = (config: object) =>
    sshConfigSchema
      .safeParse(config)
      .error?.issues.map(({ path, message }) => `${path.join('.')}: ${message}`);
  t.match(problems({ hosts: { node1: { host: 'web3' } } }), [/hosts.node1.host: is a name/]);
  t.match(problems({ hosts: { node1: { host: '10.0.0.11', hostKey: 'SHA256:abc' } } }), [/ssh-keyscan/]);
  t.match(problems({ hosts, keyFile: 'id' }), [/must begin with/]);
  t.match(problems({ hosts, bastion: { host: 'b' } }), [/bastion.hostKey/]);
});

t.test('no machine is worked on whose key is not known, or not the one that was pinned', async (t) => {
  const dir = t.testdir({ state: {}, key: '' });
  const keyFile = join(dir, 'key');
  await writeFile(keyFile, sshd.clientKey.privateKey);
  const bind = (host: object, more: object = {}) =>
    sshProvisioner(
      sshConfigSchema.parse({
        ...{ user: 'operator', port: sshd.port, keyFile, ...more },
        hosts: { node1: { host: '127.0.0.1', address: '10.98.0.11', ...host } },
      }),
      {
        ...{
          cluster: 'six',
          stateDir: join(dir, 'state'),
          cacheDir: dir,
          progress: (line) => t.comment(line),
        },
        images: { node: '', seed: [] },
      },
    );
  const spec = { name: 'node1', role: 'manager', index: 0 } as const;
  const shown = fingerprintOf(pinOf(sshd.hostKey.publicKey));
  const commands = sshd.commands.length;
  await t.rejects(bind({}).create(spec, signal), {
    needsHelp: true,
    message: new RegExp(`shows ${escaped(shown)}`),
  });
  await t.rejects(bind({ hostKey: bastion.hostKey.publicKey }).create(spec, signal), {
    needsHelp: true,
    message: /does not show the host key/,
  });
  t.equal(sshd.commands.length, commands, 'nothing was run there');

  // This machine is no node1: it is looked at, and left alone.
  await t.rejects(bind({}, { trustOnFirstUse: true }).create(spec, signal), {
    needsHelp: true,
    message: /node1 calls itself .*; node1 has no address 10.98.0.11/s,
  });
  t.same(await bind({}).list(signal), [], 'it is not adopted');
  const file = join(dir, 'state', 'hosts', 'node1.json');
  const record = JSON.parse(await readFile(file, 'utf8'));
  t.match(record, { hostKey: pinOf(sshd.hostKey.publicKey).toString('base64'), isTrusted: true });
  await writeFile(file, JSON.stringify({ ...record, incarnation: 'i', settingsHash: 'h' }));
  t.match(
    await bind({}).list(signal),
    [{ name: 'node1', trustedKey: shown }],
    'told as long as nobody pins it',
  );
  await writeFile(file, JSON.stringify(record));
  const impostor = new FakeSshd();
  const { port } = sshd;
  await sshd.close();
  impostor.port = port;
  await impostor.listen();
  t.teardown(() => impostor.close());
  await t.rejects(bind({}, { trustOnFirstUse: true }).create(spec, signal), {
    needsHelp: true,
    message: /does not show the host key that it is pinned to/,
  });
  t.same(impostor.commands, []);
  await t.rejects(bind({}).create({ ...spec, name: 'node9' }, signal), ProvisionError);
});

t.test('what is about to come, and is not there, is added to what came before', async (t) => {
  const dir = t.testdir({ bin: {}, root: {} });
  const query = '#!/bin/sh\n[ "$4" != runc ] && [ "$4" != tini ] || printf "install ok installed"\n';
  await writeFile(join(dir, 'bin', 'dpkg-query'), query, { mode: 0o755 });
  const file = join(dir, 'root', 'adoption.json');
  const run = async (script: string, input: string) => {
    const env = { PATH: `${join(dir, 'bin')}:${process.env.PATH}` };
    const there = script.replaceAll('/var/lib/spark-failures', join(dir, 'root'));
    const child = spawn('/bin/sh', ['-c', there], { env, stdio: ['pipe', 'ignore', 'ignore'] });
    child.stdin.end(input);
    const [code] = await once(child, 'close');
    return code;
  };
  const note = { cluster: 'six', node: 'tini', incarnation: 'i', settingsHash: 'h', complete: false };
  const cases: readonly (readonly [before: string[], archives: string[], after: string[]])[] = [
    [[], [], []],
    [[], ['docker.io_26.1.5+dfsg1-9_amd64.deb'], ['docker.io']],
    [
      ['runc'],
      ['libstdc++6_14_amd64.deb', 'runc_1%3a1_amd64.deb', 'tini_0.19.0_all.deb'],
      ['libstdc++6', 'runc'],
    ],
    [['a', 'b'], [], ['a', 'b']],
  ];
  for (const [installed, archives, after] of cases) {
    await rm(file, { force: true });
    t.equal(await run(keepAdoption, JSON.stringify({ ...note, installed })), 0);
    const paths = archives.map((name) => `/var/cache/apt/archives/${name}\n`).join('');
    t.equal(await run(noteComing, paths), 0);
    t.same(JSON.parse(await readFile(file, 'utf8')), { ...note, installed: after });
    t.equal(await run(completeAdoption, ''), 0);
    t.same(JSON.parse(await readFile(file, 'utf8')), { ...note, installed: after, complete: true });
  }
  t.equal(await run(keepAdoption, JSON.stringify({ ...note, node: 'again', installed: [] })), 0);
  t.same(
    JSON.parse(await readFile(file, 'utf8')),
    { ...note, node: 'again', installed: ['a', 'b'] },
    'who adopts it again may have looked before all of it was noted',
  );
  await rm(join(dir, 'root'), { recursive: true });
  t.not(await run(noteComing, 'docker.io_1_amd64.deb\n'), 0, 'where nothing can be noted nothing may come');
});

/** What a machine without an engine answers to the scripts of an adoption; `install` may do otherwise. */
const bare = (name: string, install: () => Promise<string | { readonly complaint: string }>) => {
  let note = '';
  return async (command: string) => {
    if (command.includes('machine-id'))
      return [
        ...['distribution debian 13', 'architecture x86_64', `hostname ${name}`, `clock ${Date.now()}000000`],
        ...['machine a1', 'address 10.98.0.11', 'systemd yes', 'overlay yes', 'vxlan yes', 'disk 19531250'],
        ...(note === '' ? [] : [note]),
      ].join('\n');
    if (command.includes('set-selections')) return install();
    if (command.includes('adoption.json'))
      note = `adoption {"cluster":"many","node":"${name}","incarnation":"i","settingsHash":"h","installed":["docker.io"],"complete":false}`;
    return '';
  };
};

t.test('an installation that fails is told, and the next one goes on from it', async (t) => {
  const dir = t.testdir({ state: {}, key: '' });
  const complaints = [
    "E: You don't have enough free space in /var/cache/apt/archives/.",
    'somebody else has been installing for five minutes',
  ];
  let installs = 0;
  const machine: FakeSshd = await new FakeSshd({
    answer: bare('node1', async () => {
      const complaint = complaints[installs++];
      if (complaint !== undefined) return { complaint };
      // Cut while it installs, once.
      if (installs === complaints.length + 1) machine.drop();
      return '';
    }),
  }).listen();
  t.teardown(() => machine.close());
  await writeFile(join(dir, 'key'), machine.clientKey.privateKey);
  const hosts = {
    node1: {
      ...{ host: '127.0.0.1', address: '10.98.0.11', port: machine.port },
      hostKey: machine.hostKey.publicKey,
    },
  };
  const provisioner = sshProvisioner(
    sshConfigSchema.parse({ user: 'operator', keyFile: join(dir, 'key'), hosts }),
    {
      ...{ cluster: 'many', stateDir: join(dir, 'state'), cacheDir: dir, progress: () => {} },
      images: { node: '', seed: [] },
    },
  );
  const spec = { name: 'node1', role: 'manager', index: 0 } as const;
  for (const complaint of complaints)
    await t.rejects(provisioner.create(spec, signal), {
      needsHelp: false,
      message: `node1: installing docker.io docker-cli iproute2 iptables procps: ${complaint}`,
    });
  await t.rejects(provisioner.create(spec, signal), { needsHelp: false, message: /node1/ }, 'cut');
  t.same(await provisioner.list(signal), [], 'half adopted is not adopted');
  await provisioner.create(spec, signal);
  t.equal(installs, complaints.length + 2);
  t.match(await provisioner.list(signal), [{ name: 'node1', power: 'on' }]);
});

t.test(
  'thirty machines are adopted at once, and one that is slow or dead holds up only itself',
  async (t) => {
    const dir = t.testdir({ state: {}, key: '' });
    const clientKey = generateKeyPair('client');
    await writeFile(join(dir, 'key'), clientKey.privateKey);
    const count = 34;
    const [slow, dead] = ['node3', 'node5'];
    const news = new EventEmitter();
    const [atOnce, others] = [once(news, 'at once'), once(news, 'others')];
    let [working, most] = [0, 0];
    const install = async (name: string): Promise<string> => {
      most = Math.max(most, ++working);
      if (working === 30) news.emit('at once');
      await (name === slow ? others : atOnce);
      working -= 1;
      return '';
    };
    const machines = await Promise.all(
      Array.from({ length: count }, async (_, index) => {
        const name = `node${index + 1}`;
        const sshd = await new FakeSshd({ clientKey, answer: bare(name, () => install(name)) }).listen();
        return { name, sshd, spec: { name, role: 'worker', index } as const };
      }),
    );
    t.teardown(() => Promise.all(machines.map(({ sshd }) => sshd.close())));
    const hosts = Object.fromEntries(
      machines.map(({ name, sshd: { port, hostKey } }) => [
        name,
        { host: '127.0.0.1', address: '10.98.0.11', port, hostKey: hostKey.publicKey },
      ]),
    );
    await machines.find(({ name }) => name === dead)!.sshd.close();
    const provisioner = sshProvisioner(
      sshConfigSchema.parse({ user: 'operator', keyFile: join(dir, 'key'), hosts }),
      {
        ...{ cluster: 'many', stateDir: join(dir, 'state'), cacheDir: dir, progress: () => {} },
        images: { node: '', seed: [] },
      },
    );
    const ends = machines.map(({ spec }) => provisioner.create(spec, signal));
    const [ofSlow, ofDead] = [ends[2], ends[4]];
    await t.rejects(ofDead!, { code: 'PROVISION_FAILED', needsHelp: false });
    await Promise.all(ends.filter((end) => end !== ofSlow && end !== ofDead));
    news.emit('others');
    await ofSlow;
    t.equal(most, 30, 'at once, and no more');
    t.same((await provisioner.list(signal)).length, count - 1);
  },
);

function escaped(text: string): string {
  return text.replace(/[.*+?^${}()|[\]\\/]/g, '\\$&');
}
