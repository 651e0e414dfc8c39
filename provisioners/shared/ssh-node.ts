import type { Duplex } from 'node:stream';
import type { Client, ClientChannel } from 'ssh2';
import ssh2 from 'ssh2';
import type { DialTarget, ExecOptions, ExecResult, NodeHandle } from '../contract.ts';
import { ExecError } from '../contract.ts';
import { deadline } from '../deadline.ts';
import { ChannelSlots, type Lane } from './channel-slots.ts';
import { LateStream } from './late-stream.ts';
import { RootRunner, rootRunnerCommand } from './root-runner.ts';
import { elevation, quoteWord, rootCommand } from './shell-command.ts';
import { untilAborted } from './until-aborted.ts';

/** Who we are to an sshd: a private key, or the agent that listens on this socket and has one. */
export type SshIdentity = { readonly privateKey: string } | { readonly agent: string };

/** One sshd, and how to log in there. */
export type SshDoor = SshIdentity & {
  readonly host: string;
  readonly port: number;
  readonly user: string;
  /** The raw public host key; anything else is refused. */
  readonly hostKey: Buffer;
  /** How long a login may take, and what runs scripts there to begin; default 10 s. */
  readonly readyTimeoutMs?: number;
};

/**
 * All that is needed to reach one machine, and to know that it is that machine. `host` is its address, or where its port is
 * published.
 */
export type SshTarget = SshDoor & {
  readonly name: string;
  /** The address that its peers use. */
  readonly address: string;
  /** An sshd through which the machine is reached. */
  readonly bastion?: SshDoor;
};

/** What the login itself tells: learnt once per connection, without sudo. */
interface Greeting {
  readonly clientAddress: string;
  readonly mayUseEngine: boolean;
}

const engineSocket = '/var/run/docker.sock';
/** A frozen peer is noticed after two unanswered questions, about five seconds. */
const keepalive = { keepaliveInterval: 2000, keepaliveCountMax: 2 };
const greet = `printf '%s\\n' "\${SSH_CONNECTION-}"; test -w ${engineSocket} && echo engine; true`;

/**
 * One machine over one persistent ssh connection, made on first use and made anew after a loss. Scripts go through one runner
 * that is root already; where none can begin, each is a session and a sudo of its own, for as long as the connection lives.
 */
export class SshNode implements NodeHandle {
  readonly name: string;
  readonly address: string;
  readonly #target: SshTarget;
  readonly #slots = new ChannelSlots();
  #client: Promise<Client> | undefined;
  #greeting: Promise<Greeting> | undefined;
  #runner: Promise<RootRunner | undefined> | undefined;
  #lost: Error | undefined;
  #closed = false;

  constructor(target: SshTarget) {
    if (!target.host) throw new TypeError(`${target.name}: no host to connect to`);
    this.name = target.name;
    this.address = target.address;
    this.#target = target;
  }

  exec(
    script: string,
    args: readonly string[],
    options: ExecOptions,
    signal: AbortSignal,
  ): Promise<ExecResult> {
    const command = rootCommand(this.#target.user, script, args);
    return this.#wrap('exec', signal, async () => {
      const runner = await untilAborted(this.#rootRunner(), signal);
      if (!runner) return this.#run(command, options, signal);
      return runner.run([script, ...args], options.stdin ?? '', signal);
    });
  }

  async dial(target: DialTarget, signal: AbortSignal): Promise<Duplex> {
    const channel = await this.#dialChannel(target, signal);
    channel.stderr.resume();
    return new LateStream(() => Promise.resolve(channel));
  }

  async controllerAddress(signal: AbortSignal): Promise<string> {
    const { clientAddress } = await this.#greet(signal);
    return isLoopback(clientAddress) ? this.address : clientAddress;
  }

  /** Logs in now rather than on first use. */
  async connect(signal: AbortSignal): Promise<void> {
    await this.#wrap('connect', signal, () => untilAborted(this.#connection(), signal));
  }

  close(): void {
    this.#closed = true;
    this.#client?.then(
      (client) => client.end(),
      () => {},
    );
  }

  #rootRunner(): Promise<RootRunner | undefined> {
    if (this.#runner) return this.#runner;
    const beginning = this.#beginRunner();
    const forget = () => {
      if (this.#runner === beginning) this.#runner = undefined;
    };
    beginning.then((runner) => runner?.ended.then(forget), forget);
    this.#runner = beginning;
    return beginning;
  }

  /** Resolves with undefined where there is no Perl, where sudo refuses (then a script is told why), or where it takes too long. */
  async #beginRunner(): Promise<RootRunner | undefined> {
    const channel = await this.#session(rootRunnerCommand(this.#target.user), 'heal', unlimited());
    const runner = new RootRunner(channel, () => this.#lost);
    const limit = deadline(this.#target.readyTimeoutMs ?? loginMs);
    const hasBegun = untilAborted(runner.begun, limit).catch((error: unknown) => {
      if (!limit.aborted) throw error;
      runner.close();
      return false;
    });
    return (await hasBegun) ? runner : undefined;
  }

  /** A command of a session of its own. */
  async #run(command: string, options: ExecOptions, signal: AbortSignal): Promise<ExecResult> {
    const channel = await this.#session(command, options.lane ?? 'work', signal);
    return untilAborted(this.#collect(channel, options.stdin), signal).catch((error: unknown) => {
      channel.close();
      throw error;
    });
  }

  /** A non-zero exit is a value; an end without any exit is not. */
  #collect(channel: ClientChannel, stdin: string | Uint8Array | undefined): Promise<ExecResult> {
    const stdout: Buffer[] = [];
    const stderr: Buffer[] = [];
    channel.on('data', (chunk: Buffer) => stdout.push(chunk));
    channel.stderr.on('data', (chunk: Buffer) => stderr.push(chunk));
    return new Promise((resolve, reject) => {
      channel.on('error', reject);
      channel.on('close', (code: number | null | undefined, signal?: string) => {
        if (code === undefined)
          return reject(this.#lost ?? new Error('the session ended without an exit status'));
        const text = (chunks: Buffer[]) => Buffer.concat(chunks).toString('utf8');
        resolve({ code, signal: signal ?? null, stdout: text(stdout), stderr: text(stderr) });
      });
      channel.end(stdin === undefined ? undefined : Buffer.from(stdin));
    });
  }

  async #dialChannel(target: DialTarget, signal: AbortSignal): Promise<ClientChannel> {
    if ('host' in target) {
      return this.#wrap('dial', signal, () =>
        this.#forward(
          (client, done) => client.forwardOut('127.0.0.1', 0, target.host, target.port, done),
          signal,
        ),
      );
    }
    const { mayUseEngine } = await this.#greet(signal);
    return this.#wrap('dial', signal, () => {
      const { socketPath } = target;
      if (socketPath !== engineSocket || mayUseEngine) {
        return this.#forward(
          (client, done) => client.openssh_forwardOutStreamLocal(socketPath, done),
          signal,
        );
      }
      return this.#session(
        `${elevation(this.#target.user)}docker -H ${quoteWord(`unix://${socketPath}`)} system dial-stdio`,
        'dial',
        signal,
      );
    });
  }

  /** A command's channel: sshd counts these, so each holds a slot until sshd says that it is closed. */
  async #session(command: string, lane: Lane, signal: AbortSignal): Promise<ClientChannel> {
    const release = await this.#slots.acquire(lane, signal);
    const opening = this.#connection().then((client) =>
      open<ClientChannel>((done) => client.exec(command, done)),
    );
    opening.then((channel) => channel.once('close', release), release);
    return untilAborted(opening, signal, discard);
  }

  /** Forwards are no sessions: sshd sets no limit to them. */
  #forward(
    start: (client: Client, done: Opened<ClientChannel>) => void,
    signal: AbortSignal,
  ): Promise<ClientChannel> {
    const opening = this.#connection().then((client) => open<ClientChannel>((done) => start(client, done)));
    return untilAborted(opening, signal, discard);
  }

  #greet(signal: AbortSignal): Promise<Greeting> {
    const asked = unlimited();
    this.#greeting ??= this.#wrap('exec', asked, () => this.#run(greet, {}, asked)).then(({ stdout }) => {
      const [connection = '', engine] = stdout.split('\n');
      return { clientAddress: connection.split(' ')[0] ?? '', mayUseEngine: engine === 'engine' };
    });
    this.#greeting.catch(() => {
      this.#greeting = undefined;
    });
    return untilAborted(this.#greeting, signal);
  }

  #connection(): Promise<Client> {
    if (this.#closed) return Promise.reject(new Error('the handle is closed'));
    this.#client ??= this.#login();
    return this.#client;
  }

  #login(): Promise<Client> {
    const forget = (error: Error) => this.#forget(ready, error);
    const ready: Promise<Client> = logIn(loginOptions(this.#target), this.#target.bastion, forget);
    ready.catch(forget);
    this.#lost = undefined;
    return ready;
  }

  /** The next use logs in anew; the first reason is the one that is told. */
  #forget(client: Promise<Client>, reason: Error): void {
    if (this.#client !== client) return;
    this.#client = undefined;
    this.#greeting = undefined;
    this.#runner = undefined;
    this.#lost ??= reason;
  }

  async #wrap<T>(what: string, signal: AbortSignal, work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      if (signal.aborted) throw signal.reason;
      if (error instanceof ExecError) throw error;
      throw new ExecError(this.name, `${what} failed: ${(error as Error).message}`, { cause: error });
    }
  }
}

/** Logs in; the handle is the caller's to close. Rejects with an ExecError, and leaves nothing open. */
export const openSshNode = async (target: SshTarget, signal: AbortSignal): Promise<SshNode> => {
  const node = new SshNode(target);
  try {
    await node.connect(signal);
    return node;
  } catch (error) {
    node.close();
    throw error;
  }
};

/** Whether a login ended before any secret was sent: another key of the pinned type was shown, or none of that type. */
export const isOtherKey = (error: unknown): boolean => {
  const { level, message = '' } = ((error as Error).cause ?? {}) as { level?: string; message?: string };
  return level === 'handshake' && /Host denied|host key/i.test(message);
};

/**
 * The raw public key that an sshd offers, ed25519 rather than others; it is not logged in there. Rejects with an ExecError
 * when nobody answers.
 */
export const offeredHostKey = async (
  name: string,
  { host, port, bastion }: Pick<SshTarget, 'host' | 'port' | 'bastion'>,
  signal: AbortSignal,
): Promise<Buffer> => {
  let offered: Buffer | undefined;
  const hostVerifier = (key: Buffer) => {
    offered = key;
    return false;
  };
  const options = { host, port, username: 'nobody', readyTimeout: loginMs, hostVerifier };
  try {
    const client = await untilAborted(
      logIn(options, bastion, () => undefined),
      signal,
    );
    client.end();
  } catch (error) {
    signal.throwIfAborted();
    if (!offered) throw new ExecError(name, `no sshd answers: ${(error as Error).message}`, { cause: error });
  }
  return offered!;
};

/** Resolves with a client that is logged in; `lost` is told why it is no longer one. */
const logIn = async (
  options: ssh2.ConnectConfig,
  bastion: SshDoor | undefined,
  lost: (error: Error) => void,
): Promise<Client> => {
  const client = new ssh2.Client();
  client.setMaxListeners(0);
  const hop = bastion && (await logIn(loginOptions(bastion), undefined, () => client.destroy()));
  return new Promise<Client>((resolve, reject) => {
    const lose = (error: Error) => {
      hop?.end();
      client.destroy();
      lost(error);
      reject(error);
    };
    client.on('ready', () => resolve(client.setNoDelay(true)));
    client.on('error', lose);
    client.on('close', () => lose(new Error('the connection was closed')));
    if (!hop) return void client.connect(options);
    hop.forwardOut('127.0.0.1', 0, options.host!, options.port!, (error, sock) => {
      if (error) lose(error);
      else client.connect({ ...options, sock });
    });
  });
};

const loginMs = 10_000;

const loginOptions = (door: SshDoor): ssh2.ConnectConfig => ({
  host: door.host,
  port: door.port,
  username: door.user,
  ...('agent' in door ? { agent: door.agent } : { privateKey: door.privateKey }),
  readyTimeout: door.readyTimeoutMs ?? loginMs,
  ...keepalive,
  algorithms: { serverHostKey: algorithmsOf(door.hostKey) },
  // Without hostHash this is the raw key: compared byte by byte.
  hostVerifier: (key: Buffer) => key.equals(door.hostKey),
});

/** By the key's type, its first field: without it sshd may offer another key than the pinned one. SHA-1 is left out. */
const algorithmsOf = (publicKey: Buffer): ssh2.ServerHostKeyAlgorithm[] => {
  const type = publicKey.subarray(4, 4 + publicKey.readUInt32BE(0)).toString('latin1');
  return type === 'ssh-rsa' ? ['rsa-sha2-512', 'rsa-sha2-256'] : [type as ssh2.ServerHostKeyAlgorithm];
};

type Opened<C> = (error: Error | undefined, channel: C) => void;

const open = <C>(start: (done: Opened<C>) => void): Promise<C> =>
  new Promise((resolve, reject) => start((error, channel) => (error ? reject(error) : resolve(channel))));

/** Unread data would keep the channel from ever saying that it closed. */
const discard = (channel: ClientChannel): void => {
  channel.on('error', () => {});
  channel.resume();
  channel.stderr.resume();
  channel.close();
};

/** Of what several wait for: each gives up by itself. */
const unlimited = (): AbortSignal => new AbortController().signal;

const isLoopback = (address: string): boolean =>
  address === '::1' || address.startsWith('127.') || address === '';
