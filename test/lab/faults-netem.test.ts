import t from 'tap';
import type { Target } from '../../state-machines/contract.ts';
import { delay } from '../../state-machines/faults/netem/fault.ts';
import { missingNeeds } from '../../state-machines/missing-needs.ts';
import { openFaultLab } from '../support/fault-lab.ts';

// Where the machines' kernel has no network emulator, its kinds are refused before anything is touched; where it has one,
// they work as in guest.test.ts, which proves them on a kernel of its own.

const lab = await openFaultLab(t, { cluster: 'faults-netem', subnet: '10.93.21.0/24' });
const targets: readonly Target[] = [{ kind: 'node', node: 'node1' }];
const lacking = await missingNeeds(lab.node('node1'), delay.needs, lab.scripts, lab.signal);
const kinds = ['delay', 'loss', 'duplicate', 'corrupt', 'reorder'];

await t.test('the trial of the network emulator leaves nothing behind', async (t) => {
  const before = await lab.traces('node1');
  await missingNeeds(lab.node('node1'), delay.needs, lab.scripts, lab.signal);
  t.equal(await lab.traces('node1'), before);
});

await t.test(
  'without it every kind is refused, with the reason, and nothing is touched',
  { skip: lacking.length === 0 && 'the kernel has it' },
  async (t) => {
    t.same(lacking, ['netem']);
    const before = await lab.traces('node1');
    for (const kind of kinds) {
      const { result, records } = await lab.run({ kind, targets, holdMs: 500 });
      t.match(result, { outcome: 'Refused', message: /node1: the node lacks netem/ }, kind);
      t.notOk(
        records.some(({ phase }) => phase === 'injecting'),
        kind,
      );
    }
    t.equal(await lab.traces('node1'), before);
  },
);

await t.test(
  'with it every kind is seen in effect, and seen gone',
  { skip: lacking.length > 0 && 'the kernel has none' },
  async (t) => {
    const before = await lab.traces('node1');
    for (const kind of kinds) {
      const { result } = await lab.run({ kind, targets, holdMs: 500 });
      t.equal(result.outcome, 'Healed', `${kind}: ${result.message ?? 'no message'}`);
    }
    t.equal(await lab.traces('node1'), before);
  },
);
