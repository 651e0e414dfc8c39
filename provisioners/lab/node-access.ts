import { setTimeout as sleep } from 'node:timers/promises';
import type Docker from 'dockerode';
import { ExecError } from '../contract.ts';
import type { KeyPair } from '../shared/keys.ts';
import { openSshNode, type SshNode, type SshTarget } from '../shared/ssh-node.ts';
import { runInside } from './engine-calls.ts';
import { labels } from './labels.ts';

const operatorUser = 'operator';
const authorizedKeys = `/home/${operatorUser}/.ssh/authorized_keys`;
const loginPauseMs = 100;

/** How to reach a running node. */
export interface NodeAccess {
  readonly target: SshTarget;
  /** Present when the node's environment authorizes another key than ours: the engine can let ours in. */
  readonly letIn?: () => Promise<void>;
}

/** Reads a node's access from its labels. */
export const accessOf = (container: Docker.ContainerInfo, docker: Docker, key: KeyPair): NodeAccess => {
  const { Labels: found, Ports } = container;
  const name = found[labels.node] ?? '';
  if (container.State !== 'running') throw new ExecError(name, `the machine is off: ${container.State}`);
  const address = found[labels.address] ?? '';
  const published = Ports.find(({ PrivatePort }) => PrivatePort === 22)?.PublicPort;
  const target = {
    name,
    address,
    host: published ? '127.0.0.1' : address,
    port: published ?? 22,
    user: operatorUser,
    privateKey: key.privateKey,
    hostKey: Buffer.from(found[labels.hostKey] ?? '', 'base64'),
  };
  if (found[labels.clientKey] === key.publicKey) return { target };
  return { target, letIn: () => authorize(docker.getContainer(container.Id), key.publicKey) };
};

/** Logs in; the handle is the caller's to close. */
export const logIn = async ({ target, letIn }: NodeAccess, signal: AbortSignal): Promise<SshNode> => {
  try {
    return await openSshNode(target, signal);
  } catch (error) {
    if (!letIn || causeOf(error)?.level !== 'client-authentication') throw error;
  }
  // Only now: before its sshd answers, a booting node would write its own key over ours.
  await letIn();
  return logIn({ target }, signal);
};

/** Refused connections are cheap and expected while a machine boots; a refused key will not become right. */
export const logInWhenBooted = async (access: NodeAccess, signal: AbortSignal): Promise<SshNode> => {
  for (;;) {
    try {
      return await logIn(access, signal);
    } catch (error) {
      if (!isBooting(error)) throw error;
      await sleep(loginPauseMs, undefined, { signal });
    }
  }
};

const bootingCodes = new Set(['ECONNREFUSED', 'ECONNRESET', 'EHOSTUNREACH', 'ETIMEDOUT', 'EPIPE']);

/** ssh2 names no code for a connection that ends during the handshake, only its level. */
const isBooting = (error: unknown): boolean => {
  const cause = causeOf(error);
  if (!cause) return false;
  return cause.level === undefined || bootingCodes.has(cause.code ?? '') || cause.level === 'client-timeout';
};

const causeOf = (error: unknown) =>
  error instanceof ExecError
    ? (error.cause as { readonly code?: string; readonly level?: string })
    : undefined;

/** The state directory was lost while the machines live on: the engine lets the new key in, until the next boot. */
const authorize = (container: Docker.Container, publicKey: string): Promise<void> =>
  runInside(
    container,
    'grep -qxF "$1" "$2" 2>/dev/null || printf "%s\\n" "$1" >> "$2"',
    publicKey,
    authorizedKeys,
  );
