const PLAIN = /[^\s'"\\]/;
/** Would need a shell, which a command written as text does not get. */
const SHELL_ONLY = /[|&;<>()`]/;

/**
 * Splits a command written as one text into its words as a shell would, quotes and backslashes understood.
 * Throws a RangeError for an open quote or for what only a shell can do.
 */
export function splitCommand(text: string): readonly string[] {
  const words: string[] = [];
  let word: string | undefined;
  for (let at = 0; at < text.length; ) {
    const char = text.charAt(at);
    if (/\s/.test(char)) {
      if (word !== undefined) words.push(word);
      word = undefined;
      at += 1;
      continue;
    }
    const { piece, end } = takePiece(text, at);
    word = (word ?? '') + piece;
    at = end;
  }
  return word === undefined ? words : [...words, word];
}

function takePiece(text: string, at: number): { piece: string; end: number } {
  const char = text.charAt(at);
  if (SHELL_ONLY.test(char))
    throw new RangeError(`${char} needs a shell: quote it, or write ["sh", "-c", "..."]`);
  if (PLAIN.test(char)) return { piece: char, end: at + 1 };
  if (char === '\\') return { piece: text.charAt(at + 1), end: at + 2 };
  const close = closingQuote(text, at);
  const inner = text.slice(at + 1, close);
  return { piece: char === '"' ? inner.replace(/\\(["\\$`])/g, '$1') : inner, end: close + 1 };
}

function closingQuote(text: string, open: number): number {
  const quote = text.charAt(open);
  for (let at = open + 1; at < text.length; at += 1) {
    if (quote === '"' && text[at] === '\\') at += 1;
    else if (text[at] === quote) return at;
  }
  throw new RangeError(`${quote} is never closed`);
}
