import { readFile } from 'node:fs/promises';
import { parse } from 'yaml';

interface Schema {
  readonly $ref?: string;
  readonly oneOf?: readonly Schema[];
  readonly items?: Schema;
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly patternProperties?: Readonly<Record<string, Schema>>;
}

/** The keys that a docker CLI knows in a compose file of its newest version: it has the schema in itself. */
export async function composeKeys(cli: string): Promise<ComposeKeys> {
  const program = (await readFile(cli)).toString('latin1');
  const starts = [...program.matchAll(/\{\s*"\$schema": "[^"]*",\s*"id": "config_schema_v3\.(\d+)\.json"/g)];
  const [newest] = starts.sort((a, b) => Number(b[1]) - Number(a[1]));
  if (newest === undefined) throw new Error(`${cli} has no schema of compose files in it`);
  // The files lie one after the other: this one ends where its first brace closes.
  const end = program.indexOf('\n}\n', newest.index);
  return new ComposeKeys(JSON.parse(program.slice(newest.index, end + 2)) as Root);
}

type Root = Schema & { readonly definitions: Readonly<Record<string, Schema>> };

/** Keys as `services.*.deploy.replicas`, `services.*.ports[].target`. */
export class ComposeKeys {
  readonly #root: Root;
  readonly all: ReadonlySet<string>;

  constructor(root: Root) {
    this.#root = root;
    const all = new Set<string>();
    this.#collect(root, '', all);
    this.all = all;
  }

  /** Those that a compose file uses. */
  in(text: string): ReadonlySet<string> {
    const used = new Set<string>();
    this.#walk(this.#root, '', parse(text, { merge: true }), used);
    return used;
  }

  /** What a schema says in all its alternatives. */
  *#forms(schema: Schema): Generator<Schema> {
    const name = schema.$ref?.replace('#/definitions/', '');
    if (name !== undefined) yield* this.#forms(this.#root.definitions[name]!);
    else yield schema;
    for (const form of schema.oneOf ?? []) yield* this.#forms(form);
  }

  #collect(schema: Schema, at: string, into: Set<string>): void {
    for (const { items, properties = {}, patternProperties = {} } of this.#forms(schema)) {
      if (items) this.#collect(items, `${at}[]`, into);
      for (const [key, below] of Object.entries(properties)) {
        into.add(join(at, key));
        this.#collect(below, join(at, key), into);
      }
      for (const below of Object.values(patternProperties)) this.#collect(below, join(at, '*'), into);
    }
  }

  #walk(schema: Schema, at: string, value: unknown, into: Set<string>): void {
    if (typeof value !== 'object' || value === null) return;
    for (const { items, properties = {}, patternProperties = {} } of this.#forms(schema)) {
      if (Array.isArray(value))
        for (const each of items ? value : []) this.#walk(items!, `${at}[]`, each, into);
      else
        for (const [key, each] of Object.entries(value)) {
          const named = Object.hasOwn(properties, key) ? properties[key] : undefined;
          const pattern = Object.entries(patternProperties).find(([it]) => new RegExp(it).test(key))?.[1];
          if (named) into.add(join(at, key));
          const below = named ?? pattern;
          if (below) this.#walk(below, join(at, named ? key : '*'), each, into);
        }
    }
  }
}

const join = (at: string, key: string): string => (at === '' ? key : `${at}.${key}`);
