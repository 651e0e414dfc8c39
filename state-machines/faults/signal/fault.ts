import { z } from 'zod';
import { type FaultKind, RefusedError, type Target, type TaskTarget } from '../../contract.ts';

const params = z.strictObject({
  signal: z
    .enum(['SIGKILL', 'SIGTERM', 'SIGINT', 'SIGQUIT'])
    .default('SIGKILL')
    .describe('What the container is killed with.'),
});

/** The chosen tasks' containers die; whether they come back is up to the swarm. */
export const killContainer: FaultKind<z.output<typeof params>> = {
  name: 'killContainer',
  level: 'state',
  mechanism: 'signal',
  summary:
    'Kills the containers of the chosen tasks; their restart by the swarm is part of what is measured.',
  params,
  needs: ['systemd'],
  death: 'crash',
  targets: 'tasks',
  instant: true,
  plan({ signal }, { targets }) {
    // Tasks of one service on one node are one target: they share its lock, claim and metrics.
    const tasks = targets.map(asTask);
    return [...new Set(tasks.map(nameOf))].map((target) => {
      const own = tasks.filter((task) => nameOf(task) === target);
      const args = [signal, ...own.map(({ containerId }) => containerId)];
      return { node: own[0]!.node, target, mechanism: 'signal', args };
    });
  },
};

function asTask(target: Target): TaskTarget {
  if (target.kind === 'node') throw new RefusedError(`killContainer aims at services, not at ${target.node}`);
  return target;
}

function nameOf({ node, service }: TaskTarget): string {
  return `${node}/${service}`;
}
