import { stringify } from 'yaml';

/** How answers are printed; the first when nothing is said. */
export const OUTPUT_FORMATS = ['table', 'json', 'yaml'] as const;
export type OutputFormat = (typeof OUTPUT_FORMATS)[number];

/** What every verb gets from main.ts: where things are, how to answer, when to stop. */
export interface CliContext {
  /** Of this package. */
  readonly version: string;
  /** Root of the installed package: scripts, compose files, CRDs. */
  readonly packageRoot: string;
  readonly stateDir: string;
  readonly cacheDir: string;
  readonly output: OutputFormat;
  /** Writes the verb's answer, a line or more, to standard output. */
  readonly print: (text: string) => void;
  /** Writes progress and remarks for people to standard error. */
  readonly note: (text: string) => void;
  /** Aborts at the first SIGINT or SIGTERM. */
  readonly signal: AbortSignal;
}

/** Exit codes: 0 done, 1 failed, 2 the manifest or the arguments are wrong. */
export type ExitCode = 0 | 1 | 2;

/** Prints `value` as JSON or YAML when that was asked for, else the lines that `table` makes of it. */
export function answer<T>({ output, print }: CliContext, value: T, table: (value: T) => string): void {
  if (output === 'json') print(JSON.stringify(value, undefined, 2));
  else if (output === 'yaml') print(stringify(value).trimEnd());
  else print(table(value));
}

/** Columns as kubectl aligns them: upper-case headings, three spaces apart, no lines. */
export function formatTable(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const all = [head, ...rows];
  const widths = head.map((_, column) => Math.max(...all.map((row) => (row[column] ?? '').length)));
  const line = (row: readonly string[]) =>
    row
      .map((cell, column) => cell.padEnd(widths[column]!))
      .join('   ')
      .trimEnd();
  return all.map(line).join('\n');
}
