import { NODE_LABEL } from '../swarm/labels.ts';
import type { EngineInfo, LiveNode } from '../swarm/swarm-types.ts';
import { type MachineState, machineOf, type ObservedSwarm, type PlanContext } from './plan-context.ts';

/**
 * What a machine is in the swarm: the id that its own engine gives is the truth; without it the label decides, a ready
 * one before a stale twin, the newest before the older.
 */
export function findSwarmNode(
  name: string,
  look: MachineState | undefined,
  nodes: readonly LiveNode[] = [],
): LiveNode | undefined {
  const nodeId = look?.state === 'up' && look.info.Swarm.NodeID;
  if (nodeId) return nodes.find(({ ID }) => ID === nodeId);
  const rank = (node: LiveNode) => `${Number(node.Status.State === 'ready')}${node.CreatedAt}`;
  return nodes
    .filter(({ Spec }) => Spec.Labels?.[NODE_LABEL] === name)
    .reduce<LiveNode | undefined>(
      (best, node) => (best && rank(best) >= rank(node) ? best : node),
      undefined,
    );
}

/** A node that left and came back has a new id; these are the ids that it had before. */
export function staleTwins(
  name: string,
  current: LiveNode,
  swarm: ObservedSwarm | undefined,
): readonly LiveNode[] {
  const hostname = current.Description.Hostname;
  const isTwin = (node: LiveNode) => {
    const label = node.Spec.Labels?.[NODE_LABEL];
    return label === undefined ? node.Description.Hostname === hostname : label === name;
  };
  const others = swarm?.nodes.filter(({ ID }) => ID !== current.ID) ?? [];
  return others.filter((node) => node.Status.State === 'down' && isTwin(node));
}

/**
 * The manager that makes a new swarm, when there is none to join: only if every manager of the manifest is known to be
 * in no swarm. One that cannot be asked may hold the raft, and a second swarm would abandon it.
 */
export function chooseInitializer({ desired, observed, heldBy }: PlanContext): string | undefined {
  if (observed.swarm) return undefined;
  const managers = desired.nodes.filter(({ role }) => role === 'manager');
  const free = managers.every(({ name }) => {
    const look = machineOf(observed, name)?.look;
    const inactive = look?.state === 'up' && look.info.Swarm.LocalNodeState === 'inactive';
    return heldBy(name) === undefined && (look === undefined || inactive);
  });
  return free ? managers[0]?.name : undefined;
}

/**
 * True when an engine's swarm is, or was, that of this manifest: it knows one of our managers by address, and is no
 * manager itself (a manager may be all that is left of a swarm, and is never made to leave it).
 */
export function isOurs(info: EngineInfo, { desired, observed }: PlanContext): boolean {
  if (info.Swarm.ControlAvailable) return false;
  const managers = new Set(desired.nodes.filter(({ role }) => role === 'manager').map(({ name }) => name));
  const addresses = observed.machines
    .filter(({ machine }) => managers.has(machine.name))
    .map(({ machine }) => machine.address);
  return (info.Swarm.RemoteManagers ?? []).some(({ Addr }) =>
    addresses.some((address) => Addr.startsWith(`${address}:`)),
  );
}
