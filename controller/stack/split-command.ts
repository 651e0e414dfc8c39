/**
 * Splits a command written as one text into its words as the docker CLI does (github.com/google/shlex): quotes,
 * backslashes and comments understood, and no shell: `&&` is a word. Throws a RangeError for an open quote.
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
    } else if (char === '#' && word === undefined) {
      at = endOfLine(text, at);
    } else {
      const { piece, end } = takePiece(text, at);
      word = (word ?? '') + piece;
      at = end;
    }
  }
  return word === undefined ? words : [...words, word];
}

function endOfLine(text: string, from: number): number {
  const end = text.indexOf('\n', from);
  return end < 0 ? text.length : end;
}

function takePiece(text: string, at: number): { piece: string; end: number } {
  const char = text.charAt(at);
  if (char === '\\') {
    if (at + 1 === text.length) throw new RangeError('\\ at the end stands before nothing');
    return { piece: text.charAt(at + 1), end: at + 2 };
  }
  if (char !== '"' && char !== "'") return { piece: char, end: at + 1 };
  const close = closingQuote(text, at);
  const inner = text.slice(at + 1, close);
  return { piece: char === '"' ? inner.replace(/\\([\s\S])/g, '$1') : inner, end: close + 1 };
}

function closingQuote(text: string, open: number): number {
  const quote = text.charAt(open);
  for (let at = open + 1; at < text.length; at += 1) {
    if (quote === '"' && text[at] === '\\') at += 1;
    else if (text[at] === quote) return at;
  }
  throw new RangeError(`${quote} is never closed`);
}
