import { readFile } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { ManifestError, type Problem } from '../../crds/problem.ts';
import type { ComposeModel } from './compose-schema.ts';
import { convertStack, type DesiredStack } from './convert-stack.ts';
import { parseEnvFile } from './environment.ts';
import type { Variables } from './interpolate.ts';
import { type ComposeText, type LoadedCompose, loadCompose } from './load-compose.ts';

interface StackSource {
  readonly cluster: string;
  readonly name: string;
  /** The compose file, and what is laid over it; the files that they name are relative to the folder of the first. */
  readonly path: string;
  readonly overrides?: readonly string[];
  /** All that `${...}` in it can see. */
  readonly variables: Variables;
}

/** Throws a ManifestError with all problems when the files, or one that they name, cannot be read or are wrong. */
export type LoadStack = (source: StackSource, signal: AbortSignal) => Promise<DesiredStack>;

interface Remembered {
  readonly source: StackSource;
  readonly texts: readonly ComposeText[];
  readonly loaded: LoadedCompose;
  readonly files: ReadonlyMap<string, Uint8Array>;
  readonly stack: DesiredStack;
}

/** Reads stacks, and gives the very same object again while file, variables and contents are the same. */
export function stackLoader(): LoadStack {
  const seen = new Map<string, Remembered>();
  return async (source, signal) => {
    const key = `${source.cluster}/${source.name}`;
    const paths = [source.path, ...(source.overrides ?? [])];
    const texts = await Promise.all(paths.map((path) => readText(path, signal)));
    const last = seen.get(key);
    const same = last && isDeepStrictEqual([last.texts, last.source], [texts, source]) ? last : undefined;
    const loaded = same?.loaded ?? loadCompose(texts, source.variables);
    const files = await readFiles(source, loaded, signal);
    if (same && isDeepStrictEqual(same.files, files)) return same.stack;
    const { cluster, name, variables } = source;
    const context = { cluster, stack: name, files, folder: dirname(source.path), variables };
    const stack = convertStack(loaded, context);
    seen.set(key, { source, texts, loaded, files, stack });
    return stack;
  };
}

async function readText(path: string, signal: AbortSignal): Promise<ComposeText> {
  try {
    return { file: path, text: await readFile(path, { encoding: 'utf8', signal }) };
  } catch (error) {
    signal.throwIfAborted();
    const problem = { file: path, line: 0, column: 0, path: '', message: reason(error) };
    throw new ManifestError([problem], { cause: error });
  }
}

const reason = (error: unknown): string => `cannot be read: ${(error as Error).message}`;

async function readFiles(
  source: StackSource,
  { model, problemAt }: LoadedCompose,
  signal: AbortSignal,
): Promise<ReadonlyMap<string, Uint8Array>> {
  const files = new Map<string, Uint8Array>();
  const problems: Problem[] = [];
  for (const { file, path, kind } of namedFiles(model)) {
    const absolute = resolve(dirname(source.path), file);
    try {
      const content = await readFile(absolute, { signal });
      if (kind !== 'content') parseEnvFile(new TextDecoder().decode(content));
      files.set(file, content);
    } catch (error) {
      signal.throwIfAborted();
      if (error instanceof RangeError) problems.push(problemAt(path, `${file}: ${error.message}`));
      else if (kind !== 'optional') problems.push(problemAt(path, reason(error)));
    }
  }
  problems.push(
    ...unsetContents(model, source.variables, problemAt),
    ...longNames(source.name, model, problemAt),
  );
  if (problems.length > 0) throw new ManifestError(problems);
  return files;
}

interface NamedFile {
  readonly file: string;
  readonly path: readonly PropertyKey[];
  readonly kind: 'content' | 'environment' | 'optional';
}

function namedFiles({ services, configs, secrets }: ComposeModel): readonly NamedFile[] {
  const contents = Object.entries({ configs, secrets }).flatMap(([section, files]) =>
    Object.entries(files).flatMap(([name, { file }]): readonly NamedFile[] =>
      file === undefined ? [] : [{ file, path: [section, name, 'file'], kind: 'content' }],
    ),
  );
  const environments = Object.entries(services).flatMap(([name, { environment = [] }]) =>
    environment.flatMap((part): readonly NamedFile[] => {
      if (!('path' in part)) return [];
      const kind = part.required === false ? 'optional' : 'environment';
      return [{ file: part.path, path: ['services', name, 'env_file'], kind }];
    }),
  );
  return [...contents, ...environments];
}

/** The swarm takes 63 letters for the name of a service, the stack's among them, and 64 for that of a config or secret. */
function longNames(stack: string, model: ComposeModel, problemAt: LoadedCompose['problemAt']) {
  const { services, configs, secrets } = model;
  const longer = (path: readonly PropertyKey[], name: string, most: number): readonly Problem[] => {
    const message = `with the stack's it has ${name.length} letters: a swarm takes ${most}`;
    return name.length > most ? [problemAt(path, message)] : [];
  };
  const files = Object.entries({ configs, secrets }).flatMap(([section, own]) =>
    Object.entries(own).map(([key, file]) => ({ section, key, ...file })),
  );
  return [
    ...Object.keys(services).flatMap((key) => longer(['services', key], `${stack}_${key}`, 63)),
    ...files.flatMap(({ section, key, name = `${stack}_${key}`, external }) =>
      external === true ? [] : longer([section, key], name, 64),
    ),
  ];
}

/** Contents that come from a variable which is not there. */
function unsetContents(
  { configs, secrets }: ComposeModel,
  variables: Variables,
  problemAt: LoadedCompose['problemAt'],
): readonly Problem[] {
  return Object.entries({ configs, secrets }).flatMap(([section, files]) =>
    Object.entries(files).flatMap(([name, { environment }]) =>
      environment === undefined || Object.hasOwn(variables, environment)
        ? []
        : [
            problemAt(
              [section, name, 'environment'],
              `variable ${environment} is not set: give it under env`,
            ),
          ],
    ),
  );
}
