import type { z } from 'zod';
import { explainIssue } from '../../crds/explain-issue.ts';
import { formatPath, ManifestError, type Problem } from '../../crds/problem.ts';
import { type ComposeIssue, checkCompose } from './check-compose.ts';
import { type ComposeDocument, readComposeDocument } from './compose-document.ts';
import { adviseOn, dropEmpty, sortKeys } from './compose-keys.ts';
import { type ComposeModel, composeSchema } from './compose-schema.ts';
import { interpolate, type Variables } from './interpolate.ts';
import { mergeCompose } from './merge-compose.ts';

/** A compose file's content, under the name by which problems call it. */
export interface ComposeText {
  readonly file: string;
  readonly text: string;
}

/** A stack's compose files that were understood. */
export interface LoadedCompose {
  readonly model: ComposeModel;
  /** What they say that has no effect in a swarm, or another one than it seems to. */
  readonly warnings: readonly Problem[];
  /** A complaint that only the world can raise, put where a file says it. */
  problemAt(path: readonly PropertyKey[], message: string): Problem;
}

/**
 * Reads the compose files of a stack, each laid over those before it, as `docker stack deploy` does. Nothing is dropped in
 * silence: a key that is not honoured is told of or refused. Throws a ManifestError with all problems and their places.
 * @param variables all that `${...}` can see
 */
export function loadCompose(files: readonly ComposeText[], variables: Variables): LoadedCompose {
  const parsed = files.map((file) => readFile(file, variables));
  const problems = parsed.flatMap((it) => it.problems);
  const [first, ...others] = parsed.map(({ model }) => model);
  if (problems.length > 0 || first === undefined) throw new ManifestError(problems);
  const model = others.reduce<ComposeModel>((base, over) => mergeCompose(base, over!), first);
  const problemAt = (path: readonly PropertyKey[], message: string) =>
    toProblem(whereSaid(parsed, path), { path, message });
  const wrong = checkCompose(model).map((issue) => toProblem(whereSaid(parsed, issue.path), issue));
  if (wrong.length > 0) throw new ManifestError(inOrder(wrong));
  return { model, warnings: parsed.flatMap((it) => it.warnings), problemAt };
}

/** One file as far as it was understood. */
interface ParsedFile {
  readonly file: string;
  readonly document?: ComposeDocument;
  readonly model?: ComposeModel;
  readonly problems: readonly Problem[];
  readonly warnings: readonly Problem[];
}

function readFile({ file, text }: ComposeText, variables: Variables): ParsedFile {
  const document = readComposeDocument(text);
  if (!('tree' in document))
    return { file, problems: document.map((it) => ({ file, path: '', ...it })), warnings: [] };
  const said = { file, document };
  const sorted = sortKeys(document.tree);
  const issues: ComposeIssue[] = [...sorted.issues];
  const tree = dropEmpty(interpolateTree(sorted.tree, [], variables, issues));
  const { data, error } = composeSchema.safeParse(tree, { error: explainIssue });
  issues.push(...(error?.issues ?? []).map(toIssue));
  const told = [...sorted.warnings, ...adviseOn(tree)];
  return {
    ...said,
    ...(data && { model: data }),
    problems: inOrder(issues.map((issue) => toProblem(said, issue))),
    warnings: inOrder(told.map((issue) => toProblem(said, issue))),
  };
}

type Said = Required<Pick<ParsedFile, 'file' | 'document'>>;

/** The last of the files that say most of the path. */
function whereSaid(files: readonly ParsedFile[], path: readonly PropertyKey[]): Said {
  const said = files.flatMap(({ file, document }) => (document ? [{ file, document }] : []));
  const depths = said.map(({ document }) => depthOf(document.tree, path));
  return said[depths.lastIndexOf(Math.max(...depths))]!;
}

/** How many steps of the path the tree has. */
function depthOf(tree: unknown, path: readonly PropertyKey[]): number {
  let node = tree;
  for (const [depth, key] of path.entries()) {
    if (typeof node !== 'object' || node === null || !Object.hasOwn(node, key)) return depth;
    node = (node as Readonly<Record<PropertyKey, unknown>>)[key];
  }
  return path.length;
}

const isExtension = (key: string): boolean => key.startsWith('x-');

/** Keys stay as they are, and so do top-level extensions: they are not ours to read. */
function interpolateTree(
  node: unknown,
  path: readonly PropertyKey[],
  variables: Variables,
  issues: ComposeIssue[],
): unknown {
  const below = (child: unknown, key: PropertyKey) =>
    interpolateTree(child, [...path, key], variables, issues);
  if (Array.isArray(node)) return node.map(below);
  if (typeof node === 'object' && node !== null) {
    const entries = Object.entries(node).filter(([key]) => path.length > 0 || !isExtension(key));
    return Object.fromEntries(entries.map(([key, child]) => [key, below(child, key)]));
  }
  if (typeof node !== 'string') return node;
  try {
    return interpolate(node, variables);
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    issues.push({ path, message: error.message });
    return node;
  }
}

const toIssue = (issue: z.core.$ZodIssue): ComposeIssue => ({
  path: issue.path,
  message: issue.code === 'invalid_key' ? (issue.issues[0]?.message ?? issue.message) : issue.message,
  keyIsWrong: issue.code === 'invalid_key' || (issue.code === 'custom' && issue.params?.keyIsWrong === true),
});

function toProblem({ file, document }: Said, issue: ComposeIssue): Problem {
  const at = document.locate(issue.path, issue.keyIsWrong === true ? 'key' : 'value');
  return { file, ...at, path: formatPath(issue.path), message: issue.message };
}

/** As they stand in a file; one complaint a place, since a second one follows from the first. */
function inOrder(problems: readonly Problem[]): readonly Problem[] {
  // The first one of a place is the last to be set.
  const byPlace = new Map(problems.toReversed().map((it) => [`${it.file} ${it.path}`, it]));
  return [...byPlace.values()].reverse().sort((a, b) => a.line - b.line || a.column - b.column);
}
