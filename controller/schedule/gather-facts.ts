import type { Role } from '../../provisioners/contract.ts';
import type { Facts, NodeFacts, Nodes, Target } from '../../state-machines/contract.ts';
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
    nodes: nodes.map((node) => ({
      name: nameOf(node),
      role: node.Spec.Role as Role,
      labels: node.Spec.Labels,
    })),
    services: services.map(({ ID, Spec }) => ({
      name: Spec.Name,
      labels: Spec.Labels,
      tasks: running.filter((task) => task.ServiceID === ID).flatMap((task) => toTask(task, nodeNames)),
    })),
  };
}

function nameOf(node: LiveNode): string {
  return node.Spec.Labels[NODE_LABEL] ?? node.Description.Hostname;
}

function toTask(task: LiveTask, nodeNames: ReadonlyMap<string, string>) {
  const node = nodeNames.get(task.NodeID ?? '');
  const containerId = task.Status.ContainerStatus?.ContainerID;
  return node && containerId ? [{ node, taskId: task.ID, containerId }] : [];
}

/** What a plan may depend on. A node out of reach is an ExecError: a fault is never planned against a guess. */
export async function gatherFacts(
  targets: readonly Target[],
  inventory: Inventory,
  { nodeNames, nodes }: { readonly nodeNames: readonly string[]; readonly nodes: Nodes },
  signal: AbortSignal,
): Promise<Facts> {
  const labels = new Map(inventory.nodes.map((node) => [node.name, node.labels]));
  const facts = nodeNames.map(async (name): Promise<NodeFacts> => {
    const node = await nodes(name);
    const controllerAddress = await node.controllerAddress(signal);
    return { name, address: node.address, controllerAddress, labels: labels.get(name) ?? {} };
  });
  return { targets, nodes: await Promise.all(facts) };
}
