import { execFile, spawn } from 'node:child_process';
import { chmodSync, mkdtempSync } from 'node:fs';
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { dirname, join } from 'node:path';
import type { SecureContextOptions } from 'node:tls';
import { promisify } from 'node:util';
import { createEnsureTool } from '../../compose/images/host-tools.ts';

const run = promisify(execFile);

/** A bare repository, and the work tree of somebody who pushes to it. */
export class GitRemote {
  readonly bare: string;
  readonly work: string;
  readonly folder: string;
  /** Short: the path of an agent's socket has an end at 108 bytes. */
  readonly #gpg = mkdtempSync('/tmp/sf-gpg-');

  private constructor(folder: string) {
    this.folder = folder;
    this.bare = join(folder, 'remote.git');
    this.work = join(folder, 'work');
  }

  static async create(folder: string): Promise<GitRemote> {
    const remote = new GitRemote(folder);
    await mkdir(folder, { recursive: true });
    await run('git', ['init', '--quiet', '--bare', '--initial-branch=main', remote.bare]);
    await run('git', ['init', '--quiet', '--initial-branch=main', remote.work]);
    return remote;
  }

  get url(): string {
    return `file://${this.bare}`;
  }

  /** Writes files (undefined: removes), commits and pushes all; resolves to the commit's id. */
  async push(files: Readonly<Record<string, string | undefined>>, message: string, ...flags: string[]) {
    for (const [path, text] of Object.entries(files)) {
      const file = join(this.work, path);
      await mkdir(dirname(file), { recursive: true });
      await (text === undefined ? rm(file, { force: true }) : writeFile(file, text));
    }
    await this.git('add', '--all');
    await this.git(...flags, 'commit', '--quiet', '--allow-empty', '-m', message);
    await this.git('push', '--quiet', '--force', this.bare, 'HEAD:main');
    return this.git('rev-parse', 'HEAD');
  }

  async git(...args: string[]): Promise<string> {
    const as = ['-c', 'user.name=Ada', '-c', 'user.email=ada@example.org'];
    const env = {
      PATH: process.env.PATH,
      HOME: this.folder,
      GIT_CONFIG_NOSYSTEM: '1',
      GNUPGHOME: this.#gpg,
    };
    const { stdout } = await run('git', ['-C', this.work, ...as, ...args], { env });
    return stdout.trim();
  }

  /** Flags of a commit that is signed with a new ssh key, and the file of its public half. */
  async sshSigner(name: string): Promise<{ readonly flags: string[]; readonly publicKey: string }> {
    const key = join(this.folder, name);
    await run('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-C', name, '-f', key]);
    const settings = ['gpg.format=ssh', `user.signingKey=${key}`, 'commit.gpgSign=true'];
    return { flags: settings.flatMap((setting) => ['-c', setting]), publicKey: `${key}.pub` };
  }

  /** The same with a new PGP key. */
  async pgpSigner(): Promise<{ readonly flags: string[]; readonly publicKey: string }> {
    await createEnsureTool(() => {})('gpg', AbortSignal.timeout(300_000));
    const gpg = (...args: string[]) => run('gpg', ['--batch', '--homedir', this.#gpg, ...args]);
    await gpg('--passphrase', '', '--quick-generate-key', 'ada@example.org', 'ed25519', 'sign', 'never');
    const publicKey = join(this.folder, 'ada.asc');
    await gpg('--armor', '--output', publicKey, '--export', 'ada@example.org');
    const settings = ['user.signingKey=ada@example.org', 'commit.gpgSign=true'];
    return { flags: settings.flatMap((setting) => ['-c', setting]), publicKey };
  }

  /** Ends the agent that signed, and forgets its keys. */
  async close(): Promise<void> {
    await run('gpgconf', ['--homedir', this.#gpg, '--kill', 'all']);
    await rm(this.#gpg, { recursive: true, force: true });
  }
}

/** A certificate of 127.0.0.1 that nobody signed but its own key, and the file that it is in. */
export async function selfSigned(folder: string, name: string) {
  const [keyFile, file] = [join(folder, `${name}.key`), join(folder, `${name}.pem`)];
  const kind = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '1'];
  const subject = ['-subj', '/CN=127.0.0.1', '-addext', 'subjectAltName=IP:127.0.0.1'];
  await run('openssl', ['req', '-x509', ...kind, ...subject, '-keyout', keyFile, '-out', file]);
  return { file, key: await readFile(keyFile), cert: await readFile(file) };
}

/** Serves the repositories of a folder over http(s) to those who bear the token, as git's own CGI does it. */
export async function serveGit(folder: string, token: string, tls?: SecureContextOptions, port = 0) {
  const asked: string[] = [];
  const serve = (request: IncomingMessage, response: ServerResponse) => {
    const url = new URL(request.url ?? '/', 'http://git');
    asked.push(url.pathname);
    const [, basic = ''] = (request.headers.authorization ?? '').split(' ');
    if (Buffer.from(basic, 'base64').toString().split(':')[1] !== token) {
      response.writeHead(401, { 'www-authenticate': 'Basic realm="git"' }).end();
      return;
    }
    const child = spawn('git', ['http-backend'], {
      env: {
        ...{ PATH: process.env.PATH, GIT_PROJECT_ROOT: folder, GIT_HTTP_EXPORT_ALL: '1' },
        ...{ PATH_INFO: url.pathname, QUERY_STRING: url.search.slice(1), REQUEST_METHOD: request.method },
        ...{ CONTENT_TYPE: request.headers['content-type'] ?? '', REMOTE_USER: 'git' },
        ...{ HTTP_CONTENT_ENCODING: request.headers['content-encoding'] ?? '' },
      },
    });
    child.stdin.on('error', () => {});
    request.pipe(child.stdin);
    const chunks: Buffer[] = [];
    child.stdout.on('data', (chunk: Buffer) => chunks.push(chunk));
    child.on('close', () => {
      const all = Buffer.concat(chunks);
      const end = all.indexOf('\r\n\r\n');
      const head = all.subarray(0, end).toString().split('\r\n');
      const headers = head.map((line) => line.split(': ') as [string, string]);
      const status = Number(headers.find(([name]) => name === 'Status')?.[1].slice(0, 3) ?? 200);
      response.writeHead(status, headers.filter(([name]) => name !== 'Status').flat());
      response.end(all.subarray(end + 4));
    });
  };
  const server = tls ? createTlsServer(tls, serve) : createServer(serve);
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve));
  const close = () => {
    server.closeAllConnections();
    return new Promise((resolve) => server.close(resolve));
  };
  const { port: taken } = server.address() as AddressInfo;
  return { url: `${tls ? 'https' : 'http'}://127.0.0.1:${taken}`, port: taken, asked, close };
}

/** A hook of the repository that runs with the first push after it. */
export async function installHook(bare: string, name: string, script: string): Promise<void> {
  const path = join(bare, 'hooks', name);
  await writeFile(path, `#!/bin/sh\n${script}\n`);
  chmodSync(path, 0o755);
}
