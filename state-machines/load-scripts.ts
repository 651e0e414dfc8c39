import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Mechanism } from './contract.ts';

/** The three scripts of a mechanism, as text. */
interface MechanismScripts {
  readonly inject: string;
  readonly undo: string;
  readonly check: string;
}

/** Everything that is ever run on a node by a fault: constant text, read once. */
export interface Scripts {
  mechanism(name: Mechanism): MechanismScripts;
  /** The files of `dead-man/` by name, for instance `arm.sh`. */
  deadMan(name: string): string;
}

/** These call the function that offers.sh defines: it is put before them. */
const usesOffers = ['arm.sh', 'lacks.sh'];

/** Reads the scripts below `dir`, the `state-machines` folder of the package. */
export async function loadScripts(dir: string): Promise<Scripts> {
  const [mechanisms, deadMan] = await Promise.all([
    readMechanisms(join(dir, 'faults')),
    readFolder(join(dir, 'dead-man')),
  ]);
  for (const name of usesOffers) deadMan.set(name, found(deadMan, 'offers.sh') + found(deadMan, name));
  return {
    mechanism: (name) => found(mechanisms, name),
    deadMan: (name) => found(deadMan, name),
  };
}

async function readMechanisms(dir: string): Promise<Map<string, MechanismScripts>> {
  const folders = (await readdir(dir, { withFileTypes: true })).filter((entry) => entry.isDirectory());
  const read = folders.map(async ({ name }) => {
    const files = await readFolder(join(dir, name));
    const scripts = {
      inject: found(files, 'inject.sh'),
      undo: found(files, 'undo.sh'),
      check: found(files, 'check.sh'),
    };
    return [name, scripts] as const;
  });
  return new Map(await Promise.all(read));
}

async function readFolder(dir: string): Promise<Map<string, string>> {
  const names = (await readdir(dir)).filter((name) => /\.(sh|service)$/.test(name));
  const read = names.map(async (name) => [name, await readFile(join(dir, name), 'utf8')] as const);
  return new Map(await Promise.all(read));
}

function found<T>(items: ReadonlyMap<string, T>, name: string): T {
  const item = items.get(name);
  if (item === undefined) throw new Error(`no script ${name} in this package`);
  return item;
}
