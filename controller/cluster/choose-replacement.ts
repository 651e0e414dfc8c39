import type { PlanContext } from './plan-context.ts';

/**
 * The worker to be made anew because its settings changed: only with the annotation, only when nothing else is amiss
 * with any machine, and one at a time, so that a wrong setting costs one worker. Managers are never replaced.
 */
export function chooseReplacement({ desired, observed, heldBy }: PlanContext): string | undefined {
  if (!desired.replaceNodes || observed.machines.length !== desired.nodes.length) return undefined;
  const allReady = desired.nodes.every(({ name }) => {
    const look = observed.machines.find(({ machine }) => machine.name === name)?.look;
    if (look?.state !== 'up' || heldBy(name) !== undefined) return false;
    const live = observed.swarm?.nodes.find(({ ID }) => ID === look.info.Swarm.NodeID);
    return live?.Status.State === 'ready';
  });
  if (!allReady) return undefined;
  return desired.nodes.find(({ name, role, settingsHash }) => {
    const seen = observed.machines.find(({ machine }) => machine.name === name);
    return role === 'worker' && seen?.machine.settingsHash !== settingsHash;
  })?.name;
}
