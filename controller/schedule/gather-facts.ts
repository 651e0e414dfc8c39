import { ExecError, type NodeHandle, type Role } from '../../provisioners/contract.ts';
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

/** What a node offers to faults, in one round trip: one capability a line. */
const capabilitiesScript = `
[ -d /run/systemd/system ] && echo systemd
command -v iptables >/dev/null && iptables -S >/dev/null 2>&1 && echo iptables
systemctl is-active --quiet docker && echo docker
exit 0`;

/**
 * What a plan may depend on. Only the targets' nodes are asked for capabilities (peers have none listed); a node that
 * cannot be asked is an ExecError: a fault is never planned against a guess.
 */
export async function gatherFacts(
  targets: readonly Target[],
  nodeNames: readonly string[],
  nodes: Nodes,
  signal: AbortSignal,
): Promise<Facts> {
  const hit = new Set(targets.map(({ node }) => node));
  const facts = nodeNames.map(async (name): Promise<NodeFacts> => {
    const node = await nodes(name);
    const [controllerAddress, capabilities] = await Promise.all([
      node.controllerAddress(signal),
      hit.has(name) ? askCapabilities(node, signal) : [],
    ]);
    return { name, address: node.address, controllerAddress, capabilities };
  });
  return { targets, nodes: await Promise.all(facts) };
}

async function askCapabilities(node: NodeHandle, signal: AbortSignal): Promise<NodeFacts['capabilities']> {
  const answer = await node.exec(capabilitiesScript, [], {}, signal);
  if (answer.code !== 0)
    throw new ExecError(node.name, `facts script ended with ${answer.code}: ${answer.stderr}`);
  return answer.stdout.split('\n').filter((word) => word !== '') as NodeFacts['capabilities'];
}
