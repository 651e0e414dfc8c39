import { createHash } from 'node:crypto';
import { realpath } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import type { ClusterSpec } from '../../crds/cluster-spec.ts';
import type { Manifest, ManifestSchemas } from '../../crds/manifest.ts';
import { type ParsedDocument, type ParsedManifests, parseManifests } from '../../crds/parse-resource.ts';
import { formatPath, type Problem } from '../../crds/problem.ts';
import { composeInputs } from './compose-inputs.ts';
import type { ReadText } from './read-settled.ts';

/** One valid resource with all that it takes from other files. */
export interface LoadedDocument extends ParsedDocument<Manifest> {
  /** Other files that it depends on, absolute: compose files and what they take configs and secrets from. */
  readonly inputs: readonly string[];
  /** Of the spec as written and the content of the inputs: another one is another generation. */
  readonly specHash: string;
}

/** What one file says; with any problem, none of its documents is taken. */
export interface LoadedFile {
  readonly path: string;
  readonly documents: readonly LoadedDocument[];
  readonly problems: readonly Problem[];
}

export type LoadManifest = (path: string, signal: AbortSignal) => Promise<LoadedFile>;

/** A loader that parses a file again only when its text changed; never rejects but by the signal. */
export function manifestLoader(schemas: ManifestSchemas, read: ReadText): LoadManifest {
  const parsed = new Map<string, { readonly text: string; readonly result: ParsedManifests<Manifest> }>();
  return async (path, signal) => {
    const text = await readOr(read, path, signal);
    if (typeof text !== 'string') return { path, documents: [], problems: [fileProblem(path, text.error)] };
    const cached = parsed.get(path);
    const result =
      cached?.text === text ? cached.result : parseManifests<Manifest>(text, path, { ...schemas });
    parsed.set(path, { text, result });
    const loaded = await Promise.all(
      result.documents.map((document) => loadDocument(document, read, signal)),
    );
    const problems = [...result.problems, ...loaded.flatMap((one) => one.problems)];
    if (loaded.length === 0 && problems.length === 0) problems.push(fileProblem(path, EMPTY));
    return { path, documents: loaded.map((one) => one.document), problems };
  };
}

const EMPTY = 'holds no resource: nothing is deleted as long as it is here';

/** A problem of a file as a whole. */
export function fileProblem(file: string, message: string): Problem {
  return { file, line: 0, column: 0, path: '', message };
}

async function readOr(
  read: ReadText,
  path: string,
  signal: AbortSignal,
): Promise<string | { readonly error: string }> {
  try {
    return await read(path, signal);
  } catch (error) {
    signal.throwIfAborted();
    const code = (error as NodeJS.ErrnoException).code;
    if (code === 'ENOENT') return { error: 'there is no such file' };
    return { error: code === undefined ? (error as Error).message : `cannot be read (${code})` };
  }
}

interface Loaded {
  readonly document: LoadedDocument;
  readonly problems: readonly Problem[];
}

async function loadDocument(
  document: ParsedDocument<Manifest>,
  read: ReadText,
  signal: AbortSignal,
): Promise<Loaded> {
  const { resource } = document;
  if (resource.kind !== 'ClusterSpec') {
    return { document: { ...document, inputs: [], specHash: hash([document.writtenSpec]) }, problems: [] };
  }
  // From where the manifest really lies, as `cd` and the kernel see `..`, also through a linked folder.
  const folder = await realpath(dirname(document.file));
  const written = resource.spec.stacks;
  const stacks = written.map((stack) => ({ ...stack, compose: resolve(folder, stack.compose) }));
  const files = await Promise.all(stacks.map((stack) => readStack(stack, read, signal)));
  const problems = files.flatMap(({ error }, index): Problem[] => {
    if (error === undefined) return [];
    const path = ['spec', 'stacks', index, 'compose'];
    const message = `${written[index]!.compose}: ${error}`;
    return [
      {
        file: document.file,
        ...document.locate(path),
        path: formatPath(path),
        message,
        resource: document.key,
      },
    ];
  });
  // Contents in the order of their use, without paths: a checkout that moved is no edit.
  const specHash = hash([document.writtenSpec, ...files.map(({ contents }) => [...contents.values()])]);
  const inputs = [...new Set(files.flatMap(({ contents }) => [...contents.keys()]))];
  const located: ClusterSpec = { ...resource, spec: { ...resource.spec, stacks } };
  return { document: { ...document, resource: located, inputs, specHash }, problems };
}

interface StackFiles {
  /** By absolute path; null where a file could not be read. */
  readonly contents: ReadonlyMap<string, string | null>;
  /** Why the compose file itself could not be read. */
  readonly error?: string;
}

async function readStack(
  stack: ClusterSpec['spec']['stacks'][number],
  read: ReadText,
  signal: AbortSignal,
): Promise<StackFiles> {
  const compose = await readOr(read, stack.compose, signal);
  if (typeof compose !== 'string')
    return { contents: new Map([[stack.compose, null]]), error: compose.error };
  const contents = new Map<string, string | null>([[stack.compose, compose]]);
  for (const input of composeInputs(stack.compose, compose, stack.env)) {
    const content = await readOr(read, input, signal);
    contents.set(input, typeof content === 'string' ? content : null);
  }
  return { contents };
}

function hash(parts: readonly unknown[]): string {
  return createHash('sha256').update(JSON.stringify(parts, sortedKeys)).digest('hex').slice(0, 16);
}

function sortedKeys(_key: string, value: unknown): unknown {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return value;
  return Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)));
}
