import { mkdir, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';

const recordSchema = z.object({
  node: z.string(),
  host: z.string(),
  port: z.number(),
  user: z.string(),
  address: z.string(),
  /** Base64 of the raw public host key that its connections are pinned to. */
  hostKey: z.string(),
  /** It was taken at first contact. */
  isTrusted: z.boolean().exactOptional(),
  /** Absent until it is adopted: then only its key is known, from first contact. */
  incarnation: z.string().exactOptional(),
  settingsHash: z.string().exactOptional(),
});

/** How an adopted machine is reached, also when the manifest names it no more. */
export type HostRecord = z.infer<typeof recordSchema>;

/**
 * A file for each machine in the state directory. What they say can be had from the machines again, but for keys that were
 * trusted at first use.
 */
export class HostRecords {
  readonly #folder: string;

  constructor(stateDir: string) {
    this.#folder = join(stateDir, 'hosts');
  }

  async list(): Promise<readonly HostRecord[]> {
    const files = (await readdir(this.#folder).catch(() => [])).filter((name) => name.endsWith('.json'));
    return Promise.all(
      files.map(async (name) =>
        recordSchema.parse(JSON.parse(await readFile(join(this.#folder, name), 'utf8'))),
      ),
    );
  }

  async get(node: string): Promise<HostRecord | undefined> {
    return (await this.list()).find((record) => record.node === node);
  }

  async write(record: HostRecord): Promise<void> {
    await mkdir(this.#folder, { recursive: true, mode: 0o700 });
    const file = join(this.#folder, `${record.node}.json`);
    await writeFile(`${file}.new`, JSON.stringify(record), { mode: 0o600 });
    await rename(`${file}.new`, file);
  }

  remove(node: string): Promise<void> {
    return rm(join(this.#folder, `${node}.json`), { force: true });
  }

  removeAll(): Promise<void> {
    return rm(this.#folder, { recursive: true, force: true });
  }
}
