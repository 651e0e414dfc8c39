import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, rename } from 'node:fs/promises';
import { createServer } from 'node:net';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { createEnsureTool } from '../../compose/images/host-tools.ts';
import { gatherPackageFacts, whyNoPackages } from '../../provisioners/shared/install-packages.ts';
import { CommandError, runCommand } from '../../provisioners/shared/run-command.ts';
import { packageRoot } from './examples.ts';

const version = '5.2.5';

/** A server that answers as AWS's EC2, IAM and S3 do, and keeps what was made in memory. */
export interface Moto {
  readonly host: '127.0.0.1';
  readonly port: number;
  /** Forgets all that was made. */
  reset(): Promise<void>;
  stop(): Promise<void>;
}

/** Starts moto's server, which is had from PyPI once. Resolves to the reason when it cannot be had here. */
export async function startMoto(signal: AbortSignal): Promise<Moto | { readonly missing: string }> {
  const folder = join(packageRoot, '.cache', `moto-${version}`);
  if (!existsSync(folder)) {
    const missing = whyNoPackages(['python3-pip'], await gatherPackageFacts());
    if (missing !== null) return { missing };
    try {
      await install(folder, signal);
    } catch (error) {
      if (error instanceof CommandError) return { missing: error.message };
      throw error;
    }
  }
  const port = await freePort();
  const program = `from moto.server import main; main(['-H', '127.0.0.1', '-p', '${port}'])`;
  const child = spawn('python3', ['-c', program], {
    env: { ...process.env, PYTHONPATH: folder, PYTHONDONTWRITEBYTECODE: '1' },
    stdio: 'ignore',
  });
  const reset = async () => {
    const answer = await fetch(`http://127.0.0.1:${port}/moto-api/reset`, { method: 'POST' });
    if (!answer.ok) throw new Error(`moto answers ${answer.status}`);
  };
  await untilUp(reset, child, signal);
  return { host: '127.0.0.1', port, reset, stop: () => end(child) };
}

async function install(folder: string, signal: AbortSignal): Promise<void> {
  await createEnsureTool(() => {})('pip', signal);
  await mkdir(dirname(folder), { recursive: true });
  const partial = await mkdtemp(`${folder}-`);
  const args = [
    '-m',
    'pip',
    '--quiet',
    'install',
    '--target',
    partial,
    `moto[ec2,iam,s3,server]==${version}`,
  ];
  await runCommand('python3', args, {}, signal);
  await rename(partial, folder);
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as { port: number };
  server.close();
  await once(server, 'close');
  return port;
}

async function untilUp(ask: () => Promise<void>, child: ChildProcess, signal: AbortSignal): Promise<void> {
  for (;;) {
    try {
      return await ask();
    } catch (error) {
      if (child.exitCode !== null) throw new Error(`moto ended with ${child.exitCode}`, { cause: error });
      await sleep(100, undefined, { signal });
    }
  }
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null) return;
  child.kill();
  await once(child, 'exit');
}
