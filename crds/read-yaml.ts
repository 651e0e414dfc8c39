import {
  Composer,
  type CST,
  type DocumentOptions,
  LineCounter,
  type ParsedNode,
  type ParseOptions,
  Parser,
  type SchemaOptions,
} from 'yaml';
import type { YamlDocument } from './locator.ts';

/** More than anybody writes, and far less than what ends whoever goes through it by recursion, or the process itself. */
const MAX_LEVELS = 100;
export const TOO_DEEP = `nested deeper than ${MAX_LEVELS} levels`;

/** A file's documents and where its lines begin; or where it is nested too deeply to be read. */
export type YamlFile =
  | { readonly documents: readonly YamlDocument[]; readonly lines: LineCounter }
  | { readonly tooDeepAt: number; readonly lines: LineCounter };

/** Reads all documents of a text; each has its own errors. Throws nothing, whatever the text is. */
export function readYaml(text: string, options: ParseOptions & DocumentOptions & SchemaOptions): YamlFile {
  const lines = new LineCounter();
  const tokens = tokensOf(text, lines);
  const deep = tokens && belowLimit(tokens, partsOf);
  if (deep) return { tooDeepAt: 'offset' in deep ? deep.offset : 0, lines };
  if (!tokens) return { tooDeepAt: 0, lines };
  const composer = new Composer<ParsedNode, true>({ prettyErrors: false, logLevel: 'error', ...options });
  return { documents: [...composer.compose(tokens)], lines };
}

/** A value that aliases make deep, or endless: what goes through it would not come back. */
export const isTooDeep = (value: unknown): boolean => belowLimit([value], valuesOf) !== undefined;

/** The parser recurses only where a deep block ends, and there is no way to ask it how deep it is. */
function tokensOf(text: string, lines: LineCounter): readonly CST.Token[] | undefined {
  try {
    return [...new Parser(lines.addNewLine).parse(text)];
  } catch (error) {
    if (error instanceof RangeError) return undefined;
    throw error;
  }
}

/** The first one below the last level: level by level, each once, so that neither depth nor aliases cost anything. */
function belowLimit<T>(roots: readonly T[], below: (node: T) => readonly T[]): T | undefined {
  let level = new Set(roots);
  for (let depth = 0; depth < MAX_LEVELS && level.size > 0; depth += 1)
    level = new Set([...level].flatMap(below));
  return [...level][0];
}

function partsOf(token: CST.Token): readonly CST.Token[] {
  if (token.type === 'document') return token.value ? [token.value] : [];
  if (!('items' in token)) return [];
  return token.items.flatMap(({ key, value }) => [key, value].flatMap((it) => (it ? [it] : [])));
}

const valuesOf = (value: unknown): readonly unknown[] =>
  typeof value === 'object' && value !== null ? Object.values(value) : [];
