import { type Machine, messageOf } from '../../provisioners/contract.ts';
import {
  type Facts,
  type NodeFacts,
  type Nodes,
  RefusedError,
  type Target,
} from '../../state-machines/contract.ts';
import { findSwarmNode } from '../cluster/node-identity.ts';
import { NODE_LABEL } from '../swarm/labels.ts';
import type { SwarmGateway } from '../swarm/swarm-gateway.ts';
import type { LiveNode, LiveTask } from '../swarm/swarm-types.ts';
import type { Inventory } from './select-targets.ts';

/** Reads what runs where: three calls to a manager. */
export async function gatherInventory(swarm: SwarmGateway, signal: AbortSignal): Promise<Inventory> {
  const [nodes, services, tasks] = await Promise.all([
    swarm.listNodes(signal),
    swarm.listServices(signal),
    swarm.listTasks({}, signal),
  ]);
  const nodeNames = new Map(nodes.map((node) => [node.ID, nameOf(node)]));
  const running = tasks.filter((task) => task.Status.State === 'running' && task.DesiredState === 'running');
  return {
    nodes: nodes
      .filter((node) => !isStaleTwin(node, nodes))
      .map((node) => ({
        name: nameOf(node),
        id: node.ID,
        role: node.Spec.Role,
        controls: node.ManagerStatus?.Reachability === 'reachable',
        leads: node.ManagerStatus?.Leader ?? false,
        ready: node.Status.State === 'ready',
        labels: node.Spec.Labels,
      })),
    services: services.map(({ ID, Spec, Endpoint, ServiceStatus }) => ({
      name: Spec.Name,
      id: ID,
      replicated: 'Replicated' in Spec.Mode,
      labels: Spec.Labels,
      ...(ServiceStatus && { desired: ServiceStatus.DesiredTasks }),
      addresses: (Endpoint?.VirtualIPs ?? []).flatMap(({ Addr }) => (Addr ? [Addr] : [])),
      published: (Endpoint?.Ports ?? []).flatMap(({ Protocol, PublishedPort, PublishMode }) =>
        PublishedPort
          ? [{ port: `${Protocol}/${PublishedPort}`, everywhere: PublishMode === 'ingress' }]
          : [],
      ),
      tasks: running.filter((task) => task.ServiceID === ID).flatMap((task) => toTask(task, nodeNames)),
    })),
  };
}

/** What a machine was in the swarm before it left and came back. */
function isStaleTwin(node: LiveNode, nodes: readonly LiveNode[]): boolean {
  const current = findSwarmNode(nameOf(node), undefined, nodes);
  return current !== undefined && current.ID !== node.ID;
}

function nameOf(node: LiveNode): string {
  return node.Spec.Labels[NODE_LABEL] ?? node.Description.Hostname;
}

function toTask(task: LiveTask, nodeNames: ReadonlyMap<string, string>) {
  const node = nodeNames.get(task.NodeID ?? '');
  const containerId = task.Status.ContainerStatus?.ContainerID;
  const addresses = (task.NetworksAttachments ?? []).flatMap(({ Addresses }) => Addresses ?? []);
  // A global service has one on each node, and numbers none.
  const slot = String(task.Slot ?? task.NodeID);
  return node && containerId ? [{ node, taskId: task.ID, containerId, slot, addresses }] : [];
}

interface ClusterFacts extends Pick<Facts, 'checkpoint'> {
  readonly nodeNames: readonly string[];
  readonly nodes: Nodes;
  readonly machineOf?: (name: string) => Pick<Machine, 'zone' | 'spot'> | undefined;
}

/** What a plan may depend on. Throws RefusedError with each node out of reach: no fault is planned against a guess. */
export async function gatherFacts(
  targets: readonly Target[],
  inventory: Inventory,
  { nodeNames, nodes, machineOf, checkpoint }: ClusterFacts,
  signal: AbortSignal,
): Promise<Facts> {
  const facts = nodeNames.map(async (name): Promise<NodeFacts> => {
    const node = await nodes(name);
    const { zone, spot } = machineOf?.(name) ?? {};
    const member = inventory.nodes.find((each) => each.name === name);
    return {
      ...{ name, address: node.address, controllerAddress: await node.controllerAddress(signal) },
      labels: member?.labels ?? {},
      ...(member && { swarm: { id: member.id, role: member.role, controls: member.controls } }),
      ...(zone !== undefined && { zone }),
      ...(spot && { spot }),
    };
  });
  const settled = await Promise.allSettled(facts);
  signal.throwIfAborted();
  const problems = settled.flatMap((each) => (each.status === 'rejected' ? [messageOf(each.reason)] : []));
  if (problems.length > 0) throw new RefusedError(problems);
  const known = settled.flatMap((each) => (each.status === 'fulfilled' ? [each.value] : []));
  return { targets, services: inventory.services, nodes: known, ...(checkpoint && { checkpoint }) };
}
