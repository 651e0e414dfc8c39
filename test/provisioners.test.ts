import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Duplex, PassThrough } from 'node:stream';
import { text } from 'node:stream/consumers';
import { promisify } from 'node:util';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import fc from 'fast-check';
import type { ClientChannel } from 'ssh2';
import t, { type Test } from 'tap';
import { engineGateway } from '../controller/swarm/docker-gateways.ts';
import { quantityBytes } from '../crds/quantity.ts';
import { provisionerCatalog } from '../provisioners/catalog.ts';
import { ExecError, ProvisionError } from '../provisioners/contract.ts';
import { deadline } from '../provisioners/deadline.ts';
import { labConfigSchema } from '../provisioners/lab/config.ts';
import { machineHostConfig, nodeContainerOptions } from '../provisioners/lab/node-container.ts';
import { endPowerSwitch, throwPowerSwitch } from '../provisioners/lab/power-switch.ts';
import { nodeAddress, overlap, parseSubnet, subnetOf } from '../provisioners/shared/addresses.ts';
import { ChannelSlots, type Lane } from '../provisioners/shared/channel-slots.ts';
import { dockerOver, localDocker } from '../provisioners/shared/docker-client.ts';
import { generateKeyPair, loadOrCreateKeyPair, pinOf } from '../provisioners/shared/keys.ts';
import { LateStream } from '../provisioners/shared/late-stream.ts';
import { parseMachineFacts, readMachineFacts } from '../provisioners/shared/node-facts.ts';
import { RootRunner, rootRunnerCommand } from '../provisioners/shared/root-runner.ts';
import { quoteWord, rootCommand } from '../provisioners/shared/shell-command.ts';
import { SshNode } from '../provisioners/shared/ssh-node.ts';
import { FakeEngine } from './support/fake-engine.ts';
import { FakeSshd, type FakeSshdOptions, isRunner } from './support/fake-sshd.ts';

const run = promisify(execFile);
const never = new AbortController().signal;
const words = fc.array(
  fc.string({ unit: 'grapheme' }).map((word) => word.replaceAll('\0', '')),
  { maxLength: 5 },
);

t.test('a limit of time holds as a part of another signal, whatever is collected meanwhile', async (t) => {
  setFlagsFromString('--expose-gc');
  const collect = setInterval(runInNewContext('gc') as () => void, 20);
  t.teardown(() => clearInterval(collect));
  const over = (signal: AbortSignal) =>
    new Promise((resolve) => signal.addEventListener('abort', () => resolve(signal.reason), { once: true }));
  const lost = new Promise((resolve) => setTimeout(resolve, 5_000, 'lost').unref());
  t.match(await Promise.race([over(AbortSignal.any([never, deadline(200)])), lost]), {
    name: 'TimeoutError',
  });
});

const sshd = async (t: Test, options: FakeSshdOptions = {}) => {
  const server = await new FakeSshd(options).listen();
  const node = new SshNode(server.target());
  t.teardown(async () => {
    node.close();
    await server.close();
  });
  return { server, node };
};

const folder = async (t: Test) => {
  const path = await mkdtemp(join(tmpdir(), 'sf-test-'));
  t.teardown(() => rm(path, { recursive: true, force: true }));
  return path;
};

/** Waits for a state, with a deadline. */
const until = async (holds: () => boolean, whatMs = 5_000) => {
  const deadline = Date.now() + whatMs;
  while (!holds()) {
    if (Date.now() > deadline) throw new Error('the state did not come');
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
};

t.test('words reach a program through a shell as they were', async (t) => {
  await fc.assert(
    fc.asyncProperty(words, async (given) => {
      const { stdout } = await run('/bin/sh', ['-c', `printf '%s\\n' x ${given.map(quoteWord).join(' ')}`]);
      assert.equal(stdout, ['x', ...given].map((word) => `${word}\n`).join(''));
    }),
    { numRuns: 100 },
  );
  t.pass('100 times');
});

t.test('a command that no shell could take is refused', async (t) => {
  t.throws(() => quoteWord('a\0b'), TypeError);
  t.throws(() => rootCommand('operator', 'true', ['x'.repeat(140_000)]), RangeError);
  t.equal(rootCommand('operator', 'echo "$1"', ["it's"]), `sudo -n sh -c 'echo "$1"' sh 'it'\\''s'`);
  t.equal(rootCommand('root', 'true', []), `sh -c 'true' sh`);
});

t.test('channel slots never pass their ceilings, and heal always has one', async (t) => {
  const lanes = fc.array(fc.constantFrom<Lane>('work', 'dial', 'heal'), { maxLength: 40 });
  await fc.assert(
    fc.asyncProperty(lanes, async (asked) => {
      const slots = new ChannelSlots();
      const held: { lane: Lane; release: () => void }[] = [];
      for (const lane of asked)
        void slots.acquire(lane, never).then((release) => held.push({ lane, release }));
      for (let served = 0; served < asked.length; served += 1) {
        await new Promise(setImmediate);
        const ordinary = held.filter(({ lane }) => lane !== 'heal').length;
        assert.ok(
          held.length <= 8 && ordinary <= 7 && held.filter(({ lane }) => lane === 'dial').length <= 4,
        );
        held.shift()?.release();
      }
      assert.equal(held.length, 0);
    }),
    { numRuns: 50 },
  );
  t.pass('50 times');
});

t.test('one who no longer waits for a slot does not get it', async (t) => {
  const slots = new ChannelSlots();
  const releases = await Promise.all(Array.from({ length: 7 }, () => slots.acquire('work', never)));
  const gone = new AbortController();
  const waiting = slots.acquire('work', gone.signal);
  gone.abort(new Error('enough'));
  await t.rejects(waiting, { message: 'enough' });
  releases[0]?.();
  await slots.acquire('work', never);
});

for (const hasPerl of [true, false]) {
  const way = hasPerl ? 'by what is root already' : 'by a sudo of its own';

  t.test(`a script gets its arguments and its input, and its end is a value, ${way}`, async (t) => {
    const { server, node } = await sshd(t, hasPerl ? {} : { perl: 'missing' });
    const echo = await node.exec(
      'printf "%s," "$@"; cat; echo oops >&2; exit 3',
      ["a b'c", '$(x)', '', 'two\nlines'],
      { stdin: 'in' },
      never,
    );
    t.same(echo, { code: 3, signal: null, stdout: "a b'c,$(x),,two\nlines,in", stderr: 'oops\n' });
    for (const [signal, number] of [
      ['SIGKILL', 9],
      ['SIGTERM', 15],
    ] as const)
      t.match(await node.exec(`kill -${number} $$`, [], {}, never), { code: null, signal });
    const big = 'é€x'.repeat(500_000);
    t.equal((await node.exec('cat', [], { stdin: big }, never)).stdout, big);
    const small = big.slice(0, 9_000);
    const both = await node.exec('x=$(cat); printf %s "$x" >&2; printf %s "$x"', [], { stdin: small }, never);
    t.same([both.stdout === small, both.stderr === small], [true, true], 'each by itself');
    const bytes = Uint8Array.from({ length: 100_000 }, (_, index) => (index * 7919) % 256);
    const { stdout } = await node.exec('od -An -v -tu1', [], { stdin: bytes }, never);
    t.same(Uint8Array.from(stdout.trim().split(/\s+/), Number), bytes, 'any bytes');
    t.equal((await node.exec('cat', [], {}, never)).stdout, '', 'no input is an end, not a wait');
    t.match(await node.exec('exec <&-; echo "$1"', ['deaf'], { stdin: big }, never), {
      ...{ code: 0, stdout: 'deaf\n' },
    });
    t.equal(server.logins, 1, 'one connection for all');
    t.equal(server.commands.filter((command) => /^sudo /.test(command)).length, hasPerl ? 1 : 9);
    t.throws(() => node.exec('true', ['a\0b'], {}, never), TypeError);
    t.throws(() => node.exec('true', ['x'.repeat(140_000)], {}, never), RangeError);
  });

  t.test(`a script ends when it has, and nobody holds its outputs any more, ${way}`, async (t) => {
    const { node } = await sshd(t, hasPerl ? {} : { perl: 'missing' });
    const ends = async (script: string) => {
      const startMs = Date.now();
      const { code, stdout } = await node.exec(script, [], {}, never);
      return { code, stdout, isLate: Date.now() - startMs > 900 };
    };
    const child = '(sleep 1; echo late)';
    t.same(await ends(`${child} & echo soon`), { code: 0, stdout: 'soon\nlate\n', isLate: true });
    t.same(await ends(`${child} >/dev/null 2>&1 & echo soon`), { code: 0, stdout: 'soon\n', isLate: false });
    t.same(await ends('exec >&- 2>&-; sleep 1; exit 4'), { code: 4, stdout: '', isLate: true });
  });

  t.test(`a script finds nothing of what others did to their shells, ${way}`, async (t) => {
    const { node } = await sshd(t, hasPerl ? {} : { perl: 'missing' });
    const look =
      'pwd; umask; trap; ulimit -n; set -o; ls /proc/self/fd; echo "$#$X"; grep SigIgn /proc/self/status';
    const before = await node.exec(look, [], {}, never);
    t.match(before.stdout, /SigIgn:\t0{16}\n/, 'nothing that we ignore is ignored by it');
    const hostile: readonly (readonly [script: string, end: object])[] = [
      ['exit 7', { code: 7 }],
      ['exec true', { code: 0 }],
      ['set -eu; false; echo no', { code: 1, stdout: '' }],
      ['cd /; umask 0; ulimit -n 20; export X=x; trap "" TERM HUP PIPE', { code: 0 }],
      ['trap "echo end" EXIT; exit 2', { code: 2, stdout: 'end\n' }],
      ['if', { code: 2 }],
      ['kill 0', { code: null, signal: 'SIGTERM' }],
      ['kill -PIPE $$', { code: null, signal: 'SIGPIPE' }],
      ['for fd in 0 1 2 3 4 5 6 7 8 9; do eval "exec $fd>&-"; done; exit 3', { code: 3 }],
      // As the runner's own beginning and answers look.
      [String.raw`printf '\0spark-failures\0\0\0\0\1x\0\0\0\0010'; exit 5`, { code: 5 }],
      ['cat; cat >&2', { code: 0, stdout: 'in', stderr: '' }],
    ];
    for (const [script, end] of hostile) {
      t.match(await node.exec(script, [], { stdin: 'in' }, never), end, script);
      t.same(await node.exec(look, [], {}, never), before, `after ${script}`);
    }
  });

  t.test(`an abort ends the waiting, and not the script, ${way}`, async (t) => {
    const { server, node } = await sshd(t, hasPerl ? {} : { perl: 'missing' });
    const file = join(await folder(t), 'done');
    const stop = new AbortController();
    const script = 'echo begun >"$1.begun"; sleep 0.3; cat >"$1.new"; mv "$1.new" "$1"';
    const waiting = node.exec(script, [file], { stdin: hasPerl ? 'whole' : '' }, stop.signal);
    waiting.catch(() => {});
    await until(() => existsSync(`${file}.begun`));
    stop.abort(new Error('enough'));
    await t.rejects(waiting, { message: 'enough' });
    t.notOk(existsSync(file));
    if (hasPerl) {
      await until(() => existsSync(file));
      t.equal(readFileSync(file, 'utf8'), 'whole');
    } else t.pass('the fake server, unlike a real one, kills what its session ran');
    const endless = new AbortController();
    const printing = node.exec('echo $$ >"$1"; exec yes', [`${file}.pid`], {}, endless.signal);
    printing.catch(() => {});
    await until(() => existsSync(`${file}.pid`) && readFileSync(`${file}.pid`, 'utf8') !== '');
    endless.abort(new Error('enough'));
    await t.rejects(printing, { message: 'enough' });
    const pid = Number(readFileSync(`${file}.pid`, 'utf8'));
    await until(() => !existsSync(`/proc/${pid}/exe`));
    t.pass('what goes on printing ends by that');
    const already = await node.exec('touch "$1"', [`${file}.never`], {}, stop.signal).catch((error) => error);
    t.match(already, { message: 'enough' });
    t.equal((await node.exec('echo free', [], {}, never)).stdout, 'free\n');
    t.notOk(existsSync(`${file}.never`), 'who has given up before begins nothing');
    t.equal(server.logins, 1);
  });
}

t.test('many scripts run at once, and those that hang hold up no others', async (t) => {
  const { server, node } = await sshd(t);
  const hung = new AbortController();
  const hanging = Array.from({ length: 20 }, () => node.exec('sleep 20', [], {}, hung.signal));
  for (const each of hanging) each.catch(() => {});
  const unread = node.exec('sleep 20', [], { stdin: 'x'.repeat(5_000_000) }, hung.signal);
  unread.catch(() => {});
  const answers = await Promise.all(
    Array.from({ length: 30 }, (_, index) => node.exec('sleep 0.02; echo "$1"', [String(index)], {}, never)),
  );
  t.same(
    answers.map(({ stdout }) => stdout.trim()),
    Array.from({ length: 30 }, (_, index) => String(index)),
  );
  t.equal((await node.exec('echo healed', [], { lane: 'heal' }, never)).stdout, 'healed\n');
  t.equal(server.mostSessions, 1);
  hung.abort(new Error('enough'));
  for (const each of [...hanging, unread]) await t.rejects(each, { message: 'enough' });
});

t.test('scripts that have a session each stay below the server limit', async (t) => {
  const { server, node } = await sshd(t, { perl: 'missing' });
  const answers = await Promise.all(
    Array.from({ length: 30 }, (_, index) => node.exec('sleep 0.02; echo "$1"', [String(index)], {}, never)),
  );
  t.same(
    answers.map(({ stdout }) => stdout.trim()),
    Array.from({ length: 30 }, (_, index) => String(index)),
  );
  t.ok(server.mostSessions <= 7, `${server.mostSessions} sessions`);
  t.equal(server.commands.filter(isRunner).length, 1, 'what cannot be is not tried again');
});

t.test('healing gets through when all other channels hang', async (t) => {
  const { server, node } = await sshd(t, { perl: 'missing' });
  const hung = new AbortController();
  const hanging = Array.from({ length: 9 }, () => node.exec('sleep 60', [], {}, hung.signal));
  for (const each of hanging) each.catch(() => {});
  await until(() => server.sessions === 7);
  const { stdout } = await node.exec('echo healed', [], { lane: 'heal' }, never);
  t.equal(stdout, 'healed\n');
  hung.abort(new Error('enough'));
  for (const each of hanging) await t.rejects(each, { message: 'enough' });
  const after = await node.exec('echo free', [], {}, never);
  t.equal(after.stdout, 'free\n', 'aborted scripts give their channels back');
});

t.test('where what runs scripts as root does not come to begin, they run without it', async (t) => {
  const { server } = await sshd(t, { perl: 'hanging' });
  const node = new SshNode({ ...server.target(), readyTimeoutMs: 500 });
  t.teardown(() => node.close());
  t.equal((await node.exec('echo slow', [], {}, never)).stdout, 'slow\n');
  t.equal((await node.exec('echo quick', [], {}, never)).stdout, 'quick\n');
  t.same([server.logins, server.commands.filter(isRunner).length], [1, 1]);
});

t.test('what runs scripts dies with those that run, and comes again for the next one', async (t) => {
  const { server, node } = await sshd(t);
  const beside = node.exec('sleep 20', [], {}, never);
  beside.catch(() => {});
  const killing = await node.exec('kill -9 $PPID; sleep 20', [], {}, never).catch((error: unknown) => error);
  t.ok(killing instanceof ExecError);
  await t.rejects(beside, { code: 'EXEC_FAILED' });
  t.equal((await node.exec('echo "$1"', ['again'], {}, never)).stdout, 'again\n');
  t.same([server.logins, server.commands.filter(isRunner).length], [1, 2]);
});

t.test(
  'what a login prints is no answer, and no list of processes has what is fed to a script',
  async (t) => {
    const { node } = await sshd(t, { chatter: 'Welcome!\n' });
    t.equal((await node.exec('echo "$1"', ['hello'], {}, never)).stdout, 'hello\n');
    const look = 'read -r secret; grep -al "$secret" /proc/[0-9]*/cmdline /proc/[0-9]*/environ 2>/dev/null';
    t.match(await node.exec(look, [], { stdin: `hush-${process.pid}\n` }, never), { stdout: '' });
  },
);

t.test('a request that is cut off does not run', async (t) => {
  const made = join(await folder(t), 'made');
  for (const isCut of [true, false]) {
    const child = spawn('/bin/sh', ['-c', rootRunnerCommand('root')], { stdio: 'pipe' });
    const channel = Object.assign(new PassThrough({ emitClose: false }), { stderr: child.stderr });
    child.stdout.on('data', (chunk: Buffer) => channel.push(chunk));
    child.on('close', (code) => channel.emit('close', code));
    channel.write = (bytes: Buffer) => {
      if (isCut) child.stdin.end(bytes.subarray(0, -1));
      return isCut || child.stdin.write(bytes);
    };
    const runner = new RootRunner(channel as unknown as ClientChannel, () => undefined);
    t.ok(await runner.begun);
    const answer = runner.run(['touch "$1"', made], 'x'.repeat(200_000), never);
    if (isCut) await t.rejects(answer, { message: /has ended/ });
    else t.match(await answer, { code: 0 });
    t.equal(existsSync(made), !isCut);
    child.stdin.end();
    await runner.ended;
  }
});

t.test('a host with another key than the pinned one is refused before anything is sent', async (t) => {
  const { server } = await sshd(t);
  const node = new SshNode({ ...server.target(), hostKey: pinOf(generateKeyPair('other').publicKey) });
  const error = await node.exec('true', [], {}, never).catch((caught: unknown) => caught);
  t.ok(error instanceof ExecError);
  t.match(error, { node: 'node1', cause: { level: 'handshake' } });
  t.same(server.commands, []);
  t.equal(server.logins, 0);
});

t.test('a node that cannot be reached is an ExecError that names the cause', async (t) => {
  const { server } = await sshd(t);
  await server.close();
  const node = new SshNode(server.target());
  const error = await node.exec('true', [], {}, never).catch((caught: unknown) => caught);
  t.ok(error instanceof ExecError);
  t.match(error, { code: 'EXEC_FAILED', cause: { code: 'ECONNREFUSED' } });
});

for (const hasPerl of [true, false])
  t.test(
    `a lost connection fails what was under way, and the next use makes a new one${hasPerl ? '' : ', without Perl'}`,
    async (t) => {
      const { server, node } = await sshd(t, hasPerl ? {} : { perl: 'missing' });
      const path = await folder(t);
      const begun = ['a', 'b'].map((name) => join(path, name));
      const script = 'touch "$1"; sleep 20';
      const under = Promise.allSettled([
        node.exec(script, [begun[0]!], {}, never),
        node.exec(script, [begun[1]!], { lane: 'heal' }, never),
      ]);
      await until(() => begun.every((file) => existsSync(file)));
      server.drop();
      for (const outcome of await under)
        t.ok(outcome.status === 'rejected' && outcome.reason instanceof ExecError);
      t.equal((await node.exec('echo back', [], {}, never)).stdout, 'back\n');
      t.equal(server.logins, 2);
    },
  );

t.test('a frozen peer is noticed in seconds', async (t) => {
  const { server, node } = await sshd(t);
  await node.connect(never);
  const under = node.exec('sleep 20', [], {}, never);
  await until(() => server.commands.length === 1); // a session alone may still be without its command
  server.freeze();
  const error = await under.catch((caught: unknown) => caught);
  t.ok(error instanceof ExecError);
  t.match((error as ExecError).message, /[Kk]eepalive/);
});

t.test('a closed handle stays closed', async (t) => {
  const { node } = await sshd(t);
  await node.connect(never);
  node.close();
  await t.rejects(node.exec('true', [], {}, never), ExecError);
});

t.test('the controller is where the ssh connection comes from, or on the node itself', async (t) => {
  const remote = await sshd(t, { clientAddress: '10.98.0.1' });
  t.equal(await remote.node.controllerAddress(never), '10.98.0.1');
  t.notMatch(remote.server.commands[0], /sudo/, 'sudo would drop the variable');
  const local = await sshd(t, { clientAddress: '127.0.0.1' });
  t.equal(await local.node.controllerAddress(never), '10.98.0.11');
});

t.test('a TCP port of the node is dialled by a forward', async (t) => {
  const { node } = await sshd(t);
  const echo = net.createServer((socket) => socket.pipe(socket));
  await new Promise<void>((resolve) => echo.listen(0, '127.0.0.1', resolve));
  t.teardown(() => echo.close());
  const { port } = echo.address() as net.AddressInfo;
  const stream = await node.dial({ host: '127.0.0.1', port }, never);
  stream.end('hello');
  t.equal(await text(stream), 'hello');
  await t.rejects(
    node.dial({ socketPath: '/nowhere' }, never),
    ExecError,
    'a socket that does not answer is told, not awaited',
  );
});

for (const mayUseEngine of [true, false]) {
  const way = mayUseEngine ? 'a forward where the user may' : 'sudo where the user may not';
  t.test(`the engine is reached by ${way}, and its connections are used again`, async (t) => {
    const engine = await new FakeEngine(await folder(t), 'ENGINE').listen();
    t.teardown(() => engine.close());
    const { node, server } = await sshd(t, { mayUseEngine, engineSocket: engine.socketPath });
    const client = await dockerOver(node, 'ENGINE', never);
    t.teardown(() => client.close());
    for (let call = 0; call < 20; call += 1) await client.docker.listServices();
    t.equal(engine.connections, 1, 'one after another: one connection');
    await Promise.all(Array.from({ length: 40 }, () => client.docker.listServices()));
    t.ok(engine.connections <= 3, `${engine.connections} connections for 40 calls at once`);
    t.equal(server.commands.filter((command) => command.includes('dial-stdio')).length > 0, !mayUseEngine);
    server.drop();
    await t.rejects(client.docker.listServices(), 'what was lost is told');
    t.same(await client.docker.listServices(), [], 'and made anew');
  });
}

t.test('a connection that nobody waits for any more may fail without ending the process', async (t) => {
  const engine = await new FakeEngine(await folder(t), 'ENGINE').listen();
  t.teardown(() => engine.close());
  const { node, server } = await sshd(t, { mayUseEngine: false, engineSocket: engine.socketPath });
  const client = await dockerOver(node, 'ENGINE', never);
  t.teardown(() => client.close());
  const uncaught: unknown[] = [];
  const note = (error: unknown) => void uncaught.push(error);
  process.on('uncaughtException', note);
  t.teardown(() => process.off('uncaughtException', note));
  for (const waitMs of [0, 1, 5, 20]) {
    const stop = new AbortController();
    const calls = Array.from({ length: 9 }, () => engineGateway(client.docker).info(stop.signal));
    await new Promise((resolve) => setTimeout(resolve, waitMs));
    stop.abort();
    server.drop();
    await Promise.allSettled(calls);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  t.same(uncaught, []);
});

t.test('an engine with another identity is refused before any other call', async (t) => {
  const engine = await new FakeEngine(await folder(t), 'OTHER').listen();
  t.teardown(() => engine.close());
  const { node } = await sshd(t, { engineSocket: engine.socketPath });
  await t.rejects(dockerOver(node, 'RECORDED', never), ProvisionError);
  t.same(engine.requests, ['GET /info']);
});

t.test('no docker client is built towards nowhere, whatever the environment says', async (t) => {
  const nowhere = { name: 'node1', address: '', dial: () => t.fail('dialled') } as unknown as SshNode;
  await t.rejects(dockerOver(nowhere, undefined, never), ProvisionError);
  process.env.DOCKER_HOST = 'tcp://192.0.2.1:2375';
  process.env.DOCKER_CERT_PATH = '/nowhere';
  t.match(localDocker().modem, { socketPath: '/var/run/docker.sock', host: undefined });
});

t.test('a late stream loses nothing that was received before an orderly end', async (t) => {
  const inner = new PassThrough();
  const stream = new LateStream(async () => inner);
  inner.end('last words');
  await new Promise((resolve) => setTimeout(resolve, 20));
  t.equal(await text(stream), 'last words');
});

t.test('a late stream that is destroyed before it opens lets its connection go', async (t) => {
  const gate: { open?: (stream: Duplex) => void } = {};
  const stream = new LateStream(() => new Promise((resolve) => (gate.open = resolve)));
  stream.on('error', () => {});
  await until(() => gate.open !== undefined);
  stream.destroy();
  const inner = new PassThrough();
  gate.open?.(inner);
  await until(() => inner.destroyed);
  t.ok(stream.destroyed);
});

t.test('keys are made once, kept private, and pinned by their bytes', async (t) => {
  const path = join(await folder(t), 'keys', 'id_ed25519');
  const made = await loadOrCreateKeyPair(path, 'sf-six');
  t.equal((await stat(path)).mode & 0o777, 0o600);
  t.same(await loadOrCreateKeyPair(path, 'another'), made);
  const contested = join(await folder(t), 'id_ed25519');
  const writers = await Promise.all(['a', 'b', 'c'].map((name) => loadOrCreateKeyPair(contested, name)));
  t.equal(new Set(writers.map(({ publicKey }) => publicKey)).size, 1, 'the first of several writers wins');
  t.match(await readFile(path, 'utf8'), /^-----BEGIN OPENSSH PRIVATE KEY-----/);
  t.match(made.publicKey, /^ssh-ed25519 AAAA\S+ sf-six$/);
  t.equal(pinOf(made.publicKey).subarray(4, 15).toString(), 'ssh-ed25519');
});

t.test('every key that is made can be read again', async (t) => {
  for (let made = 0; made < 700; made += 1)
    pinOf(generateKeyPair('x').publicKey).length === 51 || t.fail('short key');
  t.pass('ssh2 itself gets one in 256 wrong');
});

t.test('nodes get fixed addresses that never meet', async (t) => {
  const indexes = fc.uniqueArray(fc.integer({ min: 0, max: 63 }), { maxLength: 12 });
  const taken = fc.uniqueArray(fc.integer({ min: 11, max: 74 }), { maxLength: 12 });
  fc.assert(
    fc.property(indexes, taken, (wanted, used) => {
      const busy = new Set(used.map((last) => `10.98.0.${last}`));
      const given = wanted.map((index) => nodeAddress('10.98.0.0/24', index, busy));
      assert.equal(new Set(given).size, wanted.length);
      assert.ok(given.every((address) => address !== undefined && !busy.has(address)));
    }),
  );
  t.equal(nodeAddress('10.98.0.0/24', 0, new Set()), '10.98.0.11');
  t.equal(nodeAddress('10.98.0.0/28', 9, new Set()), undefined);
  t.throws(() => parseSubnet('10.98.0.1/24'), RangeError);
  t.ok(overlap(parseSubnet('10.98.0.0/24'), subnetOf('10.0.0.7/8')!));
  t.notOk(overlap(parseSubnet('10.98.0.0/24'), subnetOf('10.98.1.7/24')!));
});

t.test('the settings of the lab all have defaults, and refuse what no machine could have', async (t) => {
  const config = labConfigSchema.parse({});
  t.equal(config.subnet, '10.98.0.0/24');
  t.equal(quantityBytes('512Mi'), 536_870_912);
  for (const bad of [
    { memory: '3GB' },
    { cpus: 0 },
    { pids: 1 },
    { subnet: '10.98.0.0' },
    { subnet: '10.98.0.1/24' },
    { dns: ['localhost'] },
    { colour: 'red' },
  ]) {
    t.notOk(labConfigSchema.safeParse(bad).success, JSON.stringify(bad));
  }
});

t.test('a machine may do what systemd needs, and never move the clock of the host', async (t) => {
  const hostConfig = machineHostConfig(labConfigSchema.parse({ cpus: 64 }), { cpus: 2, reachable: true }, [
    '/a:/b',
  ]);
  t.notOk(hostConfig.Privileged);
  t.ok(hostConfig.CapAdd?.includes('SYS_ADMIN'));
  t.notOk(hostConfig.CapAdd?.some((name: string) => /SYS_TIME|ALL/.test(name)));
  t.equal(hostConfig.NanoCpus, 2e9, 'no more processors than there are');
  const node = {
    ...{ image: 'node', hostname: 'node1', network: 'sf-six', address: '10.98.0.11', labels: {}, hostConfig },
    ...{ authorizedKey: 'ssh-ed25519 AAAA', hostPrivateKey: 'secret', diskBytes: 1024 },
  };
  t.ok(nodeContainerOptions(node, false).Env?.includes('SF_DISK_BYTES=1024'));
  t.notOk(
    nodeContainerOptions(node, false).HostConfig?.PortBindings,
    'no port where the network is reachable',
  );
  t.match(nodeContainerOptions(node, true).HostConfig?.PortBindings, { '22/tcp': [{ HostIp: '127.0.0.1' }] });
});

t.test('a power switch acts on the engine of this machine, whatever the environment says', async (t) => {
  const path = await folder(t);
  const log = join(path, 'log');
  await writeFile(join(path, 'docker'), `#!/bin/sh\necho "$*" >>${log}\n`, { mode: 0o755 });
  const before = { ...process.env };
  t.teardown(() => {
    process.env = before;
  });
  process.env = { ...before, PATH: `${path}:${before.PATH}`, DOCKER_HOST: 'tcp://192.0.2.1:2375' };
  const engine = '-H unix:///var/run/docker.sock';
  const said = () => (existsSync(log) ? readFileSync(log, 'utf8') : '');
  const id = `of-nobody-${process.pid}`;
  await throwPowerSwitch(id, Date.now() - 1_000);
  await endPowerSwitch(id, never);
  t.equal(said(), '', 'its time has passed');
  await throwPowerSwitch(id, Date.now() + 600_000, 0);
  const lines = () =>
    said()
      .trim()
      .split('\n')
      .map((line) => line.replace(engine, 'docker').replace(id, 'ID').split(' ').slice(0, 4).join(' '));
  const pulled = ['docker exec ID ip', 'docker exec ID find', 'docker kill ID'];
  await until(() => said().includes('kill'));
  t.same(lines(), pulled, 'silent, then with nothing frozen, before it is off');
  await endPowerSwitch(id, never);
  t.same(lines(), [...pulled, 'docker start ID'], 'and is on again when it has ended');
});

t.test('what a machine offers is read in one round trip', async (t) => {
  const { server, node } = await sshd(t);
  const facts = await readMachineFacts(node, never);
  t.ok(facts.kernel.length > 0);
  t.equal(server.commands.length, 1);
  t.same(parseMachineFacts('kernel 6.1\nsystem Debian 13\ncgroup 2\nengine 26.1.5\naddress 10.98.0.11\n'), {
    kernel: '6.1',
    operatingSystem: 'Debian 13',
    cgroupVersion: 2,
    engineVersion: '26.1.5',
    addresses: ['10.98.0.11'],
  });
});

/** What a manifest has to say at least. */
const leastSettings: Readonly<Record<string, object>> = {
  ssh: { hosts: { node1: { host: '192.0.2.1' } } },
  ec2: { region: 'eu-central-1', sshFrom: ['203.0.113.4/32'] },
};

t.test('every provisioner of the catalogue can be bound with its default settings', async (t) => {
  const context = {
    ...{ cluster: 'six', stateDir: '/nowhere', cacheDir: '/nowhere' },
    ...{ images: { node: 'node', seed: [] }, progress: () => {} },
  };
  for (const { name, config, load } of provisionerCatalog) {
    const provisioner = (await load())(config.parse(leastSettings[name] ?? {}), context);
    t.equal(provisioner.name, name);
    const spec = { name: 'node1', role: 'manager', index: 0 } as const;
    t.equal(provisioner.settingsHash(spec), provisioner.settingsHash({ ...spec, role: 'worker', index: 3 }));
  }
});
