import { setTimeout as sleep } from 'node:timers/promises';
import type Docker from 'dockerode';
import { ExecError } from '../contract.ts';
import type { KeyPair } from '../shared/keys.ts';
import { SshNode, type SshTarget } from '../shared/ssh-node.ts';
import { labels } from './labels.ts';

const operatorUser = 'operator';
const authorizedKeys = `/home/${operatorUser}/.ssh/authorized_keys`;
const loginPauseMs = 100;

/** How to reach a running node, from its labels; lets a key in that its environment does not know. */
export const sshTargetOf = async (
  container: Docker.ContainerInfo,
  docker: Docker,
  key: KeyPair,
): Promise<SshTarget> => {
  const { Labels: found, Ports } = container;
  const name = found[labels.node] ?? '';
  if (container.State !== 'running') throw new ExecError(name, `the machine is off: ${container.State}`);
  if (found[labels.clientKey] !== key.publicKey)
    await authorize(docker.getContainer(container.Id), key.publicKey);
  const address = found[labels.address] ?? '';
  const published = Ports.find(({ PrivatePort }) => PrivatePort === 22)?.PublicPort;
  return {
    name,
    address,
    host: published ? '127.0.0.1' : address,
    port: published ?? 22,
    user: operatorUser,
    privateKey: key.privateKey,
    hostKey: Buffer.from(found[labels.hostKey] ?? '', 'base64'),
  };
};

/** Logs in; the handle is the caller's to close. */
export const logIn = async (target: SshTarget, signal: AbortSignal): Promise<SshNode> => {
  const node = new SshNode(target);
  try {
    await node.connect(signal);
    return node;
  } catch (error) {
    node.close();
    throw error;
  }
};

/** Refused connections are cheap and expected while a machine boots; a refused key will not become right. */
export const logInWhenBooted = async (target: SshTarget, signal: AbortSignal): Promise<SshNode> => {
  for (;;) {
    try {
      return await logIn(target, signal);
    } catch (error) {
      if (!isBooting(error)) throw error;
      await sleep(loginPauseMs, undefined, { signal });
    }
  }
};

const bootingCodes = new Set(['ECONNREFUSED', 'ECONNRESET', 'EHOSTUNREACH', 'ETIMEDOUT', 'EPIPE']);

/** ssh2 names no code for a connection that ends during the handshake, only its level. */
const isBooting = (error: unknown): boolean => {
  if (!(error instanceof ExecError)) return false;
  const cause = error.cause as { readonly code?: string; readonly level?: string } | undefined;
  return cause?.level === undefined || bootingCodes.has(cause.code ?? '') || cause.level === 'client-timeout';
};

/** The state directory was lost while the machines live on: the engine lets the new key in, until the next boot. */
const authorize = async (container: Docker.Container, publicKey: string): Promise<void> => {
  const script = 'grep -qxF "$1" "$2" 2>/dev/null || printf "%s\\n" "$1" >> "$2"';
  const exec = await container.exec({
    Cmd: ['sh', '-c', script, 'sh', publicKey, authorizedKeys],
    AttachStdout: true,
  });
  const output = await exec.start({});
  await new Promise((resolve) => output.resume().once('close', resolve));
};
