import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { connect } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { NodeHandle } from '../../provisioners/contract.ts';
import { dockerOver, type EngineClient } from '../../provisioners/shared/docker-client.ts';

/** A Docker engine that nobody else sees: a swarm of one node, for tests of what the API takes and gives back. */
export interface OwnEngine extends EngineClient {
  /** For `docker -H`. */
  readonly host: string;
  /** The manager, as the operator would reach it. */
  readonly node: NodeHandle;
  /** Where it looks for a plugin called "own". */
  readonly pluginSocket: string;
  stop(): Promise<void>;
}

const address = '10.213.0.1';
const readyWithinMs = 30_000;

/**
 * In namespaces of its own an engine disturbs no other one, needs no firewall and no machine, and is a swarm's manager
 * after a second. It has no route to the world: images are loaded, not pulled.
 */
const script = `
mount -t tmpfs tmpfs /run && ip link set lo up &&
ip link add eth0 type bridge && ip addr add ${address}/24 dev eth0 && ip link set eth0 up &&
mkdir -p /run/docker/plugins && ln -s "$1/plugin.sock" /run/docker/plugins/own.sock || exit
exec dockerd --data-root "$1/data" --exec-root "$1/exec" --pidfile "$1/pid" -H "unix://$1/docker.sock" \\
  --iptables=false --bridge=none --storage-driver=vfs`;

/** Starts the engine and makes it a swarm's manager; needs root and an installed dockerd. */
export async function startOwnEngine(signal: AbortSignal): Promise<OwnEngine> {
  // Short: a socket's path has an end at 108 bytes.
  const folder = await mkdtemp('/tmp/sf-engine-');
  const withUs = ['--pdeathsig', 'KILL', 'unshare'];
  const namespaces = ['--net', '--mount', '--pid', '--fork', '--kill-child', '--mount-proc'];
  const child = spawn('setpriv', [...withUs, ...namespaces, 'sh', '-c', script, 'sh', folder], {
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  const ended = once(child, 'exit');
  let said = '';
  child.stderr.on('data', (data) => {
    said = `${said}${data}`.slice(-2000);
  });
  const stop = async () => {
    // Its namespace of processes goes with it.
    child.kill('SIGKILL');
    await ended;
    await rm(folder, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 });
  };
  const [host, pluginSocket] = [`unix://${folder}/docker.sock`, join(folder, 'plugin.sock')];
  const node = nodeAt(join(folder, 'docker.sock'));
  try {
    const client = await untilUp(node, () => child.exitCode !== null, signal);
    await client.docker.swarmInit({
      ListenAddr: `${address}:2377`,
      AdvertiseAddr: address,
      DefaultAddrPool: ['10.214.0.0/16'],
      SubnetSize: 24,
    });
    const close = async () => {
      client.close();
      await stop();
    };
    return { ...client, host, node, pluginSocket, stop: close };
  } catch (error) {
    await stop();
    throw new Error(`the engine does not start: ${said}`, { cause: error });
  }
}

async function untilUp(
  node: NodeHandle,
  hasEnded: () => boolean,
  signal: AbortSignal,
): Promise<EngineClient> {
  const deadline = Date.now() + readyWithinMs;
  for (;;) {
    try {
      return await dockerOver(node, undefined, signal);
    } catch (error) {
      if (hasEnded() || Date.now() > deadline) throw error;
      await sleep(50, undefined, { signal });
    }
  }
}

/** Whatever engine listens there, as the operator would reach it. */
export const nodeAt = (socket: string): NodeHandle => ({
  name: 'own',
  address,
  exec: () => Promise.reject(new Error('there is no machine around this engine')),
  async dial(_target, signal) {
    const stream = connect({ path: socket, signal });
    await once(stream, 'connect', { signal });
    return stream;
  },
  controllerAddress: async () => '127.0.0.1',
  close() {},
});
