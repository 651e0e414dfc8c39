import { readFile } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { ManifestError } from '../../crds/problem.ts';
import type { ComposeModel } from './compose-schema.ts';
import { convertStack, type DesiredStack } from './convert-stack.ts';
import type { Variables } from './interpolate.ts';
import { type LoadedCompose, loadCompose } from './load-compose.ts';

interface StackSource {
  readonly cluster: string;
  readonly name: string;
  /** The compose file; the files that it names are relative to its folder. */
  readonly path: string;
  /** All that `${...}` in it can see. */
  readonly variables: Variables;
}

/** Throws a ManifestError with all problems when the file, or one that it names, cannot be read or is wrong. */
export type LoadStack = (source: StackSource, signal: AbortSignal) => Promise<DesiredStack>;

interface Remembered {
  readonly source: StackSource;
  readonly text: string;
  readonly loaded: LoadedCompose;
  readonly files: ReadonlyMap<string, Uint8Array>;
  readonly stack: DesiredStack;
}

/** Reads stacks, and gives the very same object again while file, variables and contents are the same. */
export function stackLoader(): LoadStack {
  const seen = new Map<string, Remembered>();
  return async (source, signal) => {
    const key = `${source.cluster}/${source.name}`;
    const text = await readText(source.path, signal);
    const last = seen.get(key);
    const same = last?.text === text && isDeepStrictEqual(last.source, source) ? last : undefined;
    const loaded = same?.loaded ?? loadCompose(source.path, text, source.variables);
    const files = await readFiles(source, loaded, signal);
    if (same && isDeepStrictEqual(same.files, files)) return same.stack;
    const stack = convertStack(loaded.model, { cluster: source.cluster, stack: source.name, files });
    seen.set(key, { source, text, loaded, files, stack });
    return stack;
  };
}

async function readText(path: string, signal: AbortSignal): Promise<string> {
  try {
    return await readFile(path, { encoding: 'utf8', signal });
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
  const problems = [];
  for (const { file, path } of namedFiles(model)) {
    try {
      const content = await readFile(resolve(dirname(source.path), file), { signal });
      files.set(file, content);
    } catch (error) {
      signal.throwIfAborted();
      problems.push(problemAt(path, reason(error)));
    }
  }
  if (problems.length > 0) throw new ManifestError(problems);
  return files;
}

function namedFiles(
  model: ComposeModel,
): readonly { readonly file: string; readonly path: readonly string[] }[] {
  return (['configs', 'secrets'] as const).flatMap((kind) =>
    Object.entries(model[kind]).flatMap(([name, { file }]) =>
      file === undefined ? [] : [{ file, path: [kind, name, 'file'] }],
    ),
  );
}
