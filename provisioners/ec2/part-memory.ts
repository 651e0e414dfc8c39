import { randomBytes } from 'node:crypto';
import { mkdir, open, readFile, rename } from 'node:fs/promises';
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { z } from 'zod';

const memorySchema = z.record(
  z.string(),
  z.strictObject({ id: z.string().exactOptional(), orderedMs: z.number().exactOptional() }),
);

/** What is known of one part: its id, once it was seen; until then when it was ordered, ms since the epoch. */
export type Remembered = z.infer<typeof memorySchema>[string];

/**
 * What cannot be read back from AWS at once: that something was ordered which may not be seen yet, and ids, for tags can be
 * taken off. A file in the state directory; whoever loses it loses only that.
 */
export class PartMemory {
  readonly #folder: string;

  constructor(stateDir: string) {
    this.#folder = stateDir;
  }

  async get(part: string): Promise<Remembered> {
    return (await this.#read())[part] ?? {};
  }

  async names(): Promise<readonly string[]> {
    return Object.keys(await this.#read());
  }

  /** On the disk when it resolves; what is there already is not written again. */
  async write(part: string, remembered: Remembered): Promise<void> {
    const memory = await this.#read();
    if (!isDeepStrictEqual(memory[part], remembered)) await this.#save({ ...memory, [part]: remembered });
  }

  async forget(part: string): Promise<void> {
    const { [part]: known, ...rest } = await this.#read();
    if (known) await this.#save(rest);
  }

  get #file(): string {
    return join(this.#folder, 'parts.json');
  }

  async #read(): Promise<z.infer<typeof memorySchema>> {
    const text = await readFile(this.#file, 'utf8').catch((error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') return '{}';
      throw error;
    });
    return memorySchema.parse(JSON.parse(text));
  }

  async #save(memory: z.infer<typeof memorySchema>): Promise<void> {
    await mkdir(this.#folder, { recursive: true, mode: 0o700 });
    const partial = `${this.#file}.${randomBytes(4).toString('hex')}`;
    const file = await open(partial, 'w', 0o600);
    try {
      await file.writeFile(JSON.stringify(memory));
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(partial, this.#file);
  }
}
