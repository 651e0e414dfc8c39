import { z } from 'zod';
import { quantityBytes, quantityField } from '../../../crds/quantity.ts';
import type { FaultKind } from '../../contract.ts';
import { stepsOnTasks } from '../steps-on-tasks.ts';

const shared = {
  level: 'resource',
  mechanism: 'limit',
  death: 'slowness',
  targets: ['tasks'],
  instant: false,
} as const;

const cpuParams = z.strictObject({
  cpus: z
    .number()
    .min(0.01)
    .max(1024)
    .multipleOf(0.001)
    .default(0.2)
    .describe('Cores that each container may use, below its present limit.'),
});

/** The chosen tasks' containers get a fraction of the CPU time that they had. */
export const cpuLimit: FaultKind<z.output<typeof cpuParams>> = {
  ...shared,
  name: 'cpuLimit',
  summary: 'Lowers the CPU quota of containers of the chosen tasks: one that demands more is throttled.',
  params: cpuParams,
  needs: ['systemd', 'cgroup-cpu'],
  plan: ({ cpus }, { targets }) => stepsOnTasks(cpuLimit, targets, ['cpu', String(Math.round(cpus * 1000))]),
};

const memoryParams = z.strictObject({
  memory: quantityField()
    .default('512Mi')
    .describe('Memory of each container, swap included, below its present limit: 512Mi, 1Gi.'),
});

/** The chosen tasks' containers may use less memory than they were given. */
export const memoryLimit: FaultKind<z.output<typeof memoryParams>> = {
  ...shared,
  name: 'memoryLimit',
  summary:
    'Lowers the memory limit of containers of the chosen tasks, swap included; running out of memory is an outcome.',
  params: memoryParams,
  needs: ['systemd', 'cgroup-memory'],
  plan: ({ memory }, { targets }) =>
    stepsOnTasks(memoryLimit, targets, ['memory', String(quantityBytes(memory))]),
};

const pidParams = z.strictObject({
  pids: z
    .int()
    .min(1)
    .max(4_194_304)
    .default(64)
    .describe('Processes and threads of each container, below its present limit; those that run go on.'),
});

/** The chosen tasks' containers can start no process and no thread beyond a number. */
export const pidLimit: FaultKind<z.output<typeof pidParams>> = {
  ...shared,
  name: 'pidLimit',
  summary:
    'Lowers the limit of processes and threads in containers of the chosen tasks: what runs goes on, nothing new starts.',
  params: pidParams,
  needs: ['systemd', 'cgroup-pids'],
  plan: ({ pids }, { targets }) => stepsOnTasks(pidLimit, targets, ['pids', String(pids)]),
};

/** Up to this rate a check that writes for half a second can tell it, and does not fill the disk. */
const measurable = 64 * 1024 ** 2;

const ioParams = z.strictObject({
  rate: quantityField()
    .refine((rate) => quantityBytes(rate) <= measurable, 'expected at most 64Mi, which a check can measure')
    .default('1Mi')
    .describe(
      'Bytes per second that each container may read, and as many that it may write, on each disk: 1Mi to 64Mi.',
    ),
});

/** The chosen tasks' containers wait for their disks. On cgroup version 1 buffered writes are nobody's, and not limited. */
export const ioLimit: FaultKind<z.output<typeof ioParams>> = {
  ...shared,
  name: 'ioLimit',
  summary:
    'Limits what containers of the chosen tasks read and write per second on their disks; on cgroup v1 direct and synced I/O only.',
  params: ioParams,
  needs: ['systemd', 'block-io'],
  plan: ({ rate }, { targets }) => stepsOnTasks(ioLimit, targets, ['blkio', String(quantityBytes(rate))]),
};
