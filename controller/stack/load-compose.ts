import type { z } from 'zod';
import { explainIssue } from '../../crds/explain-issue.ts';
import { formatPath, ManifestError, type Problem } from '../../crds/problem.ts';
import { type ComposeIssue, checkCompose } from './check-compose.ts';
import { type ComposeDocument, readComposeDocument } from './compose-document.ts';
import { type ComposeModel, composeSchema } from './compose-schema.ts';
import { interpolate, type Variables } from './interpolate.ts';

/** A compose file that was understood. */
export interface LoadedCompose {
  readonly model: ComposeModel;
  /** A complaint that only the world can raise, put where the file says it. */
  problemAt(path: readonly PropertyKey[], message: string): Problem;
}

/**
 * Reads a compose file of the subset that a swarm can keep its word on. Nothing is dropped in silence: every key
 * that is not honoured is refused. Throws a ManifestError with all problems and their places.
 * @param file named in problems
 * @param variables all that `${...}` can see
 */
export function loadCompose(file: string, text: string, variables: Variables): LoadedCompose {
  const document = readComposeDocument(text);
  if (!('tree' in document)) throw new ManifestError(document.map((it) => ({ file, path: '', ...it })));
  const issues: ComposeIssue[] = [];
  const tree = interpolateTree(document.tree, [], variables, issues);
  const parsed = composeSchema.safeParse(tree, { error: explainIssue });
  issues.push(...(parsed.error?.issues ?? []).map(toIssue));
  if (parsed.success) issues.push(...checkCompose(parsed.data));
  if (parsed.success && issues.length === 0)
    return { model: parsed.data, problemAt: (path, message) => toProblem(file, document, { path, message }) };
  throw new ManifestError(toProblems(file, document, issues));
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

function toProblem(file: string, document: ComposeDocument, issue: ComposeIssue): Problem {
  const at = document.locate(issue.path, issue.keyIsWrong === true ? 'key' : 'value');
  return { file, ...at, path: formatPath(issue.path), message: issue.message };
}

/** In the order of the file; one complaint a place, since a second one follows from the first. */
function toProblems(
  file: string,
  document: ComposeDocument,
  issues: readonly ComposeIssue[],
): readonly Problem[] {
  const problems = issues.map((issue) => toProblem(file, document, issue));
  const firsts = problems.filter((it, n) => problems.findIndex((other) => other.path === it.path) === n);
  return firsts.sort((a, b) => a.line - b.line || a.column - b.column);
}
