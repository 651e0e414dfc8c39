// `npm run matrix [-- [-o json] [--kind NAME]... [--situation TEXT]... [--fresh]]`: the crash-safety matrix. For every
// fault kind and every transition of its machine the controller is killed there and started again; then nothing may be
// left on any node that was not there before, the run is closed, and the next one is clean. Resumes where it was cut off.
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { ensureLocalEngine } from '../../provisioners/shared/install-engine.ts';
import { faultKinds } from '../../state-machines/faults/catalog.ts';
import { type Cell, openMatrix } from './cell.ts';
import { situations } from './situations.ts';

const { values } = parseArgs({
  options: {
    output: { type: 'string', short: 'o', default: 'table' },
    kind: { type: 'string', multiple: true, default: [] },
    situation: { type: 'string', multiple: true, default: [] },
    fresh: { type: 'boolean', default: false },
  },
});
const note = (line: string) => void process.stderr.write(`${line}\n`);
const isWanted = (given: readonly string[], name: string) =>
  given.length === 0 || given.some((text) => name.includes(text));

const folder = join(import.meta.dirname, '..', '..', '..', '.cache');
const file = join(folder, 'matrix.json');
const known = values.fresh ? [] : readCells();
const cells: Cell[] = [];
const wanted = faultKinds
  .filter(({ name }) => isWanted(values.kind, name))
  .flatMap((kind) =>
    situations
      .filter(({ name, onlyHeld }) => isWanted(values.situation, name) && !(onlyHeld && kind.instant))
      .map((situation) => ({ kind, situation })),
  );
const keyOf = (cell: Pick<Cell, 'kind' | 'situation'>) => `${cell.kind}/${cell.situation}`;
const done = new Map(known.filter(({ ok }) => ok).map((cell) => [keyOf(cell), cell]));

await ensureLocalEngine(note, AbortSignal.timeout(300_000));
const matrix = await openMatrix(note);
try {
  for (const { kind, situation } of wanted) {
    const lacking = await matrix.lacks(kind);
    if (lacking.length > 0) {
      note(`-      ${kind.name}/${situation.name}: the machines lack ${lacking.join()}`);
      continue;
    }
    const key = { kind: kind.name, situation: situation.name };
    const cell = done.get(keyOf(key)) ?? (await matrix.run(kind, situation));
    cells.push(cell);
    note(
      `${cell.ok ? 'ok    ' : 'NOT OK'} ${keyOf(cell)}${cell.left.length > 0 ? `: ${cell.left.join('; ')}` : ''}`,
    );
    mkdirSync(folder, { recursive: true });
    const others = known.filter((one) => !cells.some((own) => keyOf(own) === keyOf(one)));
    writeFileSync(file, JSON.stringify([...others, ...cells], undefined, 2));
  }
} finally {
  await matrix.close();
}
if (values.output === 'json') process.stdout.write(`${JSON.stringify(cells, undefined, 2)}\n`);
else process.stdout.write(table());
process.exitCode = cells.every(({ ok }) => ok) ? 0 : 1;

function readCells(): readonly Cell[] {
  try {
    return JSON.parse(readFileSync(file, 'utf8')) as Cell[];
  } catch {
    return []; // none yet, or cut off while it was written
  }
}

/** Markdown: a row per situation, a column per kind. */
function table(): string {
  const kinds = [...new Set(cells.map(({ kind }) => kind))];
  const struck = situations
    .map(({ name }) => name)
    .filter((name) => cells.some((cell) => cell.situation === name));
  const rows = struck.map((situation) => {
    const marks = kinds.map((kind) => {
      const cell = cells.find((one) => one.kind === kind && one.situation === situation);
      return cell ? (cell.ok ? 'ok' : 'NOT OK') : '-';
    });
    return `| ${[situation, ...marks].join(' | ')} |`;
  });
  const head = [`| controller killed | ${kinds.join(' | ')} |`, `|---${'|---'.repeat(kinds.length)}|`];
  return `${[...head, ...rows].join('\n')}\n`;
}
