import { z } from 'zod';
import { type FaultKind, type NodeFacts, RefusedError, type SwarmMember } from '../../contract.ts';
import { changingManager, nodeNames } from '../aimed-at-nodes.ts';

const params = z.strictObject({});

const membership = {
  level: 'state',
  mechanism: 'membership',
  params,
  targets: ['nodes'],
  instant: false,
} as const;

/** The chosen managers are workers for a while: the raft group is smaller by them, and their tasks go on. */
export const demoteManager: FaultKind<z.output<typeof params>> = {
  name: 'demoteManager',
  ...membership,
  summary:
    'Makes workers of the chosen managers, so that the others lose them as members of their quorum, and then managers again.',
  needs: ['systemd'],
  death: 'crash',
  through: 'swarm',
  plan(_params, { targets, nodes }) {
    const names = nodeNames(demoteManager, targets);
    const manager = otherManager('demoteManager', nodes, names);
    return names.map((target) => {
      const { id, role } = memberOf(nodes, target);
      if (role !== 'manager') throw new RefusedError(`${target} is no manager that could be demoted`);
      // A leader leads to another one first, who demotes nobody before it knows who is left: rounds of five seconds.
      const args = ['demote', id];
      return {
        ...{ node: manager, target, mechanism: 'membership', args, effectLimitMs: 90_000 },
        witness: { node: target, args },
      };
    });
  },
};

/** The chosen machines are in no swarm for a while, as seen by themselves and by the managers; then they are who they were. */
export const leaveSwarm: FaultKind<z.output<typeof params>> = {
  name: 'leaveSwarm',
  ...membership,
  summary:
    'Lets the chosen nodes leave the swarm by force, which ends their tasks, and then makes them the very same members again.',
  needs: ['systemd', 'docker-unit'],
  death: 'crash',
  through: 'swarm',
  plan(_params, { targets, nodes }) {
    const names = nodeNames(leaveSwarm, targets);
    const manager = otherManager('leaveSwarm', nodes, names);
    return names.map((target) => {
      const args = ['leave', memberOf(nodes, target).id];
      return { node: target, target, mechanism: 'membership', args, witness: { node: manager, args } };
    });
  },
};

/** One that stays a manager: it can undo what was done to the others, or tell what became of them. */
function otherManager(kind: string, nodes: readonly NodeFacts[], hurt: readonly string[]): string {
  const manager = changingManager(nodes, hurt);
  if (hurt.includes(manager)) throw new RefusedError(`${kind}: no manager would be left that is reached`);
  return manager;
}

function memberOf(nodes: readonly NodeFacts[], target: string): SwarmMember {
  const member = nodes.find(({ name }) => name === target)?.swarm;
  if (!member) throw new RefusedError(`the swarm does not list ${target}`);
  return member;
}
