import { isDeepStrictEqual } from 'node:util';
import type { Difference } from './difference.ts';

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

/** Every leaf in which two trees differ, in the order of its path. */
export function diffTrees(want: Tree, have: Tree, path = ''): readonly Difference[] {
  const keys = [...new Set([...Object.keys(want), ...Object.keys(have)])].sort();
  return keys.flatMap((key) => {
    const [wanted, had] = [want[key], have[key]];
    if (isTree(wanted) && isTree(had)) return diffTrees(wanted, had, join(path, key));
    return isDeepStrictEqual(wanted, had) ? [] : [{ path: join(path, key), want: wanted, have: had }];
  });
}

/** Drops what says nothing (null, '', false, 0, empty lists and maps), as Go's omitempty may or may not have done. */
export function compact(tree: Tree, zeroMeansSomething: ReadonlySet<string> = new Set()): Tree {
  const kept = Object.entries(tree).flatMap(([key, value]): [string, unknown][] => {
    const inner = isTree(value) ? compact(value, zeroMeansSomething) : value;
    if (zeroMeansSomething.has(key) && inner !== undefined && inner !== null) return [[key, inner]];
    return saysNothing(inner) ? [] : [[key, inner]];
  });
  return Object.fromEntries(kept.sort(([a], [b]) => (a < b ? -1 : 1)));
}

function saysNothing(value: unknown): boolean {
  if (value === undefined || value === null || value === '' || value === false || value === 0) return true;
  if (Array.isArray(value)) return value.length === 0;
  return typeof value === 'object' && Object.keys(value).length === 0;
}
