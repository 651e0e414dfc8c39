import { type ChildProcess, spawn } from 'node:child_process';
import net from 'node:net';
import ssh2 from 'ssh2';
import { generateKeyPair, type KeyPair, pinOf } from '../../provisioners/shared/keys.ts';
import type { SshTarget } from '../../provisioners/shared/ssh-node.ts';

export interface FakeSshdOptions {
  /** What SSH_CONNECTION says. */
  readonly clientAddress?: string;
  /** May the user open the engine's socket directly? */
  readonly mayUseEngine?: boolean;
  /** The unix socket that stands for the engine's. */
  readonly engineSocket?: string;
  /** Who may log in; somebody of its own by default. */
  readonly clientKey?: KeyPair;
  /** What is wrong with what would run scripts as root for as long as the connection lives; where commands are answered it is missing. */
  readonly perl?: 'missing' | 'hanging';
  /** What its login shell prints before anything else. */
  readonly chatter?: string;
  /** What commands print, or complain of, instead of running in a shell. */
  readonly answer?: (command: string) => Promise<string | { readonly complaint: string }>;
}

/** As sshd's MaxSessions: more than that is refused. */
const maxSessions = 10;

/** An sshd in this process, that runs commands in a local shell without sudo; made to be lost, frozen and counted. */
export class FakeSshd {
  readonly hostKey: KeyPair = generateKeyPair('host');
  readonly clientKey: KeyPair;
  readonly commands: string[] = [];
  sessions = 0;
  mostSessions = 0;
  logins = 0;
  port = 0;
  readonly #options: FakeSshdOptions;
  readonly #server: ssh2.Server;
  readonly #listener: net.Server;
  readonly #sockets = new Set<net.Socket>();
  readonly #children = new Set<ChildProcess>();

  constructor(options: FakeSshdOptions = {}) {
    this.#options = options;
    this.clientKey = options.clientKey ?? generateKeyPair('client');
    this.#server = new ssh2.Server({ hostKeys: [this.hostKey.privateKey] }, (client) => this.#serve(client));
    this.#listener = net.createServer((socket) => {
      this.#sockets.add(socket);
      socket.on('error', () => {}).on('close', () => this.#sockets.delete(socket));
      this.#server.injectSocket(socket);
    });
  }

  async listen(): Promise<this> {
    await new Promise<void>((resolve) => this.#listener.listen(this.port, '127.0.0.1', resolve));
    this.port = (this.#listener.address() as net.AddressInfo).port;
    return this;
  }

  target(): SshTarget {
    return {
      name: 'node1',
      address: '10.98.0.11',
      host: '127.0.0.1',
      port: this.port,
      user: 'operator',
      privateKey: this.clientKey.privateKey,
      hostKey: pinOf(this.hostKey.publicKey),
      readyTimeoutMs: 5_000,
    };
  }

  /** The cable is pulled at both ends. */
  drop(): void {
    for (const socket of this.#sockets) socket.destroy();
  }

  /** The machine stops answering, while its connections stay open. */
  freeze(): void {
    for (const socket of this.#sockets) socket.pause();
  }

  async close(): Promise<void> {
    for (const child of this.#children) killGroup(child);
    this.drop();
    await new Promise((resolve) => this.#listener.close(resolve));
  }

  #serve(client: ssh2.Connection): void {
    client.on('error', () => {});
    client.on('authentication', (context) => {
      const known =
        context.method === 'publickey' && context.key.data.equals(pinOf(this.clientKey.publicKey));
      if (known && context.username === 'operator') context.accept();
      else context.reject();
    });
    client.on('ready', () => {
      this.logins += 1;
    });
    client.on('session', (accept, reject) => {
      if (this.sessions >= maxSessions) return reject();
      this.sessions += 1;
      this.mostSessions = Math.max(this.mostSessions, this.sessions);
      const session = accept();
      session.on('exec', (acceptExec, _reject, { command }) => this.#exec(acceptExec(), command));
      session.on('close', () => {
        this.sessions -= 1;
      });
    });
    client.on('tcpip', (accept, _reject, { destIP, destPort }) =>
      join(accept(), net.connect(destPort, destIP)),
    );
    client.on('openssh.streamlocal', (accept, reject) => {
      if (!this.#options.mayUseEngine || !this.#options.engineSocket) return reject();
      join(accept() as unknown as ssh2.ServerChannel, net.connect(this.#options.engineSocket));
    });
  }

  #exec(channel: ssh2.ServerChannel, command: string): void {
    this.commands.push(command);
    if (command.endsWith('system dial-stdio')) {
      join(channel, net.connect(this.#options.engineSocket ?? ''));
      return;
    }
    const { clientAddress = '192.0.2.7', mayUseEngine = false, answer, chatter = '' } = this.#options;
    const { perl = answer && 'missing' } = this.#options;
    const said = perl && isRunner(command) ? withoutPerl[perl] : answer;
    if (said && !command.includes('SSH_CONNECTION')) {
      channel.on('error', () => {}).resume();
      void said(command).then((said) => {
        if (typeof said === 'string') channel.write(said);
        else channel.stderr.write(said.complaint);
        channel.exit(typeof said === 'string' ? 0 : 1);
        channel.end();
      });
      return;
    }
    const local = command
      .replace(/^sudo -n /, 'exec ')
      .replaceAll('/var/run/docker.sock', mayUseEngine ? '/tmp' : '/nowhere');
    if (chatter !== '') channel.write(chatter);
    const env = { PATH: process.env.PATH, SSH_CONNECTION: `${clientAddress} 50000 10.98.0.11 22` };
    const child = spawn('/bin/sh', ['-c', local], { env, detached: true });
    this.#children.add(child);
    channel.on('error', () => {});
    child.stdin.on('error', () => {});
    child.stdout.pipe(channel, { end: false });
    child.stderr.pipe(channel.stderr, { end: false });
    channel.pipe(child.stdin);
    channel.on('close', () => killGroup(child));
    child.on('close', (code, signal) => {
      this.#children.delete(child);
      if (signal) channel.exit(signal.replace('SIG', ''), false, '');
      else channel.exit(code ?? 0);
      channel.end();
    });
  }
}

/** Whether a command is what runs scripts as root for as long as the connection lives. */
export const isRunner = (command: string): boolean => command.startsWith('sudo -n perl ');

const withoutPerl = {
  missing: () => Promise.resolve({ complaint: 'sudo: perl: command not found\n' }),
  hanging: () => new Promise<never>(() => {}),
};

/** With its own children, which would keep its pipes open. */
const killGroup = (child: ChildProcess): void => {
  if (child.pid !== undefined && child.exitCode === null && child.signalCode === null)
    process.kill(-child.pid, 'SIGKILL');
};

const join = (channel: ssh2.ServerChannel, socket: net.Socket): void => {
  socket.on('error', () => channel.close());
  channel.on('error', () => socket.destroy());
  channel.on('close', () => socket.destroy());
  socket.pipe(channel).pipe(socket);
};
