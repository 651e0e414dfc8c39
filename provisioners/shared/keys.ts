import { createHash, randomBytes } from 'node:crypto';
import { link, mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import ssh2 from 'ssh2';

/** An ed25519 key pair in OpenSSH's formats. */
export interface KeyPair {
  readonly privateKey: string;
  /** One line, as in authorized_keys. */
  readonly publicKey: string;
}

/**
 * Makes a new ed25519 key pair. ssh2 1.17 drops the first byte of a public key when it is zero, one time in 256, and
 * then cannot read its own work: such a pair is thrown away.
 */
export const generateKeyPair = (comment: string): KeyPair => {
  for (;;) {
    const pair = ssh2.utils.generateKeyPairSync('ed25519', { comment });
    const readable = !(ssh2.utils.parseKey(pair.private) instanceof Error);
    if (readable) return { privateKey: pair.private, publicKey: pair.public };
  }
};

/** Reads the private key at `path`, or makes one when there is none. */
export const loadOrCreateKeyPair = async (path: string, comment: string): Promise<KeyPair> =>
  (await readKeyPair(path)) ?? keepKeyPair(path, generateKeyPair(comment));

/** Writes a private key (0600, its folder 0700) where there is none; resolves with the one that is there then. */
export const keepKeyPair = async (path: string, made: KeyPair): Promise<KeyPair> => {
  await mkdir(dirname(path), { recursive: true, mode: 0o700 });
  await writeOnce(path, made.privateKey);
  return (await readKeyPair(path)) ?? made;
};

/** The raw public key of an `ssh-ed25519 AAAA... comment` line: what a pin compares, byte by byte. */
export const pinOf = (publicKey: string): Buffer => {
  const blob = publicKey.trim().split(/\s+/)[1];
  if (!blob) throw new TypeError('not a public key line');
  return Buffer.from(blob, 'base64');
};

/** `SHA256:...`, as ssh-keygen -lf prints it. */
export const fingerprintOf = (publicKey: Buffer): string =>
  `SHA256:${createHash('sha256').update(publicKey).digest('base64').replace(/=+$/, '')}`;

/** The key at `path`; undefined when there is none. */
export const readKeyPair = async (path: string): Promise<KeyPair | undefined> => {
  try {
    const privateKey = await readFile(path, 'utf8');
    return { privateKey, publicKey: publicKeyOf(privateKey) };
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
};

/** The public line that belongs to a private key, so that the two can never disagree on disk. */
const publicKeyOf = (privateKey: string): string => {
  const parsed = ssh2.utils.parseKey(privateKey);
  if (parsed instanceof Error) throw parsed;
  const key = Array.isArray(parsed) ? parsed[0] : parsed;
  return `${key.type} ${key.getPublicSSH().toString('base64')} ${key.comment}`.trim();
};

/** By a link, so that a half-written key is never read, and the first of two writers wins. */
const writeOnce = async (path: string, text: string): Promise<void> => {
  const partial = `${path}.${randomBytes(4).toString('hex')}`;
  await writeFile(partial, text, { mode: 0o600 });
  try {
    await link(partial, path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
  } finally {
    await rm(partial);
  }
};
