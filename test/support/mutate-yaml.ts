import { parseAllDocuments, stringify } from 'yaml';

/** What people, editors and other programs leave in YAML, and what its readers have stumbled over. */
const scalars: readonly string[] = [
  ...['null', '~', '""', "''", 'true', 'no', '0', '-1', '1e309', '.nan', '.inf', '0x1F', '0o17', '1_000'],
  ...['9007199254740993', '-9223372036854775809', '1.0', '1:30', '2001-01-01', '2001-01-01T00:00:00Z', '10s'],
  ...['[]', '{}', '[[]]', '{ a: { b: [] } }', '[1, two, null]', '!!binary AAAA', '!!set { a }', '!unknown x'],
  ...['*nothing', '&again x', '"\\u0000"', '"\\ud800"', '"\\t"', '|', '>-', '?', '- -', '%TAG', '@x', '`x`'],
  ...[
    '${RATE}',
    '${',
    '${}',
    '${X:?no}',
    '${X:-${Y:-z}}',
    '$$',
    '$X',
    '${X!}',
    '../../../etc/passwd',
    '/dev/zero',
  ],
  ...['__proto__', 'constructor', 'toString', '"a: b"', 'a: b', '#', 'x '.repeat(300), 'n'.repeat(5_000)],
];
const keys: readonly string[] = [
  ...[
    '__proto__',
    'constructor',
    'toString',
    'hasOwnProperty',
    '<<',
    '"0"',
    '? [a, b]',
    '? { a: 1 }',
    'null',
  ],
  ...['"${RATE}"', 'x-y', 'length', '""', 'n'.repeat(300)],
];
const characters: readonly string[] = [
  ...['\t', '\0', '\r', '\n', '\u2028', '\ufeff', '\ud800', '\u202e', '\u00e9', ':', '-', '{', '}', '[', ']'],
  ...[
    ',',
    '#',
    '&',
    '*',
    '!',
    '|',
    '>',
    "'",
    '"',
    '%',
    '@',
    '`',
    '?',
    ' ',
    '  ',
    '---\n',
    '...\n',
    '$',
    '\\',
  ],
];
const aliasBomb = `x-a: &a [x, x, x, x, x, x, x, x, x]
x-b: &b [*a, *a, *a, *a, *a, *a, *a, *a, *a]
x-c: &c [*b, *b, *b, *b, *b, *b, *b, *b, *b]
x-d: &d [*c, *c, *c, *c, *c, *c, *c, *c, *c]
x-e: &e [*d, *d, *d, *d, *d, *d, *d, *d, *d]
x-f: [*e, *e, *e, *e, *e, *e, *e, *e, *e]
`;

type Random = () => number;

const below = (limit: number, random: Random): number => Math.floor(random() * limit);
const oneOf = <T>(all: readonly T[], random: Random): T => all[below(all.length, random)]!;

/** Changes of a text that know what lines, values and indentation are, and nothing else. */
const textual: readonly ((text: string, random: Random) => string)[] = [
  (text, random) => text.slice(0, below(text.length, random)),
  (text, random) => insert(text, oneOf(characters, random), random),
  (text, random) => {
    const at = below(text.length, random);
    return text.slice(0, at) + text.slice(at + 1 + below(40, random));
  },
  (text, random) => onLines(text, random, (lines, at) => lines.splice(at, 1 + below(4, random))),
  (text, random) => onLines(text, random, (lines, at) => lines.splice(at, 0, lines[at] ?? '')),
  (text, random) =>
    onLines(text, random, (lines, at) => {
      const [moved = ''] = lines.splice(at, 1);
      lines.splice(below(lines.length, random), 0, moved);
    }),
  (text, random) =>
    onLines(text, random, (lines, at) => (lines[at] = ' '.repeat(1 + below(4, random)) + lines[at])),
  (text, random) => onLines(text, random, (lines, at) => (lines[at] = (lines[at] ?? '').trimStart())),
  (text, random) =>
    onLines(text, random, (lines, at) => {
      lines[at] = (lines[at] ?? '').replace(/:.*$/, () => `: ${oneOf(scalars, random)}`);
    }),
  (text, random) =>
    onLines(text, random, (lines, at) => {
      lines[at] = (lines[at] ?? '').replace(/[\w.-]+:/, () => `${oneOf(keys, random)}:`);
    }),
  (text, random) =>
    onLines(text, random, (lines, at) => {
      lines[at] = (lines[at] ?? '').replace(/\d+|"[^"]*"/, () => oneOf(scalars, random));
    }),
  (text) => text.replaceAll('\n', '\r\n'),
  (text) => `\ufeff${text}`,
  (text) => `${text}---\n${text}`,
  (text) => `${aliasBomb}${text}`,
  () => '',
  () => '# nothing but a remark\n',
];

function insert(text: string, what: string, random: Random): string {
  const at = below(text.length + 1, random);
  return text.slice(0, at) + what + text.slice(at);
}

function onLines(text: string, random: Random, change: (lines: string[], at: number) => unknown): string {
  const lines = text.split('\n');
  change(lines, below(lines.length, random));
  return lines.join('\n');
}

type Tree = unknown[] | Record<string, unknown>;

/** Changes of what the text means, which leave it well-formed. */
const structural: readonly ((parent: Tree, key: string, random: Random) => void)[] = [
  (parent, key) => {
    if (Array.isArray(parent)) parent.splice(Number(key), 1);
    else delete parent[key];
  },
  (parent, key, random) => set(parent, key, oneOf(values, random)),
  (parent, key) => set(parent, key, [get(parent, key), get(parent, key)]),
  (parent, key) => set(parent, key, { [key]: get(parent, key) }),
  (parent, key) => {
    if (Array.isArray(parent)) parent.push(structuredClone(get(parent, key)));
    else parent[`${key}2`] = structuredClone(get(parent, key));
  },
  (parent, key) => {
    if (Array.isArray(parent)) return;
    const value = get(parent, key);
    delete parent[key];
    parent[`${key}x`] = value;
  },
];
const values: readonly unknown[] = [
  null,
  '',
  ' ',
  0,
  -1,
  1.5,
  1e21,
  Number.NaN,
  true,
  [],
  {},
  [[]],
  { a: null },
  'x',
  '${X}',
];

const get = (parent: Tree, key: string): unknown => (parent as Record<string, unknown>)[key];
const set = (parent: Tree, key: string, value: unknown): void => {
  (parent as Record<string, unknown>)[key] = value;
};

function places(
  tree: unknown,
  found: (readonly [Tree, string])[] = [],
): readonly (readonly [Tree, string])[] {
  if (typeof tree !== 'object' || tree === null) return found;
  for (const key of Object.keys(tree)) {
    found.push([tree as Tree, key]);
    places(get(tree as Tree, key), found);
  }
  return found;
}

function restructure(text: string, random: Random): string {
  const trees = treesOf(text);
  const all = places(trees).filter(([parent]) => parent !== trees);
  if (all.length === 0) return text;
  const [parent, key] = oneOf(all, random);
  oneOf(structural, random)(parent, key, random);
  return trees.map((tree) => stringify(tree)).join('---\n');
}

/** The documents of a text as data, as any reader of YAML sees them; none when it cannot be read. */
export function treesOf(text: string): unknown[] {
  try {
    const documents = parseAllDocuments(text, { merge: true, logLevel: 'error' });
    if (!Array.isArray(documents) || documents.some(({ errors }) => errors.length > 0)) return [];
    return documents.map((document) => document.toJS() as unknown);
  } catch {
    return []; // aliases of nothing, or of too much
  }
}

/** A YAML text with one to three things wrong with it, or merely other: the same for the same random numbers. */
export function mutateYaml(text: string, random: Random): string {
  let mutated = text;
  for (let left = 1 + below(3, random); left > 0; left--)
    mutated = random() < 0.5 ? restructure(mutated, random) : oneOf(textual, random)(mutated, random);
  return mutated;
}
