import http from 'node:http';
import type { Duplex } from 'node:stream';
import { inspect } from 'node:util';
import Docker from 'dockerode';
import type { NodeHandle } from '../contract.ts';
import { ProvisionError } from '../contract.ts';
import { LateStream } from './late-stream.ts';
import { untilAborted } from './until-aborted.ts';

/** A client of one engine whose identity is known; `close` ends its idle connections. */
export interface EngineClient {
  readonly docker: Docker;
  readonly engineId: string;
  close(): void;
}

/** Where an engine listens on its own machine. */
export const engineSocket = '/var/run/docker.sock';
/** Each open connection is one `docker system dial-stdio` on the node: few, kept, and let go when nobody asks. */
const maxConnections = 3;
const idleMs = 30_000;

/**
 * The engine of a node, reached through its handle. With `expectedEngineId`, an engine with another identity is
 * refused before any call but `info` was made: a chaos tool that talks to the wrong engine is a disaster.
 */
export const dockerOver = async (
  node: NodeHandle,
  expectedEngineId: string | undefined,
  signal: AbortSignal,
): Promise<EngineClient> => {
  if (!node.name || !node.address)
    throw new ProvisionError(['a docker client needs a node with a name and an address']);
  const agent = new DialAgent((dialSignal) => node.dial({ socketPath: engineSocket }, dialSignal));
  const docker = build({ host: 'http://engine', port: 80, agent });
  const close = () => agent.destroy();
  try {
    return { docker, engineId: await verifiedId(docker, node.name, expectedEngineId, signal), close };
  } catch (error) {
    close();
    throw error;
  }
};

/**
 * The engine of this very machine, on its unix socket: the one marked exception, for the lab, whose machines are
 * its containers. Nothing else may use it.
 */
export const localDocker = (): Docker => build({ socketPath: engineSocket });

const verifiedId = async (
  docker: Docker,
  name: string,
  expected: string | undefined,
  signal: AbortSignal,
): Promise<string> => {
  const info = (await untilAborted(docker.info(), signal)) as { readonly ID?: unknown };
  if (typeof info.ID !== 'string' || info.ID === '') {
    throw new ProvisionError([`${name}: the engine tells no identity`]);
  }
  if (expected !== undefined && info.ID !== expected) {
    throw new ProvisionError([
      `${name}: found engine ${info.ID} where ${expected} was recorded; it is left untouched`,
    ]);
  }
  return info.ID;
};

type Where =
  | { readonly socketPath: string }
  | { readonly host: string; readonly port: number; readonly agent: DialAgent };

/** dockerode lets DOCKER_HOST and its kin win over what it is told, and an empty host means the local engine. */
const build = (where: Where): Docker => {
  for (const name of [
    'DOCKER_HOST',
    'DOCKER_TLS_VERIFY',
    'DOCKER_CERT_PATH',
    'DOCKER_PATH_PREFIX',
    'DOCKER_CLIENT_TIMEOUT',
  ]) {
    delete process.env[name];
  }
  const docker = new Docker({ protocol: 'http', ...where });
  const { host, socketPath } = docker.modem as { readonly host?: string; readonly socketPath?: string };
  const asked =
    'host' in where ? host === where.host && !socketPath : socketPath === where.socketPath && !host;
  if (!asked) throw new ProvisionError(['the docker client would not reach the engine that was asked for']);
  return docker;
};

/** Gives each request a kept-alive stream to the node; streams exist at once, so that maxSockets counts them. */
class DialAgent extends http.Agent {
  readonly #dial: (signal: AbortSignal) => Promise<Duplex>;
  readonly #idle = new WeakMap<Duplex, NodeJS.Timeout>();

  constructor(dial: (signal: AbortSignal) => Promise<Duplex>) {
    super({ keepAlive: true, maxSockets: maxConnections, maxFreeSockets: maxConnections });
    this.#dial = dial;
  }

  /** docker-modem prints its options, agent and all, for a debug log that nobody reads: milliseconds per call. */
  [inspect.custom](): string {
    return 'DialAgent';
  }

  override createConnection(): Duplex {
    const stream = new LateStream(this.#dial);
    // http listens only while a request has the stream: one whose request was aborted is nobody's until it fails.
    return stream.on('error', () => {});
  }

  override keepSocketAlive(socket: Duplex): boolean {
    super.keepSocketAlive(socket);
    const timer = setTimeout(() => socket.destroy(), idleMs);
    this.#idle.set(socket, timer.unref());
    return true;
  }

  override reuseSocket(socket: Duplex, request: http.ClientRequest): void {
    super.reuseSocket(socket, request);
    clearTimeout(this.#idle.get(socket));
  }
}
