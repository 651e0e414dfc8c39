import { isAlias, isMap, isScalar, isSeq, type Node, visit } from 'yaml';
import { type Locate, locator, type YamlDocument } from '../../crds/locator.ts';
import { isTooDeep, readYaml, TOO_DEEP } from '../../crds/read-yaml.ts';

/** A compose file as a tree of texts, nulls, lists and maps, that still knows where everything stands. */
export interface ComposeDocument {
  readonly tree: unknown;
  readonly locate: Locate;
}

/** A map of the tree. */
export type Mapping = Readonly<Record<string, unknown>>;
export const isMapping = (value: unknown): value is Mapping =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

export interface YamlProblem {
  readonly line: number;
  readonly column: number;
  readonly message: string;
}

/**
 * Reads one YAML document, anchors and merges resolved. Numbers and booleans stay the text that was written: only
 * the field knows whether `0444` is octal or `1.10` a version.
 */
export function readComposeDocument(text: string): ComposeDocument | readonly YamlProblem[] {
  const file = readYaml(text, { schema: 'failsafe', merge: true });
  const { lines } = file;
  const at = (offset: number) => {
    const { line, col } = lines.linePos(offset);
    return { line: Math.max(line, 1), column: Math.max(col, 1) };
  };
  if ('tooDeepAt' in file) return [{ ...at(file.tooDeepAt), message: TOO_DEEP }];
  const [document, ...others] = file.documents;
  if (document === undefined) return [{ line: 1, column: 1, message: 'the file is empty' }];
  const second = others[0];
  if (second !== undefined)
    return [
      { ...at(second.range?.[0] ?? 0), message: 'a compose file holds one document, this is a second one' },
    ];
  if (document.errors.length > 0)
    return document.errors.map((error) => ({ ...at(error.pos[0]), message: error.message }));
  const tags = localTags(document);
  if (tags.length > 0)
    return tags.map(({ tag, offset }) => ({ ...at(offset), message: `the tag ${tag} is not understood` }));
  markNulls(document);
  try {
    const locate = locator(document, lines);
    const tree: unknown = document.toJS();
    if (isTooDeep(tree)) return [{ line: 1, column: 1, message: TOO_DEEP }];
    return { tree, locate: (path, part) => locate(throughMerges(document, path), part) };
  } catch (error) {
    // yaml refuses aliases that grow without bound.
    return [{ line: 1, column: 1, message: (error as Error).message }];
  }
}

/** The failsafe schema reads an absent value as an empty text; unquoted, it means null. */
function markNulls(document: YamlDocument): void {
  visit(document, {
    Scalar(key, node) {
      const empty = node.source === undefined || /^(|~|null|Null|NULL)$/.test(node.source);
      if (key !== 'key' && node.type === 'PLAIN' && empty) node.value = null;
    },
  });
}

/** `!reset` and `!override` of compose v2 ask for another merge than ours: nobody may believe that they got it. */
function localTags(document: YamlDocument) {
  const tags: { readonly tag: string; readonly offset: number }[] = [];
  visit(document, {
    Node(_key, { tag, range }) {
      if (tag !== undefined && /^!.|:binary$/.test(tag)) tags.push({ tag, offset: range?.[0] ?? 0 });
    },
  });
  return tags;
}

/** yaml keeps the key of a merge as this symbol's twin, so that a key "<<" in quotes is another one. */
const MERGE = Symbol('<<');

/** The same path with a `<<` wherever a value comes in by a merge: there it stands in the file. */
function throughMerges(document: YamlDocument, path: readonly PropertyKey[]): readonly PropertyKey[] {
  const walked: PropertyKey[] = [];
  let node: Node | null = document.contents;
  for (const step of path) {
    const found = find(document, node, step);
    if (found === undefined) return [...walked, step];
    walked.push(...found.steps);
    node = found.value;
  }
  return walked;
}

interface Found {
  readonly steps: readonly PropertyKey[];
  readonly value: Node | null;
}

function find(document: YamlDocument, at: Node | null, step: PropertyKey): Found | undefined {
  const node = isAlias(at) ? at.resolve(document) : at;
  if (isSeq<Node>(node)) {
    const value = node.items[Number(step)];
    return value && { steps: [step], value };
  }
  if (!isMap<Node, Node | null>(node)) return undefined;
  const under = (key: PropertyKey) =>
    node.items.find((pair) => isScalar(pair.key) && String(pair.key.value) === String(key))?.value;
  const own = under(step);
  if (own !== undefined) return { steps: [step], value: own };
  const merged = under(MERGE);
  const sources = isSeq<Node>(merged)
    ? merged.items.map((it, n) => ({ it, via: [MERGE, n] }))
    : [{ it: merged, via: [MERGE] }];
  for (const { it, via } of sources) {
    const found = find(document, it ?? null, step);
    if (found !== undefined) return { steps: [...via, ...found.steps], value: found.value };
  }
  return undefined;
}
