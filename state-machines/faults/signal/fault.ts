import { z } from 'zod';
import type { FaultKind } from '../../contract.ts';
import { processArg, processField, stepsOnTasks } from '../steps-on-tasks.ts';

const signalField = (victim: string) =>
  z
    .enum(['SIGKILL', 'SIGTERM', 'SIGINT', 'SIGQUIT'])
    .default('SIGKILL')
    .describe(`What the ${victim} is killed with.`);

const containerParams = z.strictObject({ signal: signalField('container') });
const processParams = z.strictObject({ process: processField, signal: signalField('process') });

/** A death is noticed in seconds, and stays: there is nothing to hold. */
const death = {
  level: 'state',
  mechanism: 'signal',
  needs: ['systemd'],
  death: 'crash',
  targets: ['tasks'],
  instant: true,
} as const;

/** The chosen tasks' containers die; whether they come back is up to the swarm. */
export const killContainer: FaultKind<z.output<typeof containerParams>> = {
  name: 'killContainer',
  ...death,
  summary:
    'Kills the containers of the chosen tasks; their restart by the swarm is part of what is measured.',
  params: containerParams,
  plan: ({ signal }, { targets }) => stepsOnTasks(killContainer, targets, [signal]),
};

/** Processes inside the chosen tasks' containers die; whether they come back is up to whoever started them there. */
export const killProcess: FaultKind<z.output<typeof processParams>> = {
  name: 'killProcess',
  ...death,
  summary:
    'Kills processes inside the containers of the chosen tasks, found by their command line; the containers stay.',
  params: processParams,
  plan: ({ process, signal }, { targets }) =>
    stepsOnTasks(killProcess, targets, [signal, processArg(process)]),
};
