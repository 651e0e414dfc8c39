import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, writeFile } from 'node:fs/promises';
import { type AddressInfo, createServer } from 'node:net';
import { userInfo } from 'node:os';
import { join } from 'node:path';
import { generateKeyPair, type KeyPair } from '../../provisioners/shared/keys.ts';
import { type DebianTool, findTool } from './debian-tool.ts';

/** OpenSSH's sshd; the reason when it cannot be run here. */
export async function findSshd(signal: AbortSignal): Promise<DebianTool | { readonly missing: string }> {
  if (isRoot && spawnSync('unshare', ['--mount', 'true']).status !== 0)
    return { missing: 'no rights to give sshd a user and a folder of its own' };
  return findTool('/usr/sbin/sshd', ['openssh-server', 'libwrap0'], signal);
}

const isRoot = process.getuid?.() === 0;

/** As root it wants a folder and a user to be without rights as, which nobody else needs to see. */
const asRoot = `mount -t tmpfs none /run && mkdir -m 0755 /run/sshd
{ cat /etc/passwd; echo sshd:x:100:65534::/run/sshd:/usr/sbin/nologin; } > "$1/passwd"
mount --bind "$1/passwd" /etc/passwd
shift
exec "$@"`;

/** An sshd, real or not, that lets one key in. */
export interface RunningSshd {
  readonly port: number;
  readonly hostKey: KeyPair;
  readonly user: string;
  close(): Promise<void>;
}

/** Starts one on this machine's loopback, with a new host key; whoever has the key is the user who runs the test. */
export async function startSshd(
  { file, environment }: DebianTool,
  folder: string,
  clientKey: KeyPair,
  port: number,
): Promise<RunningSshd> {
  const hostKey = generateKeyPair('host');
  const [keyFile, authorized, config] = ['host', 'authorized', 'config'].map((name) => join(folder, name));
  await mkdir(folder, { recursive: true });
  await writeFile(keyFile!, hostKey.privateKey, { mode: 0o600 });
  await writeFile(authorized!, `${clientKey.publicKey}\n`);
  const settings = [
    ...[`Port ${port}`, 'ListenAddress 127.0.0.1', `HostKey ${keyFile}`, `AuthorizedKeysFile ${authorized}`],
    ...['AuthenticationMethods publickey', 'PidFile none', 'StrictModes no', 'UsePAM no', ''],
  ];
  await writeFile(config!, settings.join('\n'));
  const own = [file, '-D', '-e', '-f', config!] as const;
  const [command, ...args] = isRoot
    ? (['unshare', '--mount', 'sh', '-ec', asRoot, 'sshd', folder, ...own] as const)
    : own;
  const env = { PATH: process.env.PATH, ...environment };
  const child = spawn(command, args, { env, stdio: ['ignore', 'ignore', 'pipe'] });
  const gone = once(child, 'exit');
  await Promise.race([listening(child), gone.then(() => Promise.reject(new Error('sshd ended at once')))]);
  const close = async () => {
    child.kill('SIGTERM');
    await gone;
  };
  return { port, hostKey, user: userInfo().username, close };
}

function listening(child: ChildProcess): Promise<void> {
  let said = '';
  return new Promise((resolve) => {
    child.stderr?.on('data', (chunk: Buffer) => {
      said += chunk;
      if (said.includes('Server listening')) resolve();
    });
  });
}

/** A port that nobody listens on at the moment. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}
