/** Values by name; there is no other environment. */
export type Variables = Readonly<Record<string, string>>;

/**
 * Replaces `$V`, `${V}`, `${V:-d}`, `${V-d}`, `${V:?e}`, `${V?e}`, `${V:+r}`, `${V+r}` and `$$` as compose does,
 * nested ones too. Stricter in one place: a variable that is not set and has no default is an error, not an empty
 * text. Throws a RangeError that says what is wrong.
 */
export function interpolate(text: string, variables: Variables): string {
  let out = '';
  let at = 0;
  for (let dollar = text.indexOf('$'); dollar >= 0; dollar = text.indexOf('$', at)) {
    out += text.slice(at, dollar);
    const { value, end } = expandAt(text, dollar, variables);
    out += value;
    at = end;
  }
  return out + text.slice(at);
}

function expandAt(text: string, dollar: number, variables: Variables): { value: string; end: number } {
  const next = text[dollar + 1];
  if (next === '$') return { value: '$', end: dollar + 2 };
  if (next === '{') {
    const close = closingBrace(text, dollar + 2);
    return { value: expand(text.slice(dollar + 2, close), variables), end: close + 1 };
  }
  const name = /^[A-Za-z_]\w*/.exec(text.slice(dollar + 1))?.[0];
  if (name === undefined) throw new RangeError('a single $ starts a variable: write $$ for the character');
  return { value: mustBeSet(name, variables), end: dollar + 1 + name.length };
}

/** Of variables in the default of another; more than anybody can read. */
const MAX_LEVELS = 20;

function closingBrace(text: string, from: number): number {
  let depth = 1;
  for (let at = from; at < text.length; at += 1) {
    if (text.startsWith('${', at)) depth += 1;
    else if (text[at] === '}') depth -= 1;
    if (depth === 0) return at;
    if (depth > MAX_LEVELS) throw new RangeError(`variables nested deeper than ${MAX_LEVELS} levels`);
  }
  throw new RangeError(`\${ without its }: ${JSON.stringify(text.slice(from - 2, from + 18))}`);
}

function expand(body: string, variables: Variables): string {
  const match = /^([A-Za-z_]\w*)(?:(:?)([-?+])([\s\S]*))?$/.exec(body);
  if (match === null) throw new RangeError(`not a variable: \${${body}}`);
  const [, name = '', colon = '', operator, word = ''] = match;
  const value = Object.hasOwn(variables, name) ? variables[name] : undefined;
  const isSet = colon === ':' ? value !== undefined && value !== '' : value !== undefined;
  if (operator === '-') return isSet ? (value ?? '') : interpolate(word, variables);
  if (operator === '+') return isSet ? interpolate(word, variables) : '';
  if (operator === '?' && !isSet)
    throw new RangeError(
      `variable ${name} must be set${word === '' ? '' : `: ${interpolate(word, variables)}`}`,
    );
  return mustBeSet(name, variables);
}

function mustBeSet(name: string, variables: Variables): string {
  const value = Object.hasOwn(variables, name) ? variables[name] : undefined;
  if (value !== undefined) return value;
  throw new RangeError(
    `variable ${name} is not set: give it under env, or a default as in \${${name}:-default}`,
  );
}
