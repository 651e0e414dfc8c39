import { z } from 'zod';
import { quantityBytes, quantityField } from '../../../crds/quantity.ts';
import type { FaultKind } from '../../contract.ts';
import { stepsOnTasks } from '../steps-on-tasks.ts';

const shared = {
  level: 'resource',
  mechanism: 'burn',
  death: 'slowness',
  targets: ['tasks'],
  instant: false,
} as const;

const cpuParams = z.strictObject({
  workers: z.int().min(1).max(64).default(1).describe('Processes that burn CPU time in each container.'),
  load: z
    .int()
    .min(5)
    .max(100)
    .multipleOf(5)
    .default(100)
    .describe('Percent of a core that each worker demands, in steps of 5.'),
});

/** The chosen tasks' containers share their CPU time with processes that waste it. */
export const cpuPressure: FaultKind<z.output<typeof cpuParams>> = {
  ...shared,
  name: 'cpuPressure',
  summary: 'Burns CPU time in the cgroups of containers of the chosen tasks, out of what they have.',
  params: cpuParams,
  needs: ['systemd', 'cgroup-cpu'],
  plan: ({ workers, load }, { targets }) =>
    stepsOnTasks(cpuPressure, targets, ['cpu', String(workers), String(load)]),
};

const memoryParams = z.strictObject({
  size: quantityField()
    .default('256Mi')
    .describe('Memory that is held in each container, which must have a limit above it: 256Mi, 1Gi.'),
});

/** The chosen tasks' containers find part of the memory of their limit taken. */
export const memoryPressure: FaultKind<z.output<typeof memoryParams>> = {
  ...shared,
  name: 'memoryPressure',
  summary: 'Holds memory in the cgroups of containers of the chosen tasks, out of what their limit leaves.',
  params: memoryParams,
  needs: ['systemd', 'cgroup-memory'],
  plan: ({ size }, { targets }) =>
    stepsOnTasks(memoryPressure, targets, ['memory', String(quantityBytes(size)), '100']),
};

const ioParams = z.strictObject({
  workers: z.int().min(1).max(16).default(1).describe('Processes that write and read in each container.'),
  size: quantityField()
    .default('64Mi')
    .describe(
      'The most that each worker holds of the file system of its container, and writes and reads again.',
    ),
});

/** The chosen tasks' containers share their disk with processes that write to it and read from it past every cache. */
export const ioPressure: FaultKind<z.output<typeof ioParams>> = {
  ...shared,
  name: 'ioPressure',
  summary:
    'Writes and reads past the cache in the cgroups of containers of the chosen tasks, on their own file systems.',
  params: ioParams,
  needs: ['systemd', 'block-io'],
  plan: ({ workers, size }, { targets }) =>
    stepsOnTasks(ioPressure, targets, ['blkio', String(workers), String(quantityBytes(size))]),
};
