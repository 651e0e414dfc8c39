import { isAlias, type LineCounter, visit } from 'yaml';
import type { z } from 'zod';
import { didYouMean, explainIssue, shown } from './explain-issue.ts';
import { API_VERSION, type Resource, resourceKey } from './group.ts';
import { type Locate, locator, type YamlDocument } from './locator.ts';
import { nearest } from './nearest.ts';
import { formatPath, type Problem } from './problem.ts';
import { isTooDeep, readYaml, TOO_DEEP } from './read-yaml.ts';
import { fieldsAt } from './schema-fields.ts';

/** The schema of each kind that a manifest may hold, by kind. */
export type ResourceSchemas<R extends Resource = Resource> = Readonly<Record<string, z.ZodType<R>>>;

/** One valid resource of a file. */
export interface ParsedDocument<R extends Resource = Resource> {
  readonly key: string;
  readonly file: string;
  /** With the defaults filled in. */
  readonly resource: R;
  /** The spec as it was written: a new default in a later version is no edit. */
  readonly writtenSpec: unknown;
  /** The line and column of a field, for problems that only the whole set of manifests can show. */
  readonly locate: Locate;
}

/** All that a file says: the resources that are valid, and everything that is wrong with the others. */
export interface ParsedManifests<R extends Resource = Resource> {
  readonly documents: readonly ParsedDocument<R>[];
  readonly problems: readonly Problem[];
}

/** Reads every document of a file; finds all problems of all of them, with their places, and throws nothing. */
export function parseManifests<R extends Resource>(
  text: string,
  file: string,
  schemas: ResourceSchemas<R>,
): ParsedManifests<R> {
  const parsed = readYaml(text, {});
  const { lines } = parsed;
  if ('tooDeepAt' in parsed) {
    const { line, col } = lines.linePos(parsed.tooDeepAt);
    return { documents: [], problems: [{ file, line, column: col, path: '', message: TOO_DEEP }] };
  }
  const documents: ParsedDocument<R>[] = [];
  const problems: Problem[] = [];
  for (const yaml of parsed.documents) {
    const read = readDocument({ yaml, lines, text, file, schemas });
    documents.push(...read.documents);
    problems.push(...read.problems);
  }
  return { documents, problems };
}

interface Source<R extends Resource> {
  readonly yaml: YamlDocument;
  readonly lines: LineCounter;
  readonly text: string;
  readonly file: string;
  readonly schemas: ResourceSchemas<R>;
}

interface Complaint {
  readonly path: readonly PropertyKey[];
  readonly message: string;
  /** The key itself is wrong, not what it holds. */
  readonly atKey?: boolean;
}

function readDocument<R extends Resource>(source: Source<R>): ParsedManifests<R> {
  const { yaml, lines, file, schemas } = source;
  const syntax = syntaxProblems(source);
  if (syntax.broken) return { documents: [], problems: syntax.problems };
  const plain = plainValue(source);
  if (plain.problem) return { documents: [], problems: [...syntax.problems, plain.problem] };
  if (plain.data === null || plain.data === undefined) return { documents: [], problems: syntax.problems };

  const locate = locator(yaml, lines);
  const { complaints, resource, kind } = validate(plain.data, schemas);
  const key = keyOf(kind, plain.data);
  const problems = [
    ...syntax.problems,
    ...complaints.map(({ path, message, atKey }): Problem => {
      return { file, ...locate(path, atKey ? 'key' : 'value'), path: formatPath(path), message };
    }),
  ].map((problem) => (key === undefined ? problem : { ...problem, resource: key }));
  if (problems.length > 0 || !resource || key === undefined)
    return { documents: [], problems: problems.sort(byPlace) };
  const writtenSpec = (plain.data as { readonly spec: unknown }).spec;
  return { documents: [{ key, file, resource, writtenSpec, locate }], problems: [] };
}

const byPlace = (a: Problem, b: Problem): number => a.line - b.line || a.column - b.column;

/** `broken`: the text is no YAML, so that what it would say is unknown; a key given twice is wrong but readable. */
function syntaxProblems({ yaml, lines, text, file }: Source<Resource>): {
  broken: boolean;
  problems: Problem[];
} {
  const faults = [...yaml.errors, ...yaml.warnings];
  const problems = faults.map((fault): Problem => {
    const { line, col } = lines.linePos(fault.pos[0]);
    const twice = fault.code === 'DUPLICATE_KEY' ? /^[^:\s]+/.exec(text.slice(fault.pos[0])) : null;
    const message = twice ? `${twice[0]} is given twice` : `not valid YAML: ${fault.message}`;
    return { file, line, column: col, path: '', message };
  });
  return { broken: yaml.errors.some((error) => error.code !== 'DUPLICATE_KEY'), problems };
}

function plainValue({ yaml, lines, file }: Source<Resource>): { data?: unknown; problem?: Problem } {
  try {
    const data: unknown = yaml.toJS();
    if (isTooDeep(data)) throw new RangeError(TOO_DEEP);
    return { data };
  } catch (error) {
    const { line, col } = lines.linePos(danglingAlias(yaml) ?? yaml.range[0]);
    const message = `not valid YAML: ${error instanceof Error ? error.message : String(error)}`;
    return { problem: { file, line, column: col, path: '', message } };
  }
}

/** Where an alias stands that no anchor belongs to: yaml finds it only when it is resolved, and names no place. */
function danglingAlias(yaml: YamlDocument): number | undefined {
  const anchors = new Set<string>();
  let offset: number | undefined;
  visit(yaml, {
    Node: (_key, node) => {
      if (!isAlias(node)) anchors.add(node.anchor ?? '');
      else if (!anchors.has(node.source)) offset ??= node.range?.[0];
    },
  });
  return offset;
}

interface Validated<R extends Resource> {
  readonly complaints: readonly Complaint[];
  readonly resource?: R | undefined;
  readonly kind?: string;
}

function validate<R extends Resource>(data: unknown, schemas: ResourceSchemas<R>): Validated<R> {
  if (typeof data !== 'object' || data === null || Array.isArray(data)) {
    const message = `expected a map with apiVersion, kind, metadata and spec, got ${shown(data)}`;
    return { complaints: [{ path: [], message }] };
  }
  const written = (data as { readonly kind?: unknown }).kind;
  const kinds = Object.keys(schemas);
  const meant =
    typeof written === 'string'
      ? (kinds.find((kind) => kind === written) ?? nearest(written, kinds))
      : undefined;
  if (meant === undefined) return { complaints: unknownKind(data, written, kinds) };
  const schema = schemas[meant]!;
  // A misspelt kind is read as the one that was meant, so that the rest of the document is judged too.
  const result = schema.safeParse({ ...data, kind: meant }, { error: explainIssue });
  const misspelt = meant === written ? [] : [{ path: ['kind'], message: wrongWord(written, kinds) }];
  const complaints = result.success ? [] : result.error.issues.flatMap((issue) => complain(issue, schema));
  return { complaints: [...misspelt, ...complaints], resource: result.data, kind: meant };
}

/** Without a kind nothing else can be judged but the version. */
function unknownKind(data: object, written: unknown, kinds: readonly string[]): Complaint[] {
  const version = (data as { readonly apiVersion?: unknown }).apiVersion;
  const wrongVersion =
    version === API_VERSION ? [] : [{ path: ['apiVersion'], message: wrongWord(version, [API_VERSION]) }];
  return [...wrongVersion, { path: ['kind'], message: wrongWord(written, kinds) }];
}

function wrongWord(written: unknown, words: readonly string[]): string {
  const expected = words.length === 1 ? words[0]! : `one of ${words.join(', ')}`;
  if (written === undefined) return `missing, expected ${expected}`;
  return `expected ${expected}, got ${shown(written)}${didYouMean(written, words)}`;
}

function complain(issue: z.core.$ZodIssue, schema: z.ZodType): Complaint[] {
  if (issue.code === 'unrecognized_keys') {
    const known = fieldsAt(schema, issue.path);
    return issue.keys.map((key) => ({
      path: [...issue.path, key],
      message: unknownField(key, known),
      atKey: true,
    }));
  }
  if (issue.code === 'invalid_key')
    return issue.issues.map(({ message }) => ({ path: issue.path, message, atKey: true }));
  return [{ path: issue.path, message: issue.message }];
}

function unknownField(key: string, known: readonly string[]): string {
  const close = didYouMean(key, known);
  if (close !== '') return `unknown field${close}`;
  return known.length > 0
    ? `unknown field, expected ${known.length === 1 ? known[0] : `one of ${known.join(', ')}`}`
    : 'unknown field';
}

function keyOf(kind: string | undefined, data: unknown): string | undefined {
  const name = (data as { readonly metadata?: { readonly name?: unknown } | null }).metadata?.name;
  return kind !== undefined && typeof name === 'string' ? resourceKey(kind, name) : undefined;
}
