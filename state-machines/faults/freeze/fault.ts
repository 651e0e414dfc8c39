import { z } from 'zod';
import type { FaultKind } from '../../contract.ts';
import { processArg, processField, stepsOnTasks } from '../steps-on-tasks.ts';

const containerParams = z.strictObject({});
const processParams = z.strictObject({ process: processField });

/** Whoever stands still keeps its sockets: only a timer on the other side notices. */
const standstill = {
  level: 'state',
  mechanism: 'freeze',
  death: 'silence',
  targets: ['tasks'],
  instant: false,
} as const;

/** The chosen tasks' containers stand still as a whole, unknown to the engine: its health checks fail meanwhile. */
export const pauseContainer: FaultKind<z.output<typeof containerParams>> = {
  name: 'pauseContainer',
  ...standstill,
  summary:
    'Freezes the containers of the chosen tasks: silence, and no socket is closed; then lets them go on.',
  params: containerParams,
  needs: ['systemd', 'freezer'],
  plan: (_params, { targets }) => stepsOnTasks(pauseContainer, targets, []),
};

/** Processes inside the chosen tasks' containers stand still, and all others there go on, as in a very long pause. */
export const pauseProcess: FaultKind<z.output<typeof processParams>> = {
  name: 'pauseProcess',
  ...standstill,
  summary:
    'Stops processes inside the containers of the chosen tasks, found by their command line, and continues them.',
  params: processParams,
  needs: ['systemd'],
  plan: ({ process }, { targets }) => stepsOnTasks(pauseProcess, targets, [processArg(process)]),
};
