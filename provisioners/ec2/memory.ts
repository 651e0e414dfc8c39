import { randomBytes } from 'node:crypto';
import { mkdir, open, readFile, rename } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { z } from 'zod';

/** What is known of one part: its id, once it was seen; until then when it was ordered, ms since the epoch. */
const partSchema = z.strictObject({ id: z.string().exactOptional(), orderedMs: z.number().exactOptional() });
/** The machine of a node, and the tags that we have put on it. */
const machineSchema = z.strictObject({ id: z.string(), tags: z.record(z.string(), z.string()) });

export type KnownPart = z.infer<typeof partSchema>;
export type KnownMachine = z.infer<typeof machineSchema>;

/** Of parts, by their names: that something was ordered which may not be seen yet, and ids, for tags can be taken off. */
export const partMemory = (stateDir: string): Memory<KnownPart> =>
  new Memory(join(stateDir, 'parts.json'), partSchema);

/** Of machines, by the names of their nodes: what their tags were, for these can be changed. */
export const machineMemory = (stateDir: string): Memory<KnownMachine> =>
  new Memory(join(stateDir, 'machines.json'), machineSchema);

/** What cannot be read back from AWS. A file in the state directory; whoever loses it loses only that. */
export class Memory<T> {
  readonly #file: string;
  readonly #schema: z.ZodType<Record<string, T>>;
  /** One change after the other. */
  #last: Promise<unknown> = Promise.resolve();

  constructor(file: string, value: z.ZodType<T>) {
    this.#file = file;
    this.#schema = z.record(z.string(), value) as z.ZodType<Record<string, T>>;
  }

  async all(): Promise<Readonly<Record<string, T>>> {
    const text = await readFile(this.#file, 'utf8').catch((error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') return '{}';
      throw error;
    });
    return this.#schema.parse(JSON.parse(text));
  }

  async get(name: string): Promise<T | undefined> {
    return (await this.all())[name];
  }

  /** On the disk when it resolves; what is there already is not written again. */
  write(name: string, known: T): Promise<void> {
    return this.#change((all) => (isDeepStrictEqual(all[name], known) ? all : { ...all, [name]: known }));
  }

  forget(name: string): Promise<void> {
    return this.#change((all) => {
      const { [name]: known, ...rest } = all;
      return known === undefined ? all : rest;
    });
  }

  #change(make: (all: Readonly<Record<string, T>>) => Readonly<Record<string, T>>): Promise<void> {
    const changed = this.#last.then(async () => {
      const all = await this.all();
      const next = make(all);
      if (next !== all) await this.#save(next);
    });
    this.#last = changed.catch(() => {}); // its own caller is told
    return changed;
  }

  async #save(all: Readonly<Record<string, T>>): Promise<void> {
    await mkdir(dirname(this.#file), { recursive: true, mode: 0o700 });
    const partial = `${this.#file}.${randomBytes(4).toString('hex')}`;
    const file = await open(partial, 'w', 0o600);
    try {
      await file.writeFile(JSON.stringify(all));
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(partial, this.#file);
  }
}
