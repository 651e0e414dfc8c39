import t from 'tap';
import { faultKinds } from '../../state-machines/faults/catalog.ts';
import { openMatrix } from '../matrix/cell.ts';
import { situations } from '../matrix/situations.ts';
import { engineOrSkip } from '../support/lab-engine.ts';

// The crash-safety matrix: for every kind the controller is killed right after the inject, which is where most is at
// stake; with MATRIX=whole (npm run test:full) at every transition. `npm run matrix` makes the table.

const whole = process.env.MATRIX === 'whole';
t.setTimeout(whole ? 7_200_000 : 900_000);
await engineOrSkip(t);
const matrix = await openMatrix((line) => t.comment(line));
t.teardown(() => matrix.close());

for (const kind of faultKinds) {
  const struck = situations.filter(({ name, onlyHeld }) => {
    return !(onlyHeld && kind.instant) && (whole || name === 'after inject and its check');
  });
  const lacking = await matrix.lacks(kind);
  const skip = lacking.length > 0 && `the machines lack ${lacking.join()}`;
  for (const situation of struck) {
    await t.test(`${kind.name}, the controller killed ${situation.name}`, { skip }, async (t) => {
      const { left } = await matrix.run(kind, situation);
      t.same(left, [], 'nothing is left, the run is closed, the next one is clean');
    });
  }
}
