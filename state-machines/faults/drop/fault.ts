import { z } from 'zod';
import { type FaultKind, type NodeFacts, RefusedError } from '../../contract.ts';

const params = z.strictObject({});

/** The chosen machines hear and reach no other node, while they go on working: silence, not a crash. */
export const isolateNode: FaultKind<z.output<typeof params>> = {
  name: 'isolateNode',
  level: 'network',
  mechanism: 'drop',
  summary:
    'Drops all traffic between the chosen nodes and every other node, containers included; ssh stays open.',
  params,
  needs: ['systemd', 'iptables'],
  death: 'silence',
  targets: 'nodes',
  instant: false,
  plan(_params, { targets, nodes }) {
    const task = targets.find((target) => target.kind === 'task');
    if (task) throw new RefusedError(`isolateNode aims at nodes, not at ${task.service}`);
    const chosen = new Set(targets.map(({ node }) => node));
    const witness = nodes.find(({ name }) => !chosen.has(name));
    return nodes.filter(({ name }) => chosen.has(name)).map((node) => isolate(node, nodes, witness));
  },
};

function isolate(node: NodeFacts, nodes: readonly NodeFacts[], witness: NodeFacts | undefined) {
  const peers = nodes.filter(({ name }) => name !== node.name);
  if (peers.length === 0) throw new RefusedError(`${node.name} has no other node to be isolated from`);
  const controller = ipv4(node.controllerAddress);
  return {
    node: node.name,
    target: node.name,
    mechanism: 'drop',
    args: [controller, ...peers.map(({ address }) => ipv4(address))],
    ...(witness && { witness: { node: witness.name, args: [controller, ipv4(node.address)] } }),
  };
}

/** The rules are written for IPv4: isolating half of a dual-stack path would be a lie. */
function ipv4(address: string): string {
  if (!/^\d{1,3}(\.\d{1,3}){3}$/.test(address)) {
    throw new RefusedError(`isolateNode needs IPv4 addresses, not "${address}"`);
  }
  return address;
}
