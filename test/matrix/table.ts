import type { Cell } from './cell.ts';
import type { Situation } from './situations.ts';

/** Markdown: a row per kind, a column per situation, the columns named below; what failed, and what was refused, as notes. */
export function table(
  cells: readonly Cell[],
  situations: readonly Situation[],
  { about, date }: { readonly about: string; readonly date: string },
): string {
  const kinds = [...new Set(cells.map(({ kind }) => kind))];
  const columns = situations.filter(({ name }) => cells.some(({ situation }) => situation === name));
  const rows = kinds.map((kind) => {
    const marks = columns.map(({ name }) =>
      mark(cells.find((cell) => cell.kind === kind && cell.situation === name)),
    );
    return `| ${kind} | ${marks.join(' | ')} |`;
  });
  const refused = new Map(
    cells.flatMap(({ kind, refused }) => (refused === undefined ? [] : [[kind, refused]])),
  );
  const failed = cells.filter(({ ok }) => !ok);
  return [
    `${cells.filter(({ ok }) => ok).length} of ${cells.length} cells are as promised. ${date}; ${about}.`,
    '',
    `| kind | ${columns.map((_, index) => index + 1).join(' | ')} |`,
    `|---${'|:-:'.repeat(columns.length)}|`,
    ...rows,
    '',
    ...columns.map(({ name }, index) => `${index + 1}. ${name}`),
    '',
    ...(refused.size > 0 ? ['`r`: refused before anything was touched, and nothing was left:', ''] : []),
    ...[...refused].map(([kind, why]) => `- ${kind}: ${why}`),
    ...failed.map(({ kind, situation, left }) => `- **${kind}, ${situation}**: ${left.join('; ')}`),
  ]
    .join('\n')
    .trimEnd()
    .concat('\n');
}

function mark(cell: Cell | undefined): string {
  if (!cell) return '';
  return cell.ok ? (cell.refused === undefined ? 'ok' : 'r') : '**no**';
}
