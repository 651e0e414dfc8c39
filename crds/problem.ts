/** One thing wrong with a manifest, said so that a person can go there and mend it. */
export interface Problem {
  readonly file: string;
  /** From 1; 0 when the file as a whole is meant. */
  readonly line: number;
  readonly column: number;
  /** Where in the document: `spec.nodes[2].role`; empty for the document or the file. */
  readonly path: string;
  /** What is wrong, ending in "did you mean ...?" where something close exists. */
  readonly message: string;
  /** The resource that the document describes, as far as it could be read. */
  readonly resource?: string;
}

/** One line for people and editors: `file:line:column: path: message`. */
export function formatProblem(problem: Problem): string {
  const place = problem.line > 0 ? `${problem.file}:${problem.line}:${problem.column}` : problem.file;
  return [place, problem.path, problem.message].filter((part) => part !== '').join(': ');
}

/** Manifests were refused; carries all that is wrong with them, never only the first thing. */
export class ManifestError extends Error {
  readonly code = 'MANIFEST_INVALID';
  readonly problems: readonly Problem[];
  constructor(problems: readonly Problem[], options?: ErrorOptions) {
    super(problems.map(formatProblem).join('\n'), options);
    this.name = 'ManifestError';
    this.problems = problems;
  }
}

/** `['spec', 'nodes', 2, 'role']` -> `spec.nodes[2].role`; keys that would read wrong are quoted. */
export function formatPath(path: readonly PropertyKey[]): string {
  return path.reduce<string>((text, key) => {
    if (typeof key === 'number') return `${text}[${key}]`;
    const plain = /^[A-Za-z_][\w-]*$/.test(String(key));
    return plain ? `${text}${text && '.'}${String(key)}` : `${text}[${JSON.stringify(String(key))}]`;
  }, '');
}
