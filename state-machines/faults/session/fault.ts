import { z } from 'zod';
import type { FaultKind } from '../../contract.ts';
import { processArg, processField, stepsOnTasks } from '../steps-on-tasks.ts';

const params = z.strictObject({
  process: processField
    .default('org.apache.spark.deploy.master.Master')
    .describe(
      "The client: processes whose command line (arguments joined by blanks) contains this text; Spark's masters when absent.",
    ),
  port: z.int().min(1).max(65_535).default(2181).describe('On which the servers of ZooKeeper take clients.'),
});

/**
 * Clients of ZooKeeper lose their sessions without losing their connections first: they stand still for the hold, which
 * has to be 1.5 times the negotiated timeout and 7 s at least, and go on in the belief that they still lead.
 */
export const expireSession: FaultKind<z.output<typeof params>> = {
  name: 'expireSession',
  level: 'state',
  mechanism: 'session',
  summary:
    'Stops clients of ZooKeeper in the chosen tasks until the servers have expired their sessions, then lets them go on.',
  params,
  needs: ['systemd', 'ss'],
  death: 'silence',
  targets: ['tasks'],
  instant: false,
  plan: ({ process, port }, { targets }) =>
    stepsOnTasks(expireSession, targets, [String(port), processArg(process)]),
};
