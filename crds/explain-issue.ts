import type { z } from 'zod';
import { nearest } from './nearest.ts';

const TYPE_WORDS: Readonly<Record<string, string>> = {
  string: 'text',
  number: 'a number',
  int: 'a whole number',
  boolean: 'true or false',
  object: 'a map',
  record: 'a map',
  array: 'a list',
};

/** A value as a person would read it back from the file. */
export function shown(value: unknown): string {
  if (value === null) return 'nothing';
  if (Array.isArray(value)) return 'a list';
  if (typeof value === 'object') return 'a map';
  return typeof value === 'string' ? JSON.stringify(value) : String(value);
}

/** ` (did you mean "x"?)` or nothing. */
export function didYouMean(word: unknown, candidates: readonly string[]): string {
  const close = typeof word === 'string' ? nearest(word, candidates) : undefined;
  return close === undefined ? '' : ` (did you mean "${close}"?)`;
}

/** `expected X, got Y`, or `missing, expected X` where there is nothing. */
function expectedGot(expected: string, input: unknown): string {
  return input === undefined ? `missing, expected ${expected}` : `expected ${expected}, got ${shown(input)}`;
}

/** An error for one field in its own words: `expecting('a duration such as 90s')`. */
export function expecting(what: string): (issue: { readonly input?: unknown }) => string {
  return (issue) => expectedGot(what, issue.input);
}

/** Says a schema's complaint in the words of a manifest; undefined leaves a schema's own words alone. */
export function explainIssue(issue: z.core.$ZodRawIssue): string | undefined {
  switch (issue.code) {
    case 'invalid_type':
      return explainType(String(issue.expected), issue.input);
    case 'invalid_value':
      return explainValue(issue.values.map(String), issue.input);
    case 'too_small':
      return explainSize(issue.inclusive === false ? 'more than' : 'at least', Number(issue.minimum), issue);
    case 'too_big':
      return explainSize(issue.inclusive === false ? 'less than' : 'at most', Number(issue.maximum), issue);
    case 'invalid_format':
      return expectedGot(
        issue.pattern ? `text that matches ${issue.pattern}` : `a valid ${issue.format}`,
        issue.input,
      );
    case 'not_multiple_of':
      return expectedGot(`a multiple of ${issue.divisor}`, issue.input);
    case 'invalid_union':
      return expectedGot('one of the forms that are allowed here', issue.input);
    case 'invalid_key':
    case 'invalid_element':
    case 'unrecognized_keys':
    case 'custom':
      return undefined;
  }
}

function explainType(expected: string, input: unknown): string {
  const message = expectedGot(TYPE_WORDS[expected] ?? expected, input);
  if (expected === 'string' && (typeof input === 'number' || typeof input === 'boolean')) {
    return `${message}: put it in quotes`;
  }
  return expected === 'object' && input === null ? `${message}: write {} for an empty one` : message;
}

function explainValue(values: readonly string[], input: unknown): string {
  const words = values.length === 1 ? values[0]! : `one of ${values.join(', ')}`;
  return expectedGot(words, input) + didYouMean(input, values);
}

function explainSize(
  bound: string,
  limit: number,
  { origin, input }: { readonly origin: string; readonly input?: unknown },
): string {
  const size = Array.isArray(input) || typeof input === 'string' ? input.length : undefined;
  if (size === undefined) return expectedGot(`${bound} ${limit}`, input);
  const [one, many] = origin === 'string' ? ['character', 'characters'] : ['entry', 'entries'];
  return `expected ${bound} ${limit} ${limit === 1 ? one : many}, got ${size === 0 ? 'none' : size}`;
}
