import { parseAllDocuments, stringify } from 'yaml';

export const REDACTED = '[redacted]';

const secretWord =
  'passw(?:or)?d|passphrase|secret|token|credential|api[_-]?key|access[_-]?key|private[_-]?key|authorization';
/** What a name of a setting says when its value is nobody's business: too many are better than one too few. */
const secretName = new RegExp(
  `${secretWord}|(?:^|[_.-])(?:pass|pwd|auth)$|[_.-](?:key|cookie|salt)$|^content$`,
  'i',
);
/** These hold names and places, not what is secret. */
const listName = /^secrets$/i;

const value = String.raw`\[redacted\]|"(?:\\.|[^"\\])*"|'[^']*'|[^\s"',;&)}\]]+`;
const words: readonly (readonly [RegExp, string])[] = [
  [/-----BEGIN [A-Z0-9 ]+-----[\s\S]*?(?:-----END [A-Z0-9 ]+-----|$)/g, REDACTED],
  [/\b([a-z][a-z0-9+.-]*:\/\/)[^\s/"'<>]+@/gi, `$1${REDACTED}@`],
  [/\b(?:SWMTKN|glpat|xox[abprs])-[\w-]+/g, REDACTED],
  [/\b(?:gh[opsur]|github_pat)_\w+/g, REDACTED],
  [/\b(?:AKIA|ASIA)[A-Z0-9]{16}\b/g, REDACTED],
  [/\beyJ[\w-]+\.[\w-]+\.[\w-]*/g, REDACTED],
  [/\b(Bearer|Basic)\s+[\w.~+/=-]+/g, `$1 ${REDACTED}`],
  [new RegExp(`(--?[\\w-]*(?:${secretWord})[\\w-]*)[ \\t]+(?:${value})`, 'gi'), `$1 ${REDACTED}`],
  [
    new RegExp(
      `([\\w.-]*(?:${secretWord}|[_.-](?:pass|pwd|auth|key))["']?[ \\t]*[=:][ \\t]*)(?:${value})`,
      'gi',
    ),
    `$1${REDACTED}`,
  ],
];

/** Text without what looks like a secret: keys, tokens, what stands in a URL before the host, values of such names. */
export function redactText(text: string): string {
  return words.reduce((all, [pattern, instead]) => all.replace(pattern, instead), text);
}

/** Data of JSON or YAML without secrets: values under such names are left out whole, all other text as by `redactText`. */
export function redactTree(tree: unknown, name = ''): unknown {
  const isSecret = secretName.test(name) && !listName.test(name);
  if (Array.isArray(tree))
    return tree.map((each, index) => redactTree(each, isSecret ? name : flagBefore(tree, index)));
  if (typeof tree === 'object' && tree !== null)
    return Object.fromEntries(
      Object.entries(tree).map(([key, each]) => [redactText(key), redactTree(each, isSecret ? name : key)]),
    );
  if (isSecret && (typeof tree === 'string' || typeof tree === 'number')) return REDACTED;
  return typeof tree === 'string' ? redactText(tree) : tree;
}

/** `--password`, when it stands right before its value in a list of arguments. */
function flagBefore(list: readonly unknown[], index: number): string {
  const before = list[index - 1];
  return typeof before === 'string' && /^--?[\w-]+$/.test(before) ? before : '';
}

/** YAML without secrets, comments and anchors; undefined when it cannot be understood, and so cannot be redacted. */
export function redactYaml(text: string): string | undefined {
  try {
    const documents = parseAllDocuments(text, { merge: true, logLevel: 'error' });
    if (!Array.isArray(documents) || documents.some(({ errors }) => errors.length > 0)) return undefined;
    return documents.map((document) => stringify(redactTree(document.toJS()))).join('---\n');
  } catch {
    return undefined; // aliases of nothing, or of too much
  }
}

/** JSON without secrets; undefined when it cannot be understood. */
export function redactJson(text: string): string | undefined {
  try {
    return JSON.stringify(redactTree(JSON.parse(text)), undefined, 2);
  } catch {
    return undefined;
  }
}

/** Lines, each of JSON or of words. */
export function redactLines(text: string): string {
  return text
    .split('\n')
    .map((line) => {
      try {
        return line.startsWith('{') ? JSON.stringify(redactTree(JSON.parse(line))) : redactText(line);
      } catch {
        return redactText(line);
      }
    })
    .join('\n');
}
