import { isDeepStrictEqual } from 'node:util';

/** One field in which the world differs from what is wanted; absent values are `undefined`. */
export interface Difference {
  /** `TaskTemplate.ContainerSpec.Env[3]`, or a label as `Labels["a.b"]`. */
  readonly path: string;
  readonly want: unknown;
  readonly have: unknown;
}

/** Maps all the way down; lists are leaves, compared as a whole because their order means something. */
export interface Tree {
  readonly [key: string]: unknown;
}

const isTree = (value: unknown): value is Tree =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

const join = (path: string, key: string): string => {
  if (!/^\w+$/.test(key)) return `${path}[${JSON.stringify(key)}]`;
  return path === '' ? key : `${path}.${key}`;
};

/** Every leaf in which two trees differ, in the order of its path. Runs for every service in every pass: plain loops. */
export function diffTrees(want: Tree, have: Tree): readonly Difference[] {
  const found: Difference[] = [];
  collect(want, have, '', found);
  return found.sort((a, b) => (a.path < b.path ? -1 : 1));
}

/** A variable or label may be called like something that every object inherits. */
const own = (tree: Tree, key: string): unknown => (Object.hasOwn(tree, key) ? tree[key] : undefined);

function collect(want: Tree, have: Tree, path: string, found: Difference[]): void {
  for (const key in want) {
    const wanted = want[key];
    const had = own(have, key);
    if (wanted === had) continue;
    if (isTree(wanted) && isTree(had)) collect(wanted, had, join(path, key), found);
    else if (!isDeepStrictEqual(wanted, had)) found.push({ path: join(path, key), want: wanted, have: had });
  }
  for (const key in have)
    if (!Object.hasOwn(want, key)) found.push({ path: join(path, key), want: undefined, have: have[key] });
}

/** Maps whose keys people choose: there an empty value is a value. */
const CHOSEN_KEYS = new Set(['Labels', 'Sysctls', 'Options', 'DriverOpts']);

/** Drops what says nothing (null, '', false, 0, empty lists and maps), as Go's omitempty may or may not have done. */
export function compact(tree: Tree, zeroMeansSomething: ReadonlySet<string> = new Set()): Tree {
  const kept: Record<string, unknown> = {};
  for (const key in tree) {
    const value = tree[key];
    const inner = CHOSEN_KEYS.has(key) ? value : compactValue(value, zeroMeansSomething);
    const wish = inner !== undefined && inner !== null && zeroMeansSomething.has(key);
    if (wish || !saysNothing(inner)) kept[key] = inner;
  }
  return kept;
}

function compactValue(value: unknown, zeroMeansSomething: ReadonlySet<string>): unknown {
  if (Array.isArray(value)) return value.map((member) => compactValue(member, zeroMeansSomething));
  return isTree(value) ? compact(value, zeroMeansSomething) : value;
}

function saysNothing(value: unknown): boolean {
  if (value === undefined || value === null || value === '' || value === false || value === 0) return true;
  if (typeof value !== 'object') return false;
  for (const _ in value) return false;
  return true;
}
