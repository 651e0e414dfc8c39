import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import t from 'tap';
import { addToyKind } from './support/toy-kind.ts';

// What CONTRIBUTING.md shows is all that a new fault kind takes: its files are added to a copy of this package.

t.setTimeout(180_000);
const toy = await addToyKind();
t.teardown(() => toy.remove());

t.test('a new kind is a folder, an entry of the catalogue and an example', async (t) => {
  t.same(toy.touched.filter((path) => !path.startsWith('state-machines/faults/priority/')).sort(), [
    'manifests/examples/faults/low-priority.yaml',
    'state-machines/faults/catalog.ts',
  ]);
  t.equal(toy.touched.length, 6);
});

t.test('it is listed, and has its row and its branch of the CRD', async (t) => {
  const listed = await toy.node(['dist/controller/main.js', 'schema', 'faults', '-o', 'json']);
  const row = (JSON.parse(listed) as { kind: string }[]).find(({ kind }) => kind === 'lowPriority');
  t.match(row, { level: 'resource', mechanism: 'priority', needs: ['systemd'] });
  await toy.node(['dist/controller/main.js', 'schema', '--write']);
  t.match(await readFile(join(toy.root, 'README.md'), 'utf8'), /^\| `lowPriority` \| resource \| tasks \|/m);
  const crd = await readFile(join(toy.root, 'crds/faultschedules.spark-failures.io.yaml'), 'utf8');
  t.match(crd, /^ +lowPriority:$/m);
});

t.test('it keeps the contract of every kind, and its example is in force', async (t) => {
  const contract = await toy.node(['dist/test/faults.test.js']);
  t.match(contract, /^ok \d+ - lowPriority/m);
  const golden = await toy.node(['dist/test/golden.test.js'], { UPDATE_GOLDEN: '1' });
  t.match(golden, /^ok \d+ - every golden file belongs to a manifest/m);
  const plan = await readFile(join(toy.root, 'test/golden/examples/faults/low-priority.txt'), 'utf8');
  t.match(plan, /faults\/priority\/inject\.sh/);
});
