import { realpath } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import type { ClusterSpec } from '../../crds/cluster-spec.ts';
import type { Manifest, ManifestSchemas } from '../../crds/manifest.ts';
import { type ParsedDocument, type ParsedManifests, parseManifests } from '../../crds/parse-resource.ts';
import { formatPath, type Problem } from '../../crds/problem.ts';
import { stableHash } from '../stable-hash.ts';
import { checkpointStacks } from '../stack/checkpoint.ts';
import { isMapping, type Mapping, readComposeDocument } from '../stack/compose-document.ts';
import { interpolate } from '../stack/interpolate.ts';
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

/**
 * A loader that parses a file again only when its text changed; never rejects but by the signal. What a manifest asks for
 * without naming a file is written out, so that it is a stack like others: `hdfsFile` is the compose file of its checkpoint.
 */
export function manifestLoader(schemas: ManifestSchemas, read: ReadText, hdfsFile: string): LoadManifest {
  const parsed = new Map<string, { readonly text: string; readonly result: ParsedManifests<Manifest> }>();
  return async (path, signal) => {
    const text = await readOr(read, path, signal);
    if (typeof text !== 'string') return { path, documents: [], problems: [fileProblem(path, text.error)] };
    const cached = parsed.get(path);
    const result =
      cached?.text === text ? cached.result : parseManifests<Manifest>(text, path, { ...schemas });
    parsed.set(path, { text, result });
    const loaded = await Promise.all(
      result.documents.map((document) => loadDocument(document, read, hdfsFile, signal)),
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

/** A problem of one place in a document. */
export function problemAt(
  document: ParsedDocument<Manifest>,
  path: readonly PropertyKey[],
  message: string,
): Problem {
  return {
    file: document.file,
    ...document.locate(path),
    path: formatPath(path),
    message,
    resource: document.key,
  };
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
  hdfsFile: string,
  signal: AbortSignal,
): Promise<Loaded> {
  const { resource } = document;
  if (resource.kind !== 'ClusterSpec') {
    return {
      document: { ...document, inputs: [], specHash: stableHash([document.writtenSpec]) },
      problems: [],
    };
  }
  // From where the manifest really lies, as `cd` and the kernel see `..`, also through a linked folder.
  const folder = await realpath(dirname(document.file));
  const written = resource.spec.stacks;
  const added = checkpointStacks(resource.spec, hdfsFile);
  const stacks = [
    ...written.map((stack) => ({
      ...stack,
      compose: resolve(folder, stack.compose),
      overrides: stack.overrides.map((path) => resolve(folder, path)),
    })),
    ...added,
  ];
  const files = await Promise.all(stacks.map((stack) => readStack(stack, read, signal)));
  const unreadable = files.flatMap(({ errors }, index): Problem[] =>
    errors.map(({ nth, reason }) => {
      const { compose, overrides } = written[index] ?? stacks[index]!;
      const at = nth === 0 ? ['compose'] : ['overrides', nth - 1];
      const path = index < written.length ? ['spec', 'stacks', index, ...at] : ['spec', 'checkpoint'];
      return problemAt(document, path, `${[compose, ...overrides][nth]}: ${reason}`);
    }),
  );
  const problems = [...namesTaken(document, written, added), ...unreadable];
  // Contents in the order of their use, without paths: a checkout that moved is no edit.
  const specHash = stableHash([document.writtenSpec, ...files.map(({ contents }) => [...contents.values()])]);
  const inputs = [...new Set(files.flatMap(({ contents }) => [...contents.keys()]))];
  const located: ClusterSpec = { ...resource, spec: { ...resource.spec, stacks } };
  return { document: { ...document, resource: located, inputs, specHash }, problems };
}

function namesTaken(
  document: ParsedDocument<Manifest>,
  written: readonly { readonly name: string }[],
  added: readonly { readonly name: string }[],
): readonly Problem[] {
  return written.flatMap(({ name }, index) =>
    added.some((stack) => stack.name === name)
      ? [problemAt(document, ['spec', 'stacks', index, 'name'], `${name} is the stack of the checkpoint`)]
      : [],
  );
}

interface StackFiles {
  /** By absolute path; null where a file could not be read. */
  readonly contents: ReadonlyMap<string, string | null>;
  /** Why compose files could not be read: the first, or one of those that are laid over it. */
  readonly errors: readonly { readonly nth: number; readonly reason: string }[];
}

async function readStack(
  { compose, overrides, env }: ClusterSpec['spec']['stacks'][number],
  read: ReadText,
  signal: AbortSignal,
): Promise<StackFiles> {
  const paths = [compose, ...overrides];
  const texts = await Promise.all(paths.map((path) => readOr(read, path, signal)));
  const asText = (text: Awaited<ReturnType<typeof readOr>>) => (typeof text === 'string' ? text : null);
  const contents = new Map(texts.map((text, n) => [paths[n]!, asText(text)]));
  const errors = texts.flatMap((text, nth) =>
    typeof text === 'string' ? [] : [{ nth, reason: text.error }],
  );
  const inputs = texts.flatMap((text) => (typeof text === 'string' ? composeInputs(compose, text, env) : []));
  for (const input of inputs) contents.set(input, asText(await readOr(read, input, signal)));
  return { contents, errors };
}

/** The files that a compose file takes configs, secrets and variables from: editing one of them is an edit of the cluster. */
function composeInputs(
  composePath: string,
  text: string,
  env: Readonly<Record<string, string>>,
): readonly string[] {
  const document = readComposeDocument(text);
  if (!('tree' in document)) return [];
  const { configs, secrets, services } = mapOf(document.tree);
  const files = [configs, secrets].flatMap((section) => valuesOf(section).map((entry) => mapOf(entry).file));
  const envFiles = valuesOf(services).flatMap((service) => {
    const said = mapOf(service).env_file;
    return (Array.isArray(said) ? said : [said]).map((one) => (isMapping(one) ? one.path : one));
  });
  return [...files, ...envFiles].flatMap((file) =>
    typeof file === 'string' ? resolved(composePath, file, env) : [],
  );
}

const mapOf = (value: unknown): Mapping => (isMapping(value) ? value : {});
const valuesOf = (value: unknown): readonly unknown[] => Object.values(mapOf(value));

/** None where a variable is unknown here: the stack's own loader says what is wrong with it. */
function resolved(composePath: string, file: string, env: Readonly<Record<string, string>>): string[] {
  try {
    return [resolve(dirname(composePath), interpolate(file, env))];
  } catch {
    return [];
  }
}
