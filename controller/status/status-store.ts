import { readdir, readFile, rename, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { messageOf } from '../../provisioners/contract.ts';
import type { Reserve } from './reserve.ts';
import { errnoOf, StateError, stateWriteError } from './state-error.ts';
import { syncFolder, temporaryPath, writeDurably } from './write-durably.ts';

/** What one resource's file holds. */
interface StatusFile {
  readonly schemaVersion: 1;
  readonly kind: string;
  readonly name: string;
  readonly status: unknown;
}

/** A file that is there but cannot be understood: torn, foreign, or of another version. */
export interface FileProblem {
  readonly path: string;
  readonly problem: string;
}

/** Neither of the two means: never saved. An unreadable file is not the same as none: it may say `already done`. */
interface StatusRead<S> {
  readonly status?: S;
  readonly unreadable?: FileProblem;
}

/** The saved status of each resource of one kind. One process writes (state-lock), any may read, at any moment. */
export interface StatusStore<S> {
  read(name: string): Promise<StatusRead<S>>;
  /** Every saved status, by name; files that cannot be understood are named in `unreadable`. */
  list(): Promise<{ readonly found: ReadonlyMap<string, S>; readonly unreadable: readonly FileProblem[] }>;
  /** Resolves when it is on the disk. An unreadable file in its place is kept beside it, as `<name>.json.unreadable`. */
  write(name: string, status: S): Promise<void>;
  /** Writes with the space kept aside: only for what tells that the disk is full. */
  tellFull(name: string, status: S): Promise<void>;
  /** Forgets a resource that is gone for good. */
  remove(name: string): Promise<void>;
}

export interface StatusStoreOptions<S> {
  readonly stateDir: string;
  /** Below the state directory; `status` when nothing is said. */
  readonly folder?: string;
  readonly kind: string;
  /** Checks what was read; throws when it is no status of this kind. */
  readonly parse: (value: unknown) => S;
  /** Kept before each write; without one a full disk can be told to the log only. */
  readonly reserve?: Reserve;
}

/** Keeps `<state>/<folder>/<Kind>/<name>.json`. */
export function openStatusStore<S>({
  stateDir,
  folder: parent = 'status',
  kind,
  parse,
  reserve,
}: StatusStoreOptions<S>): StatusStore<S> {
  const folder = join(stateDir, parent, kind);
  const writes = new Map<string, Promise<void>>();
  const pathOf = (name: string) => join(folder, `${fileSafe(name)}.json`);

  const read = async (name: string): Promise<StatusRead<S>> => {
    try {
      const text = await readIfThere(pathOf(name));
      return text === undefined ? {} : { status: parse(parseStatusFile(text, kind, name)) };
    } catch (error) {
      return { unreadable: { path: join(folder, `${name}.json`), problem: messageOf(error) } };
    }
  };

  const write = async (name: string, status: S): Promise<void> => {
    const path = pathOf(name); // before anything else: it refuses names that lead elsewhere
    const { unreadable } = await read(name);
    if (unreadable) await setAside(path);
    const file: StatusFile = { schemaVersion: 1, kind, name, status };
    await writeDurably(path, `${JSON.stringify(file, undefined, 2)}\n`);
  };

  /** Writes of one name go one after another, in the order of the calls: the last call wins. */
  const inTurn = (name: string, work: () => Promise<void>): Promise<void> => {
    const turn = (writes.get(name) ?? Promise.resolve()).catch(() => {}).then(work);
    writes.set(name, turn);
    const leave = () => {
      if (writes.get(name) === turn) writes.delete(name);
    };
    turn.then(leave, leave);
    return turn;
  };

  return {
    read,
    async list() {
      const found = new Map<string, S>();
      const unreadable: FileProblem[] = [];
      for (const name of await savedNames(folder)) {
        const result = await read(name);
        if (result.status !== undefined) found.set(name, result.status);
        if (result.unreadable) unreadable.push(result.unreadable);
      }
      return { found, unreadable };
    },
    write: (name, status) =>
      inTurn(name, async () => {
        await reserve?.keep();
        await write(name, status);
      }),
    tellFull: (name, status) =>
      inTurn(name, async () => {
        await reserve?.spend();
        await write(name, status);
      }),
    remove: (name) => inTurn(name, async () => removeSynced(pathOf(name))),
  };
}

async function readIfThere(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return undefined;
    throw error;
  }
}

function parseStatusFile(text: string, kind: string, name: string): unknown {
  const file: Partial<StatusFile> | null = JSON.parse(text);
  if (typeof file !== 'object' || file === null) throw new Error('not a status file');
  if (file.schemaVersion !== 1) throw new Error(`schemaVersion ${file.schemaVersion}, this build knows 1`);
  if (file.kind !== kind || file.name !== name) throw new Error(`belongs to ${file.kind}/${file.name}`);
  return file.status;
}

async function savedNames(folder: string): Promise<readonly string[]> {
  const entries = await readdir(folder).catch((error: unknown) => {
    if (errnoOf(error) === 'ENOENT') return [];
    throw error;
  });
  const names = entries
    .filter((entry) => entry.endsWith('.json'))
    .map((entry) => entry.slice(0, -'.json'.length));
  return names.sort();
}

async function setAside(path: string): Promise<void> {
  await rename(path, `${path}.unreadable`).catch((cause: unknown) => {
    throw stateWriteError(path, cause);
  });
}

async function removeSynced(path: string): Promise<void> {
  try {
    await rm(path, { force: true });
    await rm(temporaryPath(path), { force: true });
    await syncFolder(dirname(path));
  } catch (cause) {
    if (errnoOf(cause) !== 'ENOENT') throw stateWriteError(path, cause);
  }
}

/** Names come from validated manifests; a path must still never be built from one that could leave the folder. */
function fileSafe(name: string): string {
  if (/^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$/.test(name)) return name;
  throw new StateError('STATE_FOREIGN', name, 'not a resource name');
}
