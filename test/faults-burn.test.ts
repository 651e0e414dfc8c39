import { execFile } from 'node:child_process';
import { chmod, mkdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import t from 'tap';
import { cpuPressure, ioPressure, memoryPressure } from '../state-machines/faults/burn/fault.ts';
import { loadScripts } from '../state-machines/load-scripts.ts';
import { exampleFacts } from './contracts/fault-kind.ts';

const run = promisify(execFile);
const { inject } = (await loadScripts('state-machines')).mechanism('burn');

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

t.test('ioPressure is refused where its files would fill the disk, which is fillDisk', async (t) => {
  const root = t.testdir({ run: {} });
  const put = async (path: string, text: string) => {
    await mkdir(dirname(join(root, path)), { recursive: true });
    await writeFile(join(root, path), `${text}\n`);
  };
  await put('proc/77/cgroup', `0::/docker/${container}`);
  await put('proc/77/status', 'NSpid:\t77\t1');
  await put('proc/77/mountinfo', '');
  await put('cgroup/cgroup.controllers', 'io');
  await mkdir(join(root, 'proc/77/root'));
  await put('bin/systemd-run', '#!/bin/sh\necho begun');
  await chmod(join(root, 'bin/systemd-run'), 0o755);
  const env = { ...process.env, PATH: `${join(root, 'bin')}:${process.env.PATH}`, SF_RUN_DIR: './run' };
  const script = inject.replaceAll('/sys/fs/cgroup', './cgroup').replaceAll('/proc/', './proc/');
  const injected = (size: string, workers = 1) => {
    const [step] = ioPressure.plan(ioPressure.params.parse({ size, workers }), facts);
    return run('sh', ['-c', script, 'sh', ...step!.args], { cwd: root, env });
  };
  t.match(await injected('1Mi'), { stdout: 'begun\n' });
  await t.rejects(injected('999999Gi', 16), { code: 69, stderr: /would fill it/ });
});
