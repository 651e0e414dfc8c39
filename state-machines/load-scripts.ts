import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Mechanism } from './contract.ts';

/** The scripts of a mechanism, as text. */
interface MechanismScripts {
  readonly inject: string;
  readonly undo: string;
  readonly check: string;
  /** Lists and clears marks that may be in force without a run; absent where nothing is marked. */
  readonly sweep?: string;
  /** Tells whether a node has what only this mechanism needs; absent where that is nothing. */
  readonly offers?: string;
}

/** Everything that is ever run on a node by a fault: constant text, read once. */
export interface Scripts {
  mechanism(name: Mechanism): MechanismScripts;
  /** The files of `dead-man/` by name, for instance `arm.sh`. */
  deadMan(name: string): string;
  /** `leaders/ask.sh`. */
  readonly ask: string;
  /** `names/resolve.sh`. */
  readonly resolve: string;
}

/** These call the function that offers.sh defines: it is put before them. */
const usesOffers = ['arm.sh', 'lacks.sh'];
/** These ask whether another operator has taken over. */
const usesOutdated = ['arm.sh', 'fence.sh', 'inject.sh', 'scan.sh'];
/** And these call every mechanism's sweep, which may use what the mechanisms share. */
const usesSweeps = ['heal-all.sh', 'scan.sh', 'sweep.sh'];

/** Reads the scripts below `dir`, the `state-machines` folder of the package. */
export async function loadScripts(dir: string): Promise<Scripts> {
  const shared = await readFile(join(dir, 'faults', 'common.sh'), 'utf8');
  const [mechanisms, deadMan, ask, resolve] = await Promise.all([
    readMechanisms(join(dir, 'faults'), shared),
    readFolder(join(dir, 'dead-man')),
    readFile(join(dir, 'leaders', 'ask.sh'), 'utf8'),
    readFile(join(dir, 'names', 'resolve.sh'), 'utf8'),
  ]);
  const sweeps = shared + functions(mechanisms, 'sweep', 'sweeps');
  const offers = functions(mechanisms, 'offers', 'offering') + found(deadMan, 'offers.sh');
  for (const name of usesOutdated) deadMan.set(name, found(deadMan, 'outdated.sh') + found(deadMan, name));
  for (const name of usesOffers) deadMan.set(name, offers + found(deadMan, name));
  for (const name of usesSweeps) deadMan.set(name, sweeps + found(deadMan, name));
  return {
    mechanism: (name) => found(mechanisms, name),
    deadMan: (name) => found(deadMan, name),
    ask: shared + ask,
    resolve: shared + resolve,
  };
}

async function readMechanisms(dir: string, shared: string): Promise<Map<string, MechanismScripts>> {
  const folders = (await readdir(dir, { withFileTypes: true })).filter((entry) => entry.isDirectory());
  const read = folders.map(async ({ name }) => {
    const files = await readFolder(join(dir, name));
    const common = shared + (files.get('common.sh') ?? '');
    const script = (file: string) => common + found(files, file);
    const [sweep, offers] = [files.get('sweep.sh'), files.get('offers.sh')];
    const scripts = {
      inject: script('inject.sh'),
      undo: script('undo.sh'),
      check: script('check.sh'),
      ...(sweep !== undefined && { sweep }),
      ...(offers !== undefined && { offers }),
    };
    return [name, scripts] as const;
  });
  return new Map(await Promise.all(read));
}

/**
 * A script that only some mechanisms have, as shell functions `<script>_<mechanism>`, each in a subshell of its own, and
 * a variable with the names of those mechanisms.
 */
function functions(
  mechanisms: ReadonlyMap<string, MechanismScripts>,
  script: 'sweep' | 'offers',
  variable: string,
): string {
  const having = [...mechanisms]
    .flatMap(([name, { [script]: text }]) => (text === undefined ? [] : [{ name, text }]))
    .sort((a, b) => (a.name < b.name ? -1 : 1));
  const defined = having.map(({ name, text }) => `${script}_${name}() (\n${text})\n`);
  return `${defined.join('')}${variable}='${having.map(({ name }) => name).join(' ')}'\n`;
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
