import { execFile } from 'node:child_process';
import { appendFile, mkdir, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';

/**
 * Puts the keys whose signatures count below `folder`, where our git looks for them and for no others: PGP keys into a
 * keyring of their own, the rest as lines of ssh's allowed signers. Rejects when a file holds no key.
 */
export async function installSigners(
  folder: string,
  paths: readonly string[],
  environment: Readonly<Record<string, string>>,
): Promise<void> {
  const keyring = join(folder, 'keyring');
  await rm(keyring, { recursive: true, force: true });
  await mkdir(keyring, { recursive: true, mode: 0o700 });
  const pgpKeys = join(keyring, 'pubring.gpg');
  const lines: string[] = [];
  for (const path of (await Promise.all(paths.map(filesAt))).flat()) {
    const text = await readFile(path, 'utf8');
    const blocks = text.match(pgpBlocks) ?? [];
    for (const block of blocks) await appendFile(pgpKeys, await dearmoured(block, keyring, environment));
    if (blocks.length > 0) continue;
    const signers = text.split('\n').filter((line) => line.trim() !== '' && !line.startsWith('#'));
    if (signers.length === 0 || !signers.every((line) => sshKey.test(line)))
      throw new Error(`${path} holds neither armoured PGP public keys nor allowed signers of ssh`);
    lines.push(...signers.map((line) => (bareSshKey.test(line) ? `* namespaces="git" ${line}` : line)));
  }
  await writeFile(join(folder, 'allowed-signers'), lines.map((line) => `${line}\n`).join(''));
}

const pgpBlocks = /-----BEGIN PGP PUBLIC KEY BLOCK-----.*?-----END PGP PUBLIC KEY BLOCK-----/gs;

/** Not imported: that asks an agent, whose socket has no place in a long path. Keys one after another are a keyring. */
async function dearmoured(
  block: string,
  homedir: string,
  environment: Readonly<Record<string, string>>,
): Promise<Buffer> {
  const args = ['--batch', '--homedir', homedir, '--dearmor'];
  const work = promisify(execFile)('gpg', args, { env: { ...environment }, encoding: 'buffer' });
  work.child.stdin?.end(`${block}\n`);
  const { stdout } = await work.catch((cause: unknown) => {
    throw new Error('a PGP key cannot be read: gpg is needed for it', { cause });
  });
  return stdout;
}

const sshKey = /(^|\s)(sk-)?(ssh|ecdsa)-\S+ [A-Za-z0-9+/=]+/;
/** As ssh-keygen writes it to a `.pub` file: who it belongs to is not said. */
const bareSshKey = /^(sk-)?(ssh|ecdsa)-\S+ /;

async function filesAt(path: string): Promise<readonly string[]> {
  if (!(await stat(path)).isDirectory()) return [path];
  return (await readdir(path)).sort().map((name) => join(path, name));
}
