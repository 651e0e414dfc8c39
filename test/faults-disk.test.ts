import t from 'tap';
import { fillDisk } from '../state-machines/faults/disk/fault.ts';
import { exampleFacts } from './contracts/fault-kind.ts';

const facts = exampleFacts('nodes');
const argsOf = (params: object) => fillDisk.plan(fillDisk.params.parse(params), facts)[0]!.args;

t.test('plans a folder and how much of its file system is left', async (t) => {
  t.same(argsOf({}), ['/var/lib/docker/volumes', 'percent', '100']);
  t.same(argsOf({ path: '/srv', percent: 90 }), ['/srv', 'percent', '90']);
  t.same(argsOf({ leave: '64Mi' }), ['/var/lib/docker/volumes', 'leave', String(64 * 1024 ** 2)]);
});

t.test('refuses what would be two things, or nothing', async (t) => {
  for (const params of [
    { percent: 50, leave: '64Mi' },
    { percent: 0 },
    { percent: 101 },
    { percent: 1.5 },
    { leave: '0Mi' },
    { leave: 64 },
    { path: 'relative' },
    { path: '/with a blank' },
  ])
    t.notOk(fillDisk.params.safeParse(params).success, JSON.stringify(params));
});
