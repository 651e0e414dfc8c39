import t from 'tap';
import type { FaultKind } from '../../state-machines/contract.ts';
import { faultKinds } from '../../state-machines/faults/catalog.ts';
import { openMatrix } from '../matrix/cell.ts';
import { openKnownCells } from '../matrix/known-cells.ts';
import { type Situation, situationsOf, worst } from '../matrix/situations.ts';
import { engineOrSkip } from '../support/lab-engine.ts';

// The crash-safety matrix: for every kind the controller is killed right after the inject, which is where most is at
// stake; with MATRIX=whole (npm run test:full) in every situation. Here all is run anew; `npm run matrix` takes what was
// shown here as known, and makes the table.

const whole = process.env.MATRIX === 'whole';
t.setTimeout(whole ? 14_400_000 : 900_000);
await engineOrSkip(t);
const matrix = await openMatrix((line) => t.comment(line), whole ? 4 : 2);
t.teardown(() => matrix.close());

const known = openKnownCells();
const run = async (kind: FaultKind, situation: Situation) =>
  known.keep(kind, situation, await matrix.run(kind, situation), matrix.about);
const cells = faultKinds.flatMap((kind) =>
  situationsOf(kind)
    .filter(({ name }) => whole || name === worst)
    .map((situation) => ({ kind, situation, cell: run(kind, situation) })),
);
for (const { kind, situation, cell } of cells) {
  await t.test(`${kind.name}, ${situation.name}`, async (t) => {
    const { left, refused } = await cell;
    if (refused !== undefined) t.comment(`refused: ${refused}`);
    t.same(left, [], 'nothing is left, the run is closed, the next one is clean');
  });
}
