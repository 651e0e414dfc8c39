import type { Manifest, ManifestSchemas } from '../../crds/manifest.ts';
import { openStatusStore, type StatusStore } from '../status/status-store.ts';
import type { KnownResource, StoredResource } from './resource-store.ts';

/**
 * The last good text of each resource, below `<state>/accepted`: what is in force after a restart until the files are
 * read, and what tells how to reach the machines of a cluster whose manifest is gone.
 */
export class SavedResources {
  readonly #stores: ReadonlyMap<string, StatusStore<KnownResource>>;
  readonly #saved = new Map<string, string>();

  constructor(stateDir: string, schemas: ManifestSchemas) {
    const kinds = Object.entries(schemas) as [
      keyof ManifestSchemas,
      ManifestSchemas[keyof ManifestSchemas],
    ][];
    this.#stores = new Map(
      kinds.map(([kind, schema]) => {
        const parse = (value: unknown) => parseKnown(value, (resource) => schema.parse(resource));
        return [kind, openStatusStore({ stateDir, folder: 'accepted', kind, parse })];
      }),
    );
  }

  /** Everything saved, by key; an unreadable file counts as none: its manifest will be read again. */
  async list(): Promise<ReadonlyMap<string, KnownResource>> {
    const lists = await Promise.all(
      [...this.#stores].map(async ([kind, store]) => {
        const { found } = await store.list();
        return [...found].map(([name, known]): [string, KnownResource] => [`${kind}/${name}`, known]);
      }),
    );
    return new Map(lists.flat());
  }

  /** Saves what is in force of a resource, if that is not saved already. */
  async save({ key, kind, name, uid, generation, specHash, resource }: StoredResource): Promise<void> {
    if (!resource || specHash === undefined) return;
    const known: KnownResource = { uid, generation, specHash, resource };
    const text = JSON.stringify(known);
    if (this.#saved.get(key) === text) return;
    await this.#stores.get(kind)?.write(name, known);
    this.#saved.set(key, text);
  }

  async remove({ key, kind, name }: Pick<StoredResource, 'key' | 'kind' | 'name'>): Promise<void> {
    this.#saved.delete(key);
    await this.#stores.get(kind)?.remove(name);
  }
}

function parseKnown(value: unknown, parse: (resource: unknown) => Manifest): KnownResource {
  const { uid, generation, specHash, resource } = Object(value) as Partial<KnownResource>;
  if (typeof uid !== 'string' || typeof generation !== 'number' || typeof specHash !== 'string') {
    throw new Error('not a saved resource');
  }
  return { uid, generation, specHash, resource: parse(resource) };
}
