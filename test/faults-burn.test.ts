import t from 'tap';
import { cpuPressure, ioPressure, memoryPressure } from '../state-machines/faults/burn/fault.ts';
import { exampleFacts } from './contracts/fault-kind.ts';

const facts = exampleFacts('tasks');
const container = '0'.repeat(64);

t.test('plans workers and their load, or bytes, before the containers', async (t) => {
  const cpu = cpuPressure.plan(cpuPressure.params.parse({ workers: 3, load: 45 }), facts);
  t.same(cpu[0], {
    ...{ node: 'node4', target: 'node4/streaming_spark-worker-1', mechanism: 'burn' },
    args: ['cpu', '3', '45', container],
  });
  const memory = memoryPressure.plan(memoryPressure.params.parse({ size: '1Gi' }), facts);
  t.same(memory[0]?.args, ['memory', String(1024 ** 3), '100', container]);
  const io = ioPressure.plan(ioPressure.params.parse({ workers: 2, size: '1Mi' }), facts);
  t.same(io[0]?.args, ['blkio', '2', String(1024 ** 2), container]);
});

t.test('refuses parameters that mean nothing', async (t) => {
  for (const params of [
    { workers: 0 },
    { workers: 65 },
    { workers: 1.5 },
    { load: 0 },
    { load: 101 },
    { load: 42 },
  ])
    t.notOk(cpuPressure.params.safeParse(params).success, JSON.stringify(params));
  for (const size of ['0Mi', '256', '256M', '1.5Gi', 256])
    t.notOk(memoryPressure.params.safeParse({ size }).success, `size ${size}`);
  for (const params of [{ workers: 0 }, { workers: 17 }, { size: '64' }, { load: 50 }])
    t.notOk(ioPressure.params.safeParse(params).success, JSON.stringify(params));
});
