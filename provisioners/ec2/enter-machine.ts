import type { z } from 'zod';
import { ExecError, type NodeHandle } from '../contract.ts';
import {
  askedOfApt,
  type engineField,
  enginePackages,
  installPackages,
  readPackageLists,
  startEngine,
  tools,
} from '../shared/engine-packages.ts';
import { runOnNode } from '../shared/run-on-node.ts';
import { isOtherKey, openSshNode, type SshNode } from '../shared/ssh-node.ts';
import type { Ec2Clock } from './clock.ts';
import type { SeenInstance } from './instances.ts';
import { tags } from './labels.ts';

/** Who logs in. */
export interface MachineIdentity {
  readonly user: string;
  readonly privateKey: string;
}

export interface Entry {
  readonly identity: MachineIdentity;
  readonly engine: z.output<ReturnType<typeof engineField>>;
  readonly clock: Ec2Clock;
  readonly progress: (line: string) => void;
  /** Puts tags on the machine. */
  readonly tag: (values: Readonly<Record<string, string>>) => Promise<void>;
}

const bootMs = 300_000;
const lookAgainMs = 1_000;

/**
 * Makes a node of a machine that runs: waits for its sshd, gives it a host key that never was in its user data, brings what a
 * member of the swarm needs, and starts the engine. What was done already is not done again.
 */
export async function enterMachine(seen: SeenInstance, entry: Entry, signal: AbortSignal): Promise<void> {
  const [hostKey, next] = await ownHostKey(seen, entry, signal);
  const node = await logInWhenBooted({ ...seen, hostKeys: [next] }, entry, signal);
  try {
    if (hostKey !== next) await entry.tag({ [tags.hostKey]: next });
    await bringEngine(node, entry, signal);
  } finally {
    node.close();
  }
}

/** Logs in to a machine that shows one of the keys that it may show; the handle is the caller's to close. */
export async function logIn(
  { node: name, address, publicAddress = address, hostKeys }: SeenInstance,
  identity: MachineIdentity,
  signal: AbortSignal,
): Promise<SshNode> {
  let refused: unknown = new ExecError(name, 'nothing tells its host key');
  for (const key of hostKeys.toReversed()) {
    const target = { name, address, host: publicAddress, port: 22, hostKey: Buffer.from(key, 'base64') };
    try {
      return await openSshNode({ ...target, ...identity }, signal);
    } catch (error) {
      if (!isOtherKey(error)) throw error;
      refused = error;
    }
  }
  throw refused;
}

/** Drawn on the machine, and known by its tag before it is shown to anybody; the one of the user data is not used again. */
const drawHostKey = `
set -eu
cd /etc/ssh
[ -s ssh_host_ed25519_key.next.pub ] || {
  rm -f ssh_host_ed25519_key.next
  ssh-keygen -q -t ed25519 -N '' -C '' -f ssh_host_ed25519_key.next
}
cat ssh_host_ed25519_key.next.pub`;

/** From now on sshd shows the new one. Connections that are open live on. */
const takeHostKey = `
set -eu
cd /etc/ssh
cp ssh_host_ed25519_key.next.pub ssh_host_ed25519_key.pub
cp ssh_host_ed25519_key.next ssh_host_ed25519_key.tmp
mv ssh_host_ed25519_key.tmp ssh_host_ed25519_key
systemctl reload ssh.service 2>/dev/null || systemctl restart ssh.service`;

/** Resolves with the key by the tag, and with the one that it shows from now on. */
async function ownHostKey(
  seen: SeenInstance,
  entry: Entry,
  signal: AbortSignal,
): Promise<readonly [tagged: string, shown: string]> {
  const [tagged = '', next] = seen.hostKeys;
  if (seen.hasOwnKey) return [tagged, tagged];
  const node = await logInWhenBooted(seen, entry, signal);
  try {
    const drawn = (await runOnNode(node, 'drawing a host key', drawHostKey, [], signal))
      .trim()
      .split(/\s+/)[1]!;
    if (drawn !== next) await entry.tag({ [tags.nextHostKey]: drawn });
    await runOnNode(node, 'taking its own host key', takeHostKey, [], signal);
    return [tagged, drawn];
  } finally {
    node.close();
  }
}

async function logInWhenBooted(
  seen: SeenInstance,
  { identity, clock }: Entry,
  signal: AbortSignal,
): Promise<SshNode> {
  for (const untilMs = clock.now() + bootMs; ; ) {
    try {
      return await logIn(seen, identity, signal);
    } catch (error) {
      // Before cloud-init has come to it there is another key, or no such user.
      if (signal.aborted || clock.now() > untilMs) throw error;
      await clock.sleep(lookAgainMs, signal);
    }
  }
}

const lackingPackages = `
for name; do
  dpkg-query -W -f '\${Status}' "$name" 2>/dev/null | grep -q ' installed$' || echo "$name"
done`;

async function bringEngine(
  node: NodeHandle,
  { engine, progress }: Entry,
  signal: AbortSignal,
): Promise<void> {
  const { package: enginePackage, repository = '' } = engine;
  const needed = [...enginePackages[enginePackage], ...tools];
  const answer = await runOnNode(node, 'looking for packages', lackingPackages, needed, signal);
  const lacking = answer.split('\n').filter((name) => name !== '');
  const asked = askedOfApt(engine, lacking);
  // Of an older Debian's engine the client is no package of its own: it is asked for in vain then, each time.
  if (lacking.some((name) => name !== 'docker-cli')) {
    progress(`installing on ${node.name}: ${lacking.join(' ')}`);
    await runOnNode(node, 'reading the lists of packages', readPackageLists, asked, signal, repository);
    await runOnNode(node, `installing ${asked.join(' ')}`, installPackages, asked, signal);
  }
  await runOnNode(node, 'starting the engine', startEngine, [], signal);
}
