import {
  type Document,
  isAlias,
  isMap,
  isNode,
  isPair,
  isScalar,
  isSeq,
  type LineCounter,
  type Node,
  type ParsedNode,
} from 'yaml';

/** A parsed document with its places. */
export type YamlDocument = Document.Parsed<ParsedNode, true>;

/** Line and column, from 1. */
interface Place {
  readonly line: number;
  readonly column: number;
}

/** Where the value (or the key) of a path stands; for what is missing, the nearest parent that is there. */
export type Locate = (path: readonly PropertyKey[], part?: 'key' | 'value') => Place;

/** Finds places in one document. */
export function locator(document: YamlDocument, lines: LineCounter): Locate {
  return (path, part = 'value') => {
    const { line, col } = lines.linePos(offsetOf(document, path, part));
    return { line, column: col };
  };
}

function offsetOf(document: YamlDocument, path: readonly PropertyKey[], part: 'key' | 'value'): number {
  let node: unknown = document.contents;
  let offset = startOf(node) ?? document.range[0];
  for (const [depth, key] of path.entries()) {
    const child = childOf(isAlias(node) ? node.resolve(document) : node, key);
    if (!child) return offset;
    // A key says where a block begins better than the first thing in it does; a scalar speaks for itself.
    const atKey = (part === 'key' && depth === path.length - 1) || !isScalar(child.value);
    offset = (atKey ? startOf(child.key) : undefined) ?? startOf(child.value) ?? startOf(child.key) ?? offset;
    node = child.value;
  }
  return offset;
}

function childOf(
  node: unknown,
  key: PropertyKey,
): { readonly key?: unknown; readonly value: unknown } | undefined {
  if (isSeq(node))
    return typeof key === 'number' && key < node.items.length ? { value: node.items[key] } : undefined;
  if (!isMap(node)) return undefined;
  const pair = node.items.findLast(
    (item) =>
      isPair(item) && (isScalar(item.key) ? String(item.key.value) : String(item.key)) === String(key),
  );
  return pair && { key: pair.key, value: pair.value };
}

function startOf(node: unknown): number | undefined {
  return isNode(node) ? ((node as Node).range?.[0] ?? undefined) : undefined;
}
